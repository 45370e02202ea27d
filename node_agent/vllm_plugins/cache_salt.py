"""Which part of the prefix cache a request may see: the tenant's salt, put into the request's JSON body. Pure.

Called by `middleware`. A client's own salt divides its tenant's part further; it can never reach another tenant's. A
body that vLLM would refuse is left as it is, so that vLLM's own words reach the client.
"""

import json
from hashlib import blake2b

_FIELD = b"cache_salt"
_WHITESPACE = b" \t\r\n"  # JSON's


def salt_of(tenant: str, own: str | None = None) -> str:
    """Of letters that vLLM accepts. `own` is what the client asked for."""
    digest = blake2b(digest_size=16, person=b"stoker-salt-1")
    name = tenant.encode("utf-8", "surrogateescape")
    digest.update(len(name).to_bytes(4, "little") + name)
    if own is not None:
        digest.update(b"\x1f" + own.encode("utf-8", "surrogatepass"))
    return digest.hexdigest()


def salted(body: bytes, tenant: str) -> bytes:
    """The body with the tenant's salt in it; the same object when vLLM is to refuse it."""
    end = len(body)
    while end and body[end - 1] in _WHITESPACE:
        end -= 1
    # What is not UTF-8 has other bytes around its braces. Should the field's name hide in escapes, the last one wins: ours.
    plain = _FIELD not in body and body[:1] == b"{" and body[end - 1 : end] == b"}"
    if plain:
        return _appended(body, end, salt_of(tenant))
    return _rewritten(body, tenant)


def _appended(body: bytes, end: int, salt: str) -> bytes:
    """Without reading it: an object stays one, and what was none before is none after."""
    begin = 1
    while begin < end and body[begin] in _WHITESPACE:
        begin += 1
    comma = b"" if begin == end - 1 else b","
    return b"".join((memoryview(body)[: end - 1], comma, b'"cache_salt":"', salt.encode(), b'"}'))


def _rewritten(body: bytes, tenant: str) -> bytes:
    try:
        request = json.loads(body)
    except (ValueError, RecursionError):
        return body
    if not isinstance(request, dict):
        return body
    own = request.get("cache_salt")
    if own is None:
        request["cache_salt"] = salt_of(tenant)
    elif isinstance(own, str) and own:
        request["cache_salt"] = salt_of(tenant, own)
    else:
        return body
    return json.dumps(request, separators=(",", ":")).encode()

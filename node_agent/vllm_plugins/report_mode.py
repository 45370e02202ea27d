"""What a client may not ask of vLLM's KV events, taken out of the request's JSON body. Pure. Called by `middleware`.

vLLM reads `kv_cache_report_mode` from a request's extra arguments; with "full" it tells blocks as stored anew whenever
they are hit. The agent would take each for a block that had been evicted and computed again. Which events an engine
tells is not for its clients to say. Every other extra argument is theirs and passes.
"""

import json
import re
from typing import Any

_FIELD = "kv_cache_report_mode"
_PLAIN = _FIELD.encode()
# A letter or an underscore written as an escape: nobody needs to, so whoever does is read in full.
_HIDDEN = re.compile(rb"\\u00[4-7]")


def without_report_mode(body: bytes) -> bytes:
    """The same object when there is nothing to take out, or when vLLM is to refuse it."""
    if not _may_name_it(body):
        return body
    try:
        request = json.loads(body)
    except (ValueError, RecursionError):
        return body
    naming = [arguments for arguments in _extra_arguments(request) if _FIELD in arguments]
    if not naming:
        return body
    for arguments in naming:
        del arguments[_FIELD]
    return json.dumps(request, separators=(",", ":")).encode()


def _may_name_it(body: bytes) -> bool:
    """What does not begin with a brace may be in UTF-16, in which the name would not be found."""
    if body[:1] != b"{" or body[1:2] == b"\0" or _PLAIN in body:
        return True
    return b"\\u00" in body and _HIDDEN.search(body) is not None


def _extra_arguments(request: Any) -> list[dict[str, Any]]:
    """All that become `SamplingParams.extra_args`: of OpenAI's and Anthropic's routes, and of that for tokens."""
    if not isinstance(request, dict):
        return []
    parameters = request.get("sampling_params")
    found = [request.get("vllm_xargs"), parameters.get("extra_args") if isinstance(parameters, dict) else None]
    return [arguments for arguments in found if isinstance(arguments, dict)]

"""API keys verify against the published key set, and against nothing else."""

import json
from datetime import timedelta
from pathlib import Path

import jwt
import pytest
from hypothesis import given
from hypothesis import strategies as st
from jwt.types import Options

from controlplane.identity import certificates
from controlplane.identity.api_keys import ApiKeySigner
from controlplane.identity.files import DataDirectoryError, write_private
from tests.support.clock import START

NO_TIME: Options = {"verify_exp": False, "verify_iat": False}


def verified(signer: ApiKeySigner, token: str) -> dict[str, object]:
    """As Envoy does it: the key by its id from the set."""
    keys = jwt.PyJWKSet.from_dict(json.loads(json.dumps(signer.jwks())))
    key = keys[jwt.get_unverified_header(token)["kid"]]
    return dict(jwt.decode(token, key, algorithms=["ES256"], issuer="stoker", options=NO_TIME))


@given(
    st.from_regex(r"[a-z0-9]{1,20}", fullmatch=True),
    st.none() | st.integers(1, 10**9),
    st.from_regex(r"[0-9a-f]{16}", fullmatch=True),
)
def test_what_was_signed_is_what_is_read(tenant: str, seconds: int | None, key_id: str) -> None:
    signer = ApiKeySigner(certificates.new_key())
    lifetime = None if seconds is None else timedelta(seconds=seconds)
    claims = verified(signer, signer.mint(tenant, lifetime, START, key_id))
    expected: dict[str, object] = {"iss": "stoker", "sub": tenant, "jti": key_id, "iat": int(START.timestamp())}
    if seconds is not None:
        expected["exp"] = int(START.timestamp()) + seconds
    assert claims == expected


def test_it_is_an_es256_token_of_modest_length() -> None:
    signer = ApiKeySigner(certificates.new_key())
    token = signer.mint("acme", timedelta(days=1), START, "k" * 16)
    assert jwt.get_unverified_header(token) == {"alg": "ES256", "typ": "JWT", "kid": signer.kid}
    assert len(token) < 400


def test_another_signer_is_refused() -> None:
    signer, other = ApiKeySigner(certificates.new_key()), ApiKeySigner(certificates.new_key())
    token = other.mint("acme", None, START, "k1")
    with pytest.raises(KeyError):
        verified(signer, token)
    key = jwt.PyJWKSet.from_dict(signer.jwks())[signer.kid]
    with pytest.raises(jwt.InvalidSignatureError):
        jwt.decode(token, key, algorithms=["ES256"], options=NO_TIME)


def test_the_key_set_tells_no_secret_and_its_id_is_the_thumbprint(tmp_path: Path) -> None:
    signer = ApiKeySigner.ensure(tmp_path / "api_keys")
    (published,) = signer.jwks()["keys"]
    assert set(published) == {"kty", "crv", "x", "y", "kid", "alg", "use"}
    again = ApiKeySigner.load(tmp_path / "api_keys")
    assert again.jwks() == signer.jwks()


def test_the_thumbprint_of_rfc_7638_is_over_the_sorted_members() -> None:
    import base64
    import hashlib

    signer = ApiKeySigner(certificates.new_key())
    (published,) = signer.jwks()["keys"]
    members = {name: published[name] for name in ("crv", "kty", "x", "y")}
    digest = hashlib.sha256(json.dumps(members, sort_keys=True, separators=(",", ":")).encode()).digest()
    assert published["kid"] == base64.urlsafe_b64encode(digest).rstrip(b"=").decode()


def test_ensure_keeps_the_key(tmp_path: Path) -> None:
    assert ApiKeySigner.ensure(tmp_path / "k").kid == ApiKeySigner.ensure(tmp_path / "k").kid
    assert (tmp_path / "k" / "signing_key.pem").stat().st_mode & 0o777 == 0o600


def test_missing_damaged_and_open_keys_are_refused(tmp_path: Path) -> None:
    with pytest.raises(DataDirectoryError, match="is missing"):
        ApiKeySigner.load(tmp_path)
    write_private(tmp_path / "signing_key.pem", b"nonsense")
    with pytest.raises(DataDirectoryError, match="damaged"):
        ApiKeySigner.load(tmp_path)
    (tmp_path / "signing_key.pem").chmod(0o644)
    with pytest.raises(DataDirectoryError, match="chmod 600"):
        ApiKeySigner.load(tmp_path)

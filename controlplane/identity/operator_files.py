"""An operator's credentials on disk, as `stoker` reads them: context.toml, ca.pem, cert.pem, key.pem.

Called where an operator is made on this machine (`init`, `operator create`). Never sends a key anywhere.
"""

import json
from pathlib import Path

from cryptography.hazmat.primitives.asymmetric import ec

from controlplane.identity import certificates
from controlplane.identity.files import make_directory, write_private, write_public


def write_operator(
    directory: Path, *, server: str, name: str, key: ec.EllipticCurvePrivateKey, certificate_pem: bytes, ca_pem: bytes
) -> None:
    """`server` is the "host:port" that the operator dials. Raises DataDirectoryError."""
    make_directory(directory)
    # JSON's strings are TOML's, and json escapes whatever could end one.
    context = f"server = {json.dumps(server)}\nname = {json.dumps(name)}\n"
    write_private(directory / "key.pem", certificates.key_pem(key))
    write_public(directory / "cert.pem", certificate_pem)
    write_public(directory / "ca.pem", ca_pem)
    write_public(directory / "context.toml", context.encode())  # last: whoever finds it finds the rest

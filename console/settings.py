"""Who the operator is and where the control plane is: the credentials directory.

`stoker-controlplane init` and `stoker operator create` make such directories; the command line and the console load
one at start-up. Never talks to the network and never prints: what deserves a warning is told to the caller.
"""

import os
import re
import stat
import tomllib
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

CONTEXT_FILE = "context.toml"
CA_FILE = "ca.pem"
CERTIFICATE_FILE = "cert.pem"
KEY_FILE = "key.pem"
ENVIRONMENT_VARIABLE = "STOKER_CREDENTIALS"

_SERVER = re.compile(r"(?:[A-Za-z0-9._-]+|\[[0-9A-Fa-f:.]+\]):(?P<port>[0-9]{1,5})")


class CredentialsError(Exception):
    """The credentials cannot be used; the message says why and what to do."""


@dataclass(frozen=True, slots=True)
class Credentials:
    server: str  # "host:port" of the control plane's gRPC port
    ca_pem: bytes  # what the control plane's certificate must come from
    certificate_pem: bytes
    key_pem: bytes = field(repr=False)
    name: str  # the operator's, for people; the certificate is what counts
    warnings: tuple[str, ...] = ()  # sentences for the operator


def load_credentials(directory: Path | None, env: Mapping[str, str]) -> Credentials:
    """From `directory`, else from $STOKER_CREDENTIALS, else from the user's configuration directory."""
    place = _place(directory, env)
    if not (place / CONTEXT_FILE).is_file():
        raise CredentialsError(_not_found(place, directory, env))
    server, name = _context(place / CONTEXT_FILE)
    return Credentials(
        server=server,
        name=name,
        ca_pem=_pem(place / CA_FILE),
        certificate_pem=_pem(place / CERTIFICATE_FILE),
        key_pem=_pem(place / KEY_FILE),
        warnings=_key_warnings(place / KEY_FILE),
    )


def save_credentials(directory: Path, credentials: Credentials) -> None:
    """Makes `directory` (readable by its owner only) and writes the four files. Refuses to overwrite anything."""
    directory.mkdir(mode=0o700, parents=True, exist_ok=True)
    context = f"server = {_toml_string(credentials.server)}\nname = {_toml_string(credentials.name)}\n"
    contents = {
        CONTEXT_FILE: context.encode(),
        CA_FILE: credentials.ca_pem,
        CERTIFICATE_FILE: credentials.certificate_pem,
        KEY_FILE: credentials.key_pem,
    }
    for file_name, content in contents.items():
        descriptor = os.open(directory / file_name, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
        with os.fdopen(descriptor, "wb") as file:
            file.write(content)


def default_directory(env: Mapping[str, str]) -> Path:
    configured = env.get("XDG_CONFIG_HOME", "")
    if Path(configured).is_absolute():
        return Path(configured) / "stoker" / "credentials"
    from platformdirs import user_config_path

    return user_config_path("stoker") / "credentials"


def _place(directory: Path | None, env: Mapping[str, str]) -> Path:
    if directory is not None:
        return directory
    named = env.get(ENVIRONMENT_VARIABLE, "")
    return Path(named).expanduser() if named else default_directory(env)


def _not_found(place: Path, directory: Path | None, env: Mapping[str, str]) -> str:
    chosen = (
        "--credentials"
        if directory is not None
        else f"${ENVIRONMENT_VARIABLE}"
        if env.get(ENVIRONMENT_VARIABLE)
        else ""
    )
    seen = (
        f"{chosen} names {place}, but there is no {CONTEXT_FILE} in it."
        if chosen
        else "No operator's credentials found."
    )
    return (
        f"{seen} Credentials are looked for in, first: the directory given with --credentials DIR; second: the "
        f"directory named by ${ENVIRONMENT_VARIABLE}; third: {default_directory(env)}. `stoker-controlplane init` "
        f"makes the first operator's; an admin makes more with `stoker operator create NAME --role ROLE --out DIR`."
    )


def _context(file: Path) -> tuple[str, str]:
    try:
        values = tomllib.loads(file.read_text(encoding="utf-8"))
    except OSError as error:
        raise CredentialsError(f"Cannot read {file}: {error.strerror}.") from error
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise CredentialsError(f"{file} is not valid TOML: {error}.") from error
    server, name = values.get("server"), values.get("name", "")
    match = _SERVER.fullmatch(server) if isinstance(server, str) else None
    if not isinstance(server, str) or match is None or not 0 < int(match["port"]) < 65536:
        raise CredentialsError(f'{file}: `server` must be "host:port", for example server = "stoker.example:7443".')
    if not isinstance(name, str):
        raise CredentialsError(f'{file}: `name` must be text, for example name = "admin".')
    return server, name


def _pem(file: Path) -> bytes:
    try:
        content = file.read_bytes()
    except FileNotFoundError as error:
        raise CredentialsError(f"{file} is missing: the credentials directory is not complete.") from error
    except OSError as error:
        raise CredentialsError(f"Cannot read {file}: {error.strerror}.") from error
    if b"-----BEGIN " not in content:
        raise CredentialsError(f"{file} is not a PEM file.")
    return content


def _key_warnings(file: Path) -> tuple[str, ...]:
    mode = stat.S_IMODE(file.stat().st_mode)
    if mode & 0o077 == 0:
        return ()
    return (f"{file} can be read by others (mode {mode:04o}); make it yours alone: chmod 600 {file}",)


def _toml_string(text: str) -> str:
    escaped = text.replace("\\", "\\\\").replace('"', '\\"')
    if not escaped.isprintable():
        raise CredentialsError("A server or a name with control characters cannot be saved.")
    return f'"{escaped}"'

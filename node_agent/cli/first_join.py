"""Joins a node that was given a token as a systemd credential, before it runs for the first time.

Called by `stoker-agent run`. So a machine image or a configuration tool need only place a settings file and the token;
nobody has to log in. It does nothing on a node that has joined, and nothing without the credential.
"""

import asyncio
from collections.abc import Mapping
from pathlib import Path

import structlog

from node_agent.cli.join import enrol_node, facing_address, keep_settings
from node_agent.host.instance_lock import InstanceLock
from node_agent.link.identity import IdentityStore
from node_agent.link.join_token import parse_join_token
from node_agent.settings import AgentSettings, BadSettingsError

_log = structlog.get_logger(__name__)
CREDENTIAL = "stoker.join-token"
_NEEDED = ("server.address", "server.enrolment_address", "node.name", "node.provider", "node.region")


def credential_path(environ: Mapping[str, str]) -> Path | None:
    """Where systemd put the token (LoadCredential=); None when it gave none."""
    folder = environ.get("CREDENTIALS_DIRECTORY", "")
    path = Path(folder) / CREDENTIAL
    return path if folder and path.is_file() else None


def join_by_credential(settings: AgentSettings, environ: Mapping[str, str]) -> bool:
    """Whether it joined: the settings are then to be read again. Raises AgentError."""
    store, path = IdentityStore(settings.state_dir), credential_path(environ)
    if store.exists() or path is None:
        return False
    values = {
        "server.address": settings.server.address,
        "server.enrolment_address": settings.server.enrolment_address,
        **{f"node.{name}": value for name, value in settings.node},
    }
    missing = [
        f"settings: {key}: is not set, and joining with the credential {CREDENTIAL} needs it; set it in "
        "/etc/stoker/agent.toml"
        for key in _NEEDED
        if not values[key]
    ]
    if missing:
        raise BadSettingsError(missing)
    try:
        token = parse_join_token(path.read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError) as error:
        raise BadSettingsError([f"{path}: {CREDENTIAL}: cannot be read ({error})"]) from error
    if not settings.node.advertise_hosts:
        hosts = (facing_address(settings.server.enrolment_address),)
        settings = settings.model_copy(update={"node": settings.node.model_copy(update={"advertise_hosts": hosts})})
        values["node.advertise_hosts"] = hosts
    with InstanceLock(settings.state_dir):
        joined = asyncio.run(enrol_node(token, settings, store))
        keep_settings(settings.state_dir, {**values, "node.name": joined.node_name})
    _log.info("joined", node=joined.node_name, token=token.token_id, credential=CREDENTIAL)
    return True

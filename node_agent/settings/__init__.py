"""Settings of the agent: typed, from TOML files, the environment and flags; every error explained at once."""

from node_agent.settings.loading import load
from node_agent.settings.model import (
    AgentSettings,
    EngineSettings,
    LinkSettings,
    LogSettings,
    NodeSettings,
    ServerSettings,
    SpoolSettings,
)
from node_agent.settings.names import checked_address, checked_host, checked_labels, checked_name
from node_agent.settings.problems import BadSettingsError
from node_agent.settings.sources import default_state_dir, own_settings_path
from node_agent.settings.writing import rendered

__all__ = [
    "AgentSettings",
    "BadSettingsError",
    "EngineSettings",
    "LinkSettings",
    "LogSettings",
    "NodeSettings",
    "ServerSettings",
    "SpoolSettings",
    "checked_address",
    "checked_host",
    "checked_labels",
    "checked_name",
    "default_state_dir",
    "load",
    "own_settings_path",
    "rendered",
]

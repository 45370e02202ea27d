"""Settings of the control plane: typed, from a TOML file, the environment and flags; every error explained at once."""

from controlplane.settings.loading import LoadedSettings, load
from controlplane.settings.model import (
    DatabaseSettings,
    FleetSettings,
    GatewaySettings,
    HistorySettings,
    LogSettings,
    MetricsSettings,
    ServerSettings,
    Settings,
    SettingsDiff,
    masked_url,
)
from controlplane.settings.problems import BadSettingsError
from controlplane.settings.rendering import config_text, render
from controlplane.settings.sources import default_data_dir

__all__ = [
    "BadSettingsError",
    "DatabaseSettings",
    "FleetSettings",
    "GatewaySettings",
    "HistorySettings",
    "LoadedSettings",
    "LogSettings",
    "MetricsSettings",
    "ServerSettings",
    "Settings",
    "SettingsDiff",
    "config_text",
    "default_data_dir",
    "load",
    "masked_url",
    "render",
]

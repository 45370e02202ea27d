"""Settings as they are now: what can be used is taken over, what cannot leaves everything as it was."""

from pathlib import Path

from structlog.testing import capture_logs

from controlplane.bootstrap.live_settings import LiveSettings
from controlplane.errors import ConfigurationError
from controlplane.settings import Settings
from controlplane.settings.model import FleetSettings, ServerSettings

OLD = Settings(data_dir=Path("/nowhere"))
NEW = Settings(data_dir=Path("/nowhere"), fleet=FleetSettings(fresh_seconds=5.0), server=ServerSettings(port=1))


def test_new_settings_are_taken_over_and_named() -> None:
    live = LiveSettings(OLD, lambda: NEW)
    with capture_logs() as logs:
        assert live.reload()
    assert live.now is NEW
    [line] = logs
    assert (line["changed"], line["needs_restart"]) == (["fleet.fresh_seconds"], ["server.port"])


def test_settings_that_cannot_be_used_change_nothing() -> None:
    def load() -> Settings:
        raise ConfigurationError("controlplane.toml:3: no")

    live = LiveSettings(OLD, load)
    with capture_logs() as logs:
        assert not live.reload()
    assert live.now is OLD
    assert logs[0]["error"] == "controlplane.toml:3: no"

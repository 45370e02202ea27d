"""The settings as they are now: what SIGHUP may change is read from here at each use, never copied. Part of `bootstrap`."""

from collections.abc import Callable

import structlog

from controlplane import telemetry
from controlplane.errors import ConfigurationError
from controlplane.settings import Settings

log = structlog.get_logger(__name__)


class LiveSettings:
    def __init__(self, settings: Settings, load: Callable[[], Settings]) -> None:
        self.now = settings
        self._load = load

    def reload(self) -> bool:
        """Read the settings again. False when they cannot be used: then everything stays as it was."""
        try:
            new = self._load()
        except ConfigurationError as error:
            log.error("settings_not_reloaded", error=str(error))
            return False
        diff = Settings.reloadable_diff(self.now, new)
        self.now = new
        telemetry.set_level(new.logs.level)
        log.info(
            "settings_reloaded",
            changed=[change.key for change in diff.reloadable],
            needs_restart=[change.key for change in diff.needs_restart],
        )
        return True

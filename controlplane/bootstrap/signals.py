"""What the process is told: by signals, or by a part of itself that cannot go on. Part of `bootstrap`."""

import asyncio
import signal


class Signals:
    """Made in the running event loop; takes over SIGTERM, SIGINT and SIGHUP."""

    def __init__(self) -> None:
        self._changed = asyncio.Event()
        self.second = asyncio.Event()  # told to end again: at once, then
        self.end = False
        self.failure = ""
        self._reload = False
        loop = asyncio.get_running_loop()
        for number in (signal.SIGTERM, signal.SIGINT):
            loop.add_signal_handler(number, self._on_end)
        loop.add_signal_handler(signal.SIGHUP, self._on_reload)

    async def told(self) -> None:
        """Return when there is something new."""
        await self._changed.wait()
        self._changed.clear()

    def fail(self, reason: str) -> None:
        """End with a failure: somebody else leads."""
        self.failure = reason
        self._changed.set()

    def take_reload(self) -> bool:
        """Whether to read the settings again; asked once."""
        asked, self._reload = self._reload, False
        return asked

    def _on_end(self) -> None:
        if self.end:
            self.second.set()
        self.end = True
        self._changed.set()

    def _on_reload(self) -> None:
        self._reload = True
        self._changed.set()

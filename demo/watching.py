"""An operator's eyes for the demo: the fleet as a console sees it, kept up to date in a thread. Called by `demo.stack`.

One connection for as long as the demo runs: starting `stoker` again and again would cost the engines their cores.
"""

import asyncio
import threading
from collections.abc import Callable
from pathlib import Path

from console.link.client import OperatorClient
from console.link.feed import Feed
from console.model.fleet_view import Connection, FleetView
from console.settings import load_credentials


class Watcher:
    """Follows a control plane from `start` to `stop`; `view` is the last known fleet, `live` whether it still is."""

    def __init__(self, credentials: Path) -> None:
        self._credentials = credentials
        self.view = FleetView()
        self.live = False
        self.on_view: Callable[[FleetView], None] = lambda _: None  # called in the thread
        self._end: Callable[[], None] = lambda: None
        self._thread = threading.Thread(target=lambda: asyncio.run(self._run()), name="watcher", daemon=True)

    def start(self) -> None:
        self._thread.start()

    def stop(self) -> None:
        self._end()
        if self._thread.is_alive():
            self._thread.join(10)

    async def _run(self) -> None:
        loop, ended = asyncio.get_running_loop(), asyncio.Event()

        def end() -> None:
            if not loop.is_closed():
                loop.call_soon_threadsafe(ended.set)

        self._end = end
        async with OperatorClient.open(load_credentials(self._credentials, {})) as client:
            feed = asyncio.create_task(Feed(client, on_view=self._seen, on_connection=self._connected).run())
            await ended.wait()
            feed.cancel()
            await asyncio.gather(feed, return_exceptions=True)

    def _seen(self, view: FleetView) -> None:
        self.view = view
        self.on_view(view)

    def _connected(self, connection: Connection, _: str) -> None:
        self.live = connection is Connection.LIVE

"""One page for Prometheus: what is known is gathered on the event loop, and made into text in a thread.

Called by `metrics_app` for each scrape. A snapshot is frozen and counters are copied, so the thread meets no change; the loop
is held for the copying alone. One page is made at a time. Nothing is computed between scrapes.
"""

import asyncio
from collections.abc import Callable

from prometheus_client import ProcessCollector

from controlplane.exposition.catalogue import ENTRIES
from controlplane.exposition.daemon_figures import DaemonFigures
from controlplane.exposition.families import Families
from controlplane.exposition.filling import fill_daemon, fill_fleet, fill_requests
from controlplane.exposition.fleet_figures import FleetLook
from controlplane.runtime.engine_totals import EngineTotals


class MetricsPage:
    def __init__(self, gather: Callable[[], DaemonFigures], totals: EngineTotals, *, tenants: bool) -> None:
        """`gather` is called on the event loop and must be quick. `tenants`: whether they may be named."""
        self._gather = gather
        self._totals = totals
        self._tenants = tenants
        self._look = FleetLook()
        self._process = ProcessCollector(registry=None)  # None: it joins no registry
        self._one_at_a_time = asyncio.Lock()

    async def make(self, accept: str) -> tuple[str, bytes]:
        """Content type and body, in the newest format of the two that the caller accepts."""
        async with self._one_at_a_time:
            figures = self._gather()
            self._totals.lend()
            work = asyncio.get_running_loop().run_in_executor(None, self._written, figures, accept)
            # A caller who is cancelled does not end the thread: only its end gives the totals back.
            work.add_done_callback(lambda _: self._totals.give_back())
            return await asyncio.shield(work)

    def _written(self, figures: DaemonFigures, accept: str) -> tuple[str, bytes]:
        page = Families(ENTRIES)
        fleet = self._look(figures.snapshot, figures.inflight, figures.now)
        fill_fleet(page, fleet, self._totals.take(fleet.engines))
        fill_requests(page, figures, tenants=self._tenants)
        fill_daemon(page, figures)
        page.put_all(self._process.collect())
        return page.written(accept)

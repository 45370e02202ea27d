"""Watches one engine process over its port: opens it for service, reads it, and tells whether it is stuck.

Made by `EngineRunner` for each process and dropped with it. Its coroutines run as the runner's background tasks, one at
a time of each kind; it changes nothing but its own figures, and decides nothing about the engine's life.
"""

import asyncio
from collections.abc import Callable
from dataclasses import replace
from datetime import datetime

from node_agent.clock import Clock
from node_agent.engines.engine import EngineClient, EngineDescription
from node_agent.errors import EngineUnreachableError, MetricsError
from node_agent.probes.scrape import Scrape
from node_agent.session.facts import EngineCounters, EngineGauges
from node_agent.session.values import Severity
from node_agent.supervisor import accounting, health
from node_agent.supervisor.policy import SupervisorPolicy

Notify = Callable[[str, str, Severity], None]  # kind, message, severity

_SETTLE_READINGS_MAX = 10


class EngineWatch:
    def __init__(self, client: EngineClient, *, clock: Clock, policy: SupervisorPolicy, notify: Notify) -> None:
        self.client = client
        self._clock = clock
        self._policy = policy
        self._notify = notify
        self._told: set[str] = set()
        self._canary_pending = False
        self._raw = EngineCounters()
        self.pulse = health.first_pulse(clock.monotonic())
        self.description = EngineDescription()
        self.excluded: EngineCounters | None = None
        self.gauges = EngineGauges()
        self.counters = EngineCounters()
        self.measured_at: datetime | None = None

    def resume(self, description: EngineDescription, excluded: EngineCounters | None) -> None:
        """For an engine found again: what an earlier run of the agent knew of this process."""
        self.description = description
        self.excluded = excluded

    def adapters_are(self, names: tuple[str, ...]) -> None:
        """The engine has just said which adapters it serves."""
        self.description = replace(self.description, adapters=names)

    async def open_for_service(self, on_stage: Callable[[str], None]) -> None:
        """Returns once the engine has answered a canary and the counters start from there.

        Raises EngineUnreachableError or MetricsError while it is not so far.
        """
        if not await self.client.healthy():
            raise EngineUnreachableError("/health does not say that it is up")
        on_stage("waiting for its first answer")
        try:
            self.description = await self.client.describe()
            await self.client.canary(seconds_max=self._policy.canary_seconds_max)
            scrape = await self._settled()
        except (EngineUnreachableError, MetricsError) as error:
            on_stage(f"waiting for its first answer; {error}")
            raise
        self.excluded = scrape.counters
        self._take(scrape)

    async def scrape(self) -> Scrape | None:
        """One reading; None when there was none, which `suspicion` remembers."""
        # While a canary is on its way its tokens may be in the reading already: the last clean figures stay.
        clean = not self._canary_pending
        try:
            scrape = await self.client.scrape()
        except EngineUnreachableError:
            return None
        except MetricsError as error:
            # It answers, but nothing is known any more: the last figures age, and `measured_at` tells.
            self.pulse = health.answered(self.pulse, self._clock.monotonic())
            self._tell_once("metrics_unreadable", "", str(error))
            return None
        self._told.discard("metrics_unreadable:")
        self._take(scrape, clean=clean and not self._canary_pending)
        return scrape

    def suspicion(self) -> str | None:
        return health.suspicion(self.pulse, self._clock.monotonic(), self._policy)

    async def confirm(self) -> bool:
        """Whether a suspected engine is stuck indeed: a canary failed, and nothing has moved since it was sent."""
        before = self._raw
        progress = self.pulse.progress
        self._canary_pending = True
        began = self._clock.monotonic()
        try:
            answer = await self.client.canary(seconds_max=self._policy.canary_seconds_max)
            seconds = self._clock.monotonic() - began
            after = await self.client.scrape()
        except (EngineUnreachableError, MetricsError):
            return self.pulse.progress == progress and self.suspicion() is not None
        finally:
            self._canary_pending = False
        if self.excluded is not None:
            share = accounting.canary_share(before, after.counters, answer, seconds)
            self.excluded = accounting.add(self.excluded, share)
        self._take(after)
        self.pulse = health.answered(self.pulse, self._clock.monotonic())
        return False

    async def close(self) -> None:
        await self.client.close()

    async def _settled(self) -> Scrape:
        """A step that follows the canary still moves the counters: read until they rest."""
        scrape = await self.client.scrape()
        for _ in range(_SETTLE_READINGS_MAX):
            await asyncio.sleep(self._policy.settle_seconds)
            latest = await self.client.scrape()
            if latest.counters == scrape.counters:
                break
            scrape = latest
        return scrape

    def _take(self, scrape: Scrape, *, clean: bool = True) -> None:
        self.pulse = health.observe(self.pulse, scrape, self._clock.monotonic())
        self._raw = scrape.counters
        self.gauges = scrape.gauges
        self.measured_at = self._clock.now()
        if self.excluded is not None and clean:
            self.counters = accounting.subtract(scrape.counters, self.excluded)
        news = [name for name in scrape.missing if f"metric_missing:{name}" not in self._told]
        if news:
            self._told.update(f"metric_missing:{name}" for name in news)
            message = f"the engine's /metrics does not tell {', '.join(news)}; shown as unknown"
            self._notify("metric_missing", message, Severity.WARNING)

    def _tell_once(self, kind: str, key: str, message: str) -> None:
        if f"{kind}:{key}" not in self._told:
            self._told.add(f"{kind}:{key}")
            self._notify(kind, message, Severity.WARNING)

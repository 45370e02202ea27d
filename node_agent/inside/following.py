"""Follows the KV events of the node's engines, and keeps the residency of each. Made by the composition root.

`Followings.follow` is what `insides.EngineInsides` calls for each engine process; `residencies` is what the pump of the
link reads. Whatever fails in here, engines run on.
"""

import asyncio
from collections.abc import Callable, Iterable
from pathlib import Path

from node_agent.clock import Clock
from node_agent.inside.notes import PrefixNote
from node_agent.inside.residency import RANKS_MAX, EngineResidency
from node_agent.inside.sockets import InsideSockets
from node_agent.probes.kv_events import KvEventFollower
from node_agent.session.facts import NodeEvent
from node_agent.session.inside import ModelShape, RecomputeBill, ResidencySummary, StepTotals
from node_agent.tasks import TaskScope

RANKS_SECONDS = 5.0


class Following:
    """One engine process: a follower for each data-parallel rank, as its socket appears, and what they tell."""

    def __init__(
        self,
        residency: EngineResidency,
        engine_id: str,
        sockets: InsideSockets,
        clock: Clock,
        on_event: Callable[[NodeEvent], None],
        on_closed: Callable[[], None],
    ) -> None:
        self._residency = residency
        self._engine_id = engine_id
        self._sockets = sockets
        self._clock = clock
        self._on_event = on_event
        self._on_closed = on_closed
        self._tasks = TaskScope(f"KV events of {engine_id}")
        self._tasks.spawn(self._watch_ranks(), name="ranks")

    def note(self, note: PrefixNote) -> None:
        self._residency.note(note)

    def observe(self, shape: ModelShape | None, steps: StepTotals | None) -> None:
        self._residency.observe(shape, steps)

    def summary(self) -> ResidencySummary | None:
        return self._residency.summary()

    def bills(self) -> tuple[RecomputeBill, ...]:
        return self._residency.bills()

    async def close(self) -> None:
        self._on_closed()
        await self._tasks.close()

    async def _watch_ranks(self) -> None:
        """The first rank's sockets need not be there yet; a further rank is known by its socket."""
        rank = 0
        while rank < RANKS_MAX:
            events = _of_rank(self._sockets.events, rank)
            if rank == 0 or events.exists():
                follower = KvEventFollower(
                    engine_id=self._engine_id,
                    endpoint=f"ipc://{events}",
                    replay_endpoint=f"ipc://{_of_rank(self._sockets.replay, rank)}",
                    sink=self._residency,
                    clock=self._clock,
                    on_event=self._on_event,
                    rank=rank,
                )
                self._tasks.spawn(follower.run(), name=f"rank {rank}")
                rank += 1
            else:
                await asyncio.sleep(RANKS_SECONDS)


class Followings:
    """For all engines of a node."""

    def __init__(self, *, clock: Clock, on_event: Callable[[NodeEvent], None]) -> None:
        self._clock = clock
        self._on_event = on_event
        self._residencies: dict[str, EngineResidency] = {}

    def follow(self, engine_id: str, instance_id: str, sockets: InsideSockets) -> Following:
        """Begins to follow this process; an earlier one of the same engine is not told of any more."""
        residency = EngineResidency(engine_id, instance_id)
        self._residencies[engine_id] = residency

        def closed() -> None:
            if self._residencies.get(engine_id) is residency:
                del self._residencies[engine_id]

        return Following(residency, engine_id, sockets, self._clock, self._on_event, closed)

    def residencies(self) -> Iterable[EngineResidency]:
        return tuple(self._residencies.values())


def _of_rank(socket: Path, rank: int) -> Path:
    return socket.with_name(f"{socket.name}_dp{rank}") if rank else socket

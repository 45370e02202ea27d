"""Follows the KV events of one engine, or of one data-parallel rank of it, from the first to the newest.

Made and run by whoever watches the engine; what it hears goes to a `KvEventSink` (`node_agent.inside.residency`). vLLM
publishes batches numbered from 0 over ZeroMQ and keeps the last ones for those who missed some: this subscribes, asks for
all that was, and asks again whenever a number is missing or nothing came for a while. It never raises on what an engine
sends, never blocks, and cannot hold the engine up: a subscriber that is slow only loses batches.

A busy engine publishes with every step. What it published is fetched a few times a second, together: to be woken for each
batch would cost more than all that is done with it, and residency is told once a second.
"""

import asyncio
from collections.abc import Callable, Iterable
from enum import Enum
from typing import Protocol
from zlib import crc32

import structlog
import zmq
import zmq.asyncio

from node_agent.clock import Clock
from node_agent.probes.kv_event_batch import KvEvent, decode_batch
from node_agent.session.facts import NodeEvent
from node_agent.session.values import Severity

_log = structlog.get_logger(__name__)

_MESSAGE_BYTES_MAX = 64 * 2**20
_BATCHES_QUEUED_MAX = 10_000
_LOOK_SECONDS = 0.25
_BATCHES_AT_ONCE = 16
_END = (2**64 - 1).to_bytes(8, "big")


class _Reply(Enum):
    DONE = "done"
    HOLE = "hole"  # it answered faster than it was read, and left some out: ask again
    OTHER_ENGINE = "other engine"  # what is known is not of this process
    NONE = "none"


class KvEventSink(Protocol):
    """What is told of an engine's cache. `rank`: the data-parallel rank."""

    def apply(self, events: Iterable[KvEvent], rank: int = 0) -> None: ...

    def missed(self) -> None:
        """Events were lost for good."""

    def reset(self, rank: int = 0) -> None:
        """The engine began anew, with an empty cache."""


class KvEventFollower:
    def __init__(
        self,
        *,
        engine_id: str,
        endpoint: str,
        replay_endpoint: str,
        sink: KvEventSink,
        clock: Clock,
        on_event: Callable[[NodeEvent], None],
        rank: int = 0,
        quiet_seconds: float = 5.0,
        replay_seconds_max: float = 5.0,
    ) -> None:
        """`quiet_seconds`: after which silence it asks whether there is anything new. It looks no less often."""
        self._engine_id = engine_id
        self._endpoint = endpoint
        self._replay_endpoint = replay_endpoint
        self._sink = sink
        self._clock = clock
        self._on_event = on_event
        self._rank = rank
        self._look_seconds = min(_LOOK_SECONDS, quiet_seconds)
        self._quiet_looks = max(1, round(quiet_seconds / self._look_seconds))
        self._replay_milliseconds = max(1, int(replay_seconds_max * 1000))
        self._context = zmq.asyncio.Context.instance()
        self._next = 0  # the number of the batch that comes next
        self._last_mark = 0  # of the payload before it: tells this engine process from another one
        self._last_live = -1
        self._told: set[str] = set()
        self.unreadable_count = 0
        self.unknown_count = 0
        self.lost_count = 0

    async def run(self) -> None:
        """Until cancelled."""
        live: zmq.SyncSocket = zmq.Context.shadow(self._context).socket(zmq.SUB)
        try:
            _connect(live, self._endpoint)
            live.subscribe(b"")
            while True:
                await self._catch_up()
                silent_looks = 0
                while silent_looks < self._quiet_looks:
                    await asyncio.sleep(self._look_seconds)
                    silent_looks = 0 if await self._fetch(live) else silent_looks + 1
        finally:
            live.close(linger=0)

    async def _fetch(self, live: zmq.SyncSocket) -> bool:
        """All that was published since the last time; whether that was anything."""
        count = 0
        while (frames := _next_message(live)) is not None:
            count += 1
            if not self._hear(frames) and not await self._catch_up():
                self._skip_to(frames)
            if count % _BATCHES_AT_ONCE == 0:
                await asyncio.sleep(0)
        return count > 0

    def _hear(self, frames: list[bytes]) -> bool:
        """One batch as it was published. False when some before it are missing; it is asked for again with them."""
        if len(frames) != 3 or len(frames[1]) != 8:
            self._unreadable("a message of an unknown shape")
            return True
        number, payload = int.from_bytes(frames[1], "big"), frames[2]
        if number <= self._last_live:
            self._begin_anew()
        self._last_live = number
        if number > self._next:
            return False
        if number == self._next:
            self._take(number, payload)
        return True

    def _skip_to(self, frames: list[bytes]) -> None:
        """The batches before this one cannot be had any more."""
        number = int.from_bytes(frames[1], "big")
        if number >= self._next:
            self._lose(number - self._next)
            self._take(number, frames[2])

    async def _catch_up(self) -> bool:
        """All that is new, and whether it is still the same engine. False when it does not answer: starting, or gone."""
        while True:
            before = self._next
            match await self._replay():
                case _Reply.DONE:
                    return True
                case _Reply.NONE:
                    return False
                case _Reply.OTHER_ENGINE:
                    self._begin_anew()
                case _Reply.HOLE if self._next == before:
                    return False

    async def _replay(self) -> _Reply:
        """Ask for the last batch that is known, which tells whether this is still the same engine, and all after it."""
        begin = max(0, self._next - 1)
        asked = self._context.socket(zmq.DEALER)
        first = True
        try:
            _connect(asked, self._replay_endpoint)
            await asked.send_multipart([b"", begin.to_bytes(8, "big")])
            while await asked.poll(self._replay_milliseconds):
                frames = await asked.recv_multipart()
                if len(frames) != 4 or len(frames[2]) != 8:
                    self._unreadable("an answer of an unknown shape")
                    return _Reply.NONE
                if frames[2] == _END:
                    return _Reply.OTHER_ENGINE if first and self._next else _Reply.DONE
                number, payload = int.from_bytes(frames[2], "big"), frames[3]
                if number == begin and self._next and crc32(payload) != self._last_mark:
                    return _Reply.OTHER_ENGINE
                if number > self._next:
                    if not first:
                        return _Reply.HOLE
                    self._lose(number - self._next)
                    self._next = number
                first = False
                if number == self._next:
                    self._take(number, payload)
                await asyncio.sleep(0)  # thousands may be there already, and others want to run in between
            return _Reply.NONE
        finally:
            asked.close(linger=0)

    def _take(self, number: int, payload: bytes) -> None:
        self._next = number + 1
        self._last_mark = crc32(payload)
        try:
            batch = decode_batch(payload)
        except ValueError as error:
            self._unreadable(str(error))
            self._sink.missed()
            return
        self.unknown_count += batch.unknown_count
        self._sink.apply(batch.events, self._rank)
        if batch.unreadable_count:
            self._unreadable(f"{batch.unreadable_count} events of a batch", batch.unreadable_count)
            self._sink.missed()
        elif batch.unknown_count:
            self._tell(
                "kv_events_unknown", "its KV events hold kinds that this agent does not know", "upgrade stoker-agent"
            )

    def _begin_anew(self) -> None:
        self._next, self._last_mark, self._last_live = 0, 0, -1
        self._sink.reset(self._rank)

    def _lose(self, count: int) -> None:
        self.lost_count += count
        self._sink.missed()
        self._tell(
            "kv_events_lost",
            "KV events were lost, which prefixes it holds is not fully known until its cache is emptied",
            "nothing, unless it happens again: then this machine is too busy for the agent to keep up",
        )

    def _unreadable(self, what: str, count: int = 1) -> None:
        self.unreadable_count += count
        self._tell(
            "kv_events_unreadable",
            f"KV events could not be read ({what[:200]}), which prefixes it holds is not fully known",
            "check that this version of vLLM is one that stoker-agent supports",
        )

    def _tell(self, kind: str, message: str, action: str) -> None:
        """Once for each kind: an engine that sends garbage sends a lot of it."""
        if kind in self._told:
            return
        self._told.add(kind)
        _log.warning(kind, engine_id=self._engine_id, message=message)
        self._on_event(
            NodeEvent(kind, message, Severity.WARNING, self._clock.now(), engine_id=self._engine_id, action=action)
        )


def _connect(socket: zmq.SyncSocket | zmq.asyncio.Socket, endpoint: str) -> None:
    socket.setsockopt(zmq.RCVHWM, _BATCHES_QUEUED_MAX)
    socket.setsockopt(zmq.MAXMSGSIZE, _MESSAGE_BYTES_MAX)
    socket.connect(endpoint)


def _next_message(socket: zmq.SyncSocket) -> list[bytes] | None:
    """One that is here already; None: there is none."""
    try:
        return socket.recv_multipart(zmq.NOBLOCK)
    except zmq.Again:
        return None

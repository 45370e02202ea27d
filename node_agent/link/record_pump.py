"""Delivers what the spool holds: oldest first, one batch under way at a time, until the control plane says that it has it.

The session runner tells when a session is `opened` and `closed`, and hands on what was `received`. One batch at a time is
what makes "received up to here" true whatever is lost, and leaves the link to the reports between two batches. A control
plane that never answers is of an older release: it gets one batch in a session and no more. One that has shown that it
understands is asked again, after growing pauses: it may have been without its database.
"""

import asyncio
from collections.abc import Callable
from typing import Protocol

import structlog

from node_agent.session.records import RecordBatch, RecordsReceived

_log = structlog.get_logger(__name__)

RECORDS_MAX = 500
BATCH_BYTES_MAX = 128 * 1024  # a report waits behind at most one batch, also on a slow link
PAUSE_SECONDS = 1.0  # after a small batch, so that live records go in bunches
ANSWER_SECONDS_MAX = 15.0
_ANSWER_SECONDS_CAP = 120.0
_FEW = 50
_FAULT_SECONDS = 5.0


class Spool(Protocol):
    """What the pump needs of the spool."""

    async def oldest(self, records_max: int, bytes_max: int) -> RecordBatch | None: ...

    async def delivered(self, spool_id: str, sequence: int) -> None: ...

    def on_arrival(self, wake: Callable[[], None]) -> None: ...


class RecordPump:
    def __init__(
        self,
        spool: Spool,
        *,
        pause_seconds: float = PAUSE_SECONDS,
        answer_seconds_max: float = ANSWER_SECONDS_MAX,
    ) -> None:
        self._spool = spool
        self._pause_seconds = pause_seconds
        self._answer_seconds_max = answer_seconds_max
        self._say: Callable[[RecordBatch], None] | None = None  # None: no session
        self._session = 0  # counts them
        self._understood = False  # by the control plane of this session
        self._answers: list[RecordsReceived] = []
        self._woken = asyncio.Event()
        spool.on_arrival(self._woken.set)

    def opened(self, say: Callable[[RecordBatch], None]) -> None:
        """There is a session, and the control plane had a report in it: it knows the error of this node's clock."""
        self._say = say
        self._session += 1
        self._woken.set()

    def closed(self) -> None:
        self._say = None
        self._understood = False
        self._session += 1
        self._woken.set()

    def received(self, received: RecordsReceived) -> None:
        self._understood = True
        self._answers.append(received)
        self._woken.set()

    async def run(self) -> None:
        """Until cancelled. A fault in here ends no session: it is logged, and delivery goes on."""
        while True:
            try:
                await self._deliver()
            except Exception:  # noqa: BLE001 - records wait in the spool; reports must not wait for them
                _log.exception("record_delivery_failed")
                await asyncio.sleep(_FAULT_SECONDS)

    async def _deliver(self) -> None:
        """One batch, as far as it can be brought in this session."""
        self._woken.clear()
        await self._take_answers(None)
        say, session = self._say, self._session
        batch = await self._spool.oldest(RECORDS_MAX, BATCH_BYTES_MAX) if say is not None else None
        if say is None or batch is None:
            await self._woken.wait()
            return
        wait_seconds = self._answer_seconds_max
        while self._session == session:
            say(batch)
            if await self._answered(batch, session, wait_seconds):
                if len(batch.records) < _FEW:
                    await asyncio.sleep(self._pause_seconds)
                return
            wait_seconds = min(2 * wait_seconds, _ANSWER_SECONDS_CAP)

    async def _answered(self, batch: RecordBatch, session: int, wait_seconds: float) -> bool:
        """False: not in time, or the session has ended. One that never answered anything is waited for until then."""
        try:
            async with asyncio.timeout(wait_seconds if self._understood else None):
                while self._session == session:
                    if await self._take_answers(batch):
                        return True
                    await self._woken.wait()
                    self._woken.clear()
        except TimeoutError:
            _log.info("records_not_answered", records=len(batch.records), wait_seconds=wait_seconds)
        return False

    async def _take_answers(self, batch: RecordBatch | None) -> bool:
        """Forget what the control plane has. True when that was (the beginning of) this batch."""
        answered = False
        while self._answers:
            answer = self._answers[0]
            if answer.spool_id:
                await self._spool.delivered(answer.spool_id, answer.sequence)
            self._answers.pop(0)
            if batch is not None and answer.spool_id == batch.spool_id:
                answered = answered or answer.sequence >= batch.records[0].sequence
        return answered

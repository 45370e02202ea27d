"""Count by minute what became of the requests that clients sent: offered = admitted + refused + left + waiting, always.

Told of every decision by `services.decide_request` and of every end by `services.finish_request`; `run` hands the counts on as
whole rows. A request is in no row before it has ended: then it is in the minute in which it came, once, also when its end is
never told (the gateway died). Rows are ours alone, by `boot_id`; what an earlier daemon let in and ends now is counted here.
Memory is bounded: tenants, models and reasons are, and minutes close.
"""

import asyncio
from collections import Counter, OrderedDict
from collections.abc import Callable, Sequence
from datetime import datetime, timedelta

from controlplane.clock import Clock
from controlplane.fleet.history import AdmissionCount
from controlplane.fleet.requests import RequestEnd
from controlplane.policies.decision import Answer, Refuse
from controlplane.runtime.admission_tally import Decision, Fate, MinuteTally, fate_of

HAND_OVER_SECONDS = 5.0
OPEN_FOR = timedelta(minutes=10)  # for ends that come late; longer while we wait for a request of that minute
WAITING_MAX = 100_000
WAITING_FOR = timedelta(days=1)  # a request whose end is not told by then has none


class CountAdmission:
    def __init__(self, boot_id: str, clock: Clock, add: Callable[[Sequence[AdmissionCount]], None]) -> None:
        """`add` takes rows and must not wait."""
        self._boot_id = boot_id
        self._clock = clock
        self._add = add
        self._waiting: OrderedDict[str, Decision] = OrderedDict()  # by request, the oldest first
        self._waiting_in: Counter[datetime] = Counter()  # minute → how many of `_waiting`
        self._minutes: dict[datetime, MinuteTally] = {}
        self._open_from = self._minute_of(clock.now() - OPEN_FOR)  # never goes back: a closed row must not be replaced

    @property
    def waiting_count(self) -> int:
        """Requests that were decided about and have not ended."""
        return len(self._waiting)

    async def run(self) -> None:
        """Hand on what has changed, until cancelled."""
        while True:
            await asyncio.sleep(HAND_OVER_SECONDS)
            self.hand_over()

    def decided(self, request_id: str, tenant: str, model: str, answer: Answer) -> None:
        """`model`: one of the fleet's, or "other"."""
        if not request_id:
            return  # it cannot be told from others when it ends: it is counted then, by what its end tells
        if request_id in self._waiting:
            self._decision(request_id)
        elif len(self._waiting) >= WAITING_MAX:
            self._forget(next(iter(self._waiting)))
        minute = self._open_minute(self._clock.now())
        refusal = answer.code if isinstance(answer, Refuse) else ""
        self._waiting[request_id] = Decision(minute, tenant, model, refusal)
        self._waiting_in[minute] += 1

    def ended(self, model: str, end: RequestEnd) -> None:
        """Likewise. In the minute of the decision; what we did not decide about, in the one in which it began."""
        decision = self._decision(end.request_id)
        fate = fate_of(end, decision)
        if fate is None:
            return
        if decision is not None:
            self._tally(decision.minute).add(decision.tenant, decision.model, *fate, end)
        else:
            self._tally(self._open_minute(end.started_at)).add(end.tenant, model, *fate, end)

    def hand_over(self) -> None:
        """Hand on the rows that changed, and close the minutes that are over."""
        now = self._clock.now()
        while self._waiting and next(iter(self._waiting.values())).minute < now - WAITING_FOR:
            self._forget(next(iter(self._waiting)))
        rows = [row for minute, tally in self._minutes.items() for row in tally.changed(minute, self._boot_id)]
        if rows:
            self._add(rows)
        self._open_from = max(self._open_from, self._minute_of(now - OPEN_FOR))
        for minute in [each for each in self._minutes if each < self._open_from and not self._waiting_in[each]]:
            del self._minutes[minute]

    def _decision(self, request_id: str) -> Decision | None:
        """What we said about a request, which waits no more."""
        decision = self._waiting.pop(request_id, None) if request_id else None
        if decision is not None:
            self._waiting_in[decision.minute] -= 1
            if not self._waiting_in[decision.minute]:
                del self._waiting_in[decision.minute]
        return decision

    def _forget(self, request_id: str) -> None:
        """Its end will not be told."""
        decision = self._decision(request_id)
        if decision is not None:
            fate = Fate.REFUSED if decision.refusal else Fate.ADMITTED
            self._tally(decision.minute).add(decision.tenant, decision.model, fate, decision.refusal, None)

    def _tally(self, minute: datetime) -> MinuteTally:
        tally = self._minutes.get(minute)
        if tally is None:
            tally = self._minutes[minute] = MinuteTally()
        return tally

    def _open_minute(self, at: datetime) -> datetime:
        """The minute of a moment; the nearest one that is open when that is closed, or has not begun."""
        return max(min(self._minute_of(at), self._minute_of(self._clock.now())), self._open_from)

    @staticmethod
    def _minute_of(at: datetime) -> datetime:
        return at.replace(second=0, microsecond=0)

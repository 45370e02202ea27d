"""Tell the fleet as it was at a moment, from SQL alone, and say what cannot be known of it.

Called by `rpc.operator_service`. Minutes tell it as long as they are kept, hours after that. It never looks at what is
known now: a name that meant something else then must not be mixed with today's.
"""

from datetime import UTC, datetime, timedelta

from controlplane.clock import Clock
from controlplane.errors import InvalidInputError, NotFoundError
from controlplane.fleet.past import PastFleet
from controlplane.storage.database import Database
from controlplane.storage.unit_of_work import UnitOfWork

MINUTE = timedelta(minutes=1)
HOUR = timedelta(hours=1)
EVENTS_SHOWN = 30

_ALWAYS_UNKNOWN = (
    "what was asked for but never reported (placements and their arguments): `stoker audit list` tells who asked for what",
    "why the gateway would have left an engine out, and what waited at the gateway",
    "logs, adapters, addresses and versions of engines",
)
_HOUR_UNKNOWN = "what happened within the hour: minutes of that time are not kept any more"


class RecallFleet:
    def __init__(self, database: Database, clock: Clock) -> None:
        self._database = database
        self._clock = clock

    async def __call__(self, at: datetime) -> tuple[PastFleet, tuple[str, ...]]:
        """The fleet in the minute (or hour) that `at` is in, and sentences on what is not known.

        Raises InvalidInputError for a moment to come, NotFoundError when nothing is kept of it.
        """
        now = self._clock.now()
        if at > now:
            raise InvalidInputError(f"{at:%Y-%m-%d %H:%M:%S} UTC is still to come: only the past can be told")
        begins = _floor(at, MINUTE)
        past = await self._database.read(lambda uow: self._recalled(uow, begins))
        if not past.engines and not past.nodes:
            raise NotFoundError(_nothing(at, now, await self._database.read(lambda uow: uow.past.first_minute())))
        return past, _unknown(past)

    def _recalled(self, uow: UnitOfWork, begins: datetime) -> PastFleet:
        length = MINUTE
        engines, devices, nodes = uow.past.minute(begins)
        if not engines and not nodes:
            begins, length = _floor(begins, HOUR), HOUR
            engines, devices, nodes = uow.past.hour(begins)
        events = uow.events.before(begins + length, EVENTS_SHOWN)
        return PastFleet(begins, begins + length, tuple(engines), tuple(devices), tuple(nodes), tuple(events))


def _floor(at: datetime, unit: timedelta) -> datetime:
    whole = at.astimezone(UTC)
    return whole - (whole - datetime.min.replace(tzinfo=UTC)) % unit


def _nothing(at: datetime, now: datetime, first_minute: datetime | None) -> str:
    if now - at < 3 * MINUTE:
        return "that minute is not computed yet: ask for one that ended at least a minute ago"
    if first_minute is None:
        return "history has no minute yet: it begins with the first reports of nodes"
    if at < first_minute:
        return f"nothing is kept of that time; the first minute that is kept: {first_minute:%Y-%m-%d %H:%M} UTC"
    return f"nothing was heard in that minute: the control plane was down, or no node was enrolled ({at:%Y-%m-%d %H:%M} UTC)"


def _unknown(past: PastFleet) -> tuple[str, ...]:
    said = list(_ALWAYS_UNKNOWN)
    if past.resolution_seconds > MINUTE.total_seconds():
        said.insert(0, _HOUR_UNKNOWN)
    silent = [node.node for node in past.nodes if not node.connected]
    if silent:
        said.append(f"what happened on {_listed(silent)}: not connected then")
    quiet = {node.node for node in past.nodes} - {engine.node for engine in past.engines} - set(silent)
    without = sorted(quiet & {device.node for device in past.devices if device.engine_id})
    if without:
        said.append(f"the engines on {_listed(without)}: none of them told anything then")
    return tuple(said)


def _listed(names: list[str]) -> str:
    shown = ", ".join(names[:5])
    return shown if len(names) <= 5 else f"{shown} and {len(names) - 5} more"

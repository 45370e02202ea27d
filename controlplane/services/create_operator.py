"""Give a person a role and a certificate that says so.

Called by `rpc.operator_service`, by `stoker-controlplane operator create` and by `services.initialise`. The person's
key never comes here: only a request signed by it. A name that is there already gets a new certificate; storage keeps
the serial number of the newest only.
"""

from collections.abc import Callable
from datetime import datetime, timedelta

from controlplane.clock import Clock
from controlplane.errors import InvalidInputError
from controlplane.fleet import ids
from controlplane.fleet.access import OperatorIdentity, Role
from controlplane.fleet.history import AuditEntry
from controlplane.identity.authority import Authority, IssuedCertificate
from controlplane.services.free_text import actor_of
from controlplane.storage.database import Database
from controlplane.storage.unit_of_work import UnitOfWork


class CreateOperator:
    def __init__(
        self, database: Database, authority: Authority, clock: Clock, lifetime_seconds: Callable[[], float]
    ) -> None:
        """`lifetime_seconds` of an operator's certificate."""
        self._database = database
        self._authority = authority
        self._clock = clock
        self._lifetime_seconds = lifetime_seconds

    async def __call__(
        self, by: OperatorIdentity, name: str, role: str, certificate_request_pem: bytes
    ) -> IssuedCertificate:
        """Raises InvalidInputError."""
        operator_name, operator_role = checked_operator_name(name), checked_role(role)
        now = self._clock.now()
        issued = self._authority.issue_operator(
            certificate_request_pem,
            name=operator_name,
            role=operator_role,
            now=now,
            lifetime=timedelta(seconds=self._lifetime_seconds()),
        )
        await self._database.run(lambda uow: record_operator(uow, by, operator_name, operator_role, issued, now))
        return issued


def record_operator(
    uow: UnitOfWork, by: OperatorIdentity, name: str, role: Role, issued: IssuedCertificate, now: datetime
) -> None:
    """Make `issued` the one certificate of this operator that counts."""
    outcome = "created" if uow.operators.get(name) is None else "replaced"
    uow.operators.put(name, role, issued.serial, issued.not_after, actor_of(by.name), now)
    detail = f"role {role.value}, until {issued.not_after:%Y-%m-%d %H:%M:%S} UTC"
    uow.audit.append(AuditEntry(now, actor_of(by.name), "create_operator", name, detail, outcome, by.peer))


def checked_operator_name(name: str) -> str:
    """Raises InvalidInputError."""
    if not name:
        raise InvalidInputError("an operator needs a name: use lower-case letters, digits, dots and dashes")
    return ids.place_label("operator name", name)


def checked_role(role: str) -> Role:
    """Raises InvalidInputError."""
    try:
        return Role(role)
    except ValueError:
        known = ", ".join(known.value for known in Role)
        raise InvalidInputError(f"role {role[:40]!a} does not exist: use one of {known}") from None

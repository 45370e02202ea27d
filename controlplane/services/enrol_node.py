"""Let a node join: its one-time token becomes a place in the fleet and a short-lived certificate.

Called by `rpc.enrolment_service` for callers that have no certificate yet. Tells nothing about the fleet to a caller
whose token's secret is not right, and writes nothing for one either: anybody can call, and the audit must not be theirs
to fill.
"""

import secrets
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import datetime, timedelta

from controlplane.clock import Clock
from controlplane.errors import ConflictError, IdentityRefusedError, InvalidInputError, StokerError
from controlplane.fleet import ids
from controlplane.fleet.access import JoinToken
from controlplane.fleet.desired import Desired, EnrolledNode
from controlplane.fleet.history import AuditEntry
from controlplane.fleet.observed import NodeLocation
from controlplane.identity import join_tokens
from controlplane.identity.authority import Authority, NodeCredentials
from controlplane.identity.certificates import requested_key
from controlplane.identity.hosts import checked_node_hosts
from controlplane.services.free_text import checked_text
from controlplane.storage.database import Database
from controlplane.storage.unit_of_work import UnitOfWork, load_desired

LABELS_MAX = 32
_ANOTHER = "make another with `stoker-controlplane token create`"
_NO_SECRET = join_tokens.hash_secret("")  # compared with when there is no such token: both refusals take as long


@dataclass(frozen=True, slots=True)
class EnrolmentRequest:
    """What a node sends. Nothing in it has been checked."""

    token_id: str
    token_secret: str = field(repr=False)
    node_name: str
    provider: str
    region: str
    certificate_request_pem: bytes
    zone: str = ""
    agent_version: str = ""
    advertised_hosts: tuple[str, ...] = ()
    labels: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Enrolment:
    node: EnrolledNode
    credentials: NodeCredentials
    replaced: bool  # a node of this name was there: its session, if it has one, must end


class EnrolNode:
    def __init__(
        self,
        database: Database,
        authority: Authority,
        clock: Clock,
        lifetime_seconds: Callable[[], float],
        on_desired: Callable[[Desired], None],
    ) -> None:
        """`lifetime_seconds` of a node's certificate; `on_desired` is told all desired state after the change."""
        self._database = database
        self._authority = authority
        self._clock = clock
        self._lifetime_seconds = lifetime_seconds
        self._on_desired = on_desired

    async def __call__(self, request: EnrolmentRequest, peer: str) -> Enrolment:
        """Raises InvalidInputError, IdentityRefusedError (the token) or ConflictError (the name is taken)."""
        checked = _checked(request)
        now = self._clock.now()

        def enrol(uow: UnitOfWork) -> tuple[Enrolment, Desired] | StokerError:
            token = _proven(uow.tokens.get(checked.token_id), checked.token_secret)
            present = uow.nodes.get(checked.node_name)
            refusal = _refusal(token, checked.node_name, present, now)
            if refusal is None and not uow.tokens.mark_used(token.token_id, now, checked.node_name):
                refusal = IdentityRefusedError(f"the join token was used by somebody else just now: {_ANOTHER}")
            if refusal is not None:
                # Returned, not raised: the refusal is audited, so the transaction must be committed.
                uow.audit.append(_audit(checked, token, now, peer, f"refused: {refusal}"))
                return refusal
            enrolment = self._enrolled(checked, token, present, now)
            uow.nodes.put(enrolment.node)
            uow.audit.append(_audit(checked, token, now, peer, "replaced" if present else "joined"))
            return enrolment, load_desired(uow)

        outcome = await self._database.run(enrol, then=self._committed)
        if isinstance(outcome, StokerError):
            raise outcome
        return outcome[0]

    def _committed(self, outcome: tuple[Enrolment, Desired] | StokerError) -> None:
        if not isinstance(outcome, StokerError):
            self._on_desired(outcome[1])

    def _enrolled(
        self, request: EnrolmentRequest, token: JoinToken, present: EnrolledNode | None, now: datetime
    ) -> Enrolment:
        serial = secrets.token_hex(16)
        credentials = self._authority.node_credentials(
            request.certificate_request_pem,
            name=request.node_name,
            identity_serial=serial,
            hosts=request.advertised_hosts,
            now=now,
            lifetime=timedelta(seconds=self._lifetime_seconds()),
        )
        node = EnrolledNode(
            name=request.node_name,
            location=NodeLocation(request.provider, request.region, request.zone, dict(request.labels)),
            enrolled_at=now,
            identity_serial=serial,
            advertised_hosts=request.advertised_hosts,
            # Whoever cordoned the old machine meant the place in the fleet; lifting that is theirs, too.
            cordoned=present is not None and present.cordoned,
            cordon_reason="" if present is None else present.cordon_reason,
            certificate_not_after=credentials.not_after,
            simulator=token.simulator,
        )
        return Enrolment(node, credentials, replaced=present is not None)


def _checked(request: EnrolmentRequest) -> EnrolmentRequest:
    if not request.provider or not request.region:
        raise InvalidInputError(
            "a node needs a provider and a region: tell both, such as --provider gcp --region us-east1"
        )
    if len(request.labels) > LABELS_MAX:
        raise InvalidInputError(f"{len(request.labels)} labels are too many: use at most {LABELS_MAX}")
    requested_key(request.certificate_request_pem)  # a bad request must not cost a token
    return EnrolmentRequest(
        token_id=request.token_id,
        token_secret=request.token_secret,
        node_name=ids.node_name(request.node_name),
        provider=ids.place_label("provider", request.provider),
        region=ids.place_label("region", request.region),
        certificate_request_pem=request.certificate_request_pem,
        zone=ids.place_label("zone", request.zone),
        agent_version=checked_text("agent version", request.agent_version, 64),
        advertised_hosts=checked_node_hosts(request.advertised_hosts),
        labels={
            checked_text("label", key, 63): checked_text(f"label {key!a}", value, 200)
            for key, value in request.labels.items()
        },
    )


def _proven(token: JoinToken | None, secret: str) -> JoinToken:
    right = join_tokens.secret_matches(secret, _NO_SECRET if token is None else token.secret_hash)
    if token is None or not right:
        raise IdentityRefusedError(f"the join token is not known here: check that all of it was copied, or {_ANOTHER}")
    return token


def _refusal(token: JoinToken, name: str, present: EnrolledNode | None, now: datetime) -> StokerError | None:
    if token.used_at is not None:
        return IdentityRefusedError(
            f"the join token was used at {token.used_at:%Y-%m-%d %H:%M:%S} UTC by node {token.used_by_node}, "
            f"and it works once: {_ANOTHER}"
        )
    if token.expires_at <= now:
        return IdentityRefusedError(f"the join token expired at {token.expires_at:%Y-%m-%d %H:%M:%S} UTC: {_ANOTHER}")
    if token.node_name and token.node_name != name:
        return IdentityRefusedError(
            f"the join token is for node {token.node_name}, not for {name}: join under that name, or {_ANOTHER}"
        )
    if present is not None and not token.replace:
        return ConflictError(
            f"there is a node {name} already: choose another name, or take its place with a token made by "
            f"`stoker-controlplane token create --name {name} --replace`"
        )
    return None


def _audit(request: EnrolmentRequest, token: JoinToken, now: datetime, peer: str, outcome: str) -> AuditEntry:
    where = f"{request.provider}/{request.region}"
    detail = f"token {token.token_id} by {token.created_by}, {where}, agent {request.agent_version or 'unknown'}"
    return AuditEntry(now, f"agent:{request.node_name}", "enrol_node", request.node_name, detail, outcome, peer)

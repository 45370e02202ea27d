"""The operator's client: every call of the control plane's operator service over one mutually authenticated channel.

Screens and commands call it, `console.link.feed` watches through it. Answers are plain rows; every failure is a
`LinkError`. Never retries: who calls knows whether that helps. Only `watch` has no time limit.
"""

from collections.abc import AsyncGenerator, Awaitable, Callable, Iterable, Mapping
from datetime import datetime
from typing import Self, TypeVar

import grpc
from google.protobuf.timestamp_pb2 import Timestamp

from console.clock import utc_now
from console.link import answers_codec, codec, operations_codec
from console.link.errors import LinkError
from console.link.identity import certificate_problem
from console.link.statuses import link_error
from console.model import answers, operations
from console.model.apply import FleetUpdate, apply_update
from console.model.fleet_view import FleetView, ServerRow
from console.settings import Credentials
from controlplane.proto.stoker.v1 import operator_pb2 as pb
from controlplane.proto.stoker.v1 import operator_pb2_grpc

__all__ = ["LinkError", "OperatorClient"]

Answer = TypeVar("Answer")

_VERIFY_SECONDS_MAX = 600.0
_MESSAGE_BYTES_MAX = 64 * 1024 * 1024  # a whole fleet of 10,000 engines comes as one message
_CHANNEL_OPTIONS: tuple[tuple[str, str | int], ...] = (
    # The control plane is known by its private CA and this name, whatever address it is reached at.
    ("grpc.ssl_target_name_override", "stoker-controlplane"),
    ("grpc.max_receive_message_length", _MESSAGE_BYTES_MAX),
    ("grpc.keepalive_time_ms", 20_000),  # a link that died without a word is noticed
    ("grpc.keepalive_timeout_ms", 8_000),
    ("grpc.initial_reconnect_backoff_ms", 200),  # the feed has its own back-off; the channel must not add minutes
    ("grpc.min_reconnect_backoff_ms", 200),
    ("grpc.max_reconnect_backoff_ms", 3_000),
    ("grpc.enable_http_proxy", 0),  # operators' traffic goes nowhere but to the control plane
)


class OperatorClient:
    def __init__(self, channel: grpc.aio.Channel, credentials: Credentials, *, timeout_seconds: float) -> None:
        self._channel = channel
        self._stub = operator_pb2_grpc.OperatorServiceStub(channel)
        self._credentials = credentials
        self._timeout_seconds = timeout_seconds

    @classmethod
    def open(cls, credentials: Credentials, *, timeout_seconds: float = 10.0) -> Self:
        """Must be called where an event loop runs. Connects with the first call, not before."""
        tls = grpc.ssl_channel_credentials(credentials.ca_pem, credentials.key_pem, credentials.certificate_pem)
        channel = grpc.aio.secure_channel(credentials.server, tls, options=_CHANNEL_OPTIONS)
        return cls(channel, credentials, timeout_seconds=timeout_seconds)

    async def close(self) -> None:
        await self._channel.close()

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.close()

    # ---- what is seen

    async def watch(
        self, boot_id: str = "", cursor: int = 0, on_open: Callable[[], None] = lambda: None
    ) -> AsyncGenerator[FleetUpdate, None]:
        """Changes since `cursor` of the daemon `boot_id`, then every further one; otherwise the whole fleet first.

        `on_open` is called when the control plane has taken the call, which with a current cursor may be long before
        there is a change to tell.
        """
        call = self._stub.Watch(pb.WatchRequest(boot_id=boot_id, cursor=cursor))
        try:
            await call.initial_metadata()
            if not call.done():  # a call that fails has metadata, too
                on_open()
            async for message in call:
                yield codec.update_from_wire(message)
        except grpc.RpcError as error:
            raise self._error(error) from error
        finally:
            call.cancel()

    async def fleet(self) -> FleetView:
        message = await self._answer(self._stub.GetFleet(pb.GetFleetRequest(), timeout=self._timeout_seconds))
        return apply_update(FleetView(), codec.update_from_wire(message))

    async def server(self) -> ServerRow:
        message = await self._answer(self._stub.GetServer(pb.GetServerRequest(), timeout=self._timeout_seconds))
        return codec.server_from_wire(message)

    async def events(
        self, *, since: datetime | None = None, limit: int = 0, node: str = "", engine_id: str = "", kind: str = ""
    ) -> answers.EventsAnswer:
        request = pb.ListEventsRequest(since=_stamp(since), limit=limit, node=node, engine_id=engine_id, kind=kind)
        return answers_codec.events_from_wire(
            await self._answer(self._stub.ListEvents(request, timeout=self._timeout_seconds))
        )

    async def engine_history(
        self,
        *,
        since: datetime,
        until: datetime | None = None,
        engine_id: str = "",
        model: str = "",
        node: str = "",
        bucket_seconds: float = 0.0,
    ) -> answers.EngineHistory:
        request = pb.EngineHistoryRequest(
            since=_stamp(since),
            until=_stamp(until),
            engine_id=engine_id,
            model=model,
            node=node,
            bucket_seconds=bucket_seconds,
        )
        return answers_codec.history_from_wire(
            await self._answer(self._stub.GetEngineHistory(request, timeout=self._timeout_seconds))
        )

    async def engine_log(self, engine_id: str, *, lines_max: int = 0) -> tuple[str, ...]:
        """The last lines, oldest first; 0: as many as the control plane gives by itself. Not yet made safe to show."""
        request = pb.EngineLogRequest(engine_id=engine_id, lines_max=lines_max)
        return tuple((await self._answer(self._stub.ReadEngineLog(request, timeout=self._timeout_seconds))).lines)

    async def query_sql(
        self, sql: str, *, parameters: Mapping[str, str] | None = None, rows_max: int = 0, seconds_max: float = 0.0
    ) -> answers.SqlAnswer:
        """One SELECT over the documented views; 0: as many rows and seconds as the control plane gives by itself."""
        request = pb.SqlRequest(sql=sql, parameters=parameters or {}, rows_max=rows_max, seconds_max=seconds_max)
        # The database's own limit comes first, with a better word.
        timeout = max(self._timeout_seconds, seconds_max + 5.0)
        return answers_codec.sql_from_wire(await self._answer(self._stub.QuerySql(request, timeout=timeout)))

    async def fleet_at(self, at: datetime) -> answers.PastFleet:
        """The fleet as history knows it was in the minute of `at`, or in its hour."""
        message = await self._answer(
            self._stub.GetFleetAt(pb.FleetAtRequest(at=_stamp(at)), timeout=self._timeout_seconds)
        )
        view = apply_update(FleetView(), codec.update_from_wire(message.fleet))
        return answers.PastFleet(view, message.resolution_seconds, tuple(message.unknown))

    async def leases(self, *, ended: bool = False) -> tuple[answers.LeaseRow, ...]:
        """The one that ends first, first."""
        request = pb.ListLeasesRequest(ended=ended)
        message = await self._answer(self._stub.ListLeases(request, timeout=self._timeout_seconds))
        return tuple(map(answers_codec.lease_from_wire, message.leases))

    async def audit(
        self, *, since: datetime | None = None, limit: int = 0, actor: str = "", action: str = "", audit_id: int = 0
    ) -> operations.AuditAnswer:
        """The newest that match; "" and 0 match all."""
        request = pb.ListAuditRequest(since=_stamp(since), limit=limit, actor=actor, action=action, audit_id=audit_id)
        return operations_codec.audit_from_wire(
            await self._answer(self._stub.ListAudit(request, timeout=self._timeout_seconds))
        )

    async def verify_audit(self, expected_hash: str = "") -> operations.AuditVerdict:
        """Walks the whole chain, so it may take minutes."""
        request = pb.VerifyAuditRequest(expected_hash=expected_hash)
        timeout = max(self._timeout_seconds, _VERIFY_SECONDS_MAX)
        return operations_codec.verdict_from_wire(await self._answer(self._stub.VerifyAudit(request, timeout=timeout)))

    async def jobs(self) -> tuple[operations.JobRow, ...]:
        message = await self._answer(self._stub.ListJobs(pb.ListJobsRequest(), timeout=self._timeout_seconds))
        return tuple(map(operations_codec.job_from_wire, message.jobs))

    # ---- what is done

    async def put_lease(self, lease: answers.LeaseRow, *, dry_run: bool = False) -> answers.ActionAnswer:
        """A new one when its id is ""; otherwise this is the whole of the lease of that id from now on."""
        wire = pb.Lease(
            lease_id=lease.lease_id,
            provider=lease.provider,
            region=lease.region,
            device_kind=lease.device_kind,
            devices_count=lease.devices_count,
            nodes=lease.nodes,
            starts_at=_stamp(lease.starts_at),
            ends_at=_stamp(lease.ends_at),
            price_per_device_hour=lease.price_per_device_hour,
            currency=lease.currency,
            note=lease.note,
        )
        request = pb.PutLeaseRequest(lease=wire, dry_run=dry_run)
        return await self._action(self._stub.PutLease(request, timeout=self._timeout_seconds))

    async def end_lease(
        self, lease_id: str, *, at: datetime | None = None, dry_run: bool = False
    ) -> answers.ActionAnswer:
        """At `at`, or now."""
        request = pb.EndLeaseRequest(lease_id=lease_id, at=_stamp(at), dry_run=dry_run)
        return await self._action(self._stub.EndLease(request, timeout=self._timeout_seconds))

    async def place(
        self,
        model: str,
        node: str,
        *,
        source: str = "",
        engine_args: Iterable[str] = (),
        device_ids: Iterable[str] = (),
        deployment: str = "",
        dry_run: bool = False,
    ) -> answers.ActionAnswer:
        request = pb.PlaceRequest(
            model=model,
            node=node,
            source=source,
            engine_args=engine_args,
            device_ids=device_ids,
            deployment=deployment,
            dry_run=dry_run,
        )
        return await self._action(self._stub.Place(request, timeout=self._timeout_seconds))

    async def remove(
        self, *, placement_id: str, drain_seconds_max: float = 0.0, reason: str = "", dry_run: bool = False
    ) -> answers.ActionAnswer:
        request = _target(placement_id, "", drain_seconds_max, reason, dry_run)
        return await self._action(self._stub.Remove(request, timeout=self._timeout_seconds))

    async def drain(
        self,
        *,
        placement_id: str = "",
        node: str = "",
        drain_seconds_max: float = 0.0,
        reason: str = "",
        dry_run: bool = False,
    ) -> answers.ActionAnswer:
        """One placement, or every placement of a node, which is cordoned too. 0 seconds: the daemon's own limit."""
        request = _target(placement_id, node, drain_seconds_max, reason, dry_run)
        return await self._action(self._stub.Drain(request, timeout=self._timeout_seconds))

    async def resume(
        self, *, placement_id: str = "", node: str = "", reason: str = "", dry_run: bool = False
    ) -> answers.ActionAnswer:
        request = _target(placement_id, node, 0.0, reason, dry_run)
        return await self._action(self._stub.Resume(request, timeout=self._timeout_seconds))

    async def restart(
        self,
        *,
        placement_id: str,
        engine_args: Iterable[str] | None = None,
        reason: str = "",
        dry_run: bool = False,
    ) -> answers.ActionAnswer:
        """A new generation of the placement. `engine_args` None: the arguments stay as they are."""
        request = pb.RestartRequest(
            placement_id=placement_id,
            replace_args=engine_args is not None,
            engine_args=engine_args or (),
            reason=reason,
            dry_run=dry_run,
        )
        return await self._action(self._stub.Restart(request, timeout=self._timeout_seconds))

    async def load_adapter(
        self, *, placement_id: str, name: str, source: str, dry_run: bool = False
    ) -> answers.ActionAnswer:
        request = pb.AdapterRequest(placement_id=placement_id, name=name, source=source, dry_run=dry_run)
        return await self._action(self._stub.LoadAdapter(request, timeout=self._timeout_seconds))

    async def unload_adapter(self, *, placement_id: str, name: str, dry_run: bool = False) -> answers.ActionAnswer:
        request = pb.AdapterRequest(placement_id=placement_id, name=name, dry_run=dry_run)
        return await self._action(self._stub.UnloadAdapter(request, timeout=self._timeout_seconds))

    async def probe_node(self, node: str, *, force: bool = False, dry_run: bool = False) -> answers.ActionAnswer:
        request = pb.ProbeNodeRequest(node=node, force=force, dry_run=dry_run)
        return await self._action(self._stub.ProbeNode(request, timeout=self._timeout_seconds))

    async def set_report_interval(self, node: str, seconds: float, *, dry_run: bool = False) -> answers.ActionAnswer:
        request = pb.ReportIntervalRequest(node=node, seconds=seconds, dry_run=dry_run)
        return await self._action(self._stub.SetReportInterval(request, timeout=self._timeout_seconds))

    async def forget_node(self, node: str, *, dry_run: bool = False) -> answers.ActionAnswer:
        request = pb.ForgetNodeRequest(node=node, dry_run=dry_run)
        return await self._action(self._stub.ForgetNode(request, timeout=self._timeout_seconds))

    async def create_key(self, tenant: str, *, lifetime_seconds: float = 0.0, note: str = "") -> answers.NewKey:
        request = pb.CreateKeyRequest(tenant=tenant, lifetime_seconds=lifetime_seconds, note=note)
        return answers_codec.new_key_from_wire(
            await self._answer(self._stub.CreateKey(request, timeout=self._timeout_seconds))
        )

    async def list_keys(self, *, tenant: str = "") -> tuple[answers.KeyRow, ...]:
        request = pb.ListKeysRequest(tenant=tenant)
        message = await self._answer(self._stub.ListKeys(request, timeout=self._timeout_seconds))
        return tuple(map(answers_codec.key_from_wire, message.keys))

    async def revoke_key(self, key_id: str) -> answers.ActionAnswer:
        request = pb.RevokeKeyRequest(key_id=key_id)
        return await self._action(self._stub.RevokeKey(request, timeout=self._timeout_seconds))

    async def create_join_token(
        self, *, node_name: str = "", lifetime_seconds: float = 0.0, replace: bool = False, simulator: bool = False
    ) -> answers.JoinToken:
        request = pb.CreateJoinTokenRequest(
            lifetime_seconds=lifetime_seconds, node_name=node_name, replace=replace, simulator=simulator
        )
        return answers_codec.join_token_from_wire(
            await self._answer(self._stub.CreateJoinToken(request, timeout=self._timeout_seconds))
        )

    async def create_operator(
        self, name: str, *, role: str, certificate_request_pem: bytes
    ) -> answers.OperatorCertificate:
        request = pb.CreateOperatorRequest(name=name, role=role, certificate_request_pem=certificate_request_pem)
        return answers_codec.operator_from_wire(
            await self._answer(self._stub.CreateOperator(request, timeout=self._timeout_seconds))
        )

    async def _action(self, call: Awaitable[pb.ActionResponse]) -> answers.ActionAnswer:
        return answers_codec.action_from_wire(await self._answer(call))

    async def _answer(self, call: Awaitable[Answer]) -> Answer:
        try:
            return await call
        except grpc.RpcError as error:
            raise self._error(error) from error

    def _error(self, error: grpc.RpcError) -> LinkError:
        own = self._credentials
        return link_error(error, own.server, lambda: certificate_problem(own.certificate_pem, own.ca_pem, utc_now()))


def _target(placement_id: str, node: str, drain_seconds_max: float, reason: str, dry_run: bool) -> pb.TargetRequest:
    return pb.TargetRequest(
        placement_id=placement_id, node=node, drain_seconds_max=drain_seconds_max, reason=reason, dry_run=dry_run
    )


def _stamp(at: datetime | None) -> Timestamp | None:
    if at is None:
        return None
    stamp = Timestamp()
    stamp.FromDatetime(at)
    return stamp

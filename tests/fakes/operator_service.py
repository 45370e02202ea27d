"""A real operator service over mutual TLS, in this process, that serves whatever fleet a test shows it.

    async with FakeOperatorService(fleet.small()) as service:
        client = OperatorClient.open(service.credentials)      # or: service.save_credentials(directory)
        await service.show(replace(service.view, ...))               # watchers get the difference
        service.fail("Drain", grpc.StatusCode.NOT_FOUND, "no such placement")
        assert service.calls == [...]

Used by the tests of the link, of the command line and of the console's screens. Keeps to the wire's rules (roles,
cursors, whole update first), decides nothing else: every action answers with one sentence and is kept in `calls`.
"""

import asyncio
from collections.abc import AsyncIterator
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any, Self

import grpc
from google.protobuf.message import Message

from console.model.answers import EngineHistoryRow, KeyRow
from console.model.fleet_view import FleetView
from console.settings import Credentials, save_credentials
from controlplane.proto.stoker.v1 import operator_pb2 as pb
from controlplane.proto.stoker.v1 import operator_pb2_grpc
from tests.fakes import operator_wire as wire
from tests.fakes.certificates import TestAuthority

_ROLES = ("viewer", "operator", "admin")
_REQUIRED = {
    **dict.fromkeys(("Place", "Remove", "Drain", "Resume", "Restart", "LoadAdapter", "UnloadAdapter"), "operator"),
    **dict.fromkeys(("ProbeNode", "SetReportInterval", "PutLease", "EndLease"), "operator"),
    **dict.fromkeys(("ForgetNode", "CreateKey", "ListKeys", "RevokeKey", "CreateJoinToken", "CreateOperator"), "admin"),
}
Context = grpc.aio.ServicerContext[Any, Any]


class FakeOperatorService(operator_pb2_grpc.OperatorServiceServicer):
    def __init__(self, view: FleetView, *, role: str = "admin") -> None:
        self.view = view
        self.role = role  # of every caller
        self.calls: list[tuple[str, Message]] = []
        self.keys: list[KeyRow] = []
        self.history: list[EngineHistoryRow] = []
        self.logs: dict[str, list[str]] = {}  # by engine
        self.leases: dict[str, pb.Lease] = {}
        self.sql_answer = pb.SqlResponse(dialect="sqlite")
        self.jobs: list[pb.Job] = []
        self.audit: list[pb.AuditRecord] = []
        self.verdict = pb.VerifyAuditResponse(whole=True)
        self.authority = TestAuthority()
        self.port = 0
        self.watchers = 0
        self._held: set[str] = set()
        self._failures: dict[str, tuple[grpc.StatusCode, str, tuple[tuple[str, str], ...]]] = {}
        self._views = {view.cursor: view}
        self._changed = asyncio.Condition()
        self._server: grpc.aio.Server | None = None

    async def start(self) -> None:
        """On the same port again after a stop."""
        key, certificate = self.authority.issue("server", ["stoker-controlplane"])
        tls = grpc.ssl_server_credentials([(key, certificate)], self.authority.ca_pem, require_client_auth=True)
        server = grpc.aio.server(options=(("grpc.so_reuseport", 0),))
        operator_pb2_grpc.add_OperatorServiceServicer_to_server(self, server)
        self.port = server.add_secure_port(f"127.0.0.1:{self.port}", tls)
        await server.start()
        self._server = server

    async def stop(self) -> None:
        if self._server is not None:
            await self._server.stop(None)
            self._server = None

    async def __aenter__(self) -> Self:
        await self.start()
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.stop()

    # ---- for tests

    @property
    def credentials(self) -> Credentials:
        """Of an operator whom this service trusts."""
        key, certificate = self.authority.issue("ana", [])
        return Credentials(f"127.0.0.1:{self.port}", self.authority.ca_pem, certificate, key, "ana")

    def save_credentials(self, directory: Path) -> Path:
        save_credentials(directory, self.credentials)
        return directory

    async def show(self, view: FleetView) -> None:
        """The fleet from now on. The cursor counts by itself; another boot_id makes every cursor unknown."""
        if view.boot_id != self.view.boot_id:
            self._views.clear()
        async with self._changed:
            self.view = replace(view, cursor=self.view.cursor + 1)
            self._views[self.view.cursor] = self.view
            self._changed.notify_all()

    async def until_watched(self, count: int = 1) -> None:
        async with self._changed:
            await self._changed.wait_for(lambda: self.watchers >= count)

    def fail(self, method: str, code: grpc.StatusCode, details: str, *, stoker_code: str = "") -> None:
        """Every call of this method, until `mend`. With `stoker_code` as the control plane's own errors are told."""
        self._failures[method] = code, details, (("stoker-code", stoker_code),) if stoker_code else ()

    def hold(self, method: str) -> None:
        """Calls of this method get no answer, until `mend`."""
        self._held.add(method)

    def mend(self) -> None:
        self._failures.clear()
        self._held.clear()

    def requests(self, method: str) -> list[Any]:
        return [request for name, request in self.calls if name == method]

    # ---- the service

    async def _enter(self, method: str, request: Message, context: Context) -> None:
        self.calls.append((method, request))
        required = _REQUIRED.get(method, "viewer")
        if _ROLES.index(self.role) < _ROLES.index(required):
            details = f"This needs the role {required}; ana is {self.role}. Ask an admin."
            await context.abort(grpc.StatusCode.PERMISSION_DENIED, details)
        if method in self._held:
            await asyncio.Event().wait()  # until the caller gives up
        if method in self._failures:
            await context.abort(*self._failures[method])

    async def Watch(self, request: pb.WatchRequest, context: Context) -> AsyncIterator[pb.FleetUpdate]:  # noqa: N802
        await self._enter("Watch", request, context)
        await context.send_initial_metadata(())  # a watcher with a current cursor is told that it is taken, and no more
        sent = self._views.get(request.cursor) if request.boot_id == self.view.boot_id else None
        if sent is None:
            sent = self.view
            yield wire.update_to_wire(wire.whole_update(sent))
        await self._count(+1)
        try:
            while True:
                before, sent = sent, await self._next_view(sent)
                yield wire.update_to_wire(wire.diff(before, sent))
        finally:
            await self._count(-1)

    async def _next_view(self, sent: FleetView) -> FleetView:
        async with self._changed:
            await self._changed.wait_for(lambda: self.view is not sent)
        return self.view

    async def _count(self, change: int) -> None:
        async with self._changed:
            self.watchers += change
            self._changed.notify_all()

    async def GetFleet(self, request: pb.GetFleetRequest, context: Context) -> pb.FleetUpdate:  # noqa: N802
        await self._enter("GetFleet", request, context)
        return wire.update_to_wire(wire.whole_update(self.view))

    async def GetServer(self, request: pb.GetServerRequest, context: Context) -> pb.Server:  # noqa: N802
        await self._enter("GetServer", request, context)
        return wire.server_to_wire(self.view.server) if self.view.server else pb.Server()

    async def ListEvents(self, request: pb.ListEventsRequest, context: Context) -> pb.ListEventsResponse:  # noqa: N802
        await self._enter("ListEvents", request, context)
        since = request.since.ToDatetime(tzinfo=UTC) if request.HasField("since") else None
        matching = [
            event
            for event in self.view.events
            if (since is None or event.at >= since)
            and request.node in ("", event.node)
            and request.engine_id in ("", event.engine_id)
            and request.kind in ("", event.kind)
        ]
        limit = request.limit or 200
        events = map(wire.event_to_wire, matching[-limit:])
        return pb.ListEventsResponse(events=events, truncated=len(matching) > limit)

    async def GetEngineHistory(  # noqa: N802
        self, request: pb.EngineHistoryRequest, context: Context
    ) -> pb.EngineHistoryResponse:
        await self._enter("GetEngineHistory", request, context)
        rows = (row for row in self.history if request.engine_id in ("", row.engine_id))
        bucket_seconds = request.bucket_seconds or 10.0
        return pb.EngineHistoryResponse(rows=map(wire.history_row_to_wire, rows), bucket_seconds=bucket_seconds)

    async def GetFleetAt(self, request: pb.FleetAtRequest, context: Context) -> pb.FleetAtResponse:  # noqa: N802
        await self._enter("GetFleetAt", request, context)
        fleet = wire.update_to_wire(wire.whole_update(replace(self.view, server=None)))
        return pb.FleetAtResponse(fleet=fleet, resolution_seconds=60, unknown=["what waited \x1b[31mthen"])

    async def QuerySql(self, request: pb.SqlRequest, context: Context) -> pb.SqlResponse:  # noqa: N802
        await self._enter("QuerySql", request, context)
        return self.sql_answer

    async def ListLeases(self, request: pb.ListLeasesRequest, context: Context) -> pb.ListLeasesResponse:  # noqa: N802
        await self._enter("ListLeases", request, context)
        return pb.ListLeasesResponse(leases=self.leases.values())

    async def PutLease(self, request: pb.PutLeaseRequest, context: Context) -> pb.ActionResponse:  # noqa: N802
        lease = request.lease
        answer = await self._act("PutLease", request, context, f"{lease.devices_count} x {lease.device_kind}.")
        if not request.dry_run:
            lease.lease_id = lease.lease_id or f"lease-{len(self.leases) + 1}"
            self.leases[lease.lease_id] = lease
        return answer

    async def EndLease(self, request: pb.EndLeaseRequest, context: Context) -> pb.ActionResponse:  # noqa: N802
        return await self._act("EndLease", request, context, f"The end of {request.lease_id} moves.")

    async def ListJobs(self, request: pb.ListJobsRequest, context: Context) -> pb.ListJobsResponse:  # noqa: N802
        await self._enter("ListJobs", request, context)
        return pb.ListJobsResponse(jobs=self.jobs)

    async def ListAudit(self, request: pb.ListAuditRequest, context: Context) -> pb.ListAuditResponse:  # noqa: N802
        await self._enter("ListAudit", request, context)
        matching = [
            entry
            for entry in self.audit
            if request.actor in ("", entry.actor)
            and request.action in ("", entry.action)
            and request.audit_id in (0, entry.audit_id)
        ]
        limit = request.limit or 200
        return pb.ListAuditResponse(entries=matching[-limit:], truncated=len(matching) > limit)

    async def VerifyAudit(  # noqa: N802
        self, request: pb.VerifyAuditRequest, context: Context
    ) -> pb.VerifyAuditResponse:
        await self._enter("VerifyAudit", request, context)
        return self.verdict

    async def Place(self, request: pb.PlaceRequest, context: Context) -> pb.ActionResponse:  # noqa: N802
        return await self._act(
            "Place", request, context, f"Run {request.model} on {request.node}.", f"p-{request.node}"
        )

    async def Remove(self, request: pb.TargetRequest, context: Context) -> pb.ActionResponse:  # noqa: N802
        return await self._target("Remove", request, context)

    async def Drain(self, request: pb.TargetRequest, context: Context) -> pb.ActionResponse:  # noqa: N802
        return await self._target("Drain", request, context)

    async def Resume(self, request: pb.TargetRequest, context: Context) -> pb.ActionResponse:  # noqa: N802
        return await self._target("Resume", request, context)

    async def Restart(self, request: pb.RestartRequest, context: Context) -> pb.ActionResponse:  # noqa: N802
        return await self._on_placement("Restart", request, context, f"Restart {request.placement_id}.")

    async def LoadAdapter(self, request: pb.AdapterRequest, context: Context) -> pb.ActionResponse:  # noqa: N802
        step = f"Load {request.name} from {request.source} into {request.placement_id}."
        return await self._on_placement("LoadAdapter", request, context, step)

    async def UnloadAdapter(self, request: pb.AdapterRequest, context: Context) -> pb.ActionResponse:  # noqa: N802
        step = f"Unload {request.name} from {request.placement_id}."
        return await self._on_placement("UnloadAdapter", request, context, step)

    async def ProbeNode(self, request: pb.ProbeNodeRequest, context: Context) -> pb.ActionResponse:  # noqa: N802
        return await self._act("ProbeNode", request, context, f"Probe {request.node}.")

    async def SetReportInterval(  # noqa: N802
        self, request: pb.ReportIntervalRequest, context: Context
    ) -> pb.ActionResponse:
        step = f"{request.node} reports every {request.seconds:g} s."
        return await self._act("SetReportInterval", request, context, step)

    async def ReadEngineLog(  # noqa: N802
        self, request: pb.EngineLogRequest, context: Context
    ) -> pb.EngineLogResponse:
        await self._enter("ReadEngineLog", request, context)
        if request.engine_id not in self.view.engines:
            await context.abort(grpc.StatusCode.NOT_FOUND, f"There is no engine {request.engine_id!r}.")
        return pb.EngineLogResponse(lines=self.logs.get(request.engine_id, [])[-(request.lines_max or 200) :])

    async def ForgetNode(self, request: pb.ForgetNodeRequest, context: Context) -> pb.ActionResponse:  # noqa: N802
        return await self._act("ForgetNode", request, context, f"Forget node {request.node}.")

    async def CreateKey(self, request: pb.CreateKeyRequest, context: Context) -> pb.CreateKeyResponse:  # noqa: N802
        await self._enter("CreateKey", request, context)
        now = self.view.now or datetime(2026, 1, 1, tzinfo=UTC)
        expires_at = now + timedelta(seconds=request.lifetime_seconds) if request.lifetime_seconds else None
        key = KeyRow(f"key-{len(self.keys) + 1}", request.tenant, request.note, now, expires_at, None, "ana")
        self.keys.append(key)
        return pb.CreateKeyResponse(key=wire.key_to_wire(key), secret="a-secret")

    async def ListKeys(self, request: pb.ListKeysRequest, context: Context) -> pb.ListKeysResponse:  # noqa: N802
        await self._enter("ListKeys", request, context)
        keys = (key for key in self.keys if request.tenant in ("", key.tenant))
        return pb.ListKeysResponse(keys=map(wire.key_to_wire, keys))

    async def RevokeKey(self, request: pb.RevokeKeyRequest, context: Context) -> pb.ActionResponse:  # noqa: N802
        return await self._act("RevokeKey", request, context, f"Revoke key {request.key_id}.")

    async def CreateJoinToken(  # noqa: N802
        self, request: pb.CreateJoinTokenRequest, context: Context
    ) -> pb.CreateJoinTokenResponse:
        await self._enter("CreateJoinToken", request, context)
        return pb.CreateJoinTokenResponse(token="a-join-token", expires_at=wire.stamp(self.view.now))

    async def CreateOperator(  # noqa: N802
        self, request: pb.CreateOperatorRequest, context: Context
    ) -> pb.CreateOperatorResponse:
        await self._enter("CreateOperator", request, context)
        return pb.CreateOperatorResponse(
            certificate_pem=self.authority.sign(request.certificate_request_pem, request.name),
            ca_pem=self.authority.ca_pem,
            not_after=wire.stamp(self.view.now),
        )

    async def _on_placement(
        self, method: str, request: pb.RestartRequest | pb.AdapterRequest, context: Context, step: str
    ) -> pb.ActionResponse:
        if request.placement_id not in self.view.placements:
            self.calls.append((method, request))
            await context.abort(grpc.StatusCode.NOT_FOUND, f"There is no placement {request.placement_id!r}.")
        return await self._act(method, request, context, step, request.placement_id)

    async def _target(self, method: str, request: pb.TargetRequest, context: Context) -> pb.ActionResponse:
        subject = f"placement {request.placement_id}" if request.placement_id else f"node {request.node}"
        if request.placement_id and request.placement_id not in self.view.placements:
            self.calls.append((method, request))
            await context.abort(grpc.StatusCode.NOT_FOUND, f"There is no placement {request.placement_id!r}.")
        return await self._act(method, request, context, f"{method} {subject}.", request.placement_id)

    async def _act(
        self, method: str, request: Message, context: Context, step: str, placement_id: str = ""
    ) -> pb.ActionResponse:
        await self._enter(method, request, context)
        return pb.ActionResponse(steps=[step], placement_ids=[placement_id] if placement_id else [], changed=True)

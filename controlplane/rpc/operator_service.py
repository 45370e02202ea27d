"""The operators' service: what consoles and commands see and do. Translates only.

Registered by `rpc.server` on the port that asks for certificates. Every method asks `rpc.callers` first whether the caller's
role allows it. Updates for watchers at the same cursor are encoded once.
"""

from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import dataclass
from typing import Any

from controlplane.clock import Clock
from controlplane.errors import InvalidInputError
from controlplane.proto.stoker.v1 import operator_pb2, operator_pb2_grpc
from controlplane.rpc import access_codec
from controlplane.rpc.callers import OperatorCalls
from controlplane.rpc.error_mapping import streaming, unary
from controlplane.rpc.fleet_codec import event_to_wire, history_row_to_wire
from controlplane.rpc.timestamps import from_wire, to_wire
from controlplane.rpc.watch_codec import WatchCodec
from controlplane.services.action_answer import ActionAnswer
from controlplane.services.change_adapters import AdapterOrder, ChangeAdapters
from controlplane.services.create_join_token import CreateJoinToken
from controlplane.services.create_key import CreateKey
from controlplane.services.create_operator import CreateOperator
from controlplane.services.describe_server import DescribeServer
from controlplane.services.forget_node import ForgetNode
from controlplane.services.list_keys import ListKeys
from controlplane.services.place_model import PlaceModel, PlaceOrder
from controlplane.services.probe_node import ProbeNode
from controlplane.services.query_history import EngineHistoryQuery, QueryHistory
from controlplane.services.read_engine_log import ReadEngineLog
from controlplane.services.restart_engine import RestartEngine, RestartOrder
from controlplane.services.revoke_key import RevokeKey
from controlplane.services.set_report_interval import SetReportInterval
from controlplane.services.stop_placement import StopPlacement, Target
from controlplane.services.watch_fleet import WatchFleet


@dataclass(frozen=True, slots=True)
class OperatorUseCases:
    """Everything that operators can ask for."""

    watch: WatchFleet
    history: QueryHistory
    server: DescribeServer
    place: PlaceModel
    stop: StopPlacement
    restart: RestartEngine
    adapters: ChangeAdapters
    probe: ProbeNode
    report_interval: SetReportInterval
    engine_log: ReadEngineLog
    forget: ForgetNode
    create_key: CreateKey
    list_keys: ListKeys
    revoke_key: RevokeKey
    create_join_token: CreateJoinToken
    create_operator: CreateOperator
    ca_pem: bytes  # what a new operator trusts


class OperatorService(operator_pb2_grpc.OperatorServiceServicer):
    """Method names are the wire's."""

    def __init__(self, use_cases: OperatorUseCases, calls: OperatorCalls, codec: WatchCodec, clock: Clock) -> None:
        self._do = use_cases
        self._calls = calls
        self._codec = codec
        self._clock = clock

    @streaming
    async def Watch(self, request: operator_pb2.WatchRequest, context: Any) -> AsyncIterator[operator_pb2.FleetUpdate]:
        caller = await self._calls.caller(context, "Watch")
        server = self._do.server(caller)
        async for step in self._do.watch.watch(request.boot_id, request.cursor):
            now_server = self._do.server(caller)
            yield self._codec.update(step, now_server if step.changes is None or now_server != server else None)
            server = now_server

    @unary
    async def GetFleet(self, request: operator_pb2.GetFleetRequest, context: Any) -> operator_pb2.FleetUpdate:
        caller = await self._calls.caller(context, "GetFleet")
        return self._codec.update(self._do.watch.latest(), self._do.server(caller))

    @unary
    async def GetServer(self, request: operator_pb2.GetServerRequest, context: Any) -> operator_pb2.Server:
        return access_codec.server_to_wire(self._do.server(await self._calls.caller(context, "GetServer")))

    @unary
    async def ListEvents(
        self, request: operator_pb2.ListEventsRequest, context: Any
    ) -> operator_pb2.ListEventsResponse:
        await self._calls.caller(context, "ListEvents")
        page = await self._do.history.events(
            since=from_wire(request, "since"),
            limit=request.limit,
            node=request.node,
            engine_id=request.engine_id,
            kind=request.kind,
        )
        return operator_pb2.ListEventsResponse(
            events=[event_to_wire(event) for event in page.events], truncated=page.truncated
        )

    @unary
    async def GetEngineHistory(
        self, request: operator_pb2.EngineHistoryRequest, context: Any
    ) -> operator_pb2.EngineHistoryResponse:
        await self._calls.caller(context, "GetEngineHistory")
        since = from_wire(request, "since")
        if since is None:
            raise InvalidInputError("say since when: history has a beginning")
        answer = await self._do.history.engines(
            EngineHistoryQuery(
                since=since,
                until=from_wire(request, "until") or self._clock.now(),
                engine_id=request.engine_id,
                model=request.model,
                node=request.node,
                bucket_seconds=request.bucket_seconds or None,
            )
        )
        return operator_pb2.EngineHistoryResponse(
            rows=[history_row_to_wire(row) for row in answer.rows],
            truncated=answer.truncated,
            bucket_seconds=answer.bucket_seconds,
        )

    @unary
    async def Place(self, request: operator_pb2.PlaceRequest, context: Any) -> operator_pb2.ActionResponse:
        caller = await self._calls.caller(context, "Place")
        order = PlaceOrder(
            model=request.model,
            node=request.node,
            source=request.source,
            engine_args=tuple(request.engine_args),
            device_ids=tuple(request.device_ids),
            deployment=request.deployment,
        )
        return _action(await self._do.place(order, caller, dry_run=request.dry_run))

    @unary
    async def Remove(self, request: operator_pb2.TargetRequest, context: Any) -> operator_pb2.ActionResponse:
        return await self._on_target("Remove", self._do.stop.remove, request, context)

    @unary
    async def Drain(self, request: operator_pb2.TargetRequest, context: Any) -> operator_pb2.ActionResponse:
        return await self._on_target("Drain", self._do.stop.drain, request, context)

    @unary
    async def Resume(self, request: operator_pb2.TargetRequest, context: Any) -> operator_pb2.ActionResponse:
        return await self._on_target("Resume", self._do.stop.resume, request, context)

    async def _on_target(
        self,
        method: str,
        action: Callable[..., Awaitable[ActionAnswer]],
        request: operator_pb2.TargetRequest,
        context: Any,
    ) -> operator_pb2.ActionResponse:
        caller = await self._calls.caller(context, method)
        target = Target(request.placement_id, request.node, request.drain_seconds_max or None, request.reason[:500])
        return _action(await action(target, caller, dry_run=request.dry_run))

    @unary
    async def Restart(self, request: operator_pb2.RestartRequest, context: Any) -> operator_pb2.ActionResponse:
        caller = await self._calls.caller(context, "Restart")
        engine_args = tuple(request.engine_args) if request.replace_args else None
        order = RestartOrder(request.placement_id, engine_args, request.reason)
        return _action(await self._do.restart(order, caller, dry_run=request.dry_run))

    @unary
    async def LoadAdapter(self, request: operator_pb2.AdapterRequest, context: Any) -> operator_pb2.ActionResponse:
        caller = await self._calls.caller(context, "LoadAdapter")
        return _action(await self._do.adapters.load(_adapter_order(request), caller, dry_run=request.dry_run))

    @unary
    async def UnloadAdapter(self, request: operator_pb2.AdapterRequest, context: Any) -> operator_pb2.ActionResponse:
        caller = await self._calls.caller(context, "UnloadAdapter")
        return _action(await self._do.adapters.unload(_adapter_order(request), caller, dry_run=request.dry_run))

    @unary
    async def ProbeNode(self, request: operator_pb2.ProbeNodeRequest, context: Any) -> operator_pb2.ActionResponse:
        caller = await self._calls.caller(context, "ProbeNode")
        return _action(await self._do.probe(request.node, caller, force=request.force, dry_run=request.dry_run))

    @unary
    async def SetReportInterval(
        self, request: operator_pb2.ReportIntervalRequest, context: Any
    ) -> operator_pb2.ActionResponse:
        caller = await self._calls.caller(context, "SetReportInterval")
        return _action(await self._do.report_interval(request.node, request.seconds, caller, dry_run=request.dry_run))

    @unary
    async def ReadEngineLog(
        self, request: operator_pb2.EngineLogRequest, context: Any
    ) -> operator_pb2.EngineLogResponse:
        await self._calls.caller(context, "ReadEngineLog")
        return operator_pb2.EngineLogResponse(lines=await self._do.engine_log(request.engine_id, request.lines_max))

    @unary
    async def ForgetNode(self, request: operator_pb2.ForgetNodeRequest, context: Any) -> operator_pb2.ActionResponse:
        caller = await self._calls.caller(context, "ForgetNode")
        return _action(await self._do.forget(request.node, caller, dry_run=request.dry_run))

    @unary
    async def CreateKey(self, request: operator_pb2.CreateKeyRequest, context: Any) -> operator_pb2.CreateKeyResponse:
        caller = await self._calls.caller(context, "CreateKey")
        created = await self._do.create_key(caller, request.tenant, request.lifetime_seconds, request.note)
        return operator_pb2.CreateKeyResponse(key=access_codec.key_to_wire(created.key), secret=created.secret)

    @unary
    async def ListKeys(self, request: operator_pb2.ListKeysRequest, context: Any) -> operator_pb2.ListKeysResponse:
        await self._calls.caller(context, "ListKeys")
        keys = await self._do.list_keys(request.tenant)
        return operator_pb2.ListKeysResponse(keys=[access_codec.key_to_wire(key) for key in keys])

    @unary
    async def RevokeKey(self, request: operator_pb2.RevokeKeyRequest, context: Any) -> operator_pb2.ActionResponse:
        caller = await self._calls.caller(context, "RevokeKey")
        revoked = await self._do.revoke_key(caller, request.key_id)
        key = revoked.key
        step = f"key {key.key_id} of tenant {key.tenant} " + ("is revoked" if revoked.changed else "was revoked before")
        return operator_pb2.ActionResponse(steps=[step], changed=revoked.changed)

    @unary
    async def CreateJoinToken(
        self, request: operator_pb2.CreateJoinTokenRequest, context: Any
    ) -> operator_pb2.CreateJoinTokenResponse:
        caller = await self._calls.caller(context, "CreateJoinToken")
        minted = await self._do.create_join_token(
            caller,
            request.lifetime_seconds,
            request.node_name,
            replace=request.replace,
            simulator=request.simulator,
        )
        return operator_pb2.CreateJoinTokenResponse(token=minted.token, expires_at=to_wire(minted.expires_at))

    @unary
    async def CreateOperator(
        self, request: operator_pb2.CreateOperatorRequest, context: Any
    ) -> operator_pb2.CreateOperatorResponse:
        caller = await self._calls.caller(context, "CreateOperator")
        issued = await self._do.create_operator(caller, request.name, request.role, request.certificate_request_pem)
        return operator_pb2.CreateOperatorResponse(
            certificate_pem=issued.certificate_pem, ca_pem=self._do.ca_pem, not_after=to_wire(issued.not_after)
        )


def _adapter_order(request: operator_pb2.AdapterRequest) -> AdapterOrder:
    return AdapterOrder(request.placement_id, request.name, request.source)


def _action(answer: ActionAnswer) -> operator_pb2.ActionResponse:
    return operator_pb2.ActionResponse(steps=answer.steps, placement_ids=answer.placement_ids, changed=answer.changed)

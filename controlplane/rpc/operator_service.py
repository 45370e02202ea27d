"""The operators' service: what consoles and commands see and do. Translates only.

Registered by `rpc.server` on the port that asks for certificates. Every method asks `rpc.callers` first whether the caller's
role allows it. Updates for watchers at the same cursor are encoded once.
"""

from collections.abc import AsyncIterator, Awaitable, Callable
from typing import Any

from controlplane.clock import Clock
from controlplane.proto.stoker.v1 import operator_pb2, operator_pb2_grpc
from controlplane.rpc import access_codec
from controlplane.rpc.callers import OperatorCalls
from controlplane.rpc.error_mapping import streaming, unary
from controlplane.rpc.lease_codec import lease_to_wire, order_from_wire
from controlplane.rpc.operator_use_cases import OperatorUseCases
from controlplane.rpc.past_calls import PastCalls
from controlplane.rpc.timestamps import from_wire, to_wire
from controlplane.rpc.watch_codec import WatchCodec
from controlplane.services.action_answer import ActionAnswer
from controlplane.services.change_adapters import AdapterOrder
from controlplane.services.place_model import PlaceOrder
from controlplane.services.restart_engine import RestartOrder
from controlplane.services.stop_placement import Target


class OperatorService(PastCalls, operator_pb2_grpc.OperatorServiceServicer):
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
    async def ListLeases(
        self, request: operator_pb2.ListLeasesRequest, context: Any
    ) -> operator_pb2.ListLeasesResponse:
        await self._calls.caller(context, "ListLeases")
        found = await self._do.leases.list(ended=request.ended)
        return operator_pb2.ListLeasesResponse(leases=[lease_to_wire(lease) for lease in found])

    @unary
    async def PutLease(self, request: operator_pb2.PutLeaseRequest, context: Any) -> operator_pb2.ActionResponse:
        caller = await self._calls.caller(context, "PutLease")
        return _action(await self._do.leases.put(order_from_wire(request.lease), caller, dry_run=request.dry_run))

    @unary
    async def EndLease(self, request: operator_pb2.EndLeaseRequest, context: Any) -> operator_pb2.ActionResponse:
        caller = await self._calls.caller(context, "EndLease")
        at = from_wire(request, "at")
        return _action(await self._do.leases.end(request.lease_id, at, caller, dry_run=request.dry_run))

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
        return operator_pb2.ActionResponse(steps=[revoked.step], changed=revoked.changed)

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

"""The operators' calls about what was: events, history, SQL, jobs and the audit. Translates only.

Part of the operators' service (`rpc.operator_service`), which has the calls that show and change what is.
"""

import asyncio
from typing import Any

from controlplane.clock import Clock
from controlplane.errors import InvalidInputError
from controlplane.proto.stoker.v1 import operator_pb2
from controlplane.rpc.audit_codec import audit_record_to_wire, verdict_to_wire
from controlplane.rpc.callers import OperatorCalls
from controlplane.rpc.error_mapping import unary
from controlplane.rpc.fleet_codec import event_to_wire, history_row_to_wire
from controlplane.rpc.history_codec import answer_to_wire
from controlplane.rpc.jobs_codec import job_to_wire
from controlplane.rpc.operator_use_cases import OperatorUseCases
from controlplane.rpc.past_codec import past_to_wire
from controlplane.rpc.timestamps import from_wire
from controlplane.services.query_history import EngineHistoryQuery


class PastCalls:
    """Method names are the wire's."""

    _do: OperatorUseCases
    _calls: OperatorCalls
    _clock: Clock

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
    async def QuerySql(self, request: operator_pb2.SqlRequest, context: Any) -> operator_pb2.SqlResponse:
        await self._calls.caller(context, "QuerySql")
        answer = await self._do.sql(
            request.sql, request.parameters, rows_max=request.rows_max, seconds_max=request.seconds_max
        )
        return await asyncio.to_thread(answer_to_wire, answer)  # half a million values take their time

    @unary
    async def GetFleetAt(self, request: operator_pb2.FleetAtRequest, context: Any) -> operator_pb2.FleetAtResponse:
        await self._calls.caller(context, "GetFleetAt")
        at = from_wire(request, "at")
        if at is None:
            raise InvalidInputError("say at what moment: the past is long")
        past, unknown = await self._do.recall(at)
        return past_to_wire(past, unknown)

    @unary
    async def ListJobs(self, request: operator_pb2.ListJobsRequest, context: Any) -> operator_pb2.ListJobsResponse:
        await self._calls.caller(context, "ListJobs")
        return operator_pb2.ListJobsResponse(jobs=[job_to_wire(state) for state in self._do.list_jobs()])

    @unary
    async def ListAudit(self, request: operator_pb2.ListAuditRequest, context: Any) -> operator_pb2.ListAuditResponse:
        await self._calls.caller(context, "ListAudit")
        page = await self._do.list_audit(
            since=from_wire(request, "since"),
            limit=request.limit,
            actor=request.actor,
            action=request.action,
            audit_id=request.audit_id,
        )
        return operator_pb2.ListAuditResponse(
            entries=[audit_record_to_wire(each) for each in page.entries], truncated=page.truncated
        )

    @unary
    async def VerifyAudit(
        self, request: operator_pb2.VerifyAuditRequest, context: Any
    ) -> operator_pb2.VerifyAuditResponse:
        await self._calls.caller(context, "VerifyAudit")
        return verdict_to_wire(await self._do.verify_audit(request.expected_hash))

"""Operators see the audit, its proof and the jobs over the real network."""

from typing import Any

import grpc

from controlplane.fleet.access import Role
from controlplane.jobs import seal_audit
from controlplane.proto.stoker.v1 import operator_pb2
from tests.integration.controlplane.test_operator_service import refused
from tests.support.clock import START
from tests.support.served import Served


async def test_what_an_operator_did_is_listed_with_its_plan_and_proved(plane: Served) -> None:
    operator, viewer = await plane.operators(Role.OPERATOR), await plane.operators(Role.VIEWER)
    placed = await operator.Place(operator_pb2.PlaceRequest(model="llama", node="gcp-1", source="/m"))
    await operator.Drain(operator_pb2.TargetRequest(node="gcp-1", reason="a test"))
    told: list[Any] = []
    await seal_audit.run(plane.database, plane.authority, told.extend, START)
    await operator.Resume(operator_pb2.TargetRequest(node="gcp-1"))

    listed = await viewer.ListAudit(operator_pb2.ListAuditRequest(actor="operator:operator"))
    assert [entry.action for entry in listed.entries] == ["place", "drain", "resume"]
    assert not listed.truncated
    first = listed.entries[0]
    assert (first.target, first.plan.splitlines()) == ("llama@gcp-1", list(placed.steps))
    [again] = (await viewer.ListAudit(operator_pb2.ListAuditRequest(audit_id=first.audit_id))).entries
    assert again == first
    [last] = (await viewer.ListAudit(operator_pb2.ListAuditRequest(limit=1))).entries
    assert last.action == "resume"
    drained = await viewer.ListAudit(operator_pb2.ListAuditRequest(action="drain", since=listed.entries[1].at))
    assert [entry.detail for entry in drained.entries] == ["llama@gcp-1: a test"]

    verdict = await viewer.VerifyAudit(operator_pb2.VerifyAuditRequest(expected_hash=first.hash))
    assert (verdict.whole, list(verdict.problems)) == (True, [])
    assert (verdict.head_id, verdict.head_hash) == (last.audit_id, last.hash)
    assert (verdict.seals_count, verdict.unsealed_count) == (1, 1)
    assert verdict.sealed_at.ToDatetime(START.tzinfo) == START
    assert verdict.entries_count == last.audit_id
    code, sentence, _ = await refused(viewer.VerifyAudit(operator_pb2.VerifyAuditRequest(expected_hash="abc")))
    assert code is grpc.StatusCode.INVALID_ARGUMENT
    assert "64 hexadecimal digits" in sentence


async def test_jobs_are_listed_from_memory_also_with_the_database_away(plane: Served) -> None:
    viewer = await plane.operators(Role.VIEWER)

    async def good(_: Any) -> str:
        return "7 rows"

    plane.parts.jobs.every(3600.0, "count rows", "Counts.", good)
    await plane.parts.jobs.run_now("count rows")
    await viewer.GetServer(operator_pb2.GetServerRequest())  # its identity is known then
    await plane.database.close()
    [job] = (await viewer.ListJobs(operator_pb2.ListJobsRequest())).jobs
    assert (job.name, job.purpose, job.interval_seconds, job.detail) == ("count rows", "Counts.", 3600.0, "7 rows")
    assert (job.last_outcome, job.failures_in_a_row) == (operator_pb2.JOB_OUTCOME_SUCCEEDED, 0)
    assert job.HasField("last_finished_at")
    assert not job.HasField("next_at"), "they were not started here"

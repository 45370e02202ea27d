"""From the wire to the audit and the jobs. Called by `console.link.client`; only translates."""

from console.link.fields import moment, real
from console.model import operations
from controlplane.proto.stoker.v1 import operator_pb2

_OUTCOMES = {
    operator_pb2.JOB_OUTCOME_SUCCEEDED: operations.JobOutcome.SUCCEEDED,
    operator_pb2.JOB_OUTCOME_FAILED: operations.JobOutcome.FAILED,
    operator_pb2.JOB_OUTCOME_INTERRUPTED: operations.JobOutcome.INTERRUPTED,
}


def audit_from_wire(message: operator_pb2.ListAuditResponse) -> operations.AuditAnswer:
    entries = sorted(map(_audit_row, message.entries), key=lambda row: row.audit_id)
    return operations.AuditAnswer(tuple(entries), message.truncated)


def _audit_row(message: operator_pb2.AuditRecord) -> operations.AuditRow:
    return operations.AuditRow(
        audit_id=message.audit_id,
        at=moment(message, "at"),
        actor=message.actor,
        action=message.action,
        target=message.target,
        detail=message.detail,
        outcome=message.outcome,
        peer=message.peer,
        plan=tuple(message.plan.splitlines()),
        hash=message.hash,
    )


def verdict_from_wire(message: operator_pb2.VerifyAuditResponse) -> operations.AuditVerdict:
    return operations.AuditVerdict(
        whole=message.whole,
        entries_count=message.entries_count,
        seals_count=message.seals_count,
        head_id=message.head_id,
        head_hash=message.head_hash,
        sealed_at=moment(message, "sealed_at"),
        unsealed_count=message.unsealed_count,
        problems=tuple(message.problems),
    )


def job_from_wire(message: operator_pb2.Job) -> operations.JobRow:
    return operations.JobRow(
        name=message.name,
        purpose=message.purpose,
        interval_seconds=message.interval_seconds,
        last_started_at=moment(message, "last_started_at"),
        last_finished_at=moment(message, "last_finished_at"),
        last_duration_seconds=real(message, "last_duration_seconds"),
        last_outcome=_OUTCOMES.get(message.last_outcome, operations.JobOutcome.NONE),
        last_error=message.last_error,
        last_succeeded_at=moment(message, "last_succeeded_at"),
        failures_in_a_row=message.failures_in_a_row,
        next_at=moment(message, "next_at"),
        detail=message.detail,
    )

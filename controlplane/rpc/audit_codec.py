"""The audit and its verdict, to the wire. Called by `rpc.operator_service`."""

from controlplane.fleet.audit_chain import ChainedEntry
from controlplane.proto.stoker.v1 import operator_pb2
from controlplane.rpc.timestamps import to_wire
from controlplane.services.verify_audit import AuditVerdict


def audit_record_to_wire(chained: ChainedEntry) -> operator_pb2.AuditRecord:
    entry = chained.entry
    return operator_pb2.AuditRecord(
        audit_id=chained.audit_id,
        at=to_wire(entry.at),
        actor=entry.actor,
        action=entry.action,
        target=entry.target,
        detail=entry.detail,
        outcome=entry.outcome,
        peer=entry.peer,
        plan=entry.plan,
        hash=chained.hash,
    )


def verdict_to_wire(verdict: AuditVerdict) -> operator_pb2.VerifyAuditResponse:
    return operator_pb2.VerifyAuditResponse(
        whole=verdict.whole,
        entries_count=verdict.entries_count,
        seals_count=verdict.seals_count,
        head_hash=verdict.head.hash if verdict.head.audit_id else "",
        head_id=verdict.head.audit_id,
        sealed_at=to_wire(verdict.sealed_at),
        unsealed_count=verdict.unsealed_count,
        problems=verdict.problems,
    )

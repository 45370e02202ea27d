"""Jobs to the wire. Called by `rpc.operator_service`."""

from controlplane.fleet.jobs import JobOutcome, JobState
from controlplane.proto.stoker.v1 import operator_pb2
from controlplane.rpc.timestamps import to_wire

_OUTCOMES = {
    None: operator_pb2.JOB_OUTCOME_UNSPECIFIED,
    JobOutcome.SUCCEEDED: operator_pb2.JOB_OUTCOME_SUCCEEDED,
    JobOutcome.FAILED: operator_pb2.JOB_OUTCOME_FAILED,
    JobOutcome.INTERRUPTED: operator_pb2.JOB_OUTCOME_INTERRUPTED,
}


def job_to_wire(state: JobState) -> operator_pb2.Job:
    run = state.run
    return operator_pb2.Job(
        name=run.name,
        purpose=state.purpose,
        interval_seconds=run.interval_seconds,
        last_started_at=to_wire(run.last_started_at),
        last_finished_at=to_wire(run.last_finished_at),
        last_duration_seconds=run.last_duration_seconds,
        last_outcome=_OUTCOMES[run.last_outcome],
        last_error=run.last_error,
        last_succeeded_at=to_wire(run.last_succeeded_at),
        failures_in_a_row=run.failures_in_a_row,
        next_at=to_wire(state.next_at),
        detail=run.detail,
    )

"""From the wire to answers of queries and actions. Called by `console.link.client`; only translates."""

from datetime import UTC, datetime

from console.link.codec import event_from_wire
from console.link.fields import moment, real, whole
from console.model import answers
from controlplane.proto.stoker.v1 import operator_pb2


def action_from_wire(message: operator_pb2.ActionResponse) -> answers.ActionAnswer:
    return answers.ActionAnswer(tuple(message.steps), tuple(message.placement_ids), message.changed)


def events_from_wire(message: operator_pb2.ListEventsResponse) -> answers.EventsAnswer:
    events = sorted(map(event_from_wire, message.events), key=lambda event: (event.at, event.event_id))
    return answers.EventsAnswer(tuple(events), message.truncated)


def history_from_wire(message: operator_pb2.EngineHistoryResponse) -> answers.EngineHistory:
    return answers.EngineHistory(tuple(map(_history_row, message.rows)), message.truncated, message.bucket_seconds)


def _history_row(message: operator_pb2.EngineHistoryRow) -> answers.EngineHistoryRow:
    return answers.EngineHistoryRow(
        bucket_at=moment(message, "bucket_at") or datetime.fromtimestamp(0, UTC),
        engine_id=message.engine_id,
        node=message.node,
        provider=message.provider,
        region=message.region,
        model=message.model,
        samples_count=message.samples_count,
        kv_used_ratio_max=real(message, "kv_used_ratio_max"),
        kv_used_ratio_mean=real(message, "kv_used_ratio_mean"),
        running_count_mean=real(message, "running_count_mean"),
        waiting_count_max=real(message, "waiting_count_max"),
        prompt_tokens=whole(message, "prompt_tokens"),
        generation_tokens=whole(message, "generation_tokens"),
        batch_tokens_per_step=real(message, "batch_tokens_per_step"),
        intensity_flops_per_byte=real(message, "intensity_flops_per_byte"),
        prefix_hit_ratio=real(message, "prefix_hit_ratio"),
        preemptions_count=whole(message, "preemptions_count"),
        ttft_seconds_mean=real(message, "ttft_seconds_mean"),
    )


_KINDS = {
    operator_pb2.SQL_KIND_TEXT: "text",
    operator_pb2.SQL_KIND_WHOLE: "whole",
    operator_pb2.SQL_KIND_REAL: "real",
    operator_pb2.SQL_KIND_TIME: "time",
    operator_pb2.SQL_KIND_TRUTH: "truth",
}


def sql_from_wire(message: operator_pb2.SqlResponse) -> answers.SqlAnswer:
    return answers.SqlAnswer(
        columns=tuple(answers.SqlColumn(column.name, _KINDS.get(column.kind, "")) for column in message.columns),
        rows=tuple(tuple(map(_sql_cell, row.values)) for row in message.rows),
        truncated=message.truncated,
        seconds=message.seconds,
        dialect=message.dialect,
    )


def _sql_cell(message: operator_pb2.SqlValue) -> answers.SqlCell:
    match message.WhichOneof("value"):
        case "text":
            return message.text
        case "whole":
            return message.whole
        case "real":
            return message.real
        case "time":
            return moment(message, "time")
        case "truth":
            return message.truth
        case _:
            return None


def lease_from_wire(message: operator_pb2.Lease) -> answers.LeaseRow:
    return answers.LeaseRow(
        lease_id=message.lease_id,
        provider=message.provider,
        region=message.region,
        device_kind=message.device_kind,
        devices_count=message.devices_count,
        nodes=tuple(message.nodes),
        starts_at=moment(message, "starts_at"),
        ends_at=moment(message, "ends_at"),
        price_per_device_hour=real(message, "price_per_device_hour"),
        currency=message.currency,
        note=message.note,
        created_at=moment(message, "created_at"),
        created_by=message.created_by,
    )


def key_from_wire(message: operator_pb2.Key) -> answers.KeyRow:
    return answers.KeyRow(
        key_id=message.key_id,
        tenant=message.tenant,
        note=message.note,
        created_at=moment(message, "created_at"),
        expires_at=moment(message, "expires_at"),
        revoked_at=moment(message, "revoked_at"),
        created_by=message.created_by,
    )


def new_key_from_wire(message: operator_pb2.CreateKeyResponse) -> answers.NewKey:
    return answers.NewKey(key_from_wire(message.key), message.secret)


def join_token_from_wire(message: operator_pb2.CreateJoinTokenResponse) -> answers.JoinToken:
    return answers.JoinToken(message.token, moment(message, "expires_at"))


def operator_from_wire(message: operator_pb2.CreateOperatorResponse) -> answers.OperatorCertificate:
    return answers.OperatorCertificate(message.certificate_pem, message.ca_pem, moment(message, "not_after"))

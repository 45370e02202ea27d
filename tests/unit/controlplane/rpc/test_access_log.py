"""Envoy's access-log entries in our words."""

from datetime import UTC, datetime

from envoy.data.accesslog.v3.accesslog_pb2 import HTTPAccessLogEntry
from google.protobuf.json_format import ParseDict

from controlplane.rpc.access_log import request_end

WHOLE = {
    "common_properties": {
        "start_time": "2026-03-01T10:00:00.250Z",
        "duration": "1.5s",
        "time_to_first_upstream_tx_byte": "0.010s",
        "time_to_first_upstream_rx_byte": "0.250s",
        "upstream_remote_address": {"socket_address": {"address": "fd00::1", "port_value": 8000}},
        "upstream_request_attempt_count": 2,
        "response_flags": {"downstream_connection_termination": True},
        "metadata": {
            "filter_metadata": {
                "envoy.filters.http.jwt_authn": {"key": {"sub": "acme", "jti": "k1"}},
                "stoker.request": {"model": "m" * 1000},
            }
        },
    },
    "request": {
        "request_method": "POST",
        "path": "/v1/completions?token=secret",
        "request_id": "r",
        "request_body_bytes": 7,
    },
    "response": {"response_code": 200, "response_body_bytes": 9, "response_code_details": "via_upstream"},
}


def test_whole_entry() -> None:
    end = request_end(ParseDict(WHOLE, HTTPAccessLogEntry()))
    assert end.started_at == datetime(2026, 3, 1, 10, 0, 0, 250_000, UTC)
    assert (end.request_id, end.method, end.path, end.status) == ("r", "POST", "/v1/completions", 200)
    assert (end.tenant, end.key_id, end.model) == ("acme", "k1", "m" * 256)
    assert (end.endpoint, end.attempts_count) == ("[fd00::1]:8000", 2)
    assert (end.sent_to_engine_seconds, end.first_byte_seconds, end.duration_seconds) == (0.01, 0.25, 1.5)
    assert (end.request_bytes, end.response_bytes) == (7, 9)
    assert end.client_left
    assert not end.refused
    assert not end.engine_failed


def test_entry_that_tells_nothing() -> None:
    end = request_end(HTTPAccessLogEntry())
    assert (end.request_id, end.tenant, end.model, end.endpoint, end.status, end.attempts_count) == (
        "",
        "",
        "",
        "",
        0,
        0,
    )
    assert (end.duration_seconds, end.first_byte_seconds, end.sent_to_engine_seconds) == (None, None, None)


def test_refused_and_cut_off() -> None:
    refused = HTTPAccessLogEntry()
    refused.common_properties.response_flags.unauthorized_details.SetInParent()
    assert request_end(refused).refused
    cut = HTTPAccessLogEntry()
    cut.response.response_code_details = "upstream_reset_after_response_started{protocol_error}"
    assert request_end(cut).cut_off
    assert request_end(cut).engine_failed

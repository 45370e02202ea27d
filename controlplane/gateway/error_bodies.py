"""The bodies of errors, in the form that OpenAI's clients understand, and Envoy's table of its own errors.

Used by the listener and route rendering (errors that Envoy makes) and by the decision service (those that the daemon makes).
What an engine answered is never rewritten.
"""

import json
from collections.abc import Mapping
from typing import Any

JSON_TYPE = "application/json"


def error_body(message: str, code: str, error_type: str = "invalid_request_error", param: str | None = None) -> str:
    """One error as JSON text."""
    return json.dumps({"error": {"message": message, "type": error_type, "param": param, "code": code}})


REVOKED_KEY = error_body("This API key was revoked. Ask whoever runs this service for a new one.", "invalid_api_key")
UNKNOWN_PATH = error_body("This path does not exist. Served are /v1/chat/completions, /v1/completions, /v1/embeddings and "
                          "/v1/models.", "unknown_url")  # fmt: skip
UNKNOWN_MODEL = error_body(
    "The model named in the request does not exist here, or the request names none. GET /v1/models lists those that do.",
    "model_not_found",
    param="model",
)
UNKNOWN_MODEL_IN_PATH = error_body(
    "The model named in the path does not exist here. GET /v1/models lists those that do.",
    "model_not_found",
    param="model",
)


def wrong_method(allowed: str) -> str:
    return error_body(f"This path only takes {allowed}.", "method_not_allowed")


# (status, Envoy's response flags or () for any) → (code, type, message). The first that fits wins.
_SERVER = "server_error"
_CLIENT = "invalid_request_error"
_LOCAL: tuple[tuple[int, tuple[str, ...], str, str, str], ...] = (
    (400, (), "bad_request", _CLIENT, "The request is not valid HTTP, or a part of it is not allowed here."),
    (401, (), "invalid_api_key", _CLIENT,
     "The API key is missing, wrong or expired. Send it as: Authorization: Bearer <key>."),
    (403, (), "not_allowed", _CLIENT, "This kind of request is not allowed here."),
    (408, (), "request_timeout", _CLIENT, "The request was not received completely in time."),
    (413, (), "request_too_large", _CLIENT, "The request's body is larger than this gateway takes."),
    (426, (), "http_version", _CLIENT, "Use HTTP/1.1 or HTTP/2."),
    (431, (), "headers_too_large", _CLIENT, "The request's headers are larger than this gateway takes."),
    (500, (), "gateway_error", _SERVER, "The gateway failed to handle this request."),
    (502, (), "bad_engine_answer", _SERVER, "The engine's answer could not be understood."),
    (503, ("UH", "NC"), "no_engine_available", _SERVER, "No engine serves this model at the moment. Try again later."),
    (503, ("UF", "UC", "UR", "LR", "URX"), "engine_unreachable", _SERVER,
     "The engine could not be reached or ended before it answered. Try again."),
    (503, ("UO",), "gateway_overloaded", _SERVER, "The gateway is at its limit. Try again later."),
    (503, (), "service_unavailable", _SERVER, "This service cannot answer at the moment. Try again later."),
    (504, (), "engine_timeout", _SERVER, "The engine did not answer in time."),
)  # fmt: skip


# Envoy takes any 5xx of the decision service for its failure and lets the request pass. So a refusal with such a status
# travels under another one, which nobody else uses, and Envoy puts the real one back.
REFUSAL_STAND_INS = {500: 480, 501: 481, 502: 482, 503: 483, 504: 484}


def _status_filter(status: int) -> dict[str, Any]:
    value = {"default_value": status, "runtime_key": "stoker.local_reply_status"}
    return {"status_code_filter": {"comparison": {"op": "EQ", "value": value}}}


def _mapper(status: int, flags: tuple[str, ...], body: str) -> dict[str, Any]:
    matches = _status_filter(status)
    if flags:
        matches = {"and_filter": {"filters": [matches, {"response_flag_filter": {"flags": list(flags)}}]}}
    text = body.replace("%", "%%")  # Envoy reads the text as a format
    return {
        "filter": matches,
        "body_format_override": {"text_format_source": {"inline_string": text}, "content_type": JSON_TYPE},
    }


def local_reply_config() -> Mapping[str, Any]:
    """Envoy's table: its own errors get our bodies; what the decision service answered (flag UAEX) stays as it is."""
    refused = {"response_flag_filter": {"flags": ["UAEX"]}}
    stood_in_for = [
        {"filter": {"and_filter": {"filters": [refused, _status_filter(stand_in)]}}, "status_code": status}
        for status, stand_in in REFUSAL_STAND_INS.items()
    ]
    table = [_mapper(status, flags, error_body(message, code, kind)) for status, flags, code, kind, message in _LOCAL]
    return {"mappers": [*stood_in_for, {"filter": refused}, *table]}

"""Routes: which path and model goes where, and what Envoy answers by itself.

Called by `endpoint_files`. Pure. Envoy itself answers /v1/models and every 404 and 405, so they work without the daemon.
"""

import json
from typing import Any
from urllib.parse import quote

from controlplane.gateway.error_bodies import (
    JSON_TYPE,
    REVOKED_KEY,
    UNKNOWN_MODEL,
    UNKNOWN_MODEL_IN_PATH,
    UNKNOWN_PATH,
    wrong_method,
)
from controlplane.gateway.facts import GatewayModel, GatewayModels
from controlplane.gateway.tls_config import TYPE

ROUTES_NAME = "stoker"
MODEL_METADATA = "stoker.request"
MODELS_PATH = "/v1/models"
INFERENCE_PATHS = ("/v1/chat/completions", "/v1/completions", "/v1/embeddings")
# RE2 sees configured text only, never a client's.
_INFERENCE_REGEX = "/v1/(chat/completions|completions|embeddings)"
_BODY_BYTES_MAX = 1 << 20
_KEYS_PER_ROUTE = 100  # keeps each regular expression small
_HIDDEN_FROM_ENGINES = ("x-stoker-key-id", "x-stoker-decision", "x-envoy-external-address")
_HIDDEN_FROM_CLIENTS = ("server", "x-stoker-tenant", "x-stoker-key-id", "x-stoker-decision", "x-gateway-destination-endpoint",
                        "x-envoy-upstream-service-time")  # fmt: skip
_UNDECIDED = {
    "envoy.filters.http.ext_authz": {
        "@type": f"{TYPE}envoy.extensions.filters.http.ext_authz.v3.ExtAuthzPerRoute",
        "disabled": True,
    }
}
# Only before the first byte of the answer, and only where the engine cannot have begun the work.
_RETRY = {
    "retry_on": "connect-failure,refused-stream,reset-before-request",
    "num_retries": 3,
    "retry_host_predicate": [
        {
            "name": "envoy.retry_host_predicates.previous_hosts",
            "typed_config": {
                "@type": f"{TYPE}envoy.extensions.retry.host.previous_hosts.v3.PreviousHostsPredicate",
            },
        }
    ],
    "host_selection_retry_max_attempts": 5,
    "retry_back_off": {"base_interval": "0.002s", "max_interval": "0.05s"},
}


def _is(method: str) -> dict[str, Any]:
    return {"name": ":method", "string_match": {"exact": method}}


def _answer(
    match: dict[str, Any], status: int, body: str, *, decided: bool = False, headers: dict[str, str] | None = None
) -> dict[str, Any]:
    """A route that Envoy answers itself; `decided`: the daemon, if it lives, may answer better before."""
    added = {"content-type": JSON_TYPE, **(headers or {})}
    return {
        "match": match,
        "direct_response": {"status": status, "body": {"inline_string": body}},
        "response_headers_to_add": [
            {"header": {"key": key, "value": value}, "append_action": "OVERWRITE_IF_EXISTS_OR_ADD"}
            for key, value in added.items()
        ],
        **({} if decided else {"typed_per_filter_config": _UNDECIDED}),
    }


def _model_object(model: GatewayModel) -> dict[str, Any]:
    shown: dict[str, Any] = {
        "id": model.name,
        "object": "model",
        "created": model.created_unix,
        "owned_by": "stoker",
    }
    if model.context_tokens_max is not None:
        shown["max_model_len"] = model.context_tokens_max
    return shown


def _models_routes(models: GatewayModels) -> list[dict[str, Any]]:
    listed = json.dumps({"object": "list", "data": [_model_object(model) for model in models.models]})
    routes = [
        _answer({"path": MODELS_PATH, "headers": [_is("GET")]}, 200, listed),
        _answer({"path": MODELS_PATH}, 405, wrong_method("GET"), headers={"allow": "GET"}),
    ]
    for model in models.models:
        # Clients escape names differently; the escaped slash has become a slash by now.
        for escaped in sorted({quote(model.name, safe="/:"), quote(model.name, safe="/")}):
            match = {"path": f"{MODELS_PATH}/{escaped}", "headers": [_is("GET")]}
            routes.append(_answer(match, 200, json.dumps(_model_object(model))))
    routes.append(_answer({"prefix": f"{MODELS_PATH}/", "headers": [_is("GET")]}, 404, UNKNOWN_MODEL_IN_PATH))
    routes.append(_answer({"prefix": f"{MODELS_PATH}/"}, 405, wrong_method("GET"), headers={"allow": "GET"}))
    return routes


def _engine_route(model: GatewayModel) -> dict[str, Any]:
    named = {"filter": MODEL_METADATA, "path": [{"key": "model"}], "value": {"string_match": {"exact": model.name}}}
    return {
        "name": model.cluster,
        "match": {
            "safe_regex": {"regex": _INFERENCE_REGEX},
            "headers": [_is("POST")],
            "dynamic_metadata": [named],
        },
        "route": {"cluster": model.cluster, "timeout": "0s", "retry_policy": _RETRY},
        "request_headers_to_remove": list(_HIDDEN_FROM_ENGINES),
        "response_headers_to_remove": list(_HIDDEN_FROM_CLIENTS),
    }


def _revoked_routes(key_ids: tuple[str, ...]) -> list[dict[str, Any]]:
    """A revoked key's signature is good for ever: what refuses it, also while the daemon is dead, is this."""
    routes = []
    for index in range(0, len(key_ids), _KEYS_PER_ROUTE):
        regex = "|".join(key_ids[index : index + _KEYS_PER_ROUTE])
        header = {"name": "x-stoker-key-id", "string_match": {"safe_regex": {"regex": regex}}}
        routes.append(_answer({"prefix": "/", "headers": [header]}, 401, REVOKED_KEY))
    return routes


def route_configuration(models: GatewayModels) -> dict[str, Any]:
    """The whole table, for RDS."""
    routes = _revoked_routes(models.revoked_key_ids)
    routes.extend(_engine_route(model) for model in models.models)
    for path in INFERENCE_PATHS:
        routes.append(_answer({"path": path, "headers": [_is("POST")]}, 404, UNKNOWN_MODEL, decided=True))
        routes.append(_answer({"path": path}, 405, wrong_method("POST"), headers={"allow": "POST"}))
    routes.extend(_models_routes(models))
    routes.append(_answer({"prefix": "/"}, 404, UNKNOWN_PATH))
    return {
        "@type": f"{TYPE}envoy.config.route.v3.RouteConfiguration",
        "name": ROUTES_NAME,
        "max_direct_response_body_size_bytes": _BODY_BYTES_MAX,
        "validate_clusters": False,
        "virtual_hosts": [{"name": "stoker", "domains": ["*"], "routes": routes}],
    }

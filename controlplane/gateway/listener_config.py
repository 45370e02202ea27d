"""The listener that clients reach: the chain of filters through which every request goes, in order.

1. headers that only we may set are removed; 2. the API key is checked (closed when in doubt); 3. the body's model is read;
4. the control plane is asked (open when it is dead); 5. the model's engines. Called by `envoy_config`. Pure.
"""

from typing import Any

from controlplane.gateway.cluster_config import DESTINATION_HEADER
from controlplane.gateway.error_bodies import local_reply_config
from controlplane.gateway.facts import GatewaySettings
from controlplane.gateway.route_config import MODEL_METADATA, ROUTES_NAME
from controlplane.gateway.tls_config import TYPE, downstream_socket

TENANT_HEADER = "x-stoker-tenant"
KEY_ID_HEADER = "x-stoker-key-id"
DECISION_HEADER = "x-stoker-decision"
ISSUER = "stoker"
LISTENER_NAME = "clients"
STAT_PREFIX = "clients"
DECISION_CLUSTER = "stoker_decision"
ACCESS_LOG_CLUSTER = "stoker_access_log"
KEY_CHECK_FILE = "key_check.json"
KEY_CHECK_FILTER = "envoy.filters.http.jwt_authn"
_FILTERS = "envoy.extensions.filters.http"
_KEY_CHECK = f"{_FILTERS}.jwt_authn.v3.JwtAuthentication"
# x-request-id too: engines and the daemon take it as a request's identity, so no client may choose it.
_REMOVED = ("x-request-id", "forwarded")
_REMOVED_PREFIXES = ("x-stoker-", "x-gateway-", "x-envoy-", "x-forwarded-")


def _filter(name: str, config: dict[str, Any]) -> dict[str, Any]:
    return {"name": name, "typed_config": config}


def _trust_boundary() -> dict[str, Any]:
    mutations: list[dict[str, Any]] = [{"remove": name} for name in _REMOVED]
    mutations += [
        {"remove_on_match": {"key_matcher": {"prefix": prefix, "ignore_case": True}}} for prefix in _REMOVED_PREFIXES
    ]
    kind = "envoy.extensions.http.early_header_mutation.header_mutation.v3.HeaderMutation"
    return _filter("envoy.http.early_header_mutation.header_mutation", {"@type": TYPE + kind, "mutations": mutations})


def _check_key(settings: GatewaySettings) -> dict[str, Any]:
    """The filter's configuration has a file of its own, so that new signing keys do not disturb the listener."""
    path = settings.xds_dir / KEY_CHECK_FILE
    discovery = {
        "config_source": {"resource_api_version": "V3", "path_config_source": {"path": str(path)}},
        "type_urls": [f"{TYPE}{_KEY_CHECK}"],
    }
    return {"name": KEY_CHECK_FILTER, "config_discovery": discovery}


def key_check(jwks: str) -> dict[str, Any]:
    """API keys are signed tokens: checked here with public keys only (`jwks`), also while the daemon is dead."""
    provider = {
        "issuer": ISSUER,
        "subjects": {"safe_regex": {"regex": ".+"}},
        "forward": False,
        "from_headers": [{"name": "Authorization", "value_prefix": "Bearer "}],
        "claim_to_headers": [
            {"header_name": TENANT_HEADER, "claim_name": "sub"},
            {"header_name": KEY_ID_HEADER, "claim_name": "jti"},
        ],
        "payload_in_metadata": "key",
        "clear_route_cache": True,  # routes refuse revoked keys by an id that is known only now
        "local_jwks": {"inline_string": jwks},
        "jwt_cache_config": {"jwt_cache_size": 5000},
        "clock_skew_seconds": 5,
    }
    config = {
        "@type": f"{TYPE}{_KEY_CHECK}",
        "providers": {"api_keys": provider},
        "rules": [{"match": {"prefix": "/"}, "requires": {"provider_name": "api_keys"}}],
        "strip_failure_response": True,
    }
    kind = f"{TYPE}envoy.config.core.v3.TypedExtensionConfig"
    return {"@type": kind, "name": KEY_CHECK_FILTER, "typed_config": config}


def _read_model() -> dict[str, Any]:
    value = {"metadata_namespace": MODEL_METADATA, "key": "model"}
    rule = {
        "selectors": [{"key": "model"}],
        "on_present": {**value, "type": "STRING"},
    }
    rules = {"rules": [rule], "allow_content_types_regex": {"regex": ".*"}, "allow_empty_content_type": True}
    return _filter(
        "envoy.filters.http.json_to_metadata",
        {"@type": f"{TYPE}{_FILTERS}.json_to_metadata.v3.JsonToMetadata", "request_rules": rules},
    )


def _ask_control_plane(settings: GatewaySettings) -> dict[str, Any]:
    def exactly(*names: str) -> list[dict[str, Any]]:
        return [{"exact": name, "ignore_case": True} for name in names]

    to_clients = exactly("content-type", "retry-after", "x-stoker-reason", "x-stoker-queue-seconds")
    ratelimits = {"prefix": "x-ratelimit-", "ignore_case": True}
    service = {
        "server_uri": {
            "uri": "http://decision",
            "cluster": DECISION_CLUSTER,
            "timeout": f"{settings.decision_seconds_max}s",
        },
        "authorization_response": {
            "allowed_upstream_headers": {"patterns": exactly(DECISION_HEADER)},
            "dynamic_metadata_from_headers": {"patterns": exactly(DESTINATION_HEADER)},
            "allowed_client_headers": {"patterns": [*to_clients, ratelimits]},
            "allowed_client_headers_on_success": {"patterns": [*exactly("x-stoker-queue-seconds"), ratelimits]},
        },
    }
    return _filter(
        "envoy.filters.http.ext_authz",
        {
            "@type": f"{TYPE}{_FILTERS}.ext_authz.v3.ExtAuthz",
            "transport_api_version": "V3",
            "http_service": service,
            "failure_mode_allow": True,
            "clear_route_cache": True,
            "allowed_headers": {"patterns": exactly(TENANT_HEADER, KEY_ID_HEADER, "x-request-id")},
            "with_request_body": {
                "max_request_bytes": settings.body_bytes_max,
                "allow_partial_message": False,
                "pack_as_bytes": True,
            },
        },
    )


def _access_log() -> dict[str, Any]:
    config = {
        "@type": f"{TYPE}envoy.extensions.access_loggers.grpc.v3.HttpGrpcAccessLogConfig",
        "common_config": {
            "log_name": "stoker",
            "transport_api_version": "V3",
            "grpc_service": {"envoy_grpc": {"cluster_name": ACCESS_LOG_CLUSTER}},
            # A few milliseconds' worth of ends travel together: cheaper for the daemon under load, still prompt.
            "buffer_size_bytes": 4096,
            "buffer_flush_interval": "0.02s",
        },
    }
    return {"name": "envoy.access_loggers.http_grpc", "typed_config": config}


def _connection_manager(settings: GatewaySettings) -> dict[str, Any]:
    routes = settings.xds_dir / "rds.json"
    request_id = {
        "@type": f"{TYPE}envoy.extensions.request_id.uuid.v3.UuidRequestIdConfig",
        "pack_trace_reason": False,
        "use_request_id_for_trace_sampling": False,
    }
    router = {"@type": f"{TYPE}{_FILTERS}.router.v3.Router", "suppress_envoy_headers": True}
    return {
        "@type": f"{TYPE}envoy.extensions.filters.network.http_connection_manager.v3.HttpConnectionManager",
        "stat_prefix": STAT_PREFIX,
        "codec_type": "AUTO",
        "early_header_mutation_extensions": [_trust_boundary()],
        "use_remote_address": True,
        "skip_xff_append": True,
        "generate_request_id": True,
        "always_set_request_id_in_response": True,
        "request_id_extension": {"typed_config": request_id},
        "server_header_transformation": "PASS_THROUGH",
        "normalize_path": True,
        "merge_slashes": True,
        "path_with_escaped_slashes_action": "UNESCAPE_AND_FORWARD",
        "common_http_protocol_options": {
            "idle_timeout": "600s",
            "headers_with_underscores_action": "DROP_HEADER",
        },
        "request_headers_timeout": "30s",
        "request_timeout": "300s",  # to receive a request; its answer has no limit
        "stream_idle_timeout": "0s",  # a held request and a long prefill are silent for as long as they need
        "access_log": [_access_log()],
        "local_reply_config": local_reply_config(),
        "rds": {
            "route_config_name": ROUTES_NAME,
            "config_source": {"resource_api_version": "V3", "path_config_source": {"path": str(routes)}},
        },
        "http_filters": [
            _check_key(settings),
            _read_model(),
            _ask_control_plane(settings),
            _filter("envoy.filters.http.router", router),
        ],
    }


def listener(settings: GatewaySettings) -> dict[str, Any]:
    """The one listener, for LDS."""
    manager = _filter("envoy.filters.network.http_connection_manager", _connection_manager(settings))
    chain: dict[str, Any] = {"filters": [manager]}
    if settings.client_tls is not None:
        chain["transport_socket"] = downstream_socket(settings)
    return {
        "@type": f"{TYPE}envoy.config.listener.v3.Listener",
        "name": LISTENER_NAME,
        "address": {"socket_address": {"address": settings.listen_host, "port_value": settings.listen_port}},
        # Without reuse_port a second gateway on this port fails instead of silently taking half of the traffic.
        "enable_reuse_port": False,
        "per_connection_buffer_limit_bytes": settings.body_bytes_max,
        "filter_chains": [chain],
    }

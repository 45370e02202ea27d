"""Envoy's static bootstrap: its admin socket, the daemon's two sockets, and where its dynamic files lie.

Called by the supervisor, which replaces an Envoy whose bootstrap differs from what this renders. Pure. Everything that changes
while Envoy runs (listener, routes, clusters, endpoints, secrets) is in files of its own: see `endpoint_files`.
"""

from pathlib import Path
from typing import Any

from controlplane.gateway.cluster_config import http1_options, unbounded_breakers
from controlplane.gateway.facts import GatewaySettings
from controlplane.gateway.listener_config import ACCESS_LOG_CLUSTER, DECISION_CLUSTER
from controlplane.gateway.tls_config import TYPE

HEALTH_PATH = "/stoker-health"
_HTTP_OPTIONS = "envoy.extensions.upstreams.http.v3.HttpProtocolOptions"


def _pipe_cluster(name: str, socket: Path) -> dict[str, Any]:
    endpoint = {"endpoint": {"address": {"pipe": {"path": str(socket)}}}}
    return {
        "name": name,
        "type": "STATIC",
        "connect_timeout": "1s",
        "circuit_breakers": unbounded_breakers(),
        "load_assignment": {"cluster_name": name, "endpoints": [{"lb_endpoints": [endpoint]}]},
    }


def _decision_cluster(settings: GatewaySettings) -> dict[str, Any]:
    """A dead daemon refuses the connection at once; the health check is for one that hangs: its requests pass on, too."""
    return {
        **_pipe_cluster(DECISION_CLUSTER, settings.decision_socket),
        "typed_extension_protocol_options": http1_options(60.0),
        "common_lb_config": {"healthy_panic_threshold": {"value": 0}},
        "close_connections_on_host_health_failure": True,
        "health_checks": [
            {
                "http_health_check": {"path": HEALTH_PATH, "host": "decision"},
                "interval": "1s",
                "timeout": "2s",
                "unhealthy_interval": "1s",
                "no_traffic_interval": "1s",
                "unhealthy_threshold": 3,
                "healthy_threshold": 1,
            }
        ],
    }


def _access_log_cluster(settings: GatewaySettings) -> dict[str, Any]:
    http2 = {"@type": TYPE + _HTTP_OPTIONS, "explicit_http_config": {"http2_protocol_options": {}}}
    return {
        **_pipe_cluster(ACCESS_LOG_CLUSTER, settings.access_log_socket),
        "typed_extension_protocol_options": {_HTTP_OPTIONS: http2},
    }


def _overload(settings: GatewaySettings) -> dict[str, Any]:
    heap = "envoy.resource_monitors.fixed_heap"
    monitor = {
        "@type": f"{TYPE}envoy.extensions.resource_monitors.fixed_heap.v3.FixedHeapConfig",
        "max_heap_size_bytes": settings.memory_bytes_max,
    }
    connections = "envoy.resource_monitors.global_downstream_max_connections"
    counter = {
        "@type": f"{TYPE}envoy.extensions.resource_monitors.downstream_connections.v3.DownstreamConnectionsConfig",
        "max_active_downstream_connections": settings.connections_max,
    }

    def action(name: str, ratio: float) -> dict[str, Any]:
        return {"name": f"envoy.overload_actions.{name}", "triggers": [{"name": heap, "threshold": {"value": ratio}}]}

    return {
        "refresh_interval": "0.25s",
        "resource_monitors": [
            {"name": heap, "typed_config": monitor},
            {"name": connections, "typed_config": counter},
        ],
        "actions": [action("shrink_heap", 0.9), action("stop_accepting_requests", 0.95)],
    }


def bootstrap(settings: GatewaySettings) -> dict[str, Any]:
    """The whole static configuration."""

    def file(name: str) -> dict[str, Any]:
        return {"resource_api_version": "V3", "path_config_source": {"path": str(settings.xds_dir / name)}}

    return {
        "node": {"id": "stoker-gateway", "cluster": "stoker"},
        "admin": {"address": {"pipe": {"path": str(settings.admin_socket), "mode": 0o600}}},
        "dynamic_resources": {"lds_config": file("lds.json"), "cds_config": file("cds.json")},
        "static_resources": {"clusters": [_decision_cluster(settings), _access_log_cluster(settings)]},
        "overload_manager": _overload(settings),
    }

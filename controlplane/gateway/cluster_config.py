"""Clusters and endpoints: one cluster per model, so that a request can never leave the engines of its model.

Called by `endpoint_files`. Pure: facts in, Envoy's messages out. The endpoints stand in the cluster itself rather than in an
EDS file each: Envoy watches every file through an inotify instance of its own, of which a user has 128 by default, and it
aborts when there are no more. When a model's engines change, Envoy replaces its cluster; answers that are under way go on.
"""

import ipaddress
from typing import Any

from controlplane.gateway.facts import GatewayModel, GatewaySettings
from controlplane.gateway.tls_config import TYPE, upstream_socket

DESTINATION_HEADER = "x-gateway-destination-endpoint"
DECISION_METADATA = "envoy.filters.http.ext_authz"
UNBOUNDED = 1_000_000  # Envoy's own limits (1,024) are too low: requests are held and streams are long
_LB = "envoy.extensions.load_balancing_policies"


def unbounded_breakers() -> dict[str, Any]:
    """Admission is the control plane's business; Envoy only bounds retries, to a quarter of what is running."""
    budget = {"budget_percent": {"value": 25.0}, "min_retry_concurrency": 16}
    threshold = {
        "max_connections": UNBOUNDED,
        "max_pending_requests": UNBOUNDED,
        "max_requests": UNBOUNDED,
        "retry_budget": budget,
    }
    return {"thresholds": [threshold]}


def http1_options(idle_seconds: float) -> dict[str, Any]:
    """HTTP/1.1 to the upstream; idle connections are closed by us, before the other side does it while we send."""
    kind = "envoy.extensions.upstreams.http.v3.HttpProtocolOptions"
    return {
        kind: {
            "@type": f"{TYPE}{kind}",
            "common_http_protocol_options": {"idle_timeout": f"{idle_seconds}s"},
            "explicit_http_config": {"http_protocol_options": {}},
        }
    }


def _balancing() -> dict[str, Any]:
    """The decision's list, best first; without one (the daemon is dead) the engine with the fewest requests."""
    least = {
        "name": "envoy.load_balancing_policies.least_request",
        "typed_config": {"@type": f"{TYPE}{_LB}.least_request.v3.LeastRequest"},
    }
    source = {"metadata": {"key": DECISION_METADATA, "path": [{"key": DESTINATION_HEADER}]}}
    override = {
        "@type": f"{TYPE}{_LB}.override_host.v3.OverrideHost",
        "override_host_sources": [source],
        "fallback_policy": {"policies": [{"typed_extension_config": least}]},
    }
    chosen = {"name": "envoy.load_balancing_policies.override_host", "typed_config": override}
    return {"policies": [{"typed_extension_config": chosen}]}


def cluster(settings: GatewaySettings, model: GatewayModel) -> dict[str, Any]:
    """One model's cluster."""
    rendered: dict[str, Any] = {
        "@type": f"{TYPE}envoy.config.cluster.v3.Cluster",
        "name": model.cluster,
        "type": "STATIC",
        "load_assignment": _load_assignment(model),
        "connect_timeout": f"{settings.connect_seconds_max}s",
        "per_connection_buffer_limit_bytes": 1 << 18,
        "circuit_breakers": unbounded_breakers(),
        "typed_extension_protocol_options": http1_options(settings.engine_idle_seconds),
        "load_balancing_policy": _balancing(),
        # Only what we see ourselves (no connection, cut off) counts: an engine's 5xx may be the request's fault.
        "outlier_detection": {
            "split_external_local_origin_errors": True,
            "consecutive_local_origin_failure": 3,
            "enforcing_consecutive_5xx": 0,
            "enforcing_consecutive_gateway_failure": 0,
            "enforcing_success_rate": 0,
            "enforcing_local_origin_success_rate": 0,
            "interval": "1s",
            "base_ejection_time": "5s",
            "max_ejection_time": "30s",
            "max_ejection_percent": 50,
        },
        "upstream_connection_options": {
            "tcp_keepalive": {"keepalive_time": 20, "keepalive_interval": 5, "keepalive_probes": 3}
        },
    }
    if settings.upstream_tls is not None:
        rendered["transport_socket"] = upstream_socket(settings, "")
        nodes = sorted({engine.node for engine in model.engines if engine.node})
        if nodes:
            rendered["transport_socket_matches"] = [
                {"name": node, "match": {"node": node}, "transport_socket": upstream_socket(settings, node)}
                for node in nodes
            ]
    return rendered


def _load_assignment(model: GatewayModel) -> dict[str, Any]:
    """One model's endpoints, in a stable order."""
    endpoints = []
    seen: set[str] = set()
    for engine in sorted(model.engines, key=lambda engine: engine.endpoint):
        if engine.endpoint in seen:
            continue
        seen.add(engine.endpoint)
        address = {"address": str(ipaddress.ip_address(engine.host)), "port_value": engine.port}
        entry: dict[str, Any] = {"endpoint": {"address": {"socket_address": address}}}
        if engine.node:
            entry["metadata"] = {"filter_metadata": {"envoy.transport_socket_match": {"node": engine.node}}}
        endpoints.append(entry)
    return {
        "cluster_name": model.cluster,
        "endpoints": [{"lb_endpoints": endpoints}] if endpoints else [],
    }

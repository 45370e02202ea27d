"""The rendered configuration is valid for Envoy's own schema, and keeps models apart whatever they are called."""

import json
from pathlib import Path
from typing import Any

import pytest
from envoy.config.bootstrap.v3.bootstrap_pb2 import Bootstrap
from envoy.config.cluster.v3.cluster_pb2 import Cluster
from envoy.config.core.v3.extension_pb2 import TypedExtensionConfig
from envoy.config.listener.v3.listener_pb2 import Listener
from envoy.config.route.v3.route_pb2 import RouteConfiguration
from envoy.extensions.access_loggers.grpc.v3 import als_pb2  # noqa: F401 - the schema of an extension that is rendered
from envoy.extensions.filters.http.ext_authz.v3 import ext_authz_pb2  # noqa: F401
from envoy.extensions.filters.http.json_to_metadata.v3 import json_to_metadata_pb2  # noqa: F401
from envoy.extensions.filters.http.jwt_authn.v3 import config_pb2  # noqa: F401
from envoy.extensions.filters.http.router.v3 import router_pb2  # noqa: F401
from envoy.extensions.filters.network.http_connection_manager.v3 import http_connection_manager_pb2  # noqa: F401
from envoy.extensions.http.early_header_mutation.header_mutation.v3 import header_mutation_pb2  # noqa: F401
from envoy.extensions.load_balancing_policies.least_request.v3 import least_request_pb2  # noqa: F401
from envoy.extensions.load_balancing_policies.override_host.v3 import override_host_pb2  # noqa: F401
from envoy.extensions.request_id.uuid.v3 import uuid_pb2  # noqa: F401
from envoy.extensions.resource_monitors.downstream_connections.v3 import downstream_connections_pb2  # noqa: F401
from envoy.extensions.resource_monitors.fixed_heap.v3 import fixed_heap_pb2  # noqa: F401
from envoy.extensions.retry.host.previous_hosts.v3 import previous_hosts_pb2  # noqa: F401
from envoy.extensions.transport_sockets.tls.v3 import secret_pb2, tls_pb2  # noqa: F401
from envoy.extensions.upstreams.http.v3 import http_protocol_options_pb2  # noqa: F401
from google.protobuf.json_format import ParseDict

from controlplane.gateway.cluster_config import cluster
from controlplane.gateway.envoy_config import bootstrap
from controlplane.gateway.facts import (
    GatewayEngine,
    GatewayModel,
    GatewayModels,
    GatewaySettings,
    ServerTls,
    UpstreamTls,
)
from controlplane.gateway.listener_config import key_check, listener
from controlplane.gateway.route_config import route_configuration

PEM = Path("/pem")
PLAIN = GatewaySettings(run_dir=Path("/run/stoker"), jwks_path=Path("/run/stoker/jwks.json"), insecure_upstreams=True)
SECURE = GatewaySettings(
    run_dir=Path("/run/stoker"),
    jwks_path=Path("/run/stoker/jwks.json"),
    client_tls=ServerTls(PEM, PEM),
    upstream_tls=UpstreamTls(PEM, PEM, PEM),
)
ENGINES = (
    GatewayEngine("a@n1", "org/a", "10.0.0.1", 8000, "n1"),
    GatewayEngine("a@n2", "org/a", "fd00::2", 8000, "n2"),
    GatewayEngine("b@n1", "org-a", "10.0.0.1", 8001, "n1"),
)
MODELS = GatewayModels.of(ENGINES, ("empty",))


def parsed(message: Any, rendered: dict[str, Any]) -> Any:
    return ParseDict({key: value for key, value in rendered.items() if key != "@type"}, message)


@pytest.mark.parametrize("settings", [PLAIN, SECURE])
def test_everything_fits_the_schema(settings: GatewaySettings) -> None:
    parsed(Bootstrap(), bootstrap(settings))
    parsed(Listener(), listener(settings))
    parsed(TypedExtensionConfig(), key_check("{}"))
    parsed(RouteConfiguration(), route_configuration(MODELS))
    for model in MODELS.models:
        parsed(Cluster(), cluster(settings, model))


def test_each_model_has_its_own_cluster_with_its_own_engines_only() -> None:
    clusters = {model.name: cluster(SECURE, model) for model in MODELS.models}
    assert len({rendered["name"] for rendered in clusters.values()}) == 3

    def ports(name: str) -> list[int]:
        groups = clusters[name]["load_assignment"]["endpoints"]
        return [
            entry["endpoint"]["address"]["socket_address"]["port_value"] for g in groups for entry in g["lb_endpoints"]
        ]

    assert (ports("org/a"), ports("org-a"), ports("empty")) == ([8000, 8000], [8001], [])


def test_engines_are_held_to_the_name_of_their_node() -> None:
    rendered = cluster(SECURE, MODELS.models[-1])
    assert rendered["name"].startswith("model-org-a-")
    text = json.dumps(rendered["transport_socket_matches"])
    assert '"prefix": "stoker://node/n1?id="' in text  # whole names only: "n1" must not take "n10"
    assert '"prefix": "stoker://node/n2?id="' in text
    assert '"prefix": "stoker://node/"' not in text
    assert '"prefix": "stoker://node/"' in json.dumps(rendered["transport_socket"])
    assert "transport_socket" not in cluster(PLAIN, MODELS.models[-1])


def test_only_the_decision_is_asked_for_inference_and_only_there() -> None:
    routes = route_configuration(MODELS)["virtual_hosts"][0]["routes"]
    undecided = [route for route in routes if "typed_per_filter_config" in route]
    decided = [route for route in routes if "typed_per_filter_config" not in route]
    assert all(route["match"]["headers"][0]["string_match"] == {"exact": "POST"} for route in decided)
    assert len(decided) == len(MODELS.models) + 3
    assert all("direct_response" in route for route in undecided)
    assert routes[-1]["match"] == {"prefix": "/"}
    assert routes[-1]["direct_response"]["status"] == 404


def test_keys_fail_closed_and_decisions_fail_open() -> None:
    manager = listener(PLAIN)["filter_chains"][0]["filters"][0]["typed_config"]
    names = [entry["name"] for entry in manager["http_filters"]]
    assert names == [f"envoy.filters.http.{name}" for name in ("jwt_authn", "json_to_metadata", "ext_authz", "router")]
    rules = key_check("{}")["typed_config"]["rules"]
    assert rules == [{"match": {"prefix": "/"}, "requires": {"provider_name": "api_keys"}}]
    assert manager["http_filters"][2]["typed_config"]["failure_mode_allow"] is True


def test_model_without_context_limit_shows_none() -> None:
    models = GatewayModels((GatewayModel("m", (), created_unix=7, context_tokens_max=4096), GatewayModel("n")))
    routes = route_configuration(models)["virtual_hosts"][0]["routes"]
    listed = next(r for r in routes if r["match"].get("path") == "/v1/models" and r["direct_response"]["status"] == 200)
    assert json.loads(listed["direct_response"]["body"]["inline_string"])["data"] == [
        {"id": "m", "object": "model", "created": 7, "owned_by": "stoker", "max_model_len": 4096},
        {"id": "n", "object": "model", "created": 0, "owned_by": "stoker"},
    ]

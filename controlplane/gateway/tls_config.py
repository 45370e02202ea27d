"""TLS towards clients and engines, as Envoy's secrets and transport sockets.

Called by the listener and cluster rendering. Files are only named: Envoy reads them, again whenever they are replaced by
rename, so certificates are renewed without a restart.
"""

from pathlib import Path
from typing import Any

from controlplane.gateway.facts import GatewaySettings

TYPE = "type.googleapis.com/"
NODE_URI_PREFIX = "stoker://node/"


def secret_files(settings: GatewaySettings) -> dict[str, dict[str, Any]]:
    """File name under the sds directory → its one secret."""
    files: dict[str, dict[str, Any]] = {}
    if settings.client_tls is not None:
        files["server.json"] = _certificate("server", settings.client_tls.certificate, settings.client_tls.key)
    if settings.upstream_tls is not None:
        tls = settings.upstream_tls
        files["gateway.json"] = _certificate("gateway", tls.certificate, tls.key)
        validation: dict[str, Any] = {
            "trusted_ca": {"filename": str(tls.ca)},
            "watched_directory": {"path": str(tls.ca.parent)},
        }
        files["node_ca.json"] = {"name": "node_ca", "validation_context": validation}
    return files


def _certificate(name: str, certificate: Path, key: Path) -> dict[str, Any]:
    return {
        "name": name,
        "tls_certificate": {
            "certificate_chain": {"filename": str(certificate)},
            "private_key": {"filename": str(key)},
            "watched_directory": {"path": str(certificate.parent)},
        },
    }


def _secret(settings: GatewaySettings, name: str) -> dict[str, Any]:
    path = settings.xds_dir / "sds" / f"{name}.json"
    return {"name": name, "sds_config": {"resource_api_version": "V3", "path_config_source": {"path": str(path)}}}


def downstream_socket(settings: GatewaySettings) -> dict[str, Any]:
    """TLS towards clients."""
    context = {
        "@type": f"{TYPE}envoy.extensions.transport_sockets.tls.v3.DownstreamTlsContext",
        "common_tls_context": {
            "alpn_protocols": ["h2", "http/1.1"],
            "tls_params": {"tls_minimum_protocol_version": "TLSv1_2"},
            "tls_certificate_sds_secret_configs": [_secret(settings, "server")],
        },
    }
    return {"name": "envoy.transport_sockets.tls", "typed_config": context}


def upstream_socket(settings: GatewaySettings, node: str) -> dict[str, Any]:
    """Mutual TLS to the engines of one node: signed by our CA *and* naming that node; "" takes any node, never an operator."""
    # A node's name in its certificate goes on with the id of its enrolment: stoker://node/NAME?id=…
    name = {"prefix": f"{NODE_URI_PREFIX}{node}?id=" if node else NODE_URI_PREFIX}
    context = {
        "@type": f"{TYPE}envoy.extensions.transport_sockets.tls.v3.UpstreamTlsContext",
        "common_tls_context": {
            "tls_params": {"tls_minimum_protocol_version": "TLSv1_2"},
            "tls_certificate_sds_secret_configs": [_secret(settings, "gateway")],
            "combined_validation_context": {
                "default_validation_context": {"match_typed_subject_alt_names": [{"san_type": "URI", "matcher": name}]},
                "validation_context_sds_secret_config": _secret(settings, "node_ca"),
            },
        },
    }
    return {"name": "envoy.transport_sockets.tls", "typed_config": context}

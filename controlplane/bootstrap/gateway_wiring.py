"""The gateway's part of the composition root: Envoy, its files, the decision service, the access log. Part of `bootstrap`."""

import json
import os
import socket
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path

import grpc
import structlog

from controlplane.clock import Clock
from controlplane.fleet.endpoints import PublishedFleet
from controlplane.gateway.decision_app import Decide, DecisionApp
from controlplane.gateway.decision_server import DecisionServer
from controlplane.gateway.endpoint_files import XdsFiles
from controlplane.gateway.facts import GatewaySettings, ServerTls, UpstreamTls
from controlplane.gateway.published import gateway_models
from controlplane.gateway.supervisor import EnvoySupervisor
from controlplane.identity.api_keys import ApiKeySigner
from controlplane.identity.authority import Authority
from controlplane.rpc.access_log import OnEnd, access_log_server
from controlplane.settings import Settings

log = structlog.get_logger(__name__)


@dataclass(frozen=True, slots=True)
class Gateway:
    settings: GatewaySettings
    files: XdsFiles
    envoy: EnvoySupervisor
    decisions: DecisionServer
    access_log: grpc.aio.Server

    @property
    def address(self) -> str:
        """ "host:port" at which clients send requests."""
        return f"{self.settings.listen_host}:{self.settings.listen_port}"

    @property
    def state(self) -> str:
        return "serving" if self.envoy.status.pid is not None else "down: Envoy does not run, see the daemon's log"

    def publish(self, fleet: PublishedFleet) -> bool:
        """Put the fleet where Envoy reads it. A full disk must not take the daemon down: False, to be tried again."""
        try:
            self.files.apply(gateway_models(fleet))
        except OSError as error:
            log.error("endpoints_not_published", error=str(error))
            return False
        return True


def gateway_of(
    settings: Settings,
    authority: Authority,
    signer: ApiKeySigner,
    decide: Decide,
    on_end: OnEnd,
    clock: Clock,
    now: datetime,
) -> Gateway:
    """Make the gateway's parts; nothing runs yet."""
    run_dir = settings.data_dir / "run"
    run_dir.mkdir(mode=0o700, exist_ok=True)
    jwks_path = run_dir / "jwks.json"
    _replace(jwks_path, json.dumps(signer.jwks()))
    own = authority.gateway_credentials(now)
    configured = settings.gateway
    tls = None
    if configured.tls_certificate_file is not None and configured.tls_key_file is not None:
        tls = ServerTls(configured.tls_certificate_file, configured.tls_key_file)
    facts = GatewaySettings(
        run_dir=run_dir,
        jwks_path=jwks_path,
        listen_host=configured.host,
        listen_port=configured.port or _kept_free_port(run_dir / "gateway.port", configured.host),
        client_tls=tls,
        upstream_tls=UpstreamTls(own.certificate, own.key, authority.ca_file),
        body_bytes_max=configured.body_bytes_max,
        drain_seconds_max=configured.drain_seconds_max,
        concurrency=configured.concurrency or os.cpu_count() or 1,
        envoy_path=configured.envoy_path,
    )
    files = XdsFiles(facts)
    return Gateway(
        facts,
        files,
        EnvoySupervisor(facts, files, clock),
        DecisionServer(DecisionApp(decide, clock), facts.decision_socket),
        access_log_server(facts.access_log_socket, on_end),
    )


def _kept_free_port(path: Path, host: str) -> int:
    """A free port, the same at every start of this data directory: a gateway that outlived us must be found again."""
    try:
        return int(path.read_text())
    except (OSError, ValueError):
        with socket.create_server((host, 0)) as probe:
            port = int(probe.getsockname()[1])
        _replace(path, f"{port}\n")
        return port


def _replace(path: Path, text: str) -> None:
    fresh = path.with_suffix(".tmp")
    fresh.write_text(text)
    fresh.replace(path)

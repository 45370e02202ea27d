"""What the gateway is told: frozen inputs of the configuration that Envoy gets.

Made by `bootstrap` from settings and by services from the fleet's snapshot; read by the rendering modules, the supervisor and
the decision service. Holds no keys, opens no files.
"""

import hashlib
import ipaddress
import re
from dataclasses import dataclass
from pathlib import Path

from controlplane.errors import ConfigurationError, InvalidInputError
from controlplane.fleet.ids import model_name

_KEY_ID = re.compile(r"[A-Za-z0-9_-]{1,64}")  # becomes part of a regular expression
SOCKET_PATH_BYTES_MAX = 107  # sockaddr_un holds 108 bytes with the closing zero


@dataclass(frozen=True, slots=True)
class GatewayEngine:
    """An engine that may get traffic. `host` is an IP address: the data plane never waits for DNS.

    `node` is the name in the engine's certificate; "" accepts any node of the fleet.
    """

    engine_id: str
    model: str
    host: str
    port: int
    node: str = ""

    def __post_init__(self) -> None:
        try:
            ipaddress.ip_address(self.host)
        except ValueError as error:
            raise InvalidInputError(
                f"engine {self.engine_id}: {self.host!a} is not an IP address; the node must advertise an address, not a name"
            ) from error
        if not 0 < self.port < 65536:
            raise InvalidInputError(f"engine {self.engine_id}: port {self.port} is not between 1 and 65535")

    @property
    def endpoint(self) -> str:
        """As the decision names it to Envoy, and as Envoy's access log names it to us."""
        return f"[{self.host}]:{self.port}" if ":" in self.host else f"{self.host}:{self.port}"


@dataclass(frozen=True, slots=True)
class GatewayModel:
    """A model that clients may ask for. With no engine it answers 503, where an unknown one answers 404."""

    name: str
    engines: tuple[GatewayEngine, ...] = ()
    created_unix: int = 0  # seconds; shown by /v1/models
    context_tokens_max: int | None = None

    def __post_init__(self) -> None:
        model_name(self.name)
        for engine in self.engines:
            if engine.model != self.name:
                raise InvalidInputError(f"engine {engine.engine_id} serves {engine.model}, not {self.name}")

    @property
    def cluster(self) -> str:
        """The name of the model's cluster in Envoy: readable, safe in file names and statistics, unique."""
        slug = re.sub(r"[^A-Za-z0-9-]", "-", self.name)[:40]
        return f"model-{slug}-{hashlib.sha256(self.name.encode()).hexdigest()[:10]}"


@dataclass(frozen=True, slots=True)
class GatewayModels:
    """All that the data plane can reach at one moment."""

    models: tuple[GatewayModel, ...] = ()
    revoked_key_ids: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        if not all(_KEY_ID.fullmatch(key_id) for key_id in self.revoked_key_ids):
            raise InvalidInputError("a revoked key's id has other characters than letters, digits, - and _")
        names = [model.name for model in self.models]
        if len(names) != len(set(names)):
            raise InvalidInputError("a model is listed twice")

    @classmethod
    def of(cls, engines: tuple[GatewayEngine, ...], names: tuple[str, ...] = ()) -> "GatewayModels":
        """Group engines by model; `names` adds models that have no engine at the moment."""
        by_model: dict[str, list[GatewayEngine]] = {name: [] for name in names}
        for engine in engines:
            by_model.setdefault(engine.model, []).append(engine)
        return cls(tuple(GatewayModel(name, tuple(by_model[name])) for name in sorted(by_model)))


@dataclass(frozen=True, slots=True)
class ServerTls:
    """PEM files of the certificate that clients see. Replace them by rename and Envoy takes the new ones."""

    certificate: Path
    key: Path


@dataclass(frozen=True, slots=True)
class UpstreamTls:
    """PEM files of the gateway's own certificate towards engines, and of the CA that signs the nodes'."""

    certificate: Path
    key: Path
    ca: Path


@dataclass(frozen=True, slots=True)
class GatewaySettings:
    """How the gateway runs. All sockets and generated files live under `run_dir`."""

    run_dir: Path
    jwks_path: Path  # the public keys that sign API keys; replaced by rename to rotate
    listen_host: str = "0.0.0.0"  # noqa: S104 - the gateway is what clients are meant to reach
    listen_port: int = 8080
    client_tls: ServerTls | None = None  # None: plain HTTP towards clients
    upstream_tls: UpstreamTls | None = None
    insecure_upstreams: bool = False  # plain HTTP to engines; for tests only
    body_bytes_max: int = 10_000_000
    memory_bytes_max: int = 1 << 30  # Envoy refuses new requests before its heap passes this
    connections_max: int = 20_000  # clients' connections; more are closed as they come
    held_requests_max: int = 5_000  # only to check the limit of open files
    connect_seconds_max: float = 2.0
    engine_idle_seconds: float = 3.0  # below the 5 s after which uvicorn closes an idle connection
    decision_seconds_max: float = 3600.0  # how long a request may be held
    drain_seconds_max: float = 30.0
    concurrency: int = 2  # Envoy's worker threads
    envoy_path: Path | None = None  # None: beside this Python, else on the PATH

    def __post_init__(self) -> None:
        if self.upstream_tls is None and not self.insecure_upstreams:
            raise ConfigurationError("gateway: upstream_tls is missing; plain HTTP to engines needs insecure_upstreams")
        if self.body_bytes_max < 1024 or self.body_bytes_max > 1 << 30:
            raise ConfigurationError(f"gateway: body_bytes_max {self.body_bytes_max} is not between 1024 and 1 GiB")
        if self.concurrency < 1:
            raise ConfigurationError("gateway: concurrency must be 1 or more")
        for path in (self.decision_socket, self.access_log_socket, self.admin_socket):
            if len(str(path).encode()) > SOCKET_PATH_BYTES_MAX:
                raise ConfigurationError(
                    f"gateway: the socket path {path} is longer than {SOCKET_PATH_BYTES_MAX} bytes; choose a shorter run_dir"
                )

    @property
    def decision_socket(self) -> Path:
        return self.run_dir / "decision.sock"

    @property
    def access_log_socket(self) -> Path:
        return self.run_dir / "accesslog.sock"

    @property
    def admin_socket(self) -> Path:
        return self.run_dir / "envoy-admin.sock"

    @property
    def bootstrap_path(self) -> Path:
        return self.run_dir / "envoy-bootstrap.json"

    @property
    def state_path(self) -> Path:
        return self.run_dir / "envoy-state.json"

    @property
    def log_path(self) -> Path:
        return self.run_dir / "envoy.log"

    @property
    def xds_dir(self) -> Path:
        return self.run_dir / "xds"

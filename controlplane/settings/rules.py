"""What must hold between settings, and between a setting and the machine.

Called by `settings.loading`, for every rule whose settings are fine by themselves. A rule reads files where it must
(does it exist, can we read it); it never changes anything.
"""

import itertools
import os
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import urlsplit

from controlplane.errors import InvalidInputError
from controlplane.settings.hosts import checked_hosts, is_loopback
from controlplane.settings.model import Settings

DATABASE_SCHEMES = ("sqlite", "postgresql", "postgresql+psycopg", "postgres")


@dataclass(frozen=True, slots=True)
class Rule:
    keys: tuple[str, ...]  # the first that was set by somebody is the one that is blamed
    broken: Callable[[Settings], str]  # what is wrong and what to do; "": nothing


def _rises(settings: Settings) -> str:
    fleet = settings.fleet
    steps = [fleet.report_interval_seconds, fleet.fresh_seconds, fleet.stale_seconds, fleet.lost_seconds]
    if all(a < b for a, b in itertools.pairwise(steps)):
        return ""
    told = " < ".join(f"{step:g}" for step in steps)
    return (
        "report_interval_seconds < fresh_seconds < stale_seconds < lost_seconds must hold, "
        f"and {told} does not; change one of them"
    )


def _ports_differ(settings: Settings) -> str:
    ports = {
        "server.port": settings.server.port,
        "server.enrolment_port": settings.server.enrolment_port,
        "gateway.port": settings.gateway.port,
        **({"metrics.port": settings.metrics.port} if settings.metrics.enabled else {}),
    }
    for name, port in ports.items():
        for other, same in ports.items():
            if name < other and port == same != 0:
                return f"{name} and {other} are both {port}; give each a port of its own"
    return ""


def _tls_is_whole(settings: Settings) -> str:
    gateway = settings.gateway
    if (gateway.tls_certificate_file is None) == (gateway.tls_key_file is None):
        return ""
    return "tls_certificate_file and tls_key_file go together; set both or none"


def _plain_http_stays_here(settings: Settings) -> str:
    gateway = settings.gateway
    if gateway.tls_certificate_file is not None or gateway.insecure or is_loopback(gateway.host):
        return ""
    return (
        f"would serve plain HTTP to other machines on {gateway.host}, API keys and prompts in clear; set "
        "tls_certificate_file and tls_key_file, or insecure = true if something in front of it does TLS"
    )


def _metrics_tls_is_whole(settings: Settings) -> str:
    metrics = settings.metrics
    files = (metrics.tls_certificate_file, metrics.tls_key_file, metrics.client_ca_file)
    if all(file is None for file in files) or None not in files:
        return ""
    return "tls_certificate_file, tls_key_file and client_ca_file go together; set all three or none"


def _plain_metrics_stay_here(settings: Settings) -> str:
    metrics = settings.metrics
    safe = metrics.tls_certificate_file is not None or metrics.insecure or is_loopback(metrics.host)
    if safe or not metrics.enabled:
        return ""
    return (
        f"would show the metrics to other machines on {metrics.host}, to whoever asks; set tls_certificate_file, tls_key_file "
        "and client_ca_file, or insecure = true if the network in front of it lets only Prometheus in"
    )


def _finer_goes_first(settings: Settings) -> str:
    history = settings.history
    hours = [history.samples_retention_hours, history.minutes_retention_days * 24, history.hours_retention_days * 24]
    if hours[0] <= hours[1] <= hours[2]:
        return ""
    told = " h, ".join(f"{each:g}" for each in hours)
    return f"samples, minutes and hours are kept for {told} h, and none may be kept for longer than the next; change one of them"


def _database_url(settings: Settings) -> str:
    url = settings.database.url
    if url is None:
        return ""
    try:
        parts = urlsplit(url)
    except ValueError:
        return "is not a URL; write postgresql://user@host:5432/database"
    if parts.scheme not in DATABASE_SCHEMES or "://" not in url:
        return "must begin with postgresql:// or sqlite:////; write postgresql://user@host:5432/database"
    if parts.scheme == "sqlite" and (parts.netloc or not parts.path.startswith("//")):
        return "must name an absolute path for SQLite; write sqlite:////directory/stoker.db, with four slashes"
    if parts.scheme != "sqlite" and len(parts.path) < 2:
        return "names no database; write postgresql://user@host:5432/database"
    return ""


def _one_password(settings: Settings) -> str:
    database = settings.database
    if (database.password is None and database.password_file is None) or _database_url(settings):
        return ""
    if database.password is not None and database.password_file is not None:
        return "password and password_file are both set; keep one"
    if database.url is None or database.url.startswith("sqlite"):
        return "SQLite has no password; remove it, or set database.url to a PostgreSQL"
    user_info, at, _ = urlsplit(database.url).netloc.rpartition("@")
    if not at or not user_info:
        return "database.url names no user whose password this is; write postgresql://user@host:5432/database"
    return "database.url has a password, too; keep one" if ":" in user_info else ""


def _readable(key: str) -> Rule:
    def broken(settings: Settings) -> str:
        group, _, name = key.partition(".")
        path: Path | None = getattr(getattr(settings, group), name)
        if path is None:
            return ""
        if not path.is_file():
            return f"there is no file {path}; name one that exists"
        return (
            "" if os.access(path, os.R_OK) else f"cannot read {path}; give it to the user that runs the control plane"
        )

    return Rule((key,), broken)


def _envoy_runs(settings: Settings) -> str:
    path = settings.gateway.envoy_path
    if path is None or (path.is_file() and os.access(path, os.X_OK)):
        return ""
    return f"{path} is no program that can be run; name Envoy's binary, or leave it out to use the packaged one"


def _hosts_are_hosts(settings: Settings) -> str:
    try:
        checked_hosts(settings.server.hosts)
    except InvalidInputError as error:
        return str(error)
    return ""


def _data_dir_is_a_directory(settings: Settings) -> str:
    path = settings.data_dir
    if not path.is_absolute() or any(character in str(path) for character in "\0?"):
        return "cannot be a data directory; write a path, without question marks"
    return f"{path} is not a directory; name another" if path.exists() and not path.is_dir() else ""


RULES: tuple[Rule, ...] = (
    Rule(("data_dir",), _data_dir_is_a_directory),
    Rule(("server.hosts",), _hosts_are_hosts),
    Rule(("fleet.report_interval_seconds", "fleet.fresh_seconds", "fleet.stale_seconds", "fleet.lost_seconds"), _rises),
    Rule(("server.enrolment_port", "server.port", "gateway.port", "metrics.port"), _ports_differ),
    Rule(("gateway.tls_certificate_file", "gateway.tls_key_file"), _tls_is_whole),
    Rule(("gateway.host", "gateway.tls_certificate_file", "gateway.insecure"), _plain_http_stays_here),
    Rule(("metrics.tls_certificate_file", "metrics.tls_key_file", "metrics.client_ca_file"), _metrics_tls_is_whole),
    Rule(("metrics.host", "metrics.tls_certificate_file", "metrics.insecure"), _plain_metrics_stay_here),
    Rule(
        ("history.samples_retention_hours", "history.minutes_retention_days", "history.hours_retention_days"),
        _finer_goes_first,
    ),
    Rule(("database.url",), _database_url),
    Rule(("database.password_file", "database.password", "database.url"), _one_password),
    _readable("gateway.tls_certificate_file"),
    _readable("gateway.tls_key_file"),
    _readable("metrics.tls_certificate_file"),
    _readable("metrics.tls_key_file"),
    _readable("metrics.client_ca_file"),
    _readable("database.password_file"),
    Rule(("gateway.envoy_path",), _envoy_runs),
)

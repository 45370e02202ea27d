"""Puts figures under their names: the fleet's, the requests', the daemon's own. Pure; called by `page`, in a thread."""

from collections.abc import Mapping

from controlplane.exposition.catalogue import GROWTH
from controlplane.exposition.daemon_figures import DaemonFigures
from controlplane.exposition.engine_rows import REASONS, STATES, TRUSTS
from controlplane.exposition.families import Families, labelled
from controlplane.exposition.fleet_figures import FleetFigures, GroupFigures, PlaceFigures
from controlplane.fleet.hardware import MemoryUse
from controlplane.fleet.observed import Severity
from controlplane.runtime.engine_totals import COUNTERS, Group, Totals

_RESTARTS, *_GROWN = (entry.name for entry in GROWTH)  # in the order of COUNTERS
_STATES, _TRUSTS, _REASONS = ([each.value for each in kind] for kind in (STATES, TRUSTS, REASONS))
_GROUP, _PLACE = ("model", "provider", "region"), ("provider", "region")
_NODE_STATES = ("connected", "disconnected", "lost")


def fill_fleet(page: Families, figures: FleetFigures, totals: Mapping[Group, Totals]) -> None:
    """Every state, trust and reason is told also where it is zero, so that an alert can compare."""
    for group, item in sorted(figures.groups.items()):
        _fill_group(page, labelled(_GROUP, group), item)
    for group, total in sorted(totals.items()):
        labels = labelled(_GROUP, group)
        page.put_labelled(_RESTARTS, total.restarts, labels)
        for name, value in zip(_GROWN, total.values, strict=True):
            page.put_labelled(name, value, labels)
    for place, each in sorted(figures.places.items()):
        _fill_place(page, labelled(_PLACE, place), each)


def _fill_group(page: Families, labels: str, item: GroupFigures) -> None:
    for name, label, values, counts in (
        ("stoker_engines", "state", _STATES, item.states),
        ("stoker_engines_by_trust", "trust", _TRUSTS, item.trusts),
        ("stoker_engines_unroutable", "reason", _REASONS, item.unroutable),
    ):
        for value, count in zip(values, counts, strict=True):
            page.put_labelled(name, count, f'{labels},{label}="{value}"')
    for name, figure in (
        ("stoker_kv_capacity_tokens", item.kv_capacity_tokens),
        ("stoker_kv_used_tokens", item.kv_used_tokens),
        ("stoker_kv_headroom_tokens", item.kv_headroom_tokens),
        ("stoker_requests_running", item.running),
        ("stoker_requests_waiting", item.waiting),
        ("stoker_requests_inflight", item.inflight),
        ("stoker_resident_chunks", item.resident_chunks),
        ("stoker_peak_flops_per_second", item.peak_flops_per_second),
        ("stoker_peak_bytes_per_second", item.peak_bytes_per_second),
    ):
        page.put_labelled(name, figure, labels)


def _fill_place(page: Families, labels: str, item: PlaceFigures) -> None:
    for state in _NODE_STATES:
        page.put_labelled("stoker_nodes", item.nodes[state], f'{labels},state="{state}"')
    page.put_labelled("stoker_nodes_cordoned", item.cordoned, labels)
    for kind, count in sorted(item.devices.items()):
        page.put_labelled("stoker_devices", count, f"{labels},{labelled(('kind',), (kind,))}")
    for severity in Severity:
        page.put_labelled("stoker_device_faults", item.faults.get(severity, 0), f'{labels},severity="{severity.value}"')
    for use in MemoryUse:
        page.put_labelled("stoker_device_memory_bytes", item.memory_bytes.get(use), f'{labels},use="{use.value}"')


def fill_requests(page: Families, figures: DaemonFigures, *, tenants: bool) -> None:
    counts = figures.requests
    for (model, decided), count in sorted(counts.decisions.items(), key=lambda item: (item[0][0], item[0][1].value)):
        page.put("stoker_decisions_total", count, model, decided.value)
    for (model, reason), count in sorted(counts.refusals.items()):
        page.put("stoker_refusals_total", count, model, reason)
    page.put_histogram("stoker_decision_duration_seconds", counts.decision_seconds)
    for (model, place, outcome), count in counts.ends.items():
        page.put("stoker_requests_total", count, model, place.provider, place.region, outcome.value)
    for model, histogram in sorted(counts.duration_seconds.items()):
        page.put_histogram("stoker_request_duration_seconds", histogram, model)
    for model, histogram in sorted(counts.first_byte_seconds.items()):
        page.put_histogram("stoker_request_first_byte_seconds", histogram, model)
    if tenants:
        for (tenant, outcome), count in counts.tenants.items():
            page.put("stoker_tenant_requests_total", count, tenant, outcome.value)
    page.put("stoker_requests_forgotten_total", figures.forgotten_total)


def fill_daemon(page: Families, figures: DaemonFigures) -> None:
    facts, sessions, prefixes = figures.facts, figures.sessions, figures.prefixes
    page.put("stoker_controlplane_info", 1, facts.version, facts.database)
    page.put("stoker_controlplane_start_time_seconds", facts.started_at.timestamp())
    page.put("stoker_controlplane_leader_epoch", facts.leader_epoch)
    page.put("stoker_fleet_suspect", figures.snapshot.suspect)
    page.put("stoker_gateway_up", figures.gateway.up)
    page.put("stoker_gateway_restarts_total", figures.gateway.restarts_total)
    page.put("stoker_agent_sessions", sessions.open_count)
    page.put("stoker_agent_sessions_opened_total", sessions.opened_total)
    page.put("stoker_agent_reports_total", sessions.reports_total)
    for command, count in sorted(sessions.commands_sent.items()):
        page.put("stoker_commands_sent_total", count, command)
    for outcome, count in sorted(sessions.commands_ended.items()):
        page.put("stoker_commands_ended_total", count, outcome)
    for severity in Severity:
        page.put("stoker_events_total", figures.events.get(severity, 0), severity.value)
    page.put("stoker_prefix_index_engines", prefixes.engines_count)
    page.put("stoker_prefix_index_chunks", prefixes.chunks_count)
    page.put("stoker_prefix_index_engines_disagreeing", prefixes.disagreeing_count)
    page.put("stoker_database_up", figures.database_up)
    for what, writer in sorted(figures.writers.items()):
        page.put("stoker_history_waiting_rows", writer.waiting_count, what)
        page.put("stoker_history_dropped_rows_total", writer.dropped_total, what)
    for job in figures.jobs:
        run = job.run
        if run.last_succeeded_at is not None:
            page.put("stoker_job_last_success_timestamp_seconds", run.last_succeeded_at.timestamp(), run.name)
        page.put("stoker_job_last_duration_seconds", run.last_duration_seconds, run.name)
        page.put("stoker_job_failures_in_a_row", run.failures_in_a_row, run.name)


if len(_GROWN) != len(COUNTERS):
    raise AssertionError("each counter of the engines' totals has its name in the catalogue")

"""Every metric that the control plane exports: name, type, labels, and what it means. Data; docs/metrics.md has the same table.

Read by `families`, which makes nothing that is not here. Names and labels are a promise to whoever built a dashboard: they are
not changed, only added to. Base units; `_total` for what only grows.
"""

from dataclasses import dataclass
from enum import Enum


class Kind(Enum):
    GAUGE = "gauge"
    COUNTER = "counter"
    HISTOGRAM = "histogram"
    INFO = "info"


@dataclass(frozen=True, slots=True)
class Entry:
    """`name` is what Prometheus stores, without the suffixes of a histogram's series."""

    name: str
    kind: Kind
    labels: tuple[str, ...]
    meaning: str


_GROUP = ("model", "provider", "region")
_PLACE = ("provider", "region")


def _gauge(name: str, labels: tuple[str, ...], meaning: str) -> Entry:
    return Entry(name, Kind.GAUGE, labels, meaning)


def _counter(name: str, labels: tuple[str, ...], meaning: str) -> Entry:
    return Entry(name, Kind.COUNTER, labels, meaning)


def _histogram(name: str, labels: tuple[str, ...], meaning: str) -> Entry:
    return Entry(name, Kind.HISTOGRAM, labels, meaning)


ENGINES = (
    _gauge("stoker_engines", (*_GROUP, "state"), "Engines by what their agent last said of them."),
    _gauge("stoker_engines_by_trust", (*_GROUP, "trust"), "Engines by how old the last report of their node is."),
    _gauge(
        "stoker_engines_unroutable", (*_GROUP, "reason"), "Engines that get no new requests, by the first reason why."
    ),
    _gauge("stoker_kv_capacity_tokens", _GROUP, "Tokens that the engines' KV caches can hold."),
    _gauge("stoker_kv_used_tokens", _GROUP, "Tokens of KV cache that live requests hold."),
    _gauge("stoker_kv_headroom_tokens", _GROUP, "Tokens by which KV caches could still grow into free device memory."),
    _gauge("stoker_requests_running", _GROUP, "Requests that engines work on."),
    _gauge("stoker_requests_waiting", _GROUP, "Requests that wait inside engines."),
    _gauge("stoker_requests_inflight", _GROUP, "Requests that the gateway sent to engines and that have not ended."),
    _gauge("stoker_resident_chunks", _GROUP, "Chunks of prompts whose KV blocks are resident, as agents count them."),
    _gauge("stoker_peak_flops_per_second", _GROUP, "What the engines' devices reach, for the engines' own dtypes."),
    _gauge("stoker_peak_bytes_per_second", _GROUP, "Memory bandwidth of the engines' devices, likewise."),
)
GROWTH = (
    _counter("stoker_engine_restarts_total", _GROUP, "Engine processes that took the place of an earlier one."),
    _counter("stoker_prompt_tokens_total", _GROUP, "Prompt tokens of requests, also those found in the prefix cache."),
    _counter("stoker_generated_tokens_total", _GROUP, "Tokens that engines generated."),
    _counter("stoker_engine_steps_total", _GROUP, "Steps of the engines' schedulers."),
    _counter("stoker_step_tokens_total", _GROUP, "Tokens that were computed in those steps."),
    _counter("stoker_prefix_query_tokens_total", _GROUP, "Prompt tokens that were looked up in prefix caches."),
    _counter("stoker_prefix_hit_tokens_total", _GROUP, "Prompt tokens that were found there."),
    _counter("stoker_preemptions_total", _GROUP, "Requests that lost their KV blocks while they ran."),
    _counter("stoker_engine_requests_total", _GROUP, "Requests that engines finished."),
    _counter("stoker_flops_total", _GROUP, "Floating-point operations, as the engines estimate them."),
    _counter("stoker_moved_bytes_total", _GROUP, "Bytes to and from device memory, likewise."),
    _counter("stoker_busy_seconds_total", _GROUP, "Time in which engines had work, added up over engines."),
    _counter(
        "stoker_recompute_tokens_total", _GROUP, "Tokens whose KV was computed again because it had been evicted."
    ),
    _counter("stoker_recompute_flops_total", _GROUP, "Floating-point operations that this took."),
    _counter("stoker_recompute_seconds_total", _GROUP, "Engine time that this took."),
)
NODES = (
    _gauge(
        "stoker_nodes", (*_PLACE, "state"), "Enrolled nodes: connected, disconnected (for less than the lease), lost."
    ),
    _gauge("stoker_nodes_cordoned", _PLACE, "Nodes that operators took out of routing."),
    _gauge("stoker_devices", (*_PLACE, "kind"), "Devices by the vendor's name."),
    _gauge("stoker_device_faults", (*_PLACE, "severity"), "Faults of devices that last."),
    _gauge("stoker_device_memory_bytes", (*_PLACE, "use"), "Device memory by what it is used for."),
    _gauge("stoker_fleet_suspect", (), "1 while so many nodes are silent that the control plane suspects itself."),
)
REQUESTS = (
    _counter("stoker_decisions_total", ("model", "answer"), "Decisions about requests: admitted, refused, passed."),
    _counter("stoker_refusals_total", ("model", "reason"), "Requests that were refused, by the code that clients see."),
    _histogram("stoker_decision_duration_seconds", (), "Time for a decision inside the control plane."),
    _counter("stoker_requests_total", (*_GROUP, "outcome"), "Requests that ended at the gateway."),
    _histogram(
        "stoker_request_duration_seconds", ("model",), "Time from a request's arrival to its end, of completed ones."
    ),
    _histogram(
        "stoker_request_first_byte_seconds", ("model",), "Time from arrival to the answer's first byte, likewise."
    ),
    _counter("stoker_tenant_requests_total", ("tenant", "outcome"), "Likewise by tenant; only with metrics.tenants."),
    _counter("stoker_requests_forgotten_total", (), "Requests whose end was never heard of."),
)
CONTROL_PLANE = (
    Entry("stoker_controlplane_info", Kind.INFO, ("version", "database"), "What runs here."),
    _gauge("stoker_controlplane_start_time_seconds", (), "When it started, in seconds since 1970."),
    _gauge("stoker_controlplane_leader_epoch", (), "Its epoch as the leader; every start takes a new one."),
    _gauge("stoker_gateway_up", (), "1 while Envoy runs."),
    _counter("stoker_gateway_restarts_total", (), "Times that Envoy died and was started again."),
    _gauge("stoker_agent_sessions", (), "Agents that are connected."),
    _counter("stoker_agent_sessions_opened_total", (), "Sessions that agents opened."),
    _counter("stoker_agent_reports_total", (), "Reports that agents sent."),
    _counter("stoker_commands_sent_total", ("command",), "Commands that were sent to agents."),
    _counter("stoker_commands_ended_total", ("outcome",), "Commands that agents carried out, failed at or refused."),
    _counter("stoker_events_total", ("severity",), "Events of the fleet's event log."),
    _gauge("stoker_prefix_index_engines", (), "Engines whose resident prefixes are known."),
    _gauge("stoker_prefix_index_chunks", (), "Chunks that are known to be resident."),
    _gauge("stoker_prefix_index_engines_disagreeing", (), "Engines of which something else is held than they tell."),
    _gauge("stoker_database_up", (), "0 while the database cannot be written to."),
    _gauge("stoker_history_waiting_rows", ("what",), "Rows of history that are not yet in the database."),
    _counter("stoker_history_dropped_rows_total", ("what",), "Rows of history that were lost."),
    _gauge(
        "stoker_job_last_success_timestamp_seconds", ("name",), "When the job last succeeded, in seconds since 1970."
    ),
    _gauge("stoker_job_last_duration_seconds", ("name",), "How long its last run took."),
    _gauge("stoker_job_failures_in_a_row", ("name",), "Failed runs since it last succeeded."),
)
# Of the process, by the names that every Prometheus client uses; prometheus_client reads them.
PROCESS = (
    _gauge("process_virtual_memory_bytes", (), "Virtual memory of the process."),
    _gauge("process_resident_memory_bytes", (), "Memory of the process."),
    _gauge("process_start_time_seconds", (), "When the process started, in seconds since 1970."),
    _counter("process_cpu_seconds_total", (), "Time on processors."),
    _gauge("process_open_fds", (), "Open files."),
    _gauge("process_max_fds", (), "How many there may be."),
)
ENTRIES: tuple[Entry, ...] = (*ENGINES, *GROWTH, *NODES, *REQUESTS, *CONTROL_PLANE, *PROCESS)

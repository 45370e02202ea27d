"""Every metric that the agent exports: name, type, labels, and what it means. Data; docs/metrics.md has the same table.

Read by `page`, which makes nothing that is not here. Engines and devices are labels: a node has few of them. What an engine
counts begins anew with its process, as Prometheus expects of a counter.
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


_ENGINE = ("engine", "model")


def _gauge(name: str, labels: tuple[str, ...], meaning: str) -> Entry:
    return Entry(f"stoker_agent_{name}", Kind.GAUGE, labels, meaning)


def _counter(name: str, meaning: str) -> Entry:
    return Entry(f"stoker_agent_engine_{name}_total", Kind.COUNTER, _ENGINE, meaning)


ENTRIES: tuple[Entry, ...] = (
    Entry("stoker_agent_info", Kind.INFO, ("version", "node"), "What runs here."),
    _gauge("connected", (), "1 while there is a session with the control plane."),
    _gauge("spool_bytes", (), "The file of records that the control plane does not have yet."),
    _gauge("engine_state", (*_ENGINE, "state"), "1 for the state that the engine is in, 0 for the others."),
    _gauge("engine_restarts_in_a_row", _ENGINE, "Restarts since the engine last ran well."),
    _gauge("engine_kv_capacity_tokens", _ENGINE, "Tokens that its KV cache can hold."),
    _gauge("engine_kv_used_tokens", _ENGINE, "Tokens of it that live requests hold."),
    _gauge("engine_requests_running", _ENGINE, "Requests that it works on."),
    _gauge("engine_requests_waiting", _ENGINE, "Requests that wait inside it."),
    _gauge("engine_resident_chunks", _ENGINE, "Chunks of prompts whose KV blocks are resident."),
    _counter("prompt_tokens", "Prompt tokens of requests, also those found in the prefix cache."),
    _counter("generated_tokens", "Tokens that it generated."),
    _counter("steps", "Steps of its scheduler."),
    _counter("step_tokens", "Tokens that were computed in those steps."),
    _counter("prefix_query_tokens", "Prompt tokens that were looked up in its prefix cache."),
    _counter("prefix_hit_tokens", "Prompt tokens that were found there."),
    _counter("preemptions", "Requests that lost their KV blocks while they ran."),
    _counter("requests", "Requests that it finished."),
    _counter("flops", "Floating-point operations, as it estimates them."),
    _counter("moved_bytes", "Bytes to and from device memory, likewise."),
    _counter("busy_seconds", "Time in which it had work."),
    _counter("recompute_tokens", "Tokens whose KV was computed again because it had been evicted."),
    _counter("records_dropped", "Records of requests that were lost on the way from its plug-in."),
    Entry("stoker_agent_engine_first_token_seconds", Kind.HISTOGRAM, _ENGINE, "Time to the first token."),
    Entry("stoker_agent_engine_inter_token_seconds", Kind.HISTOGRAM, _ENGINE, "Time between two tokens."),
    Entry("stoker_agent_device_info", Kind.INFO, ("device", "kind", "family", "driver"), "The node's devices."),
    _gauge("device_memory_used_bytes", ("device",), "Memory in use, as the driver tells."),
    _gauge("device_memory_total_bytes", ("device",), "Memory that there is."),
    _gauge("device_memory_bytes", ("device", "use"), "Memory by what it is used for."),
    _gauge("device_temperature_celsius", ("device",), "Temperature."),
    _gauge("device_power_watts", ("device",), "Power."),
    _gauge("device_power_limit_watts", ("device",), "The limit that is set for it."),
    _gauge("device_compute_clock_hertz", ("device",), "Clock of its compute units."),
    _gauge("device_throttled", ("device",), "1 while something slows it down."),
    _gauge("device_faults", ("device", "severity"), "Faults that last."),
    _gauge(
        "device_ecc_uncorrected_errors",
        ("device",),
        "Memory errors that were not corrected, as the driver counts them.",
    ),
    _gauge("device_ecc_corrected_errors", ("device",), "Memory errors that were corrected, likewise."),
    _gauge("device_peak_flops_per_second", ("device", "dtype"), "What it reaches; measured, or from a table."),
    _gauge("device_peak_bytes_per_second", ("device", "dtype"), "Its memory bandwidth, likewise."),
    # Of the process, by the names that every Prometheus client uses; prometheus_client reads them.
    Entry("process_virtual_memory_bytes", Kind.GAUGE, (), "Virtual memory of the process."),
    Entry("process_resident_memory_bytes", Kind.GAUGE, (), "Memory of the process."),
    Entry("process_start_time_seconds", Kind.GAUGE, (), "When the process started, in seconds since 1970."),
    Entry("process_cpu_seconds_total", Kind.COUNTER, (), "Time on processors."),
    Entry("process_open_fds", Kind.GAUGE, (), "Open files."),
    Entry("process_max_fds", Kind.GAUGE, (), "How many there may be."),
)

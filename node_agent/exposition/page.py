"""The page that Prometheus reads: facts of this node under the catalogue's names. Pure but for the process's own figures.

Called by `metrics_server` in the event loop, which a page of a node's few engines holds for some milliseconds. What is not
known is not told; it is never zero.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from itertools import accumulate

from prometheus_client import ProcessCollector
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, HistogramMetricFamily, InfoMetricFamily
from prometheus_client.exposition import CONTENT_TYPE_PLAIN_0_0_4, generate_latest
from prometheus_client.metrics_core import Metric
from prometheus_client.openmetrics import exposition as openmetrics
from prometheus_client.registry import Collector
from prometheus_client.samples import Sample

from node_agent.exposition.catalogue import ENTRIES, Entry, Kind
from node_agent.session.facts import Device, EngineState, EngineStatus, Histogram
from node_agent.session.hardware import DeviceHealth, MemoryLedger
from node_agent.session.values import Severity

OPENMETRICS = "application/openmetrics-text"
LABEL_LENGTH_MAX = 200


@dataclass(frozen=True, slots=True)
class NodeFigures:
    """What the agent knows at this moment."""

    version: str
    node: str
    connected: bool
    spool_bytes: int | None
    engines: Sequence[EngineStatus]
    devices: Sequence[Device]
    health: Sequence[DeviceHealth]
    ledgers: Sequence[MemoryLedger]


def page(figures: NodeFigures, accept: str) -> tuple[str, bytes]:
    """Content type and body: OpenMetrics for those who name it, else the text format that everybody reads."""
    made = _Page()
    made.put("stoker_agent_info", 1, figures.version, figures.node)
    made.put("stoker_agent_connected", figures.connected)
    made.put("stoker_agent_spool_bytes", figures.spool_bytes)
    for engine in figures.engines:
        _put_engine(made, engine)
    for device in figures.devices:
        _put_device(made, device)
    for health in figures.health:
        _put_health(made, health)
    for ledger in figures.ledgers:
        made.put("stoker_agent_device_memory_total_bytes", ledger.total_bytes, ledger.device_id)
        used: dict[str, int] = {}
        for portion in ledger.portions:
            used[portion.use.value] = used.get(portion.use.value, 0) + portion.bytes
        for use, count in used.items():
            made.put("stoker_agent_device_memory_bytes", count, ledger.device_id, use)
    made.put_all(ProcessCollector(registry=None).collect())
    if OPENMETRICS in accept:
        body: bytes = openmetrics.generate_latest(made)  # type: ignore[no-untyped-call]
        return openmetrics.CONTENT_TYPE_LATEST, body
    return CONTENT_TYPE_PLAIN_0_0_4, generate_latest(made)


def _put_engine(made: "_Page", engine: EngineStatus) -> None:
    labels = engine.engine_id, engine.model
    gauges, counters, inside = engine.gauges, engine.counters, engine.inside
    steps = inside.steps if inside is not None else None
    for state in EngineState:
        made.put("stoker_agent_engine_state", engine.state is state, *labels, state.value)
    made.put("stoker_agent_engine_restarts_in_a_row", engine.restart_count, *labels)
    for name, value in (
        ("kv_capacity_tokens", gauges.kv_capacity_tokens),
        ("kv_used_tokens", gauges.kv_used_tokens),
        ("requests_running", gauges.running),
        ("requests_waiting", gauges.waiting),
        ("resident_chunks", engine.residency.chunks if engine.residency is not None else None),
        ("prompt_tokens_total", counters.prompt_tokens),
        ("generated_tokens_total", counters.generation_tokens),
        ("steps_total", counters.steps),
        ("step_tokens_total", counters.step_tokens),
        ("prefix_query_tokens_total", counters.prefix_query_tokens),
        ("prefix_hit_tokens_total", counters.prefix_hit_tokens),
        ("preemptions_total", counters.preemptions),
        ("requests_total", counters.requests_finished),
        ("flops_total", _first(counters.flops, steps.flops if steps else None)),
        ("moved_bytes_total", _first(counters.bytes, steps.read_bytes + steps.write_bytes if steps else None)),
        ("busy_seconds_total", steps.busy_seconds if steps else None),
        ("recompute_tokens_total", sum(bill.tokens for bill in engine.recompute) if engine.recompute else None),
        ("records_dropped_total", inside.records_dropped if inside is not None else None),
    ):
        made.put(f"stoker_agent_engine_{name}", value, *labels)
    made.put_histogram("stoker_agent_engine_first_token_seconds", counters.ttft_seconds, *labels)
    made.put_histogram("stoker_agent_engine_inter_token_seconds", counters.inter_token_seconds, *labels)


def _put_device(made: "_Page", device: Device) -> None:
    made.put("stoker_agent_device_info", 1, device.device_id, device.kind, device.family, device.driver_version)
    for ceiling in device.ceilings:
        labels = device.device_id, ceiling.dtype
        made.put("stoker_agent_device_peak_flops_per_second", ceiling.flops_per_second, *labels)
        made.put("stoker_agent_device_peak_bytes_per_second", ceiling.bytes_per_second, *labels)


def _put_health(made: "_Page", health: DeviceHealth) -> None:
    for name, value in (
        ("memory_used_bytes", health.memory_used_bytes),
        ("temperature_celsius", health.temperature_celsius),
        ("power_watts", health.power_watts),
        ("power_limit_watts", health.power_limit_watts),
        ("compute_clock_hertz", health.compute_clock_hertz),
        ("throttled", bool(health.throttle_reasons)),
        ("ecc_uncorrected_errors", health.ecc_uncorrected_count),
        ("ecc_corrected_errors", health.ecc_corrected_count),
    ):
        made.put(f"stoker_agent_device_{name}", value, health.device_id)
    for severity in Severity:
        count = sum(fault.severity is severity for fault in health.faults)
        made.put("stoker_agent_device_faults", count, health.device_id, severity.value)


def _first(value: float | None, other: float | None) -> float | None:
    return other if value is None else value


class _Page(Collector):
    """Families in the making. Never invents a name, and tells each series once."""

    _entries = {entry.name: entry for entry in ENTRIES}  # noqa: RUF012 - never changed

    def __init__(self) -> None:
        self._metrics: dict[str, Metric] = {}
        self._told: set[tuple[str, tuple[str, ...]]] = set()

    def put(self, name: str, value: float | None, *labels: str) -> None:
        if value is None or (name, labels) in self._told:
            return
        self._told.add((name, labels))
        entry, metric = self._metric(name)
        metric.samples.append(Sample(name, _named(entry, labels), value))

    def put_histogram(self, name: str, histogram: Histogram | None, *labels: str) -> None:
        if histogram is None:
            return
        entry, metric = self._metric(name)
        named, count = _named(entry, labels), 0
        bounds = [*(str(bound) for bound in histogram.upper_bounds), "+Inf"]
        for bound, count in zip(bounds, accumulate(histogram.counts), strict=True):
            metric.samples.append(Sample(f"{name}_bucket", {**named, "le": bound}, count))
        metric.samples.append(Sample(f"{name}_sum", named, histogram.sum))
        metric.samples.append(Sample(f"{name}_count", named, count))

    def put_all(self, metrics: Iterable[Metric]) -> None:
        """Without labels, and as far as the catalogue has them."""
        for sample in (sample for metric in metrics for sample in metric.samples):
            if sample.name in self._entries:
                self.put(sample.name, sample.value)

    def collect(self) -> Iterable[Metric]:
        return [self._metrics[name] for name in self._entries if name in self._metrics]

    def _metric(self, name: str) -> tuple[Entry, Metric]:
        entry, metric = self._entries[name], self._metrics.get(name)
        if metric is None:
            metric = self._metrics[name] = _family(entry)
        return entry, metric


def _family(entry: Entry) -> Metric:
    match entry.kind:
        case Kind.COUNTER:
            return CounterMetricFamily(entry.name, entry.meaning)
        case Kind.HISTOGRAM:
            return HistogramMetricFamily(entry.name, entry.meaning)
        case Kind.INFO:
            return InfoMetricFamily(entry.name.removesuffix("_info"), entry.meaning)
        case Kind.GAUGE:
            return GaugeMetricFamily(entry.name, entry.meaning)


def _named(entry: Entry, labels: Sequence[str]) -> dict[str, str]:
    """The writers escape what must be; this bounds the length and replaces what is no UTF-8."""
    bounded = (label[:LABEL_LENGTH_MAX].encode("utf-8", "replace").decode() for label in labels)
    return dict(zip(entry.labels, bounded, strict=True))

"""Seeded sample fleets of console rows: what tests and pictures look at instead of a daemon.

Called by the console's tests and by whoever wants to see a screen without a fleet. Every fleet is the same for the same
seed; times hang on `NOW`, never on a clock.
"""

from dataclasses import replace
from datetime import timedelta
from random import Random

from console.model.fleet_view import (
    EngineRow,
    EngineState,
    EventRow,
    FleetView,
    NodeRow,
    Severity,
    Trust,
)
from console.model.hardware import FaultRow
from console.model.inside import BillRow, InsideRow, InsideState
from tests.fakes.fleet_inside import fallen_off, hot
from tests.fakes.fleet_rows import (
    CLOUDS,
    HOSTILE,
    KINDS,
    MODELS,
    NOW,
    ago,
    device,
    engine,
    event,
    model,
    node,
    placement,
    server,
    view,
    working_point,
)

__all__ = [
    "CLOUDS",
    "HOSTILE",
    "KINDS",
    "MODELS",
    "NOW",
    "ago",
    "device",
    "empty",
    "engine",
    "event",
    "hostile",
    "mixed",
    "model",
    "node",
    "placement",
    "server",
    "small",
    "unknown",
    "view",
    "working_point",
]


def empty() -> FleetView:
    """A control plane on its first day: no node has joined."""
    return view([], [])


def small(seed: int = 1) -> FleetView:
    """Two healthy nodes in two clouds with an engine each, as `make demo` starts them."""
    random = Random(seed)  # noqa: S311 - sample data
    nodes = [
        node("gcp-1", "gcp", "us-central1", "NVIDIA H100 80GB HBM3", 1),
        node("oci-1", "oci", "eu-frankfurt-1", "AMD Instinct MI300X", 1),
    ]
    engines = [engine(random, nodes[0], "llama-3-8b", 0.42), engine(random, nodes[1], "llama-3-8b", 0.18)]
    events = (
        event(
            1,
            5_400,
            Severity.INFO,
            "node_connected",
            "gcp-1 connected from 10.20.1.4",
            node="gcp-1",
            actor="agent:gcp-1",
        ),
        event(
            2,
            5_390,
            Severity.INFO,
            "node_connected",
            "oci-1 connected from 10.40.1.9",
            node="oci-1",
            actor="agent:oci-1",
        ),
        event(3, 5_000, Severity.INFO, "engine_ready", "ready after 43 s", engine_id="llama-3-8b@gcp-1", node="gcp-1"),
        event(4, 4_990, Severity.INFO, "engine_ready", "ready after 51 s", engine_id="llama-3-8b@oci-1", node="oci-1"),
    )
    return view(nodes, engines, events)


_OOM_LOG = (
    "INFO 03-14 03:08:41 [core.py:58] Initializing a V1 LLM engine (v0.32.0)",
    "INFO 03-14 03:08:52 [gpu_model_runner.py:1770] Starting to load model llama-3-70b...",
    "INFO 03-14 03:09:44 [weight_utils.py:265] Loading weights took 48.11 seconds",
    "ERROR 03-14 03:09:51 [core.py:396] EngineCore failed to start.",
    "torch.OutOfMemoryError: CUDA out of memory. Tried to allocate 2.50 GiB. GPU 0 has a total capacity of 79.11 GiB",
    "of which 1.94 GiB is free. Including non-PyTorch memory, this process has 77.15 GiB memory in use.",
)


def mixed(seed: int = 7, node_count: int = 40) -> FleetView:
    """Many nodes in five clouds, with what goes wrong on a bad night."""
    random = Random(seed)  # noqa: S311 - sample data
    nodes: list[NodeRow] = []
    engines: list[EngineRow] = []
    for index in range(node_count):
        provider, regions, kind = CLOUDS[index % len(CLOUDS)]
        nodes.append(
            node(
                f"{provider}-{index // len(CLOUDS) + 1}",
                provider,
                regions[index % len(regions)],
                kind,
                random.choice((1, 2, 4, 8)),
                last_report_at=ago(round(random.uniform(0.2, 2.6), 1)),
            )
        )
        name = MODELS[index % 4] if index % 9 else "bge-m3"
        engines.append(
            engine(random, nodes[-1], name, random.betavariate(4, 3), last_report_at=nodes[-1].last_report_at)
        )
    return _spoil(view(nodes, engines, _night()))


def _night() -> tuple[EventRow, ...]:
    rows = [
        event(
            1,
            86_000,
            Severity.INFO,
            "placement_created",
            "llama-3-70b placed on gcp-2",
            node="gcp-2",
            actor="operator:ana",
        ),
        event(
            2, 9_200, Severity.INFO, "engine_ready", "ready after 212 s", engine_id="mistral-small@aws-4", node="aws-4"
        ),
        event(3, 3_900, Severity.INFO, "node_cordoned", "ana: fan tray", node="aws-2", actor="operator:ana"),
        event(
            4, 700, Severity.WARNING, "engine_backing_off", "exit code 1, again in 40 s", engine_id="llama-3-70b@oci-3"
        ),
        event(5, 136, Severity.ERROR, "engine_failed", "CUDA out of memory at start", engine_id="llama-3-70b@gcp-2"),
        event(6, 42, Severity.WARNING, "node_stale", "no report for 15 s", node="crusoe-3", actor="system"),
        event(7, 12, Severity.INFO, "engine_draining", "ana: kernel update", node="azure-1", actor="operator:ana"),
        event(
            8,
            9,
            Severity.ERROR,
            "device_fault",
            "XID 79: the GPU has fallen off the bus",
            node="oci-2",
            device_id="hip:0",
            action="Drain the node, power-cycle it.",
            actor="agent:oci-2",
        ),
    ]
    return tuple(rows)


def _spoil(sound: FleetView) -> FleetView:
    nodes, engines = dict(sound.nodes), dict(sound.engines)

    def of(name: str) -> str:
        return next(row.engine_id for row in engines.values() if row.node == name)

    none_now = {"routable": False, "working_point": None, "running": 0, "waiting": 0, "kv_used_tokens": 0}
    changes: dict[str, dict[str, object]] = {
        of("gcp-2"): {
            **none_now,
            "state": EngineState.FAILED,
            "reason": "CUDA out of memory at start, 3 times",
            "log_tail": _OOM_LOG,
            "state_since": ago(136),
            "restart_count": 3,
            "not_routable_reason": "failed",
            "kv_capacity_tokens": None,
            "kv_used_tokens": None,
        },
        of("oci-3"): {
            **none_now,
            "state": EngineState.BACKING_OFF,
            "reason": "exit code 1: weights not found",
            "retry_at": NOW + timedelta(seconds=24),
            "state_since": ago(700),
            "restart_count": 5,
            "not_routable_reason": "backing off",
        },
        of("aws-3"): {
            **none_now,
            "state": EngineState.STARTING,
            "stage": "loading weights",
            "state_since": ago(38),
            "not_routable_reason": "starting",
        },
        of("azure-1"): {
            "state": EngineState.DRAINING,
            "routable": False,
            "not_routable_reason": "draining: kernel update",
        },
        of("crusoe-3"): {
            "trust": Trust.STALE,
            "last_report_at": ago(42),
            "routable": False,
            "not_routable_reason": "its figures are stale",
        },
        of("oci-1"): {"trust": Trust.AGEING, "last_report_at": ago(6)},
    }
    for engine_id, change in changes.items():
        engines[engine_id] = replace(engines[engine_id], **change)  # type: ignore[arg-type]
    nodes["crusoe-3"] = replace(nodes["crusoe-3"], trust=Trust.STALE, last_report_at=ago(42), connected=False)
    nodes["oci-1"] = replace(nodes["oci-1"], trust=Trust.AGEING, last_report_at=ago(6))
    nodes["aws-2"] = replace(nodes["aws-2"], cordoned=True, cordon_reason="ana: fan tray")
    first, *others = nodes["oci-2"].health
    broken = replace(first, faults=(fallen_off(), hot()), throttle_reasons=("hw_thermal",), temperature_celsius=88.0)
    nodes["oci-2"] = replace(nodes["oci-2"], health=(replace(broken, ecc_uncorrected_count=3), *others))
    nodes["crusoe-2"] = replace(nodes["crusoe-2"], simulated=True)
    degraded = InsideRow(InsideState.DEGRADED, "no perf_stats in this vLLM", "0.1.0", None, None, 12)
    engines[of("aws-1")] = replace(engines[of("aws-1")], inside=degraded, residency_agrees=False)
    made = view(list(nodes.values()), list(engines.values()), sound.events)
    gcp_2 = made.placements[of("gcp-2")]
    return replace(made, placements={**made.placements, gcp_2.placement_id: replace(gcp_2, generation=3)})


def hostile() -> FleetView:
    """Every text that comes from outside carries escape sequences, markup, links and bidirectional overrides."""
    random = Random(3)  # noqa: S311 - sample data
    host = node(HOSTILE, HOSTILE, HOSTILE, "NVIDIA L40S", 1, zone=HOSTILE, os=HOSTILE, labels={HOSTILE: HOSTILE})
    host = replace(host, agent_version=HOSTILE, cordoned=True, cordon_reason=HOSTILE)
    sick = replace(
        host.health[0], throttle_reasons=(HOSTILE,), faults=(FaultRow(HOSTILE, "error", HOSTILE, HOSTILE, NOW),)
    )
    host = replace(host, health=(sick,))
    host = replace(host, devices=(replace(host.devices[0], kind=HOSTILE, driver_version=HOSTILE),))
    base = node("base", "gcp", "x", "NVIDIA L40S", 1)
    bad = engine(
        random,
        base,
        HOSTILE,
        0.5,
        node=HOSTILE,
        state=EngineState.FAILED,
        reason=HOSTILE,
        log_tail=(HOSTILE, "[link=https://evil.example]click[/link]"),
        endpoint=HOSTILE,
        dtype=HOSTILE,
        engine_version=HOSTILE,
        not_routable_reason=HOSTILE,
        routable=False,
        inside=InsideRow(InsideState.DEGRADED, HOSTILE, HOSTILE, None, NOW, 1),
        recompute=(BillRow(HOSTILE, 1, None, None, "measured"),),
        adapters=(HOSTILE,),
    )
    happened = event(
        1,
        30,
        Severity.ERROR,
        HOSTILE,
        HOSTILE,
        node=HOSTILE,
        engine_id=bad.engine_id,
        actor=HOSTILE,
        device_id=HOSTILE,
        action=HOSTILE,
    )
    words = server(gateway_state=HOSTILE, gateway_address=HOSTILE, caller_name=HOSTILE, version=HOSTILE)
    return view([host], [bad], (happened,), words)


def unknown() -> FleetView:
    """A fleet of which hardly anything is known: every optional figure is None."""
    bare = NodeRow("mystery-1", "", "", "", {}, "", False, False, "", Trust.UNKNOWN, None, (), None, "", None)
    row = EngineRow(
        engine_id="some-model@mystery-1",
        node="mystery-1",
        provider="",
        region="",
        model="some-model",
        state=EngineState.UNKNOWN,
        stage="",
        reason="",
        log_tail=(),
        endpoint="",
        device_ids=(),
        engine_version="",
        restart_count=0,
        state_since=None,
        retry_at=None,
        context_tokens_max=None,
        dtype="",
        kv_capacity_tokens=None,
        kv_used_tokens=None,
        running=None,
        waiting=None,
        prompt_tokens_total=None,
        generation_tokens_total=None,
        preemptions_total=None,
        requests_finished_total=None,
        trust=Trust.UNKNOWN,
        last_report_at=None,
        working_point=None,
        ridge_flops_per_byte=None,
        ridge_source="",
        inflight=0,
        routable=False,
        not_routable_reason="nothing is known of it yet",
    )
    return view([bare], [row], (), server(started_at=None, gateway_state="starting", gateway_address=""))

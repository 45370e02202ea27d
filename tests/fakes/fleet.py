"""Seeded sample fleets of console rows: what tests and pictures look at instead of a daemon.

Called by the console's tests and by whoever wants to see a screen without a fleet. Every fleet is the same for the same
seed; times hang on `NOW`, never on a clock.
"""

from dataclasses import replace
from datetime import UTC, datetime, timedelta
from random import Random

from console.model.fleet_view import (
    CeilingRow,
    DesiredState,
    DeviceRow,
    EngineRow,
    EngineState,
    EventRow,
    FleetView,
    ModelRow,
    NodeRow,
    PlacementRow,
    ServerRow,
    Severity,
    Trust,
    WorkingPointRow,
)

NOW = datetime(2026, 3, 14, 3, 12, 7, tzinfo=UTC)
HOSTILE = "\x1b]8;;https://evil.example\x07[red]pwn[/]\x1b[2J\x1b[31m\u202eevil\r\n[@click=app.quit]x[/]"

# kind: (memory GiB, TFLOP/s, TB/s, context tokens that fit beside an 8B model)
_KINDS = {
    "NVIDIA H100 80GB HBM3": (80, 989e12, 3.35e12, 440_000),
    "NVIDIA H200": (141, 790e12, 4.3e12, 900_000),
    "NVIDIA A100-SXM4-80GB": (80, 312e12, 2.04e12, 440_000),
    "NVIDIA L40S": (48, 362e12, 0.864e12, 200_000),
    "AMD Instinct MI300X": (192, 1307e12, 5.3e12, 1_250_000),
}
_CLOUDS = (
    ("gcp", ("us-central1", "europe-west4"), "NVIDIA H100 80GB HBM3"),
    ("oci", ("eu-frankfurt-1", "us-phoenix-1"), "AMD Instinct MI300X"),
    ("aws", ("us-east-1", "ap-south-1"), "NVIDIA A100-SXM4-80GB"),
    ("azure", ("swedencentral",), "NVIDIA H200"),
    ("crusoe", ("us-south",), "NVIDIA L40S"),
)
MODELS = ("llama-3-8b", "llama-3-70b", "Qwen/Qwen2.5-72B-Instruct", "mistral-small", "bge-m3")


def ago(seconds: float) -> datetime:
    """The moment so many seconds before NOW."""
    return NOW - timedelta(seconds=seconds)


def server(**changes: object) -> ServerRow:
    """A healthy control plane, seen by an operator."""
    row = ServerRow(
        boot_id="boot-1",
        version="0.1.0",
        leader_epoch=7,
        started_at=ago(93_600),
        database="postgresql",
        gateway_address="10.20.0.5:8080",
        gateway_state="serving",
        caller_name="ana",
        caller_role="operator",
        samples_waiting=12,
        samples_dropped_total=0,
        fresh_seconds=3.0,
        stale_seconds=15.0,
        lost_seconds=60.0,
    )
    return replace(row, **changes)  # type: ignore[arg-type]


def device(index: int, kind: str) -> DeviceRow:
    """One device with a measured and a table ceiling."""
    memory_gib, flops, bytes_, _ = _KINDS[kind]
    rocm = kind.startswith("AMD")
    return DeviceRow(
        device_id=f"{'hip' if rocm else 'cuda'}:{index}",
        kind=kind,
        family="rocm" if rocm else "cuda",
        memory_bytes=memory_gib * 2**30,
        driver_version="6.3.1" if rocm else "570.86.15",
        compute_capability="gfx942" if rocm else "9.0",
        ceilings=(
            CeilingRow("bfloat16", flops * 0.8, bytes_ * 0.9, "measured", ago(7_200)),
            CeilingRow("float8_e4m3", flops * 2, bytes_, "table", None),
        ),
    )


def node(name: str, provider: str, region: str, kind: str, device_count: int, **changes: object) -> NodeRow:
    """A healthy node, heard one second ago."""
    row = NodeRow(
        name=name,
        provider=provider,
        region=region,
        zone=f"{region}-a",
        labels={"pool": "chat", "rack": "r12"},
        agent_version="0.1.0",
        connected=True,
        cordoned=False,
        cordon_reason="",
        trust=Trust.FRESH,
        last_report_at=ago(1),
        devices=tuple(device(index, kind) for index in range(device_count)),
        clock_error_seconds=0.012,
        os="Ubuntu 24.04, Linux 6.8",
        certificate_not_after=NOW + timedelta(days=6),
    )
    return replace(row, **changes)  # type: ignore[arg-type]


def working_point(random: Random, load: float, ridge: float) -> WorkingPointRow:
    """What an engine at this load (0 to 1) would do: slow first tokens and a high batch when it is full."""
    batch = round(4 + 250 * load * random.uniform(0.7, 1.2), 1)
    intensity = max(1.0, ridge * load * random.uniform(0.2, 1.1))
    ttft = 0.06 + 0.9 * load**3 * random.uniform(0.6, 1.8)
    gap = 0.011 + 0.03 * load
    return WorkingPointRow(
        window_seconds=10.0,
        batch_tokens_per_step=batch,
        prompt_tokens_per_second=round(batch * 31, 1),
        generation_tokens_per_second=round(batch * 9, 1),
        flops_per_second=intensity * 1.9e12,
        bytes_per_second=1.9e12,
        intensity_flops_per_byte=intensity,
        prefix_hit_ratio=round(random.uniform(0.15, 0.7), 2),
        ttft_seconds_p50=round(ttft, 3),
        ttft_seconds_p95=round(ttft * random.uniform(2, 5), 3),
        inter_token_seconds_p50=round(gap, 4),
        inter_token_seconds_p95=round(gap * random.uniform(1.5, 4), 4),
        preemptions_per_second=0.0 if load < 0.9 else 0.3,
    )


def engine(random: Random, host: NodeRow, model: str, load: float, **changes: object) -> EngineRow:
    """A ready engine on all devices of its node, at this load."""
    capacity = _KINDS[host.devices[0].kind][3] * len(host.devices)
    ridge = (host.devices[0].ceilings[0].flops_per_second or 1.0) / (
        host.devices[0].ceilings[0].bytes_per_second or 1.0
    )
    row = EngineRow(
        engine_id=f"{model.replace('/', '-')}@{host.name}",
        node=host.name,
        provider=host.provider,
        region=host.region,
        model=model,
        state=EngineState.READY,
        stage="",
        reason="",
        log_tail=(),
        endpoint=f"10.20.{random.randrange(1, 9)}.{random.randrange(2, 250)}:8443",
        device_ids=tuple(each.device_id for each in host.devices),
        engine_version="0.32.0",
        restart_count=0,
        state_since=ago(random.randrange(4_000, 90_000)),
        retry_at=None,
        context_tokens_max=131_072,
        dtype="bfloat16",
        kv_capacity_tokens=capacity,
        kv_used_tokens=int(capacity * load),
        running=round(120 * load),
        waiting=0 if load < 0.85 else random.randrange(1, 30),
        prompt_tokens_total=random.randrange(10**6, 10**9),
        generation_tokens_total=random.randrange(10**6, 10**9),
        preemptions_total=random.randrange(0, 40),
        requests_finished_total=random.randrange(10**3, 10**6),
        trust=Trust.FRESH,
        last_report_at=ago(1),
        working_point=working_point(random, load, ridge),
        ridge_flops_per_byte=ridge,
        ridge_source="measured",
        inflight=round(124 * load),
        routable=True,
        not_routable_reason="",
    )
    return replace(row, **changes)  # type: ignore[arg-type]


def placement(row: EngineRow, **changes: object) -> PlacementRow:
    """The placement that an engine was started for, carried out."""
    made = PlacementRow(
        placement_id=row.engine_id,
        deployment=row.model,
        model=row.model,
        node=row.node,
        device_ids=row.device_ids,
        generation=2,
        observed_generation=2,
        desired=DesiredState.RUNNING,
        source=f"/models/{row.model}",
        engine_args=("--gpu-memory-utilization", "0.92"),
        created_at=ago(86_000),
        created_by="ana",
    )
    return replace(made, **changes)  # type: ignore[arg-type]


def event(event_id: int, seconds_ago: float, severity: Severity, kind: str, message: str, **subject: str) -> EventRow:
    """One line of the event log."""
    return EventRow(
        event_id=event_id,
        at=ago(seconds_ago),
        severity=severity,
        kind=kind,
        message=message,
        node=subject.get("node", ""),
        engine_id=subject.get("engine_id", ""),
        model=subject.get("model", ""),
        actor=subject.get("actor", "system"),
    )


def view(
    nodes: list[NodeRow],
    engines: list[EngineRow],
    events: tuple[EventRow, ...] = (),
    the_server: ServerRow | None = None,
) -> FleetView:
    """A whole view: models and placements follow from the engines."""
    names = sorted({row.model for row in engines})
    return FleetView(
        boot_id="boot-1",
        cursor=100,
        now=NOW,
        nodes={row.name: row for row in nodes},
        engines={row.engine_id: row for row in engines},
        placements={row.engine_id: placement(row) for row in engines},
        models={name: model(name, [row for row in engines if row.model == name]) for name in names},
        events=events,
        server=the_server or server(),
    )


def model(name: str, engines: list[EngineRow]) -> ModelRow:
    """A model's sums over its engines; unknown as soon as none of them tells."""
    routable = [row for row in engines if row.routable]
    capacities = [row.kv_capacity_tokens for row in routable if row.kv_capacity_tokens is not None]
    used = [row.kv_used_tokens for row in routable if row.kv_used_tokens is not None]
    waiting = [row.waiting for row in routable if row.waiting is not None]
    return ModelRow(
        name=name,
        engines_total=len(engines),
        engines_routable=len(routable),
        kv_capacity_tokens=sum(capacities) if capacities else None,
        kv_used_tokens=sum(used) if used else None,
        waiting=sum(waiting) if waiting else None,
        providers=tuple(sorted({row.provider for row in engines})),
    )


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
        provider, regions, kind = _CLOUDS[index % len(_CLOUDS)]
        nodes.append(
            node(
                f"{provider}-{index // len(_CLOUDS) + 1}",
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
    made = view(list(nodes.values()), list(engines.values()), sound.events)
    gcp_2 = made.placements[of("gcp-2")]
    return replace(made, placements={**made.placements, gcp_2.placement_id: replace(gcp_2, generation=3)})


def hostile() -> FleetView:
    """Every text that comes from outside carries escape sequences, markup, links and bidirectional overrides."""
    random = Random(3)  # noqa: S311 - sample data
    host = node(HOSTILE, HOSTILE, HOSTILE, "NVIDIA L40S", 1, zone=HOSTILE, os=HOSTILE, labels={HOSTILE: HOSTILE})
    host = replace(host, agent_version=HOSTILE, cordoned=True, cordon_reason=HOSTILE)
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
    )
    happened = event(1, 30, Severity.ERROR, HOSTILE, HOSTILE, node=HOSTILE, engine_id=bad.engine_id, actor=HOSTILE)
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

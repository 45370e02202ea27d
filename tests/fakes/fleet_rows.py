"""Sample rows of a console's fleet: one node, engine, placement or event at a time, every field overridable.

Called by `tests.fakes.fleet`, which makes whole fleets of them. Times hang on `NOW`, never on a clock.
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
from tests.fakes import fleet_inside

NOW = datetime(2026, 3, 14, 3, 12, 7, tzinfo=UTC)
HOSTILE = "\x1b]8;;https://evil.example\x07[red]pwn[/]\x1b[2J\x1b[31m\u202eevil\r\n[@click=app.quit]x[/]"

# kind: (memory GiB, TFLOP/s, TB/s, context tokens that fit beside an 8B model)
KINDS = {
    "NVIDIA H100 80GB HBM3": (80, 989e12, 3.35e12, 440_000),
    "NVIDIA H200": (141, 790e12, 4.3e12, 900_000),
    "NVIDIA A100-SXM4-80GB": (80, 312e12, 2.04e12, 440_000),
    "NVIDIA L40S": (48, 362e12, 0.864e12, 200_000),
    "AMD Instinct MI300X": (192, 1307e12, 5.3e12, 1_250_000),
}
CLOUDS = (
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
    memory_gib, flops, bytes_, _ = KINDS[kind]
    rocm = kind.startswith("AMD")
    return DeviceRow(
        device_id=f"{'hip' if rocm else 'cuda'}:{index}",
        kind=kind,
        family="rocm" if rocm else "cuda",
        memory_bytes=memory_gib * 2**30,
        driver_version="6.3.1" if rocm else "570.86.15",
        compute_capability="gfx942" if rocm else "9.0",
        ceilings=(
            CeilingRow("bfloat16", flops * 0.8, bytes_ * 0.9, "measured", ago(7_200), disturbed=rocm),
            CeilingRow("float8_e4m3", flops * 2, bytes_, "table", None),
        ),
        uuid="" if rocm else f"GPU-{index:08x}-0000-4000-8000-000000000000",
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
        health=tuple(fleet_inside.health(device(index, kind)) for index in range(device_count)),
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
        source="plugin",
        running_count_mean=round(110 * load, 1),
        prefill_tokens_per_second=round(batch * 22, 1),
        decode_tokens_per_second=round(batch * 9, 1),
        busy_ratio=min(1.0, round(0.3 + 0.8 * load, 2)),
    )


def engine(random: Random, host: NodeRow, model: str, load: float, **changes: object) -> EngineRow:
    """A ready engine on all devices of its node, at this load."""
    capacity = KINDS[host.devices[0].kind][3] * len(host.devices)
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
        measured_at=ago(1.5),
        shape=fleet_inside.shape(),
        inside=fleet_inside.inside(load),
        recompute=fleet_inside.bills(load),
        residency=fleet_inside.residency(load),
        residency_agrees=True,
        residency_held_chunks_count=fleet_inside.residency(load).chunks_count,
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
        device_id=subject.get("device_id", ""),
        action=subject.get("action", ""),
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
        nodes={row.name: _with_ledgers(row, engines) for row in nodes},
        engines={row.engine_id: row for row in engines},
        placements={row.engine_id: placement(row) for row in engines},
        models={name: model(name, [row for row in engines if row.model == name]) for name in names},
        events=events,
        server=the_server or server(),
    )


def _with_ledgers(host: NodeRow, engines: list[EngineRow]) -> NodeRow:
    return replace(host, memory=fleet_inside.ledgers(host, [row for row in engines if row.node == host.name]))


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

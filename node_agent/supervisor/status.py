"""What is reported of one engine, put together from its life and its process. Pure; called by `EngineRunner`.

Without a process there are no gauges, no endpoint and no pid; the last counters stay with the instance that made them.
"""

from datetime import datetime

from node_agent.engines.engine import EngineDescription
from node_agent.inside.insides import InsideFacts
from node_agent.session.facts import EngineCounters, EngineGauges, EngineStatus
from node_agent.supervisor.instance import Instance
from node_agent.supervisor.life import Life


def engine_status(
    engine_id: str,
    life: Life,
    instance: Instance | None,
    *,
    advertise_host: str,
    state_since: datetime,
    retry_at: datetime | None,
    log_tail: tuple[str, ...],
    refused: str,
) -> EngineStatus:
    """`instance` is the latest process, alive or not; None before the first. `refused`: why no newer generation runs."""
    watch = None if instance is None else instance.watch
    alive = instance if life.has_process else None
    description = EngineDescription() if watch is None else watch.description
    told = InsideFacts() if instance is None or instance.inside is None else instance.inside.facts()
    return EngineStatus(
        engine_id=engine_id,
        generation=life.spec.generation,
        instance_id="" if instance is None else instance.instance_id,
        model=life.spec.model,
        state=life.state,
        state_since=state_since,
        stage=life.stage,
        reason=life.reason or refused,
        log_tail=log_tail,
        endpoint="" if alive is None else _endpoint(advertise_host, alive.port),
        device_ids=life.spec.device_ids if instance is None else instance.engine.device_ids,
        engine_version=description.version,
        restart_count=life.restart_count,
        retry_at=retry_at,
        context_tokens_max=description.context_tokens_max,
        served_paths=description.served_paths,
        dtype="" if instance is None else instance.dtype,
        gauges=EngineGauges() if alive is None else alive.watch.gauges,
        counters=EngineCounters() if watch is None else watch.counters,
        measured_at=None if watch is None else watch.measured_at,
        pid=0 if alive is None else alive.process.pid,
        shape=told.shape,
        inside=told.inside,
        recompute=told.recompute,
        residency=None if alive is None else told.residency,
        adapters=() if alive is None else description.adapters,
    )


def _endpoint(host: str, port: int) -> str:
    return f"[{host}]:{port}" if ":" in host else f"{host}:{port}"

"""What is kept of an engine in SQL so that a restarted daemon knows where engines were. Pure.

Written by `services.record_history`, read once at start by `services.restore_fleet`. It says nothing about load: only
a report can.
"""

from dataclasses import dataclass
from datetime import datetime

from controlplane.fleet.observed import EngineGauges, EngineReport, EngineState


@dataclass(frozen=True, slots=True)
class EngineSummary:
    """One engine as last heard of."""

    engine_id: str
    node: str
    model: str
    generation: int
    instance_id: str
    state: EngineState
    endpoint: str
    last_report_at: datetime
    served_paths: tuple[str, ...] = ()
    context_tokens_max: int | None = None
    dtype: str = ""
    kv_capacity_tokens: int | None = None

    def as_report(self) -> EngineReport:
        """The report that this summary stands for; what only a fresh report can tell is unknown."""
        return EngineReport(
            engine_id=self.engine_id,
            generation=self.generation,
            instance_id=self.instance_id,
            model=self.model,
            state=self.state,
            endpoint=self.endpoint,
            served_paths=self.served_paths,
            context_tokens_max=self.context_tokens_max,
            dtype=self.dtype,
            gauges=EngineGauges(kv_capacity_tokens=self.kv_capacity_tokens),
        )

"""What a scenario file says: clouds, devices, models, traffic and faults. Typed and frozen; never reads a file.

Built by `scenario_loading`; read by `fleet`, `traffic` and `faults`. Times are seconds from the start of the simulation.
"""

from typing import Annotated, Literal, Self

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, model_validator

from controlplane.simulation.catalogue import DEVICES, MODELS
from controlplane.simulation.engine_model import EngineLimits, ModelShape, StepCosts
from node_agent.settings import checked_name


def _place(kind: str) -> AfterValidator:
    return AfterValidator(lambda value: value and checked_name(kind, value))


def _one_of(what: str, known: dict[str, object]) -> AfterValidator:
    def check(value: str) -> str:
        if value and value not in known:
            raise ValueError(f"there is no {what} {value[:40]!a} in the table; it knows {', '.join(known)}")
        return value

    return AfterValidator(check)


Count = Annotated[int, Field(ge=1, le=1_000_000)]
Tokens = Annotated[int, Field(ge=1, le=10_000_000)]
Ratio = Annotated[float, Field(ge=0, le=1)]
Seconds = Annotated[float, Field(ge=0, le=31_536_000)]


class _Part(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False)


class NodeGroup(_Part):
    """Equal nodes at one place."""

    count: Count
    provider: Annotated[str, _place("provider")]
    region: Annotated[str, _place("region")]
    zone: Annotated[str, _place("zone")] = ""
    device: Annotated[str, _one_of("device", dict(DEVICES))] = "H100"
    devices_count: Annotated[int, Field(ge=1, le=16)] = 1
    model: str = ""  # what runs there from the start; "": nothing, until the control plane places something
    engines_count: Annotated[int, Field(ge=1, le=16)] = 1


class ModelKind(_Part):
    """A model and how its engines are started. `shape` is a preset; the other figures make or change one."""

    name: Annotated[str, Field(min_length=1, max_length=192)]
    shape: Annotated[str, _one_of("model", dict(MODELS))] = ""
    parameters_count: Count | Annotated[int, Field(ge=1)] | None = None
    active_parameters_count: Annotated[int, Field(ge=1)] | None = None
    layers_count: Count | None = None
    attention_heads_count: Count | None = None
    kv_heads_count: Count | None = None
    head_size: Count | None = None
    hidden_size: Count | None = None
    vocabulary_size: Count | None = None
    weight_bytes_per_parameter: Annotated[float, Field(gt=0, le=8)] | None = None
    kv_bytes_per_value: Annotated[float, Field(gt=0, le=8)] | None = None
    context_tokens_max: Tokens | None = None
    tensor_parallel: Annotated[int, Field(ge=1, le=16)] = 1
    sequences_max: Count = 256
    batched_tokens_max: Tokens = 8192
    block_tokens: Annotated[int, Field(ge=1, le=1024)] = 16
    memory_utilization_ratio: Annotated[float, Field(gt=0, le=1)] = 0.9
    compute_efficiency_ratio: Annotated[float, Field(gt=0, le=1)] = 0.7
    memory_efficiency_ratio: Annotated[float, Field(gt=0, le=1)] = 0.8
    step_overhead_seconds: Annotated[float, Field(gt=0, le=10)] = 0.0015

    @model_validator(mode="after")
    def _has_a_shape(self) -> Self:
        self.model_shape()
        return self

    def model_shape(self) -> ModelShape:
        """Raises ValueError when something that it needs is missing, or makes no sense."""
        names = list(ModelShape.__dataclass_fields__)
        given = {name: getattr(self, name) for name in names if getattr(self, name, None) is not None}
        preset = MODELS.get(self.shape or self.name)
        base = {} if preset is None else {name: getattr(preset, name) for name in names}
        needed = ("parameters_count", "layers_count", "attention_heads_count", "kv_heads_count", "head_size")
        missing = [name for name in (*needed, "hidden_size", "vocabulary_size") if name not in base | given]
        if missing:
            raise ValueError(
                f"the model {self.name[:80]!a} has no shape: set shape to one of {', '.join(MODELS)}, or set {', '.join(missing)}"
            )
        return ModelShape(**{**base, **given})

    def limits(self) -> EngineLimits:
        return EngineLimits(
            self.sequences_max,
            self.batched_tokens_max,
            self.block_tokens,
            self.memory_utilization_ratio,
            self.tensor_parallel,
        )

    def costs(self) -> StepCosts:
        return StepCosts(self.compute_efficiency_ratio, self.memory_efficiency_ratio, self.step_overhead_seconds)


class Lengths(_Part):
    """Log-normal: most are short, a few are long."""

    mean_tokens: Annotated[float, Field(ge=1, le=1_000_000)]
    spread: Annotated[float, Field(ge=0, le=3)] = 0.8  # sigma of the logarithm; 0: all are equal
    tokens_max: Tokens = 1_000_000


class Traffic(_Part):
    """Requests for a model, spread evenly over its engines that serve."""

    model: str
    requests_per_second: Annotated[float, Field(ge=0, le=1_000_000)] = 0.0  # over all engines; the mean of a wave
    wave_ratio: Ratio = 0.0  # how far it swings around the mean
    wave_seconds: Annotated[float, Field(gt=0, le=31_536_000)] = 86_400.0
    wave_peak_at_seconds: Seconds = 43_200.0
    trace: str = ""  # a file in the directory of --traces, instead of a rate
    trace_speed: Annotated[float, Field(gt=0, le=10_000)] = 1.0
    prompt: Lengths = Lengths(mean_tokens=1000)
    output: Lengths = Lengths(mean_tokens=250)
    shared_prefixes_count: Annotated[int, Field(ge=0, le=100_000)] = 0
    shared_prefix_tokens: Annotated[int, Field(ge=0, le=1_000_000)] = 0
    followup_ratio: Ratio = 0.0  # requests that go on with an earlier conversation
    tenants: tuple[Annotated[str, _place("tenant")], ...] = ()

    @model_validator(mode="after")
    def _is_one_kind(self) -> Self:
        if bool(self.trace) == (self.requests_per_second > 0):
            raise ValueError("traffic is either requests_per_second or a trace: set one of them")
        return self


class Fault(_Part):
    """Something that goes wrong for a while, on some nodes."""

    kind: Literal["node_silent", "engine_crash", "slow_device", "clock_error", "region_away", "metrics_garbage"]
    at_seconds: Seconds
    lasts_seconds: Seconds = 60.0
    provider: str = ""  # "": any
    region: str = ""  # likewise
    node: str = "*"  # a pattern for names, such as "sim-gcp-*"
    share_ratio: Annotated[float, Field(gt=0, le=1)] = 1.0  # of the nodes that fit
    factor: Annotated[float, Field(ge=1, le=1000)] = 3.0  # slow_device: so many times as slow
    error_seconds: Annotated[float, Field(ge=-31_536_000, le=31_536_000)] = 30.0  # clock_error: ahead of the truth


class Scenario(_Part):
    name: str = "simulation"
    start_speed: Annotated[float, Field(gt=0, le=1000)] = 1.0  # how much faster than a real one an engine starts
    nodes: Annotated[tuple[NodeGroup, ...], Field(min_length=1)]
    models: tuple[ModelKind, ...] = ()
    traffic: tuple[Traffic, ...] = ()
    faults: tuple[Fault, ...] = ()

    @model_validator(mode="after")
    def _names_fit(self) -> Self:
        known = {model.name for model in self.models} | set(MODELS)
        asked = [group.model for group in self.nodes if group.model] + [traffic.model for traffic in self.traffic]
        for name in asked:
            if name not in known:
                raise ValueError(f"the model {name[:80]!a} is not described: add [[models]] with this name")
        return self

    def model(self, name: str) -> ModelKind | None:
        """As the file describes it, or a preset of that name; None: nobody knows it."""
        for model in self.models:
            if model.name == name:
                return model
        return ModelKind(name=name) if name in MODELS else None

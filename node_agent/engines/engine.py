"""What the supervisor needs to know of an engine kind, and how engines are reached and guarded.

The supervisor calls these and knows no kind by name; `vllm` implements them (a simulated engine will too). An engine
object belongs to one `EngineSpec`. Nothing here starts processes or keeps state between calls.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from node_agent.inside.sockets import InsideSockets
from node_agent.probes.scrape import Scrape
from node_agent.session.facts import EngineSpec


@dataclass(frozen=True, slots=True)
class EngineTls:
    """PEM files. They may be replaced in place at any time: engines and the agent read them again.

    The server's certificate must be valid for `EngineAccess.advertise_host`.
    """

    cert_path: Path  # the node's server certificate, which its engines show
    key_path: Path
    client_ca_path: Path  # whose clients engines answer: the gateway's CA and the agent's own, in one bundle
    client_cert_path: Path  # the agent's own identity, with which it scrapes and sends canaries
    client_key_path: Path
    ca_path: Path  # what verifies the engines' server certificate


@dataclass(frozen=True, slots=True)
class EngineAccess:
    """Where this node's engines listen, and who may speak to them. `tls=None` is for tests and `--insecure` only."""

    bind_host: str
    advertise_host: str  # as the gateway reaches this node
    port_first: int
    port_last: int  # inclusive
    tls: EngineTls | None = None

    @property
    def local_host(self) -> str:
        """Where the agent itself reaches an engine that listens on `bind_host`."""
        return {"0.0.0.0": "127.0.0.1", "::": "::1", "": "127.0.0.1"}.get(self.bind_host, self.bind_host)  # noqa: S104


@dataclass(frozen=True, slots=True)
class Launch:
    """Everything that starting the process takes. `environment` is whole: nothing is inherited beside it."""

    command: tuple[str, ...]
    environment: Mapping[str, str]


@dataclass(frozen=True, slots=True)
class LogNews:
    """What one log line told; None where it told nothing of the kind."""

    stage: str | None = None  # of the start-up, for people: "loading weights"
    dtype: str | None = None


@dataclass(frozen=True, slots=True)
class CauseOfDeath:
    """Why a process ended, in a sentence. `retryable` is False when the same start could only fail again."""

    reason: str
    retryable: bool


@dataclass(frozen=True, slots=True)
class EngineDescription:
    """What a running engine says of itself. None and "" mean not known."""

    version: str = ""
    served_paths: tuple[str, ...] = ()
    context_tokens_max: int | None = None
    adapters: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class CanaryAnswer:
    """What the agent's own request cost: to be taken out of the counters again."""

    prompt_tokens: int
    generation_tokens: int
    cached_tokens: int


class EngineClient(Protocol):
    """One running engine, over its port. Everything raises EngineUnreachableError when there is no proper answer."""

    async def healthy(self) -> bool:
        """Whether the engine says that it is up. True does not mean that it serves."""

    async def describe(self) -> EngineDescription: ...

    async def scrape(self) -> Scrape:
        """Raises MetricsError when what came are not metrics."""

    async def canary(self, *, seconds_max: float) -> CanaryAnswer:
        """Has the engine do one token's worth of real work."""

    async def load_adapter(self, name: str, source: str) -> tuple[str, ...]:
        """Also in the place of one of that name. Answers all adapters that it serves then. Raises AdapterError."""

    async def unload_adapter(self, name: str) -> tuple[str, ...]:
        """One that is not there is as good as unloaded. Answers and raises likewise."""

    async def close(self) -> None: ...


class Engine(Protocol):
    """One engine kind, for one spec."""

    @property
    def device_ids(self) -> tuple[str, ...]:
        """Where it runs: the spec's devices, or the node's default ones."""

    def launch(self, port: int, inside: InsideSockets | None = None) -> Launch:
        """The command that starts it; `inside`: where the agent listens to what it tells of itself, if anywhere.

        Raises LaunchError when something that it needs is not there.
        """

    def trial(self) -> Launch | None:
        """A command that judges the arguments as a start would, without starting anything; None: there is none."""

    @property
    def takes_adapters(self) -> bool:
        """Whether LoRA adapters can be loaded into it while it runs."""

    def read_line(self, line: str) -> LogNews: ...

    def cause_of_death(self, exit_code: int | None, log_tail: Sequence[str]) -> CauseOfDeath:
        """`exit_code` is None when nobody can tell it: the process was another agent's child."""

    def client(self, port: int, *, served_paths: tuple[str, ...] = ()) -> EngineClient:
        """`served_paths`: as described before, for an engine that an earlier run of the agent had started."""


# Makes the engine of a spec; raises EngineSpecError when the spec cannot be run on this node at all.
EngineFactory = Callable[[EngineSpec], Engine]

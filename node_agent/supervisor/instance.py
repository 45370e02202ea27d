"""One process of an engine with all that belongs to it alone, made fresh for each start and for each one found again.

Called by `EngineRunner` only.
"""

import uuid
from collections.abc import Callable, Collection
from dataclasses import dataclass
from pathlib import Path

from node_agent.clock import Clock
from node_agent.engines.engine import Engine, EngineAccess, EngineFactory
from node_agent.errors import AgentError, LaunchError
from node_agent.inside.insides import EngineInsides, InsideHandle
from node_agent.session.facts import EngineSpec, EngineState, NodeEvent
from node_agent.supervisor import process
from node_agent.supervisor.log_file import LogFile
from node_agent.supervisor.policy import SupervisorPolicy
from node_agent.supervisor.ports import free_port
from node_agent.supervisor.process import EngineProcess
from node_agent.supervisor.records import EngineDirectory, EngineRecord
from node_agent.supervisor.watch import EngineWatch, Notify
from node_agent.tasks import TaskScope


@dataclass(frozen=True)
class Surroundings:
    """What all engines of a node share."""

    engine_factory: EngineFactory
    access: EngineAccess
    state_dir: Path
    clock: Clock
    policy: SupervisorPolicy
    tasks: TaskScope
    on_event: Callable[[NodeEvent], None]
    draw: Callable[[], float]  # a random number from 0 to 1
    ports_taken: Callable[[str], Collection[int]]  # by the engines beside this one, bound yet or not
    insides: EngineInsides | None = None  # None: nothing listens inside engines


@dataclass
class Instance:
    instance_id: str
    engine: Engine
    process: EngineProcess
    port: int
    watch: EngineWatch
    inside: InsideHandle | None = None  # None: nothing is heard from inside this process
    dtype: str = ""
    next_check_at: float = 0.0
    checking: bool = False
    confirming: bool = False


def start(
    spec: EngineSpec,
    around: Surroundings,
    directory: EngineDirectory,
    log: LogFile,
    *,
    preferred_port: int | None,
    notify: Notify,
) -> Instance:
    """Raises LaunchError, or EngineSpecError when the spec cannot be run here."""
    engine = around.engine_factory(spec)
    port = free_port(around.access, taken=around.ports_taken(spec.engine_id), preferred=preferred_port)
    try:
        directory.make()
        log.begin()
    except OSError as error:
        raise LaunchError(f"cannot prepare {directory.path}: {error.strerror}", retryable=True) from error
    instance_id = uuid.uuid4().hex
    inside = None if around.insides is None else around.insides.open(spec.engine_id, instance_id)
    try:
        launch = engine.launch(port, None if inside is None else inside.sockets)
        started = process.spawn(launch, directory.path, directory.log_path)
    except AgentError:
        if inside is not None:
            around.tasks.spawn(inside.close(gone=True), name=f"{spec.engine_id} inside")
        raise
    return Instance(
        instance_id=instance_id,
        engine=engine,
        process=started,
        port=port,
        watch=EngineWatch(engine.client(port), clock=around.clock, policy=around.policy, notify=notify),
        inside=inside,
        # Nothing answers at once; the first look can wait for the first tick after that.
        next_check_at=around.clock.monotonic() + around.policy.scrape_seconds,
    )


def find_again(record: EngineRecord, around: Surroundings, *, notify: Notify) -> Instance | None:
    """The recorded process, untouched; None when it is gone. Raises EngineSpecError."""
    found = process.adopt(record.identity)
    if found is None:
        if around.insides is not None and record.inside_folder:
            around.insides.forget(record.inside_folder)
        return None
    engine = around.engine_factory(record.spec)
    client = engine.client(record.port, served_paths=record.description.served_paths)
    watch = EngineWatch(client, clock=around.clock, policy=around.policy, notify=notify)
    watch.resume(record.description, record.excluded)
    inside = None
    if around.insides is not None and record.inside_folder:
        inside = around.insides.open(record.spec.engine_id, record.instance_id, folder=record.inside_folder)
    return Instance(
        instance_id=record.instance_id,
        engine=engine,
        process=found,
        port=record.port,
        watch=watch,
        inside=inside,
        dtype=record.dtype,
    )


def found_state(record: EngineRecord) -> EngineState:
    """READY counts only if its counters have a beginning."""
    return EngineState.STARTING if record.state is EngineState.READY and record.excluded is None else record.state

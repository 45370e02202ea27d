"""What is heard from inside each engine process, put together for its status. Made by the composition root.

The supervisor opens an `InsideHandle` for each process that it starts or finds again, and closes it when the process is
gone. Whatever fails in here, the engine runs on: /metrics tells the essentials, and an event says once what is missing.
"""

from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Protocol

from node_agent.clock import Clock
from node_agent.inside import plugin_codec, sockets
from node_agent.inside.notes import PrefixNote, ResidencySink
from node_agent.inside.plugin_codec import Hello, Steps
from node_agent.inside.plugin_server import Keep, PluginServer
from node_agent.inside.sockets import InsideSockets
from node_agent.session.facts import NodeEvent
from node_agent.session.inside import (
    EngineInside,
    InsideState,
    ModelShape,
    RecomputeBill,
    ResidencySummary,
    StepTotals,
)
from node_agent.session.values import Severity

# Totals come every second; a plug-in that is quiet for this long is not there.
SILENT_SECONDS = 10.0
_LAST_WORDS_SECONDS_MAX = 2.0
_SOURCES_MAX = 64


class ResidencyFollower(ResidencySink, Protocol):
    """Follows the KV events of one engine process, too."""

    def observe(self, shape: ModelShape | None, steps: StepTotals | None) -> None:
        """What recomputing is priced with."""

    async def close(self) -> None: ...


Follow = Callable[[str, str, InsideSockets], ResidencyFollower]
"""Begins to follow: engine id, instance id, sockets. The events' sockets need not be there yet."""


@dataclass(frozen=True, slots=True)
class InsideFacts:
    shape: ModelShape | None = None
    inside: EngineInside | None = None
    recompute: tuple[RecomputeBill, ...] = ()
    residency: ResidencySummary | None = None


class InsideHandle:
    """One engine process. A `PluginListener`."""

    def __init__(
        self,
        engine_id: str,
        instance_id: str,
        paths: InsideSockets,
        clock: Clock,
        on_event: Callable[[NodeEvent], None],
    ) -> None:
        self.sockets = paths
        self._engine_id = engine_id
        self._clock = clock
        self._on_event = on_event
        self._hellos: dict[str, Hello] = {}
        self._steps: dict[str, Steps] = {}
        self._heard_at: float | None = None
        self._measured_at: datetime | None = None
        self._expected_at: float | None = None
        self._trouble = ""
        self._told: set[str] = set()
        self._server: PluginServer | None = None
        self._follower: ResidencyFollower | None = None
        self._instance_id = instance_id

    def begin(self, keep: Keep, follow: Follow | None) -> None:
        """Raises OSError."""
        sockets.make_folder(self.sockets)
        self._server = PluginServer(self.sockets.plugin, self._engine_id, self._instance_id, self, keep)
        self._server.begin()
        if follow is not None:
            self._follower = follow(self._engine_id, self._instance_id, self.sockets)

    def facts(self) -> InsideFacts:
        """As last heard. Never blocks."""
        state, why = self._state()
        steps = plugin_codec.totals(list(self._steps.values())) if self._steps else None
        follower = self._follower
        return InsideFacts(
            shape=self._shape(),
            inside=EngineInside(
                state=state,
                note=why,
                plugin_version=next((hello.version for hello in self._hellos.values()), ""),
                steps=steps,
                measured_at=self._measured_at,
                records_dropped=sum(steps.dropped for steps in self._steps.values()),
            ),
            recompute=() if follower is None else follower.bills(),
            residency=None if follower is None else follower.summary(),
        )

    def expect_voice(self) -> None:
        """The engine serves, so its plug-in should be heard. Tells once when it is not."""
        now = self._clock.monotonic()
        if self._expected_at is None:
            self._expected_at = now
        state, why = self._state()
        if state is InsideState.SILENT and now - self._expected_at > SILENT_SECONDS:
            self._tell("plugin_silent", f"{why}; its figures come from /metrics alone")

    async def close(self, *, gone: bool) -> None:
        """`gone`: the process is; what it sent last is still taken in. Otherwise another agent will listen here."""
        if self._server is not None:
            if gone:
                await self._server.drained(_LAST_WORDS_SECONDS_MAX)
            await self._server.close()
        if self._follower is not None:
            await self._follower.close()
        if gone:
            sockets.remove_folder(self.sockets)

    def on_greeting(self, hello: Hello) -> None:
        if hello.source not in self._hellos and len(self._hellos) >= _SOURCES_MAX:
            return
        self._hear()
        self._hellos[hello.source] = hello
        self._observe()
        if hello.problems:
            self._tell("plugin_degraded", f"the plug-in in vLLM cannot tell everything: {'; '.join(hello.problems)}")

    def on_steps(self, source: str, steps: Steps) -> None:
        if source not in self._hellos:
            return
        self._hear()
        self._steps[source] = steps
        self._measured_at = self._clock.now()
        self._observe()

    def on_note(self, note: PrefixNote) -> None:
        self._hear()
        if self._follower is not None:
            self._follower.note(note)

    def on_trouble(self, sentence: str) -> None:
        self._trouble = sentence
        self._tell("plugin_refused", f"the plug-in in vLLM is not listened to: {sentence}")

    def _state(self) -> tuple[InsideState, str]:
        if self._heard_at is None:
            return InsideState.SILENT, self._trouble or "the plug-in in vLLM has not been heard of"
        if self._clock.monotonic() - self._heard_at > SILENT_SECONDS:
            return InsideState.SILENT, self._trouble or "the plug-in in vLLM is no more heard of"
        problems = [problem for hello in self._hellos.values() for problem in hello.problems]
        return (InsideState.DEGRADED, "; ".join(problems)) if problems else (InsideState.ACTIVE, "")

    def _shape(self) -> ModelShape | None:
        """Several servers in front of one engine all say the same; the latest knows the most."""
        known = [hello for hello in self._hellos.values() if hello.shape]
        return plugin_codec.shape(known[-1]) if known else None

    def _observe(self) -> None:
        if self._follower is not None:
            steps = plugin_codec.totals(list(self._steps.values())) if self._steps else None
            self._follower.observe(self._shape(), steps)

    def _hear(self) -> None:
        self._heard_at = self._clock.monotonic()

    def _tell(self, kind: str, message: str) -> None:
        if kind not in self._told:
            self._told.add(kind)
            event = NodeEvent(kind, message, Severity.WARNING, self._clock.now(), engine_id=self._engine_id)
            self._on_event(event)


class EngineInsides:
    """For all engines of a node. `socket_dir` is made by `sockets.make_socket_dir`."""

    def __init__(
        self,
        socket_dir: Path,
        *,
        clock: Clock,
        on_event: Callable[[NodeEvent], None],
        keep: Keep,
        follow: Follow | None = None,
    ) -> None:
        self._socket_dir = socket_dir
        self._clock = clock
        self._on_event = on_event
        self._keep = keep
        self._follow = follow

    def forget(self, folder: str) -> None:
        """The process that these sockets were of died while no agent was here."""
        if Path(folder).parent == self._socket_dir.absolute():
            sockets.remove_folder(InsideSockets(Path(folder)))

    def open(self, engine_id: str, instance_id: str, *, folder: str = "") -> InsideHandle | None:
        """Listens to a process that is about to start or, with the `folder` of its sockets, to one that was found again.
        None when that is not possible, which is said in an event: the engine is then run without.
        """
        paths = InsideSockets(Path(folder)) if folder else sockets.sockets_of(self._socket_dir, instance_id)
        handle = InsideHandle(engine_id, instance_id, paths, self._clock, self._on_event)
        try:
            handle.begin(self._keep, self._follow)
        except OSError as error:
            message = f"nothing can listen inside the engine, {paths.folder}: {error.strerror}; it runs without"
            self._on_event(
                NodeEvent("plugin_silent", message, Severity.WARNING, self._clock.now(), engine_id=engine_id)
            )
            return None
        return handle

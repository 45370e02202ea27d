"""Tells a stuck engine from a busy one and from an idle one, by its progress. Pure.

Called by `EngineWatch` with every reading. It only raises a suspicion; a canary then decides. What is not known is
never taken for trouble by itself.
"""

from dataclasses import dataclass, replace

from node_agent.probes.scrape import Scrape
from node_agent.supervisor.policy import SupervisorPolicy

Progress = tuple[int | None, int | None, int | None]


@dataclass(frozen=True, slots=True)
class Pulse:
    """Monotonic seconds."""

    answered_at: float  # its port last gave a reading
    moved_at: float  # it last made progress, or had nothing to do
    progress: Progress = (None, None, None)
    running: int = 0
    waiting: int = 0


def first_pulse(now: float) -> Pulse:
    return Pulse(answered_at=now, moved_at=now)


def observe(pulse: Pulse, scrape: Scrape, now: float) -> Pulse:
    counters = scrape.counters
    progress = (counters.generation_tokens, counters.prompt_tokens, counters.steps)
    running, waiting = scrape.gauges.running or 0, scrape.gauges.waiting or 0
    moved = progress != pulse.progress or running + waiting == 0
    return Pulse(
        answered_at=now,
        moved_at=now if moved else pulse.moved_at,
        progress=progress,
        running=running,
        waiting=waiting,
    )


def answered(pulse: Pulse, now: float) -> Pulse:
    """A canary came back: whatever was suspected, it serves."""
    return replace(pulse, answered_at=now, moved_at=now)


def suspicion(pulse: Pulse, now: float, policy: SupervisorPolicy) -> str | None:
    """What is wrong, in words, or None."""
    silent = now - pulse.answered_at
    if silent >= policy.unresponsive_seconds:
        return f"no answer from its port for {silent:.0f} s"
    still = now - pulse.moved_at
    if still >= policy.stuck_seconds:
        held = f"{pulse.running} requests were running"
        if pulse.waiting:
            held += f" and {pulse.waiting} waiting"
        return f"no progress for {still:.0f} s while {held}"
    return None

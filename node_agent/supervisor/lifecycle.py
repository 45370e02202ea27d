"""The life of one engine as a pure state machine: (life, event, now) → (life, effects).

Called by `EngineRunner`, which carries the effects out and feeds back what happened. No I/O, no clock, no randomness:
`now` is monotonic seconds and `draw` (0 to 1) comes with the event that needs it. Never asks for a second process
before the first is known to be gone.

    STARTING ─ Answering ─► READY ─ Stop, newer spec ─► DRAINING ─ quiet, deadline ─► STOPPING ─ Died ─► STOPPED
       ▲  │ Died              │ Died, Stuck                                               │ newer spec: STARTING
       │  ▼                   ▼                                                           │ was doomed: BACKING_OFF
       └ BACKING_OFF ◄────────┘         too many deaths, or one without a cure: FAILED    ▼
"""

from dataclasses import replace
from typing import assert_never

from node_agent.session.facts import EngineSpec, EngineState
from node_agent.supervisor.life import (
    LAUNCHING,
    Answering,
    Died,
    Event,
    Kill,
    Life,
    LoadSeen,
    Spawn,
    StageSeen,
    Start,
    Step,
    Stop,
    Stuck,
    Terminate,
    Tick,
)
from node_agent.supervisor.policy import SupervisorPolicy

_RUNNING = (EngineState.STARTING, EngineState.READY, EngineState.DRAINING, EngineState.STOPPING)


def born(spec: EngineSpec, now: float, policy: SupervisorPolicy) -> Step:
    """The first start of an engine that this agent did not know."""
    return _spawn(Life(spec=spec, state=EngineState.STOPPED, since=now), spec, now, policy)


def adopted(spec: EngineSpec, state: EngineState, restart_count: int, now: float, policy: SupervisorPolicy) -> Life:
    """An engine that an earlier run of the agent left running. What was ending goes on ending, gently."""
    life = Life(spec=spec, state=state, since=now, has_process=True, restart_count=restart_count)
    match state:
        case EngineState.READY:
            return life
        case EngineState.STARTING:
            return replace(life, stage="found again", deadline=now + policy.start_seconds_max)
        case _:
            reason = "was being stopped when the agent restarted"
            return _drain(replace(life, stop_wanted=True), policy.drain_seconds_max, reason, now)


def step(life: Life, event: Event, now: float, policy: SupervisorPolicy) -> Step:
    match event:
        case Start(spec):
            return _start(life, spec, now, policy)
        case Stop(drain_seconds_max):
            return _stop(life, drain_seconds_max, now, policy)
        case StageSeen(stage):
            return (replace(life, stage=stage), ()) if life.state is EngineState.STARTING else (life, ())
        case Answering():
            return _answering(life, now)
        case LoadSeen(running, waiting):
            return _load_seen(life, running, waiting, now, policy)
        case Stuck(reason):
            return _doom(life, reason, now, policy) if life.state is EngineState.READY else (life, ())
        case Died():
            return _died(life, event, now, policy)
        case Tick():
            return _tick(life, now, policy)
        case _:
            assert_never(event)


def _start(life: Life, spec: EngineSpec, now: float, policy: SupervisorPolicy) -> Step:
    newest = life.next_spec or life.spec
    again = life.stop_wanted and spec.generation == newest.generation
    if not (spec.generation > newest.generation or again):
        return life, ()
    if life.state not in _RUNNING:
        fresh = replace(life, deaths=(), early_deaths=0, restart_count=0)
        return _spawn(fresh, spec, now, policy)
    queued = replace(life, next_spec=spec, stop_wanted=False, doomed=False)
    reason = f"generation {spec.generation} replaces it"
    match life.state:
        case EngineState.READY:
            return _drain(queued, policy.drain_seconds_max, reason, now), ()
        case EngineState.STARTING:
            return _terminate(queued, reason, now, policy)
        case _:
            return replace(queued, reason=reason), ()


def _stop(life: Life, drain_seconds_max: float, now: float, policy: SupervisorPolicy) -> Step:
    wanted = replace(life, stop_wanted=True, next_spec=None, doomed=False)
    match life.state:
        case EngineState.READY:
            return _drain(wanted, drain_seconds_max, "asked to stop", now), ()
        case EngineState.DRAINING:
            # A second order may hurry the first, never slow it down.
            deadline = min(now + drain_seconds_max, now + drain_seconds_max if life.deadline is None else life.deadline)
            return replace(wanted, deadline=deadline), ()
        case EngineState.STARTING:
            return _terminate(wanted, "asked to stop", now, policy)
        case EngineState.STOPPING:
            return replace(wanted, reason="asked to stop"), ()
        case EngineState.STOPPED:
            return wanted, ()
        case EngineState.BACKING_OFF | EngineState.FAILED:
            return _rest(wanted, EngineState.STOPPED, "asked to stop", now), ()
        case _:
            assert_never(life.state)


def _answering(life: Life, now: float) -> Step:
    if life.state is not EngineState.STARTING or not life.has_process:
        return life, ()
    return replace(life, state=EngineState.READY, since=now, stage="", reason="", deadline=None, early_deaths=0), ()


def _load_seen(life: Life, running: int | None, waiting: int | None, now: float, policy: SupervisorPolicy) -> Step:
    if life.state is not EngineState.DRAINING:
        return life, ()
    if running != 0 or waiting != 0:
        # Not known is not quiet either: then the deadline decides.
        return replace(life, quiet_since=None), ()
    if life.quiet_since is None:
        return replace(life, quiet_since=now), ()
    # Quiet twice, a scrape apart, and long enough after the last request that could have been sent here.
    if now > life.quiet_since and now - life.since >= policy.drain_grace_seconds:
        return _terminate(life, life.reason, now, policy)
    return life, ()


def _tick(life: Life, now: float, policy: SupervisorPolicy) -> Step:
    match life.state:
        case EngineState.BACKING_OFF if life.retry_at is not None and now >= life.retry_at:
            return _spawn(replace(life, restart_count=life.restart_count + 1), life.spec, now, policy)
        case EngineState.STARTING if _passed(life, now):
            waited = f"{policy.start_seconds_max:.0f} s"
            return _doom(life, f"did not answer within {waited} of its start (last stage: {life.stage})", now, policy)
        case EngineState.DRAINING if _passed(life, now):
            reason = f"{life.reason}; still had requests when the time to finish them was over"
            return _terminate(life, reason, now, policy)
        case EngineState.STOPPING if _passed(life, now):
            return replace(life, deadline=now + policy.kill_seconds), (Kill(),)
        case _:
            return life, ()


def _died(life: Life, death: Died, now: float, policy: SupervisorPolicy) -> Step:
    if not life.has_process:
        return life, ()
    gone = replace(life, has_process=False)
    if life.next_spec is not None:
        return _spawn(replace(gone, deaths=(), early_deaths=0, restart_count=0), life.next_spec, now, policy)
    if life.stop_wanted:
        return _rest(gone, EngineState.STOPPED, life.reason, now), ()
    reason = life.reason if life.doomed else death.reason
    early = life.early_deaths + 1 if life.state is EngineState.STARTING and life.stage in ("", LAUNCHING) else 0
    deaths = (*(at for at in life.deaths if now - at < policy.deaths_window_seconds), now)
    gone = replace(gone, deaths=deaths, early_deaths=early)
    if not death.retryable and not life.doomed:
        return _rest(gone, EngineState.FAILED, reason, now), ()
    if early >= policy.early_deaths_max:
        return _rest(gone, EngineState.FAILED, f"died {early} times as soon as it was started; {reason}", now), ()
    if len(deaths) >= policy.deaths_max:
        minutes = policy.deaths_window_seconds / 60
        return _rest(gone, EngineState.FAILED, f"died {len(deaths)} times in {minutes:.0f} minutes; {reason}", now), ()
    retry_at = now + backoff_seconds(len(deaths), death.draw, policy)
    return replace(_rest(gone, EngineState.BACKING_OFF, reason, now), retry_at=retry_at), ()


def backoff_seconds(deaths_count: int, draw: float, policy: SupervisorPolicy) -> float:
    """Grows with every death in the window; between half of it and the whole, so that nodes do not restart in step."""
    full = min(
        policy.backoff_seconds_max, policy.backoff_seconds_first * policy.backoff_factor ** min(deaths_count - 1, 64)
    )
    return full * (0.5 + 0.5 * draw)


def _spawn(life: Life, spec: EngineSpec, now: float, policy: SupervisorPolicy) -> Step:
    fresh = Life(
        spec=spec,
        state=EngineState.STARTING,
        since=now,
        has_process=True,
        stage=LAUNCHING,
        deadline=now + policy.start_seconds_max,
        deaths=life.deaths,
        early_deaths=life.early_deaths,
        restart_count=life.restart_count,
    )
    return fresh, (Spawn(spec),)


def _drain(life: Life, seconds_max: float, reason: str, now: float) -> Life:
    return replace(
        life,
        state=EngineState.DRAINING,
        since=now,
        stage="",
        reason=reason,
        deadline=now + seconds_max,
        quiet_since=None,
    )


def _terminate(life: Life, reason: str, now: float, policy: SupervisorPolicy) -> Step:
    stopping = replace(
        life,
        state=EngineState.STOPPING,
        since=now,
        stage="",
        reason=reason,
        deadline=now + policy.stop_seconds_max,
        quiet_since=None,
    )
    return stopping, (Terminate(),)


def _doom(life: Life, reason: str, now: float, policy: SupervisorPolicy) -> Step:
    """A broken engine is not asked to finish: what it holds would only hang longer."""
    stopping, _ = _terminate(replace(life, doomed=True), reason, now, policy)
    return replace(stopping, deadline=now + policy.kill_seconds), (Kill(),)


def _rest(life: Life, state: EngineState, reason: str, now: float) -> Life:
    """A state without a process."""
    return replace(
        life,
        state=state,
        since=now,
        stage="",
        reason=reason,
        deadline=None,
        retry_at=None,
        quiet_since=None,
        doomed=False,
        next_spec=None,
    )


def _passed(life: Life, now: float) -> bool:
    return life.deadline is not None and now >= life.deadline

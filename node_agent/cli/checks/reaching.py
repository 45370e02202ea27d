"""Checks of the way to the control plane: names, TCP, trust on both ports, what the agent itself says, and the clock."""

import ctypes
from dataclasses import dataclass
from datetime import datetime

from node_agent.cli.checks.findings import Finding, fail, ok, warn
from node_agent.host.standing import Standing
from node_agent.link.diagnosis import diagnose, reach
from node_agent.link.identity import IdentityStore
from node_agent.link.problems import NotJoinedError
from node_agent.settings import AgentSettings

# A certificate is dated five minutes back: a clock that is later than that finds new ones not valid yet.
CLOCK_ERROR_SECONDS_MAX = 300.0
CLOCK_ERROR_SECONDS_HIGH = 2.0
_WAY = "look at the address, at firewalls between here and there, and at the control plane itself"


async def check_ways(settings: AgentSettings) -> list[Finding]:
    """Sends nothing but TLS handshakes, and takes nobody's session."""
    store = IdentityStore(settings.state_dir)
    try:
        ca_pem = store.load().ca_pem
    except NotJoinedError:
        ca_pem = b""
    session, enrolment = settings.server.address, settings.server.enrolment_address
    findings = [
        await _check_way("control plane", session, ca_pem, store, shows_identity=True),
        await _check_way("enrolment port", enrolment, ca_pem, store, shows_identity=False),
    ]
    if findings[1] is not None and findings[1].fix and ca_pem:
        # Only joining anew needs it.
        findings[1] = warn(findings[1].check, findings[1].says, f"if this node must join again: {_WAY}")
    return [finding for finding in findings if finding is not None]


async def _check_way(
    name: str, address: str, ca_pem: bytes, store: IdentityStore, *, shows_identity: bool
) -> Finding | None:
    if not address:
        return None
    if not ca_pem:
        host, _, port = address.rpartition(":")
        problem = await reach(host.strip("[]"), int(port), address)
        done = f"{address} takes connections; whom it shows can be told after joining"
    else:
        path = store.node_path if shows_identity else None
        problem = await diagnose(address, ca_pem=ca_pem, identity_path=path)
        done = f"{address} answers, and it is the control plane that this node joined"
        done += "; it accepts this node's certificate" if shows_identity else ""
    return ok(name, done) if problem is None else fail(name, str(problem), _WAY)


def judge_session(standing: Standing | None, *, running: bool | None) -> Finding:
    """`running` is None when this user cannot tell."""
    if running is None:
        return warn("agent's session", "this user cannot tell whether the agent runs", "run doctor as root")
    if not running:
        return warn("agent's session", "the agent does not run", "systemctl start stoker-agent")
    if standing is None:
        return warn(
            "agent's session", "the agent runs, but has not told yet how it stands", "ask again in a few seconds"
        )
    if not standing.connected:
        return fail(
            "agent's session", f"the agent runs, but is {standing.connection}", "see journalctl -u stoker-agent"
        )
    return ok("agent's session", standing.connection)


@dataclass(frozen=True, slots=True)
class ClockFacts:
    """`error_seconds`: ahead of the control plane, as its last welcome told the agent; None: it never did."""

    error_seconds: float | None = None
    told_at: datetime | None = None
    kernel_synchronised: bool | None = None


def look_clock(standing: Standing | None) -> ClockFacts:
    synchronised = kernel_synchronised()
    if standing is None:
        return ClockFacts(kernel_synchronised=synchronised)
    return ClockFacts(standing.clock_error_seconds, standing.clock_told_at, synchronised)


def judge_clock(facts: ClockFacts, now: datetime) -> Finding:
    fix = "let a time service set the clock: timedatectl set-ntp true, or chrony"
    kernel = {True: "a time service keeps it", False: "no time service keeps it", None: "who keeps it is not known"}
    about = kernel[facts.kernel_synchronised]
    if facts.error_seconds is None or facts.told_at is None:
        text = f"{about}; how far it is from the control plane's is known once the agent has connected"
        return warn("clock", text, fix) if facts.kernel_synchronised is False else ok("clock", text)
    age = max(0.0, (now - facts.told_at).total_seconds())
    text = f"{abs(facts.error_seconds):.1f} s {'ahead of' if facts.error_seconds > 0 else 'behind'} the control plane's"
    text = f"{text} when the agent last connected, {age / 60:.0f} min ago; {about}"
    if abs(facts.error_seconds) > CLOCK_ERROR_SECONDS_MAX:
        return fail("clock", text, fix)
    if abs(facts.error_seconds) > CLOCK_ERROR_SECONDS_HIGH or facts.kernel_synchronised is False:
        return warn("clock", text, fix)
    return ok("clock", text)


def kernel_synchronised() -> bool | None:
    """What the kernel was told by whoever steers its clock (adjtimex, which only reads here); None: it cannot be asked."""
    clock_error = 5  # TIME_ERROR: not synchronised
    buffer = ctypes.create_string_buffer(512)  # struct timex, all zero: modes 0 changes nothing
    try:
        state = int(ctypes.CDLL(None).adjtimex(buffer))
    except (OSError, AttributeError):
        return None
    return None if state < 0 else state != clock_error

"""What NVIDIA's error numbers (Xid) mean, how bad each is, and what to do. Pure; called by `faults`.

After NVIDIA's own table of Xids. Numbers that are not here are told as unknown to us, never as harmless.
"""

from dataclasses import dataclass

from node_agent.session.values import Severity

RESET = "drain the engines on it, stop the agent, reset the device (nvidia-smi --gpu-reset) or restart the node"
_APPLICATION = "look at the log of the engine that ran on it; if other models or versions fail alike, test the device"


@dataclass(frozen=True, slots=True)
class Xid:
    meaning: str
    severity: Severity
    action: str
    # The device itself may be broken until it is reset. False: it ends by itself, and only matters if it comes again.
    lasting: bool = True


_TABLE = {
    13: Xid("an engine's kernel failed on the device", Severity.WARNING, _APPLICATION, lasting=False),
    31: Xid("an engine touched device memory that is not its own", Severity.WARNING, _APPLICATION, lasting=False),
    43: Xid("an engine's work was stopped after its own error", Severity.WARNING, _APPLICATION, lasting=False),
    45: Xid("an engine's work was cleared away", Severity.INFO, "see what happened just before it", lasting=False),
    48: Xid("memory error that ECC could not correct", Severity.ERROR, RESET),
    61: Xid("the device's own controller stopped", Severity.ERROR, RESET),
    62: Xid("the device's own controller halted", Severity.ERROR, RESET),
    63: Xid(
        "a bad piece of memory was found and will be replaced by a spare one",
        Severity.WARNING,
        f"the replacement takes effect with a reset; when it suits: {RESET}",
    ),
    64: Xid(
        "a bad piece of memory could not be replaced", Severity.ERROR, f"{RESET}; if it comes back, replace the device"
    ),
    69: Xid("an engine gave the device a wrong command", Severity.WARNING, _APPLICATION, lasting=False),
    74: Xid(
        "error of an NVLink",
        Severity.ERROR,
        f"engines over several devices may fail: {RESET}; if it comes back, have the link or bridge checked",
    ),
    79: Xid(
        "the device fell off the bus",
        Severity.ERROR,
        "restart the node; if it comes back, check power, cooling, seating and riser of the device, then replace it",
    ),
    92: Xid(
        "many memory errors that ECC corrected", Severity.WARNING, "test the device when it suits (dcgmi diag -r 3)"
    ),
    94: Xid(
        "memory error that hit one process only",
        Severity.WARNING,
        f"the engine restarts by itself; the bad memory is replaced by a reset, when it suits: {RESET}",
    ),
    95: Xid("memory error that may have hit every process on the device", Severity.ERROR, RESET),
    109: Xid("the device took too long to change between processes", Severity.WARNING, _APPLICATION, lasting=False),
    119: Xid(
        "the device's firmware (GSP) does not answer",
        Severity.ERROR,
        f"{RESET}; if it comes back, upgrade the driver or switch GSP firmware off",
    ),
    120: Xid("error in the device's firmware (GSP)", Severity.ERROR, f"{RESET}; if it comes back, upgrade the driver"),
    140: Xid("memory error that was not recovered from", Severity.ERROR, RESET),
    143: Xid("the device could not be initialised", Severity.ERROR, "restart the node; if it comes back, replace it"),
    149: Xid("error of an NVLink", Severity.ERROR, f"{RESET}; if it comes back, have the link checked"),
    154: Xid("the driver asks for another recovery", Severity.WARNING, "see the kernel's log (dmesg) for which one"),
}


def xid(number: int) -> Xid:
    known = _TABLE.get(number)
    if known is not None:
        return known
    return Xid(
        "an error that this agent has no description of",
        Severity.WARNING,
        "see NVIDIA's table of Xid errors and the kernel's log (dmesg)",
        lasting=False,
    )

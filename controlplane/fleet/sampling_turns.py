"""When within an interval each node is sampled, so that a large fleet is not sampled all at once. Pure.

Called by `services.record_history`. A node's turn depends on its name only: it keeps its cadence whoever joins or leaves.
"""

from collections.abc import Iterable
from dataclasses import dataclass
from zlib import crc32

SLICE_SECONDS = 0.05  # nodes whose turns are closer than that are sampled together
SLICE_NODES_MAX = 4  # what is sampled at once must not hold up a decision


@dataclass(frozen=True, slots=True)
class Turn:
    """Nodes to sample so many seconds after the interval began."""

    after_seconds: float
    nodes: tuple[str, ...]


def turns(nodes: Iterable[str], interval_seconds: float) -> list[Turn]:
    """Every node once, in the order of their turns."""
    found: list[Turn] = []
    waiting: list[str] = []
    due = 0.0
    for after, name in sorted((crc32(name.encode()) / 2**32 * interval_seconds, name) for name in nodes):
        if waiting and (after >= due + SLICE_SECONDS or len(waiting) >= SLICE_NODES_MAX):
            found.append(Turn(due, tuple(waiting)))
            waiting = []
        if not waiting:
            due = after
        waiting.append(name)
    if waiting:
        found.append(Turn(due, tuple(waiting)))
    return found

"""How long to wait before dialling again. Pure: the random draw comes from the caller (`node_agent.link`).

Full jitter: anything between nothing and the ceiling, so that a thousand agents that lost the same control plane do not
come back in step.
"""

from dataclasses import dataclass

_DOUBLINGS_MAX = 30  # keeps the power finite; any sane cap is reached long before


@dataclass(frozen=True, slots=True)
class BackoffPolicy:
    base_seconds: float = 0.25
    cap_seconds: float = 2.0  # a restarted control plane is to be right again within 5 s
    # For what only a person can mend (a refused identity, an incompatible release): rare, yet by itself.
    slow_seconds: float = 30.0

    def delay_seconds(self, failures: int, draw: float) -> float:
        """The wait after `failures` failures in a row (at least one); `draw` is uniform in [0, 1)."""
        ceiling = self.base_seconds * 2.0 ** min(max(failures - 1, 0), _DOUBLINGS_MAX)
        return min(ceiling, self.cap_seconds) * draw

    def slow_delay_seconds(self, draw: float) -> float:
        """Between half and the whole of the slow wait: never at once, never in step."""
        return self.slow_seconds * (0.5 + 0.5 * draw)

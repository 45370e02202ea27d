"""What an operator's action answers: the steps it took, or with `dry_run` would take."""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class ActionAnswer:
    steps: tuple[str, ...]
    placement_ids: tuple[str, ...] = ()
    changed: bool = True  # False: it was so already

    @property
    def plan(self) -> str:
        """As the audit keeps it: a line a step."""
        return "\n".join(self.steps)

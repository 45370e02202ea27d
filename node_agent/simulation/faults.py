"""Which faults a node has at a moment. Pure; asked by `node` at every beat."""

import fnmatch
import hashlib
from collections.abc import Iterable
from dataclasses import dataclass

from node_agent.simulation.scenario import Fault


@dataclass(frozen=True, slots=True)
class Faults:
    """Those of one node, over time."""

    planned: tuple[Fault, ...] = ()

    def now(self, at: float) -> tuple[Fault, ...]:
        return tuple(fault for fault in self.planned if fault.at_seconds <= at < fault.at_seconds + fault.lasts_seconds)

    def crashes_between(self, since: float, until: float) -> bool:
        """Whether an engine is to die in this time; a crash is a moment, whatever its fault lasts."""
        return any(fault.kind == "engine_crash" and since < fault.at_seconds <= until for fault in self.planned)


def faults_of(name: str, provider: str, region: str, faults: Iterable[Fault], seed: int) -> Faults:
    """Those of a scenario that hit this node."""
    return Faults(
        tuple(
            fault
            for number, fault in enumerate(faults)
            if fault.provider in ("", provider)
            and fault.region in ("", region)
            and fnmatch.fnmatchcase(name, fault.node)
            and _share(seed, number, name) < fault.share_ratio
        )
    )


def _share(seed: int, number: int, name: str) -> float:
    """Uniform in [0, 1), the same in every run of this seed."""
    digest = hashlib.blake2b(f"{seed}/{number}/{name}".encode(), digest_size=8).digest()
    return int.from_bytes(digest, "big") / 2**64

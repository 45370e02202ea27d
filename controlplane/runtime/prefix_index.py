"""Which engine holds KV of which prefixes: the router's picture of all the fleet's caches.

Written by `services.ingest_residency` from what agents tell; read by routing and for operators. A prefix is named by the
hash of a request's text up to the end of a chunk (`controlplane.proto.prefix_text`). It asks nobody and forgets nothing by
itself: what does not fit together is said to the caller, who asks the agent for everything.
"""

from collections.abc import Sequence
from dataclasses import dataclass

from controlplane.fleet.inside import ResidencyHeld, ResidencySummary
from controlplane.runtime.hash_set import HashSet


@dataclass(frozen=True, slots=True)
class ResidencyUpdate:
    """What an agent told: what changed between two versions, or everything."""

    engine_id: str
    instance_id: str
    base_version: int
    version: int
    whole: bool
    added: Sequence[int]
    removed: Sequence[int]
    checksum: int  # after it, of all resident hashes added up modulo 2^64
    chunks: int  # after it


@dataclass(slots=True)
class _Held:
    instance_id: str
    version: int
    hashes: HashSet
    agrees: bool | None = None


class PrefixIndex:
    def __init__(self) -> None:
        self._held: dict[str, _Held] = {}

    def apply(self, update: ResidencyUpdate) -> bool:
        """False: it does not follow on what is held, or does not add up. Only the whole can mend that."""
        held = self._held.get(update.engine_id)
        if update.whole:
            held = _Held(update.instance_id, update.version, HashSet(update.added))
            self._held[update.engine_id] = held
        elif held is None or (held.instance_id, held.version) != (update.instance_id, update.base_version):
            if held is not None:
                held.agrees = False
            return False
        else:
            for hash64 in update.removed:
                held.hashes.discard(hash64)
            for hash64 in update.added:
                held.hashes.add(hash64)
            held.version = update.version
        held.agrees = (len(held.hashes), held.hashes.checksum) == (update.chunks, update.checksum)
        return held.agrees

    def compare(self, engine_id: str, instance_id: str, summary: ResidencySummary) -> bool | None:
        """Whether what is held is what the agent counts; None: they speak of different versions, one is under way.

        What is held of another process of this engine is dropped.
        """
        held = self._held.get(engine_id)
        if held is not None and held.instance_id != instance_id:
            self.drop(engine_id)
            held = None
        if held is None or held.version != summary.version:
            return None
        held.agrees = (len(held.hashes), held.hashes.checksum) == (summary.chunks, summary.checksum)
        return held.agrees

    def distrust(self, engine_id: str) -> None:
        """What is held stays, but is known to be old."""
        if engine_id in self._held:
            self._held[engine_id].agrees = False

    def drop(self, engine_id: str) -> None:
        self._held.pop(engine_id, None)

    def engine_ids(self) -> tuple[str, ...]:
        return tuple(self._held)

    def totals(self) -> tuple[int, int, int]:
        """Engines, chunks of all of them, and engines of which something else is held than they tell."""
        held = self._held.values()
        return len(held), sum(len(each.hashes) for each in held), sum(each.agrees is False for each in held)

    def held(self, engine_id: str) -> ResidencyHeld | None:
        """For operators; None: nothing was told of this engine."""
        held = self._held.get(engine_id)
        return None if held is None else ResidencyHeld(len(held.hashes), held.agrees)

    def holds(self, engine_id: str, hash64: int) -> bool:
        held = self._held.get(engine_id)
        return held is not None and hash64 in held.hashes

    def longest_match(self, engine_id: str, hashes: Sequence[int]) -> int:
        """How many of a request's chunks, from the first on, this engine holds without a gap."""
        held = self._held.get(engine_id)
        if held is None:
            return 0
        return next((count for count, hash64 in enumerate(hashes) if hash64 not in held.hashes), len(hashes))

    def engines_holding(self, hash64: int) -> tuple[str, ...]:
        return tuple(engine_id for engine_id, held in self._held.items() if hash64 in held.hashes)

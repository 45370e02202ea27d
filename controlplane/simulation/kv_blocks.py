"""The KV cache of one simulated engine: blocks, who holds them, and which prefixes they contain.

Used by `simulated_engine`. As in vLLM: a full block is known by a hash that names its whole prefix; blocks that no request
holds stay readable until somebody needs the room, least recently used first, the end of a prefix before its beginning.
Simpler than vLLM in one point: blank blocks are always taken before cached ones are given up. It never holds more blocks
than there are, and knows no tokens.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field


@dataclass(slots=True)
class Holding:
    """The blocks of one running request: first those with a known prefix, then its own."""

    shared: list[int] = field(default_factory=list)  # hashes, in order from the start of the prefix
    private_count: int = 0  # without a hash: not full yet, or a second copy of a block that is there already
    copied: bool = False  # a block of this prefix was there already: from it on, the request's blocks stay its own

    @property
    def count(self) -> int:
        return len(self.shared) + self.private_count


@dataclass(slots=True)
class KvChanges:
    """What became resident and what was given up, in order, since it was last taken. Kept only when asked for."""

    events: list[tuple[bool, int]] = field(default_factory=list)  # (stored, hash)

    def take(self) -> list[tuple[bool, int]]:
        events, self.events = self.events, []
        return events


class KvBlocks:
    def __init__(self, blocks_count: int, changes: KvChanges | None = None) -> None:
        """`changes`: where residency is told; None: nobody listens."""
        self.blocks_count = blocks_count
        self._blank_count = blocks_count
        self._holders: dict[int, int] = {}  # hash → requests that hold the block; 0: idle
        self._idle: dict[int, None] = {}  # hashes of idle blocks, least recently used first
        self._changes = changes
        # What was given up: between as many blocks as there are, and twice as many, the youngest.
        self._given_up: set[int] = set()
        self._given_up_before: set[int] = set()

    @property
    def free_count(self) -> int:
        """Blocks that a request could get: blank ones, and idle ones whose content would be given up."""
        return self._blank_count + len(self._idle)

    @property
    def held_count(self) -> int:
        return self.blocks_count - self.free_count

    @property
    def cached_count(self) -> int:
        return len(self._holders)

    def resident(self) -> Sequence[int]:
        """The hashes of all blocks whose content is known, held or idle."""
        return tuple(self._holders)

    def hits(self, hashes: Sequence[int], count_max: int) -> int:
        """How many blocks from the start of the prefix are there."""
        found = 0
        for name in hashes[:count_max]:
            if name not in self._holders:
                break
            found += 1
        return found

    def idle_among(self, hashes: Sequence[int], count: int) -> int:
        """How many of the first `count` are idle: holding them leaves that much less for others."""
        return sum(1 for name in hashes[:count] if name in self._idle)

    def hold(self, hashes: Sequence[int], count: int) -> Holding:
        """The first `count` blocks of a prefix, which are there."""
        shared = list(hashes[:count])
        for name in shared:
            self._holders[name] += 1
            self._idle.pop(name, None)
        return Holding(shared)

    def grow(self, holding: Holding, count: int) -> None:
        """So many further blocks, without content yet. The caller has looked at `free_count`."""
        if count > self.free_count:
            raise ValueError(f"{count} blocks are wanted and {self.free_count} are free")
        from_blank = min(count, self._blank_count)
        self._blank_count -= from_blank
        for _ in range(count - from_blank):
            name = next(iter(self._idle))
            del self._idle[name]
            del self._holders[name]
            self._remember(name)
            if self._changes is not None:
                self._changes.events.append((False, name))
        holding.private_count += count

    def name_full(self, holding: Holding, names: Sequence[int]) -> Sequence[int]:
        """The next of the request's own blocks are full, and known by these names from now on.

        Answers with the places, among `names`, of those that had been there and were given up: they are computed again.
        Naming ends for good at a name that is there already: that block, and what follows it, is the request's own copy.
        """
        if holding.copied:
            return ()
        again: list[int] = []
        if holding.private_count < len(names):
            raise ValueError("a request names blocks that it does not hold")
        for place, name in enumerate(names):
            if name in self._holders:
                holding.copied = True
                break
            if name in self._given_up or name in self._given_up_before:
                again.append(place)
            self._holders[name] = 1
            holding.shared.append(name)
            holding.private_count -= 1
            if self._changes is not None:
                self._changes.events.append((True, name))
        return again

    def release(self, holding: Holding) -> None:
        """The request is done, or was preempted: what it computed stays readable until the room is needed."""
        self._blank_count += holding.private_count
        for name in reversed(holding.shared):
            self._holders[name] -= 1
            if self._holders[name] == 0:
                self._idle[name] = None
        holding.shared, holding.private_count, holding.copied = [], 0, False

    def clear(self) -> None:
        """The process has ended: nothing is held, nothing is known."""
        if self._changes is not None:
            self._changes.events.extend((False, name) for name in self._holders)
        self._holders.clear()
        self._idle.clear()
        self._given_up.clear()
        self._given_up_before.clear()
        self._blank_count = self.blocks_count

    def _remember(self, name: int) -> None:
        self._given_up.add(name)
        if len(self._given_up) > self.blocks_count:
            self._given_up_before, self._given_up = self._given_up, set()

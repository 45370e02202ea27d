"""Which KV blocks an engine has evicted, as far back as a bounded memory reaches. Pure; used by `residency`.

Told apart by 16 bits within a set of eight: of blocks that were never evicted, about one in ten thousand is taken for one
that was. For a bill that is exact enough, and it takes two bytes a block.
"""

from array import array

_WAYS = 8
_SETS_MIN = 128
_BLOCKS_REMEMBERED = 2  # times as many as the engine holds


class EvictionMemory:
    """Of each set, the block evicted longest ago is forgotten first."""

    __slots__ = ("_held_max", "_marks", "_sets")

    def __init__(self) -> None:
        self._held_max = 0
        self._sets = 0
        self._marks = array("H")

    def add(self, hash64: int, blocks_held: int) -> None:
        """A block was evicted from an engine that holds this many.

        An engine evicts when it is full: what it holds at the first eviction is its size, and how much to remember.
        """
        if blocks_held > 2 * self._held_max or not self._sets:
            self._held_max = blocks_held
            self._sets = max(_SETS_MIN, _BLOCKS_REMEMBERED * blocks_held // _WAYS)
            self._marks = array("H", bytes(2 * _WAYS * self._sets))
        at, mark = self._place(hash64)
        ways = self._marks[at : at + _WAYS]
        if mark in ways:
            ways.remove(mark)
        else:
            ways.pop()
        ways.insert(0, mark)
        self._marks[at : at + _WAYS] = ways

    def __contains__(self, hash64: int) -> bool:
        if not self._sets:
            return False
        at, mark = self._place(hash64)
        return mark in self._marks[at : at + _WAYS]

    def clear(self) -> None:
        self._held_max = self._sets = 0
        self._marks = array("H")

    def _place(self, hash64: int) -> tuple[int, int]:
        # The lowest bits choose the mark and the highest the set, so that they tell different things; 0 is "empty".
        return (hash64 >> 32) * self._sets // 2**32 * _WAYS, hash64 & 0xFFFF or 1

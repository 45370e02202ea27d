"""Which chunks of text stand on which KV block, for blocks that are resident and for some that are not.

Used by `residency`. A note about a request comes before its blocks are stored, or after, and blocks come back after they
were evicted: links whose block is not there wait in a bounded table, those that waited longest are forgotten. Pure.
"""

from node_agent.inside.block_table import HashTable

WAITING_MAX = 6144
"""Links without a block. The longest prompts have a few hundred chunks: enough for dozens of them in an engine's queue."""


class ChunkLinks:
    """A chunk is held while it stands on at least one resident block."""

    __slots__ = ("_bound", "_chunks", "_waiting", "_waiting_before")

    def __init__(self) -> None:
        self._bound = HashTable("Q")  # block → chunk
        self._chunks = HashTable()  # one row for each bound link
        self._waiting = HashTable("Q", bucket_bits=4)
        self._waiting_before = HashTable("Q", bucket_bits=4)

    @property
    def waiting_count(self) -> int:
        return len(self._waiting) + len(self._waiting_before)

    def link(self, block: int, chunk: int, *, resident: bool) -> bool:
        """The chunk stands on this block. True when it is held from now on and was not before."""
        if (chunk,) in self._bound.rows(block):
            return False
        if resident:
            return self._bind(block, chunk)
        if (chunk,) not in self._waiting.rows(block):
            self._wait(block, chunk)
        return False

    def stored(self, block: int) -> list[int]:
        """The block is resident now. The chunks that are held from now on and were not before."""
        waiting = set(self._taken(self._waiting, block) + self._taken(self._waiting_before, block))
        return [chunk for chunk in waiting if self._bind(block, chunk)]

    def removed(self, block: int) -> list[int]:
        """The block is resident no more. The chunks that are not held any longer."""
        gone = []
        for chunk in self._taken(self._bound, block):
            self._wait(block, chunk)
            self._chunks.pop(chunk)
            if not self._is_held(chunk):
                gone.append(chunk)
        return gone

    def held(self) -> set[int]:
        return {chunk for (chunk,) in self._bound.all_rows()}

    def forget(self) -> None:
        """No block is resident any more, and none of them will come back."""
        for table in (self._bound, self._chunks, self._waiting, self._waiting_before):
            table.clear()

    def _bind(self, block: int, chunk: int) -> bool:
        new = not self._is_held(chunk)
        self._bound.add(block, chunk)
        self._chunks.add(chunk)
        return new

    def _is_held(self, chunk: int) -> bool:
        # The table is quick but takes two chunks for one now and then; those that seem to be there twice are rare.
        return chunk in self._chunks and any(chunk == bound for (bound,) in self._bound.all_rows())

    def _wait(self, block: int, chunk: int) -> None:
        if len(self._waiting) >= WAITING_MAX // 2:
            self._waiting_before, self._waiting = self._waiting, self._waiting_before
            self._waiting.clear()
        self._waiting.add(block, chunk)

    @staticmethod
    def _taken(table: HashTable, block: int) -> list[int]:
        taken = []
        while (row := table.pop(block)) is not None:
            taken.append(row[0])
        return taken

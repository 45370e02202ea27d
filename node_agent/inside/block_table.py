"""A table of 64-bit hashes that is dense in memory: sorted arrays instead of a dict's objects.

Used by `residency` and `chunk_links`, of whose memory a full engine's hashes are nearly all. A dict would take about 200
bytes an entry; this takes what its columns take, a tenth more, and a few microseconds for a change. Pure.
"""

from array import array
from bisect import bisect_left
from collections.abc import Iterator

_KEY_MASK = 2**32 - 1


class HashTable:
    """Rows of numbers by hash; several rows may have the same one.

    Hashes are told apart by their highest and lowest bits, 38 of them: that halves the memory, and of 50,000 hashes two
    are taken for one once in an hour of heavy use. Good enough where that mends itself when either is removed.
    """

    __slots__ = ("_buckets", "_codes", "_count", "_shift")

    def __init__(self, *columns: str, bucket_bits: int = 6) -> None:
        """`columns`: type codes of `array`, at most "Q", one for each number of a row beside the hash.

        Buckets are for speed: with more than some hundred rows in each, inserting one takes longer.
        """
        self._codes = ("I", *columns)
        self._shift = 64 - bucket_bits
        self._buckets: list[tuple[array[int], ...] | None] = [None] * 2**bucket_bits
        self._count = 0

    def __len__(self) -> int:
        return self._count

    def __contains__(self, hash64: int) -> bool:
        bucket = self._buckets[hash64 >> self._shift]
        if bucket is None:
            return False
        keys, key = bucket[0], hash64 & _KEY_MASK
        at = bisect_left(keys, key)
        return at < len(keys) and keys[at] == key

    def add(self, hash64: int, *row: int) -> None:
        bucket = self._buckets[hash64 >> self._shift]
        if bucket is None:
            bucket = tuple(array(code) for code in self._codes)
            self._buckets[hash64 >> self._shift] = bucket
        key = hash64 & _KEY_MASK
        at = bisect_left(bucket[0], key)
        bucket[0].insert(at, key)
        for column, value in zip(bucket[1:], row, strict=True):
            column.insert(at, value)
        self._count += 1

    def first(self, hash64: int) -> tuple[int, ...] | None:
        """The row added last under this hash; None: there is none."""
        bucket = self._buckets[hash64 >> self._shift]
        if bucket is None:
            return None
        keys, key = bucket[0], hash64 & _KEY_MASK
        at = bisect_left(keys, key)
        if at == len(keys) or keys[at] != key:
            return None
        return tuple(column[at] for column in bucket[1:])

    def rows(self, hash64: int) -> list[tuple[int, ...]]:
        """All rows of this hash."""
        bucket = self._buckets[hash64 >> self._shift]
        if bucket is None:
            return []
        keys, key = bucket[0], hash64 & _KEY_MASK
        begin = end = bisect_left(keys, key)
        while end < len(keys) and keys[end] == key:
            end += 1
        return [tuple(column[at] for column in bucket[1:]) for at in range(begin, end)]

    def pop(self, hash64: int) -> tuple[int, ...] | None:
        """Remove the row added last under this hash, and return it; None: there is none."""
        bucket = self._buckets[hash64 >> self._shift]
        if bucket is None:
            return None
        keys, key = bucket[0], hash64 & _KEY_MASK
        at = bisect_left(keys, key)
        if at == len(keys) or keys[at] != key:
            return None
        keys.pop(at)
        self._count -= 1
        return tuple(column.pop(at) for column in bucket[1:])

    def all_rows(self) -> Iterator[tuple[int, ...]]:
        for bucket in self._buckets:
            if bucket is not None:
                yield from zip(*bucket[1:], strict=True)

    def clear(self) -> None:
        self._buckets = [None] * len(self._buckets)
        self._count = 0

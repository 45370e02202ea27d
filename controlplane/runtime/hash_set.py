"""A set of 64-bit hashes in about nine bytes each: sorted arrays instead of objects. Used by `prefix_index`. Pure."""

from array import array
from bisect import bisect_left
from collections.abc import Iterable

_BUCKETS = 256
_SHIFT = 56  # the highest byte of a hash tells its bucket: hashes are spread evenly


class HashSet:
    """`checksum`: all of them added up modulo 2^64."""

    __slots__ = ("_buckets", "_count", "checksum")

    def __init__(self, hashes: Iterable[int] = ()) -> None:
        self._buckets: list[array[int] | None] = [None] * _BUCKETS
        self._count = 0
        self.checksum = 0
        for hash64 in hashes:
            self.add(hash64)

    def __len__(self) -> int:
        return self._count

    def __contains__(self, hash64: int) -> bool:
        bucket = self._buckets[hash64 >> _SHIFT]
        if bucket is None:
            return False
        at = bisect_left(bucket, hash64)
        return at < len(bucket) and bucket[at] == hash64

    def add(self, hash64: int) -> None:
        bucket = self._buckets[hash64 >> _SHIFT]
        if bucket is None:
            bucket = self._buckets[hash64 >> _SHIFT] = array("Q")
        at = bisect_left(bucket, hash64)
        if at < len(bucket) and bucket[at] == hash64:
            return
        bucket.insert(at, hash64)
        self._count += 1
        self.checksum = (self.checksum + hash64) % 2**64

    def discard(self, hash64: int) -> None:
        bucket = self._buckets[hash64 >> _SHIFT]
        if bucket is None:
            return
        at = bisect_left(bucket, hash64)
        if at == len(bucket) or bucket[at] != hash64:
            return
        bucket.pop(at)
        self._count -= 1
        self.checksum = (self.checksum - hash64) % 2**64

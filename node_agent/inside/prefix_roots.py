"""Small numbers for the roots of prefixes (a cache salt and an adapter), and whose they are. Used by `residency`. Pure.

A block remembers the number of its root, since only the first block of a sequence is told with its salt. A number is
given away again when no block has it any more.
"""

ROOTS_MAX = 4095
UNKNOWN_ROOT = 0


class PrefixRoots:
    __slots__ = ("_blocks", "_free", "_numbers", "_roots", "_tenants")

    def __init__(self) -> None:
        self._numbers: dict[int, int] = {}
        self._roots: list[int | None] = [None]  # by number
        self._blocks: list[int] = [0]  # by number: how many blocks have it
        self._free: list[int] = []
        self._tenants: dict[int, str] = {}

    def name(self, root: int, tenant: str) -> None:
        """The root is this tenant's. Of too many, the one named first is forgotten."""
        if self._tenants.get(root) == tenant:
            return
        if len(self._tenants) >= ROOTS_MAX:
            del self._tenants[next(iter(self._tenants))]
        self._tenants[root] = tenant

    def number(self, root: int) -> int:
        """Its number, a new one if need be; UNKNOWN_ROOT when there are too many."""
        if root in self._numbers:
            return self._numbers[root]
        if self._free:
            number = self._free.pop()
        elif len(self._roots) <= ROOTS_MAX:
            number = len(self._roots)
            self._roots.append(None)
            self._blocks.append(0)
        else:
            return UNKNOWN_ROOT
        self._numbers[root] = number
        self._roots[number] = root
        return number

    def root(self, number: int) -> int | None:
        return self._roots[number]

    def tenant(self, root: int | None) -> str:
        """ "" when nobody told whose it is."""
        return "" if root is None else self._tenants.get(root, "")

    def use(self, number: int, blocks: int) -> None:
        """So many more blocks have it."""
        self._blocks[number] += blocks

    def release(self, number: int) -> None:
        self._blocks[number] -= 1
        root = self._roots[number]
        if self._blocks[number] == 0 and root is not None:
            del self._numbers[root]
            self._roots[number] = None
            self._free.append(number)

    def release_all(self) -> None:
        self._numbers.clear()
        self._roots, self._blocks, self._free = [None], [0], []

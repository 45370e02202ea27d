"""What changed in an engine's residency since it was last told, and the figures it is compared by. Used by `residency`.

Pure. A chunk that came and went in between was never there. When the control plane is away, changes do not pile up: above
a limit only the fact is kept that everything must be told anew.
"""

from node_agent.session.inside import ResidencyUpdate

CHANGES_MAX = 8192
_MODULUS = 2**64


class ResidencyChanges:
    __slots__ = ("_added", "_engine_id", "_instance_id", "_removed", "_told_version", "checksum", "chunks", "too_many")

    def __init__(self, engine_id: str, instance_id: str) -> None:
        self._engine_id = engine_id
        self._instance_id = instance_id
        self._added: set[int] = set()
        self._removed: set[int] = set()
        self._told_version = 0
        self.checksum = 0
        self.chunks = 0
        self.too_many = False

    @property
    def version(self) -> int:
        """Of what is so now: one more than what was told, while that differs."""
        return self._told_version + bool(self._added or self._removed or self.too_many)

    def added(self, chunk: int) -> None:
        self.chunks += 1
        self.checksum = (self.checksum + chunk) % _MODULUS
        self._changed(chunk, self._added, self._removed)

    def removed(self, chunk: int) -> None:
        self.chunks -= 1
        self.checksum = (self.checksum - chunk) % _MODULUS
        self._changed(chunk, self._removed, self._added)

    def all_removed(self) -> None:
        if self.chunks or self._added or self._removed:
            self._give_up()
        self.checksum = self.chunks = 0

    def take(self) -> ResidencyUpdate | None:
        """Only when not `too_many`."""
        if not self._added and not self._removed:
            return None
        update = self._update(self._added, self._removed, whole=False)
        self._told(update.version)
        return update

    def take_whole(self, held: set[int]) -> ResidencyUpdate:
        update = self._update(held, set(), whole=True)
        self._told(update.version)
        return update

    def _changed(self, chunk: int, here: set[int], there: set[int]) -> None:
        if self.too_many:
            return
        if chunk in there:
            there.remove(chunk)
            return
        here.add(chunk)
        if len(here) > CHANGES_MAX:
            self._give_up()

    def _give_up(self) -> None:
        self._added, self._removed, self.too_many = set(), set(), True

    def _told(self, version: int) -> None:
        self._told_version = version
        self._added, self._removed, self.too_many = set(), set(), False

    def _update(self, added: set[int], removed: set[int], *, whole: bool) -> ResidencyUpdate:
        return ResidencyUpdate(
            engine_id=self._engine_id,
            instance_id=self._instance_id,
            base_version=0 if whole else self._told_version,
            version=self.version,
            whole=whole,
            added=tuple(added),
            removed=tuple(removed),
            checksum=self.checksum,
            chunks=self.chunks,
        )

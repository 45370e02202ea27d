"""Where things lie in the data directory.

Called by everything that needs a path of the data directory. Names only; never reads or writes.
"""

from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True, slots=True)
class DataLayout:
    root: Path

    @property
    def marker(self) -> Path:
        """Says that the directory is ours, and which release made it."""
        return self.root / "stoker.toml"

    @property
    def config(self) -> Path:
        return self.root / "controlplane.toml"

    @property
    def database(self) -> Path:
        return self.root / "stoker.db"

    @property
    def identity(self) -> Path:
        return self.root / "identity"

    @property
    def api_keys(self) -> Path:
        return self.identity / "api_keys"

    @property
    def operators(self) -> Path:
        return self.root / "operators"

    def operator(self, name: str) -> Path:
        return self.operators / name

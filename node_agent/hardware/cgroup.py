"""How much memory this process and its children may use, when a control group allows less than the machine has.

Called by `cpu`. Both versions of control groups; a group limits what is below it, so the tightest one on the way up
counts. What cannot be read limits nothing.
"""

from dataclasses import dataclass
from pathlib import Path

# Version 1 says "no limit" with the largest number that it can.
_NO_LIMIT_BYTES = 2**60


@dataclass(frozen=True, slots=True)
class MemoryLimit:
    limit_bytes: int
    used_bytes: int  # without what the kernel would give back at once


def memory_limit(root: Path = Path("/sys/fs/cgroup"), own: Path = Path("/proc/self/cgroup")) -> MemoryLimit | None:
    """None when nothing is limited."""
    found = [limit for group in _groups(root, own) if (limit := _limit(group)) is not None]
    return min(found, key=lambda limit: limit.limit_bytes - limit.used_bytes, default=None)


def _groups(root: Path, own: Path) -> list[Path]:
    """This process' own groups and all above them."""
    groups: list[Path] = []
    for line in _text(own).splitlines():
        number, _, rest = line.partition(":")
        names, _, path = rest.partition(":")
        if number == "0" and not names:
            base = root
        elif "memory" in names.split(","):
            base = root / "memory"
        else:
            continue
        group = base / path.strip().lstrip("/")
        # In a container the path may be the host's, where only the root is to be seen.
        groups += [group, *(parent for parent in group.parents if parent.is_relative_to(base))]
    return groups


def _limit(group: Path) -> MemoryLimit | None:
    for limit_name, used_name, cache_name in (
        ("memory.max", "memory.current", "inactive_file"),
        ("memory.limit_in_bytes", "memory.usage_in_bytes", "total_inactive_file"),
    ):
        limit, used = _text(group / limit_name).strip(), _text(group / used_name).strip()
        if limit.isdigit() and used.isdigit() and int(limit) < _NO_LIMIT_BYTES:
            return MemoryLimit(int(limit), max(0, int(used) - _stat(group, cache_name)))
    return None


def _stat(group: Path, name: str) -> int:
    for line in _text(group / "memory.stat").splitlines():
        key, _, value = line.partition(" ")
        if key == name and value.strip().isdigit():
            return int(value)
    return 0


def _text(path: Path) -> str:
    try:
        return path.read_text(errors="replace")
    except OSError:
        return ""

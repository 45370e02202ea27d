"""What a check comes to: a level, a sentence, and how to mend it. Pure; made by every check, shown by `cli.doctor`."""

from collections.abc import Iterable
from dataclasses import dataclass
from enum import Enum


class Level(Enum):
    OK = "ok"
    WARN = "warn"
    FAIL = "fail"


@dataclass(frozen=True, slots=True)
class Finding:
    check: str
    level: Level
    says: str
    fix: str = ""  # never empty for a warning or a failure


def ok(check: str, says: str) -> Finding:
    return Finding(check, Level.OK, says)


def warn(check: str, says: str, fix: str) -> Finding:
    return Finding(check, Level.WARN, says, fix)


def fail(check: str, says: str, fix: str) -> Finding:
    return Finding(check, Level.FAIL, says, fix)


def count(findings: Iterable[Finding], level: Level) -> int:
    return sum(finding.level is level for finding in findings)


def gibibytes(count_bytes: int) -> str:
    return f"{count_bytes / 2**30:.1f} GiB"

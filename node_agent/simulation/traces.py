"""Published traces of requests, as traffic. Called by `fleet` when a scenario names one; reads files, keeps nothing.

Two forms are known by the file's ending: `.csv` with TIMESTAMP, ContextTokens, GeneratedTokens (the Azure LLM inference
traces), and `.jsonl` with timestamp (milliseconds), input_length, output_length, hash_ids (the Mooncake traces, one id for
every 512 tokens of prefix).
"""

import csv
import json
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path

from node_agent.settings import BadSettingsError

_HASH_TOKENS = 512


@dataclass(frozen=True, slots=True)
class TracedRequest:
    at_seconds: float  # from the trace's first request
    prompt_tokens: int
    output_tokens: int
    hash_ids: tuple[int, ...] = ()  # equal ids: a prefix in common
    tokens_per_hash: int = _HASH_TOKENS


def load_trace(directory: Path | None, name: str) -> tuple[TracedRequest, ...]:
    """In order of time. Raises BadSettingsError."""
    if directory is None:
        raise BadSettingsError([f"traffic from the trace {name} needs the directory that it is in: give --traces DIR"])
    path = directory / name
    try:
        rows = _azure(path) if path.suffix == ".csv" else _mooncake(path)
    except OSError as error:
        raise BadSettingsError([f"{path}: cannot be read ({error.strerror}); see --traces"]) from error
    except (ValueError, KeyError, TypeError, csv.Error) as error:
        raise BadSettingsError([f"{path}: is no trace of a known form ({error}); see docs/simulation.md"]) from error
    if not rows:
        raise BadSettingsError([f"{path}: holds no requests"])
    rows.sort(key=lambda row: row.at_seconds)
    return tuple(rows)


def _azure(path: Path) -> list[TracedRequest]:
    rows: list[TracedRequest] = []
    began: datetime | None = None
    with path.open(newline="", encoding="utf-8") as lines:
        for row in csv.DictReader(lines):
            at = datetime.fromisoformat(row["TIMESTAMP"][:26])
            began = began or at
            prompt, output = max(1, int(row["ContextTokens"])), max(1, int(row["GeneratedTokens"]))
            rows.append(TracedRequest((at - began).total_seconds(), prompt, output))
    return rows


def _mooncake(path: Path) -> list[TracedRequest]:
    rows: list[TracedRequest] = []
    with path.open(encoding="utf-8") as lines:
        for line in lines:
            row = json.loads(line)
            prompt, output = max(1, int(row["input_length"])), max(1, int(row["output_length"]))
            hashes = tuple(int(each) for each in row.get("hash_ids", ()))
            rows.append(TracedRequest(int(row["timestamp"]) / 1000, prompt, output, hashes))
    return rows

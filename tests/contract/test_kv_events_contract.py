"""What Stoker takes for granted of vLLM's KV events, asked of the real ones. Needs the vLLM environment."""

import asyncio
import json
import subprocess
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest

from node_agent.clock import SystemClock
from node_agent.inside.notes import PrefixNote
from node_agent.inside.residency import EngineResidency
from node_agent.probes.kv_event_batch import BlocksRemoved, BlocksStored, decode_batch
from node_agent.probes.kv_events import KvEventFollower
from node_agent.session.facts import NodeEvent
from node_agent.tasks import TaskScope
from node_agent.vllm_plugins import token_chain
from tests.fakes.control_plane import eventually

pytestmark = [pytest.mark.vllm, pytest.mark.timeout(180)]

ROOT = Path(__file__).resolve().parents[2]
START_SECONDS_MAX = 120.0


class Publisher:
    """The real publisher in a process of its own, with the real events, told line by line what to publish."""

    def __init__(self, process: asyncio.subprocess.Process) -> None:
        self._process = process

    async def say(self, **request: Any) -> dict[str, Any]:
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        self._process.stdin.write(json.dumps(request).encode() + b"\n")
        async with asyncio.timeout(START_SECONDS_MAX):
            while True:
                line = await self._process.stdout.readline()
                assert line, "the publisher has ended"
                if line.startswith(b"{"):
                    answer: dict[str, Any] = json.loads(line)
                    return answer


@asynccontextmanager
async def publishing(python: Path, directory: Path, *, buffer_batches: int = 1000) -> AsyncIterator[Publisher]:
    command = [sys.executable, str(ROOT / "tests/support/launch.py"), "--dies-with-parent", "--", str(python)]
    child = str(ROOT / "tests/fakes/vllm_kv_publisher.py")
    process = await asyncio.create_subprocess_exec(
        *command, child, str(directory), str(buffer_batches), stdin=subprocess.PIPE, stdout=subprocess.PIPE
    )
    try:
        yield Publisher(process)
    finally:
        process.kill()
        await process.wait()


@asynccontextmanager
async def following(
    residency: EngineResidency, directory: Path, told: list[NodeEvent]
) -> AsyncIterator[KvEventFollower]:
    follower = KvEventFollower(
        engine_id="e1",
        endpoint=f"ipc://{directory / 'k'}",
        replay_endpoint=f"ipc://{directory / 'r'}",
        sink=residency,
        clock=SystemClock(),
        on_event=told.append,
        quiet_seconds=0.5,
    )
    async with TaskScope("test") as scope:
        scope.spawn(follower.run(), name="follower")
        yield follower


async def test_the_real_events_are_read_as_they_are_meant(vllm_python: Path, tmp_path: Path) -> None:
    async with publishing(vllm_python, tmp_path) as publisher:
        shapes = await publisher.say(do="shapes")
    assert shapes["stored"][:7] == [
        *("block_hashes", "parent_block_hash", "token_ids", "block_size", "lora_id", "medium", "lora_name"),
    ]
    assert {"extra_keys", "group_idx", "kv_cache_spec_kind"} <= set(shapes["stored"])
    assert shapes["removed"][:3] == ["block_hashes", "medium", "group_idx"]
    assert shapes["batch"] == ["ts", "events", "data_parallel_rank"]
    assert {"full_attention", "mla_attention", "sink_full_attention"} <= set(shapes["kinds"])
    assert shapes["pool_medium"] == "GPU"
    assert {"enable_kv_cache_events", "publisher", "endpoint", "replay_endpoint", "buffer_steps"} <= set(
        shapes["config"]
    )

    batch = decode_batch(bytes.fromhex(shapes["salted"]))
    assert (batch.unknown_count, batch.unreadable_count) == (0, 0)
    [salted, removed, image] = batch.events
    assert isinstance(salted, BlocksStored)
    assert (salted.cache_salt, salted.adapter, salted.other_keys, salted.parent) == ("pepper", "sql", (), None)
    assert (salted.hashes, list(salted.token_ids), salted.block_tokens, salted.group) == ((11, 12), [1, 2, 3, 4], 2, 0)
    assert removed == BlocksRemoved((12,), 0)
    assert isinstance(image, BlocksStored)
    assert (image.parent, image.cache_salt, image.adapter) == (12, "", "")
    assert image.other_keys[0]
    assert not image.other_keys[1]


async def test_the_real_publisher_is_followed_from_the_first_event_over_a_gap(
    vllm_python: Path, tmp_path: Path
) -> None:
    residency, told = EngineResidency("e1", "i1"), list[NodeEvent]()
    tokens = list(range(100, 116))
    chains = token_chain.chain(token_chain.root("pepper", ""), tokens, 4)
    residency.note(PrefixNote("acme", "m", "pepper", "", tuple((chain // 2, chain, 0) for chain in chains)))
    async with publishing(vllm_python, tmp_path) as publisher:
        await publisher.say(do="store", hashes=[1, 2], parent=None, tokens=tokens[:8], salt="pepper")
        async with following(residency, tmp_path, told) as follower:
            await eventually(lambda: residency.whole().chunks == 2, "what was there before")
            await publisher.say(do="store", hashes=[3], parent=2, tokens=tokens[8:12], salt="")
            await eventually(lambda: residency.whole().chunks == 3, "what came")
            await publisher.say(do="store", hashes=[4], parent=3, tokens=tokens[12:], salt="", lost=True)
            await publisher.say(do="remove", hashes=[1])
            left = {chain // 2 for chain in chains[1:]}
            await eventually(lambda: set(residency.whole().added) == left, "what was lost, and what went")
            await publisher.say(do="clear")
            await eventually(lambda: residency.whole().chunks == 0, "the cache was emptied")
            assert (follower.lost_count, follower.unreadable_count, follower.unknown_count) == (0, 0, 0)
    summary = residency.summary()
    assert summary is not None
    assert summary.complete
    assert told == []


async def test_what_the_real_buffer_has_passed_is_said(vllm_python: Path, tmp_path: Path) -> None:
    residency, told = EngineResidency("e1", "i1"), list[NodeEvent]()
    async with publishing(vllm_python, tmp_path, buffer_batches=2) as publisher:
        for number in range(5):
            await publisher.say(do="store", hashes=[number], parent=None, tokens=[1, 2, 3, 4], salt=str(number))
        async with following(residency, tmp_path, told):
            await eventually(lambda: told, "that some is missing")
            await eventually(lambda: residency.summary().blocks == 2, "what is left")  # type: ignore[union-attr]
    assert [event.kind for event in told] == ["kv_events_lost"]
    assert not residency.summary().complete  # type: ignore[union-attr]

"""Runs vLLM's own event publisher without an engine. Started by a contract test, in vLLM's environment.

python vllm_kv_publisher.py DIRECTORY BUFFER_BATCHES    one request in JSON a line on stdin, one answer a line on stdout
"""

# mypy: ignore-errors
import dataclasses
import inspect
import json
import sys
from typing import Any

import msgspec
from vllm.config.kv_events import KVEventsConfig
from vllm.distributed.kv_events import AllBlocksCleared, BlockRemoved, BlockStored, KVEventBatch, ZmqEventPublisher
from vllm.v1.core.block_pool import BlockPool
from vllm.v1.core.kv_cache_utils import to_event_extra_keys
from vllm.v1.kv_cache_interface import KVCacheSpecKind


class Leaky:
    """The publisher's socket, which now and then drops a message as a full queue does."""

    def __init__(self, socket: Any) -> None:
        self.socket = socket
        self.drops = 0

    def send_multipart(self, frames: Any) -> None:
        if self.drops:
            self.drops -= 1
        else:
            self.socket.send_multipart(frames)

    def close(self, linger: int) -> None:
        self.socket.close(linger=linger)


def block_stored(
    hashes: list[int], parent: int | None, tokens: list[int], keys: list[Any], lora: str | None = None
) -> Any:
    return BlockStored(
        block_hashes=hashes,
        parent_block_hash=parent,
        token_ids=tokens,
        block_size=len(tokens) // len(hashes),
        lora_id=None,
        medium="GPU",
        lora_name=lora,
        extra_keys=to_event_extra_keys(keys),
        group_idx=0,
        kv_cache_spec_kind="full_attention",
    )


def shapes() -> dict[str, Any]:
    salted = block_stored(
        [11, 12], None, [1, 2, 3, 4], [(("lora", "sql"), ("cache_salt", "pepper")), (("lora", "sql"),)], "sql"
    )
    removed = BlockRemoved(block_hashes=[12], medium="GPU", group_idx=0)
    elsewhere = BlockRemoved(block_hashes=[12], medium="CPU", group_idx=0)
    image = block_stored([13, 14], 12, [5, 6, 7, 8], [(("mm", "cat", 0),), None])
    batch = KVEventBatch(ts=1.0, events=[salted, removed, elsewhere, image], data_parallel_rank=0)
    return {
        "stored": BlockStored.__struct_fields__,
        "removed": BlockRemoved.__struct_fields__,
        "batch": KVEventBatch.__struct_fields__,
        "kinds": [kind.value for kind in KVCacheSpecKind],
        "pool_medium": inspect.signature(BlockPool.__init__).parameters["medium"].default,
        "config": [field.name for field in dataclasses.fields(KVEventsConfig)],
        "salted": msgspec.msgpack.encode(batch).hex(),
    }


def event_of(request: dict[str, Any]) -> Any:
    match request["do"]:
        case "store":
            salt = ((("cache_salt", request["salt"]),),) if request["salt"] else (None,)
            keys = [*salt, *[None] * (len(request["hashes"]) - 1)]
            return block_stored(request["hashes"], request["parent"], request["tokens"], keys)
        case "remove":
            return BlockRemoved(block_hashes=request["hashes"], medium="GPU", group_idx=0)
        case "clear":
            return AllBlocksCleared()


def main() -> None:
    directory, buffer_batches = sys.argv[1], int(sys.argv[2])
    publisher = ZmqEventPublisher(0, f"ipc://{directory}/k", f"ipc://{directory}/r", buffer_steps=buffer_batches)
    leaky = publisher._pub = Leaky(publisher._pub)
    for line in sys.stdin:
        request = json.loads(line)
        if request["do"] == "shapes":
            answer = shapes()
        else:
            leaky.drops += request.get("lost", False)
            publisher.publish(KVEventBatch(ts=1.0, events=[event_of(request)]))
            publisher._event_queue.join()
            answer = {"done": request["do"]}
        sys.stdout.write(json.dumps(answer) + "\n")
        sys.stdout.flush()


if __name__ == "__main__":
    main()

"""KV events of a simulated engine, in vLLM's own format over ZMQ, with replay. Used by `http_app`.

Frames are `[topic, sequence (8 bytes, big-endian), msgpack]`; the payload is `[time, [events], rank]`, events are maps.
Publishing never blocks: a subscriber that does not keep up loses frames and asks for them again.
"""

from collections import deque
from collections.abc import Sequence
from typing import Any

import msgspec
import zmq
import zmq.asyncio

_REPLAY_FRAMES_MAX = 10_000
_SIGNED_END = (-1).to_bytes(8, "big", signed=True)


class KvPublisher:
    """Listens on two ports: events at `port`, replay at the one after."""

    def __init__(self, host: str, port: int, block_tokens: int) -> None:
        self.endpoint = f"tcp://{host}:{port}"
        self.replay_endpoint = f"tcp://{host}:{port + 10_000}"
        self._block_tokens = block_tokens
        self._context = zmq.asyncio.Context()
        self._events = self._context.socket(zmq.PUB)
        self._replay = self._context.socket(zmq.ROUTER)
        self._sequence = 0
        self._frames: deque[tuple[int, bytes]] = deque(maxlen=_REPLAY_FRAMES_MAX)

    def bind(self) -> None:
        """Raises zmq.ZMQError when a port is taken."""
        self._events.bind(self.endpoint)
        self._replay.bind(self.replay_endpoint)

    def close(self) -> None:
        self._events.close(linger=0)
        self._replay.close(linger=0)
        self._context.term()

    def restarted(self) -> None:
        """A new process: its numbers begin again."""
        self._sequence = 0
        self._frames.clear()

    async def publish(
        self, at: float, changes: Sequence[tuple[bool, int]], tokens: dict[int, tuple[int | None, list[int]]]
    ) -> None:
        """`changes` are (stored, name) in order; `tokens` tells a stored block's parent and its tokens."""
        events: list[dict[str, Any]] = []
        for stored, name in changes:
            if not stored:
                events.append({"type": "BlockRemoved", "block_hashes": [name], "medium": "GPU"})
                continue
            parent, ids = tokens.get(name, (None, []))
            events.append(
                {
                    "type": "BlockStored",
                    "block_hashes": [name],
                    "parent_block_hash": parent,
                    "token_ids": ids,
                    "block_size": self._block_tokens,
                    "lora_id": None,
                    "medium": "GPU",
                }
            )
        if not events:
            return
        payload = msgspec.msgpack.encode([at, events, 0])
        self._frames.append((self._sequence, payload))
        await self._events.send_multipart([b"", self._sequence.to_bytes(8, "big"), payload])
        self._sequence += 1

    async def answer_replays(self) -> None:
        """Until cancelled."""
        while True:
            frames = await self._replay.recv_multipart()
            if len(frames) != 3 or len(frames[2]) != 8:
                continue
            client, start = frames[0], int.from_bytes(frames[2], "big")
            for sequence, payload in tuple(self._frames):
                if sequence >= start:
                    await self._replay.send_multipart([client, b"", b"", sequence.to_bytes(8, "big"), payload])
            await self._replay.send_multipart([client, b"", b"", _SIGNED_END, b""])

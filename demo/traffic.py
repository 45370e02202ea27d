"""Clients of the demo: conversations through the official OpenAI client, streamed and not, with a shared beginning.

Called by `demo.check` (a fixed number of requests, counted) and `demo.run` (a light load until it is stopped). Counts only
what the client itself was told.
"""

import asyncio
import itertools
import random
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from openai import APIError, AsyncOpenAI

SYSTEM = (
    "You keep the furnaces of a long train. Answer in short sentences, say what you measured and how, "
    "and never call a guess a measurement. The train has many wagons and few furnaces; coal is what there is, "
    "and none can be bought on the way. "
)
SUBJECTS = (
    "pressure",
    "steam",
    "water",
    "the night shift",
    "a cold boiler",
    "the timetable",
    "spare coal",
    "the brakes",
)


@dataclass
class Tally:
    """What the clients saw."""

    sent: int = 0
    completed: int = 0
    streamed_chunks: int = 0
    prompt_tokens: int = 0
    output_tokens: int = 0
    ttft_seconds: list[float] = field(default_factory=list)
    errors: list[str] = field(default_factory=list)

    @property
    def tokens(self) -> int:
        return self.prompt_tokens + self.output_tokens


def conversation(draw: random.Random, number: int) -> list[Any]:
    """A few turns: the beginning is everybody's, the rest is this conversation's own."""
    turns: list[Any] = [{"role": "system", "content": SYSTEM * 2}]
    for turn in range(draw.randint(1, 3)):
        subject = draw.choice(SUBJECTS)
        turns.append({"role": "user", "content": f"Report {number}.{turn}: what about {subject}?"})
        turns.append(
            {"role": "assistant", "content": f"I looked at {subject} and wrote it down. " * draw.randint(1, 4)}
        )
    turns.append({"role": "user", "content": "What now?"})
    return turns


async def request(
    client: AsyncOpenAI, model: str, messages: list[Any], max_tokens: int, *, stream: bool, tally: Tally
) -> None:
    """One request, tallied."""
    tally.sent += 1
    try:
        if stream:
            await _streamed(client, model, messages, max_tokens, tally)
        else:
            answer = await client.chat.completions.create(model=model, messages=messages, max_tokens=max_tokens)
            _count(answer.usage, tally)
        tally.completed += 1
    except APIError as error:
        tally.errors.append(str(error))


async def _streamed(client: AsyncOpenAI, model: str, messages: list[Any], max_tokens: int, tally: Tally) -> None:
    began = time.monotonic()
    first = True
    stream = await client.chat.completions.create(
        model=model, messages=messages, max_tokens=max_tokens, stream=True, stream_options={"include_usage": True}
    )
    async for chunk in stream:
        if chunk.choices:
            tally.streamed_chunks += 1
            if first:
                tally.ttft_seconds.append(time.monotonic() - began)
                first = False
        if chunk.usage is not None and not chunk.choices:
            _count(chunk.usage, tally)


def _count(usage: Any, tally: Tally) -> None:
    tally.prompt_tokens += usage.prompt_tokens
    tally.output_tokens += usage.completion_tokens


async def burst(client: AsyncOpenAI, model: str, count: int, at_once: int, seed: int) -> Tally:
    """`count` requests, `at_once` at a time, every other one streamed."""
    tally, draw, places = Tally(), random.Random(seed), asyncio.Semaphore(at_once)  # noqa: S311 - no secret

    async def one(number: int) -> None:
        async with places:
            messages, length = conversation(draw, number), draw.randint(60, 160)
            await request(client, model, messages, length, stream=number % 2 == 0, tally=tally)

    async with asyncio.TaskGroup() as group:
        for number in range(count):
            group.create_task(one(number))
    return tally


async def trickle(
    client: AsyncOpenAI, model: str, per_second: float, lengths: tuple[int, int], stop: Callable[[], bool], seed: int
) -> Tally:
    """A light load at random moments until `stop` says so; answers of so many tokens."""
    tally, draw = Tally(), random.Random(seed)  # noqa: S311 - no secret
    async with asyncio.TaskGroup() as group:
        for number in itertools.count():
            if stop():
                return tally
            messages, length = conversation(draw, number), draw.randint(*lengths)
            group.create_task(request(client, model, messages, length, stream=number % 2 == 0, tally=tally))
            await asyncio.sleep(min(5.0, draw.expovariate(per_second)))
    return tally


class BackgroundTraffic:
    """A light load, in a thread of its own so that the caller has the terminal and the process to itself."""

    def __init__(
        self, base_url: str, key: str, model: str, per_second: float, lengths: tuple[int, int] = (20, 80)
    ) -> None:
        self._base_url = base_url
        self._key = key
        self._model = model
        self._per_second = per_second
        self._lengths = lengths
        self._end = threading.Event()
        self._thread = threading.Thread(target=lambda: asyncio.run(self._send()), name="traffic", daemon=True)

    def start(self) -> None:
        self._thread.start()

    def stop(self) -> None:
        self._end.set()
        self._thread.join(30)

    async def _send(self) -> None:
        async with AsyncOpenAI(base_url=self._base_url, api_key=self._key, max_retries=0, timeout=60) as client:
            await trickle(client, self._model, self._per_second, self._lengths, self._end.is_set, seed=11)

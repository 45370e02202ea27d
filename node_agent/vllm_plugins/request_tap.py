"""Listens to the engine's outputs where they enter the API server: wraps `EngineClient.generate` of this one server.

Attached by `middleware` with the first request. Which request a call belongs to is told by a context variable, which
follows the request into every task that serves it. Unlike reading responses, it costs no parsing and knows token ids.
"""

from collections.abc import AsyncGenerator, Callable
from contextvars import ContextVar
from typing import Any

from .request_trace import RequestTrace, SequenceTrace

current: ContextVar[RequestTrace | None] = ContextVar("stoker_request", default=None)

Problem = Callable[[str], None]
"""Told in a sentence what is not as expected; never raises."""


def attach(engine_client: Any, on_prompt: Callable[[RequestTrace, SequenceTrace], None], problem: Problem) -> None:
    """Raises AttributeError when this is no engine client as known. Attaching twice changes nothing."""
    original = engine_client.generate
    if getattr(original, "stoker_tap", False):
        return

    def generate(prompt: Any, sampling_params: Any, request_id: Any, *args: Any, **options: Any) -> Any:
        outputs = original(prompt, sampling_params, request_id, *args, **options)
        try:
            trace = current.get()
            if trace is None:
                return outputs
            adapter = getattr(options.get("lora_request"), "lora_name", "")
            sequence = SequenceTrace(str(request_id), prompt, sampling_params, adapter)
            trace.sequences.append(sequence)
            on_prompt(trace, sequence)
            return _followed(outputs, trace, sequence, problem)
        except Exception as error:  # noqa: BLE001 - the request goes on without us
            problem(f"a request's prompt cannot be read: {error!r}")
            return outputs

    generate.stoker_tap = True  # type: ignore[attr-defined]
    engine_client.generate = generate


async def _followed(
    outputs: AsyncGenerator[Any, None], trace: RequestTrace, sequence: SequenceTrace, problem: Problem
) -> AsyncGenerator[Any, None]:
    try:
        async for output in outputs:
            try:
                sequence.saw(output)
            except Exception as error:  # noqa: BLE001 - the output goes on without us
                problem(f"an output of the engine cannot be read: {error!r}")
            yield output
    except Exception:
        trace.broke = True
        raise
    finally:
        await outputs.aclose()

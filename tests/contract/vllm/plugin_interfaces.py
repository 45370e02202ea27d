"""A program of its own: looks at the interfaces of the installed vLLM that the plug-in stands on. Prints them as JSON.

Run by `test_plugin_interfaces` with vLLM's Python and the installed plug-in on its path; starts no engine.
"""

import dataclasses
import importlib.metadata
import inspect
import json
import sys
from collections.abc import Callable
from typing import Any, get_type_hints

from stoker_vllm import (  # type: ignore[import-not-found]
    model_shape,
    report_mode,
    stat_logger,
    token_bytes,
)
from vllm.config.kv_events import KVEventsConfig
from vllm.distributed.kv_events import ZmqEventPublisher
from vllm.engine.protocol import EngineClient
from vllm.entrypoints.anthropic.protocol import AnthropicMessagesRequest
from vllm.entrypoints.openai.chat_completion.protocol import ChatCompletionRequest
from vllm.entrypoints.openai.completion.protocol import CompletionRequest
from vllm.entrypoints.openai.responses.protocol import ResponsesRequest
from vllm.entrypoints.scale_out.token_in_token_out.protocol import GenerateRequest
from vllm.inputs.engine import TokensInput
from vllm.outputs import CompletionOutput, RequestOutput
from vllm.plugins import STAT_LOGGER_PLUGINS_GROUP
from vllm.sampling_params import RequestOutputKind, SamplingParams
from vllm.v1.engine.async_llm import AsyncLLM
from vllm.v1.metrics.loggers import StatLoggerBase, load_stat_logger_plugin_factories
from vllm.v1.metrics.perf import PerfStats
from vllm.v1.metrics.stats import IterationStats, RequestStateStats, SchedulerStats
from vllm.v1.request import Request

ENDPOINT = "ipc:///a/tcp:1/k-inproc"


def main() -> None:
    sums = stat_logger.plugin.shared().new_sums(0)
    stats = SchedulerStats(num_running_reqs=1, perf_stats=PerfStats(100, 10, 1))
    iteration = IterationStats()
    iteration.num_generation_tokens = 2
    iteration.prompt_token_stats.computed = 5
    logger = load_stat_logger_plugin_factories()[0](None, 0)
    logger.record(stats, iteration, mm_cache_stats=None, engine_idx=0)
    logger.record(None, None)
    json.dump(
        {
            "group": STAT_LOGGER_PLUGINS_GROUP,
            "loggers": [type(logger).__name__, isinstance(logger, StatLoggerBase)],
            "abstract": sorted(StatLoggerBase.__abstractmethods__),
            "record": parameters(StatLoggerBase.record),
            "sums": sums.totals(),
            "generate": parameters(EngineClient.generate),
            "generate_is": inspect.isasyncgenfunction(AsyncLLM.generate),
            "renderer": "renderer" in get_type_hints(EngineClient, localns={"PauseMode": Any}),
            "prompt": sorted(TokensInput.__annotations__),
            "prompt_options": sorted(TokensInput.__optional_keys__),
            "output": parameters(RequestOutput.__init__),
            "branch": fields(CompletionOutput),
            "times": fields(RequestStateStats),
            "kinds": [kind.name for kind in RequestOutputKind],
            "params": [name for name in ("n", "output_kind") if hasattr(SamplingParams(), name)],
            "salted": {
                kind.__name__: "cache_salt" in kind.model_fields
                for kind in (ChatCompletionRequest, CompletionRequest, ResponsesRequest, AnthropicMessagesRequest)
            },
            "binds": ZmqEventPublisher._is_bind_endpoint(ENDPOINT),
            "second_rank": ZmqEventPublisher.offset_endpoint_port(ENDPOINT, 1),
            "events": fields(KVEventsConfig),
            "numpy": prompt_with_numpy(),
            "nothing_known": model_shape.shape_of(None),
            "asked_modes": report_modes(lambda body: body),
            "passed_modes": report_modes(report_mode.without_report_mode),
        },
        sys.stdout,
    )


def parameters(function: Any) -> list[str]:
    return list(inspect.signature(function).parameters)


def fields(kind: Any) -> list[str]:
    return [field.name for field in dataclasses.fields(kind)]


def prompt_with_numpy() -> list[Any]:
    importlib.metadata.version("numpy")
    prompt = token_bytes.TokenBytes([b"a", b"bc"]).of([1, 0, 1])
    return [prompt.text.decode(), [int(end) for end in prompt.ends]]


def report_modes(passed: Callable[[bytes], bytes]) -> list[list[Any]]:
    """By which mode the engine reports the blocks of requests that ask for one, and which other argument reaches it."""
    extra = {"kv_cache_report_mode": "full", "mine": 1}
    chat = {"model": "m", "messages": [{"role": "user", "content": "a"}], "vllm_xargs": extra}
    completion = {"model": "m", "prompt": "a", "vllm_xargs": extra}
    tokens = {"token_ids": [1], "sampling_params": {"extra_args": extra}}
    sampled = [
        ChatCompletionRequest(**json.loads(passed(json.dumps(chat).encode()))).to_sampling_params(8, {}),
        CompletionRequest(**json.loads(passed(json.dumps(completion).encode()))).to_sampling_params(8, {}),
        GenerateRequest(**json.loads(passed(json.dumps(tokens).encode()))).sampling_params,
    ]
    return [[Request("r", [1], each, None).kv_cache_report_mode, each.extra_args["mine"]] for each in sampled]


main()

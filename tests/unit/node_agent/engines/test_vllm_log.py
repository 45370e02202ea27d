"""vLLM 0.32's own log lines, as recorded from real starts and real deaths."""

import pytest

from node_agent.engines.vllm_log import cause_of_death, read_line

STAGES = [
    ("non-default args: {'port': 8101}", "reading its arguments"),
    ("Resolved architecture: LlamaForCausalLM", "reading the model's configuration"),
    ("Starting to load model /m...", "loading weights"),
    ("Loading safetensors checkpoint shards:  42% Completed | 5/12 [00:01<00:02]", "loading weights (42 %)"),
    ("Loading weights took 0.02 seconds", "weights loaded"),
    ("CPU KV cache size: 32,768 tokens, Maximum concurrency for 2,048 tokens per request", "making the KV cache"),
    (
        "Capturing CUDA graphs (mixed prefill-decode, PIECEWISE):  10%|#  | 7/67 [00:01<00:10]",
        "capturing graphs (10 %)",
    ),
    ("init engine (profile, create kv cache, warmup model) took 0.06 s", "engine core is up"),
    ("Starting vLLM server on https://127.0.0.1:8101", "opening its port"),
]


@pytest.mark.parametrize(("line", "stage"), STAGES)
def test_stages(line: str, stage: str) -> None:
    assert read_line(line).stage == stage
    assert read_line(f"(APIServer pid=4351) INFO 11-22 14:19:10 [api_utils.py:286] {line}").stage == stage


def test_uvicorns_last_word() -> None:
    assert read_line("INFO:     Application startup complete.").stage == "listening"


def test_the_engines_own_line_tells_the_dtype() -> None:
    line = (
        "(EngineCore pid=5) INFO 11-22 14:19:26 [core.py:133] Initializing a V1 LLM engine (v0.32.0) with config: "
        "model='/m', trust_remote_code=False, dtype=torch.bfloat16, max_seq_len=2048, quantization=None"
    )
    assert (read_line(line).dtype, read_line(line).stage) == ("bfloat16", "starting the engine core")


@pytest.mark.parametrize(
    "line", ["", "Triton is installed, but doesn't include CPU backend.", "INFO: GET /metrics 200"]
)
def test_other_lines_are_no_news(line: str) -> None:
    news = read_line(line)
    assert (news.stage, news.dtype) == (None, None)


def test_the_first_error_is_the_cause_and_not_those_who_fell_over_it() -> None:
    cause = cause_of_death(
        1,
        [
            "(APIServer pid=1) WARNING 11-22 14:29:56 [system_utils.py:255] can cause errors like `OSError: [Errno 24]`",
            "(Worker pid=3) ERROR 11-22 14:30:13 [multiproc_executor.py:1063]     raise ValueError(",
            "(Worker pid=3) ERROR 11-22 14:30:13 [multiproc_executor.py:1063] ValueError: No common block size for 16.",
            "(EngineCore pid=2) ERROR 11-22 14:30:13 [core.py:1510] RuntimeError: Worker failed with error 'No common'",
            "RuntimeError: Engine core initialization failed. See root cause above. Failed core proc(s): {}",
        ],
    )
    assert cause.reason == "the engine ended with exit code 1: ValueError: No common block size for 16."
    assert cause.retryable


def test_a_refused_configuration_says_what_is_wrong_and_is_not_tried_again() -> None:
    cause = cause_of_death(
        1,
        [
            "pydantic_core._pydantic_core.ValidationError: 1 validation error for ModelConfig",
            "  Value error, User-specified max_model_len (4096) is greater than the derived one. [type=value_error, inp",
            "    For further information visit https://errors.pydantic.dev/2.13/v/value_error",
        ],
    )
    assert cause.reason.endswith("ModelConfig: User-specified max_model_len (4096) is greater than the derived one.")
    assert not cause.retryable


def test_a_model_directory_may_still_appear() -> None:
    cause = cause_of_death(
        1,
        [
            "pydantic_core._pydantic_core.ValidationError: 1 validation error for ModelConfig",
            "  Value error, Invalid repository ID or local directory specified: '/models/x'. [type=value_error]",
        ],
    )
    assert cause.retryable


def test_unknown_arguments_are_hopeless() -> None:
    cause = cause_of_death(2, ["usage: …", "api_server.py: error: unrecognized arguments: --no-such-flag"])
    assert cause.reason == ("vLLM refused its arguments: api_server.py: error: unrecognized arguments: --no-such-flag")
    assert not cause.retryable


@pytest.mark.parametrize(
    ("exit_code", "reason"),
    [
        (None, "the engine's process is gone"),
        (0, "the engine ended with exit code 0"),
        (-9, "the engine was killed by SIGKILL (out of memory?)"),
        (-11, "the engine was killed by SIGSEGV"),
        (-64, "the engine was killed by SIGRTMAX"),
        (-99, "the engine was killed by signal 99"),
    ],
)
def test_a_death_without_words(exit_code: int | None, reason: str) -> None:
    assert cause_of_death(exit_code, ["nothing of note"]).reason == reason

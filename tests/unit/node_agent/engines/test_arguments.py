"""Which engine arguments pass, and that no spelling slips a refused one through."""

import pytest

from node_agent.engines.arguments import check_arguments, check_name, turned_on
from node_agent.errors import EngineSpecError


@pytest.mark.parametrize(
    "arguments",
    [
        (),
        ("--max-model-len", "2048", "--enforce-eager"),
        ("--max_num_seqs=16", "-tp", "2", "-O3"),
        ("--kv-cache-memory-bytes", "16M", "--runner", "pooling"),
        ("--hf-overrides", '{"a": -1}', "--seed", "-5"),
        ("--enable-force-include-usage", "--trust-remote-code", "--disable-log-requests"),
        ("--compilation-config.level", "3"),
        ("--reasoning-parser", "deepseek_r1", "--tool-call-parser=hermes"),
        ("--data-parallel-size", "2", "-dp", "2", "-dcp", "1", "--enable-lora", "--log-level", "debug"),
        ("--distributed-executor-backend", "mp", "--allowed-media-domains", "example.org"),
        ("--kv-transfer-config", '{"kv_connector": "OffloadingConnector", "kv_role": "kv_both"}'),
    ],
)
def test_ordinary_arguments_pass(arguments: tuple[str, ...]) -> None:
    check_arguments(arguments)


@pytest.mark.parametrize(
    "argument",
    [
        "--host",
        "--host=0.0.0.0",
        "--port",
        "--ssl-keyfile",
        "--ssl_certfile=x",
        "--ssl-anything-new",
        "--ssl",
        "--api-key",
        "--api_key",
        "--api",
        "--middleware",
        "--middle=evil.Module",
        "--root-path",
        "--uds",
        "--config",
        "--config=x.yaml",
        "--grpc",
        "--served-model-name",
        "--model",
        "--mod",
        "--disable-log-stats",
        "--no-enable-mfu-metrics",
        "--shutdown-timeout",
        "--worker-extension-cls",
        "--kv-events-config.endpoint",
        "--kv_events_config",
        "--scheduler-cls=evil.Scheduler",
        "--worker_cls",
        "--logits-processors",
        "--model-class-overrides.Llama",
        "--tool-parser-plugin",
        "--reasoning_parser_plugin=x.py",
        "--reasoning-parser-p=x.py",
        "--logging-config",
        "--log-config-file",
        "--tool-server",
        "--profiler-config.profiler",
        "--weight-transfer-config",
        "--allowed-local-media-path",
        "--trust-request-chat-template",
        "--trust_request_mm_kwargs",
        "--enable-prompt-embeds",
        "--enable-mm-embeds",
        "--hf-token=secret",
        "--headless",
        "--master-addr",
        "--master-port=1",
        "--master",
        "--nnodes",
        "-n",
        "--node-rank",
        "-r",
        "--data-parallel-address=10.0.0.1",
        "-dpa",
        "--data-parallel-rpc-port",
        "-dpp",
        "--data-parallel-external-lb",
        "-dpe",
        "--data_parallel_hybrid_lb",
        "-dph",
        "--data-parallel-multi-port-external-lb",
        "-dpm",
        "--data-parallel-supervisor-port",
        "-h",
        "--",
    ],
)
def test_refused_in_any_spelling(argument: str) -> None:
    with pytest.raises(EngineSpecError):
        check_arguments(("--enforce-eager", argument, "x"))


@pytest.mark.parametrize(
    "arguments",
    [
        ("--distributed-executor-backend", "evil.Executor"),
        ("--distributed_executor_backend=evil.Executor",),
        ("--distributed-exec", "evil.Executor"),
        ("--kv-transfer-config", '{"kv_connector": "X", "kv_connector_module_path": "evil"}'),
        ("--kv-transfer-config.kv-connector-module-path", "evil"),
        ("--ec-transfer-config", '{"ec_connector_module_path": "evil"}'),
    ],
)
def test_code_by_name_is_refused_in_values_too(arguments: tuple[str, ...]) -> None:
    with pytest.raises(EngineSpecError, match="load code by name"):
        check_arguments(arguments)


@pytest.mark.parametrize(
    ("arguments", "on"),
    [
        ((), False),
        (("--enable-lora",), True),
        (("--enable_lora",), True),
        (("--no-enable-lora", "--enable-lora"), True),
        (("--enable-lora", "--no_enable_lora"), False),
        (("--enable-lora-bias",), False),
    ],
)
def test_the_last_word_turns_a_switch_on_or_off(arguments: tuple[str, ...], on: bool) -> None:
    assert turned_on("--enable-lora", arguments) is on


def test_the_refusal_names_the_argument_and_the_reason() -> None:
    with pytest.raises(EngineSpecError, match=r"--api-key is refused: clients are known by the gateway"):
        check_arguments(("--api-key", "secret"))
    with pytest.raises(EngineSpecError, match=r"--middleware is refused: .*--middle would be taken for it"):
        check_arguments(("--middle", "x"))


@pytest.mark.parametrize("arguments", [("x",) * 201, ("x" * 20_000,), ("a\0b",)])
def test_absurd_arguments_are_refused(arguments: tuple[str, ...]) -> None:
    with pytest.raises(EngineSpecError):
        check_arguments(arguments)


@pytest.mark.parametrize("name", ["", " ", "-x", "--model", "a\nb", "a\x1b[0m", "x" * 5000])
def test_names_that_are_no_names(name: str) -> None:
    with pytest.raises(EngineSpecError):
        check_name("model", name)
    check_name("model", "org/Model-7B")

"""Which engine arguments pass, and that no spelling slips a refused one through."""

import pytest

from node_agent.engines.arguments import check_arguments, check_name
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
        "-h",
        "--",
    ],
)
def test_refused_in_any_spelling(argument: str) -> None:
    with pytest.raises(EngineSpecError):
        check_arguments(("--enforce-eager", argument, "x"))


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

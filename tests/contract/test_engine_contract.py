"""What Stoker takes for granted of vLLM's command line, asked of the real one. Needs the vLLM environment."""

import re
import subprocess
from pathlib import Path

import pytest

from node_agent.engines.arguments import _REFUSED, check_arguments
from node_agent.engines.engine import EngineAccess, EngineTls
from node_agent.engines.vllm import VllmSettings, vllm_engine_factory
from node_agent.errors import EngineSpecError
from node_agent.session.facts import EngineSpec

pytestmark = [pytest.mark.vllm, pytest.mark.timeout(180)]

# What an operator may well want, and must not be refused for looking like something dangerous.
WANTED = (
    *("--max-model-len", "--max-num-seqs", "--max-num-batched-tokens", "--gpu-memory-utilization", "--dtype"),
    *("--tensor-parallel-size", "--pipeline-parallel-size", "--data-parallel-size", "--enable-expert-parallel"),
    *("--quantization", "--kv-cache-dtype", "--block-size", "--kv-cache-memory-bytes", "--enforce-eager"),
    *(
        "--enable-lora",
        "--tool-call-parser",
        "--reasoning-parser",
        "--chat-template",
        "--runner",
        "--trust-remote-code",
    ),
)
# What "--ssl-*" and "--master-*" stand for.
OF_FAMILIES = {
    *("--ssl-keyfile", "--ssl-certfile", "--ssl-ca-certs", "--ssl-cert-reqs", "--ssl-ciphers"),
    *("--master-addr", "--master-port"),
}
SOUNDS_DANGEROUS = re.compile(
    r"(cls|plugin|middleware|address|addr|port|host|ip|uds|grpc|api-key|token-file|overrides)$"
)
LOOKED_AT = {
    "--io-processor-plugin",  # a name among those that the node's owner installed
    "--hf-overrides",  # fields of the model's configuration; no code
}


@pytest.fixture(scope="module")
def options(vllm_python: Path) -> frozenset[str]:
    """Every long option of the real parser."""
    command = [str(vllm_python), "-m", "vllm.entrypoints.openai.api_server", "--help=all"]
    text = subprocess.run(command, check=True, capture_output=True, text=True, timeout=150).stdout
    lines = re.findall(r"^  (-.*?)(?:\s{2,}|$)", text, flags=re.MULTILINE)
    return frozenset(option for line in lines for option in re.findall(r"(?<![\w-])--[a-z][a-z0-9-]*", line))


def test_every_option_that_stoker_sets_exists(options: frozenset[str], tmp_path: Path) -> None:
    tls = EngineTls(*[tmp_path] * 6)
    access = EngineAccess("127.0.0.1", "node", 1, 2, tls)
    made = vllm_engine_factory(access, VllmSettings(Path("python")))(EngineSpec("e", 1, "m", "org/m"))
    given = {part for part in made.launch(1).command if part.startswith("--")}
    assert given <= options


def test_what_operators_want_is_there_and_passes(options: frozenset[str]) -> None:
    assert set(WANTED) <= options
    check_arguments(WANTED)


def test_nothing_is_refused_for_looking_like_the_beginning_of_something_else(options: frozenset[str]) -> None:
    reasons = {option: reason for option in options if (reason := refusal_of(option))}
    assert [option for option, reason in reasons.items() if "would be taken for it" in reason] == []
    families = [option.removesuffix("*") for option in _REFUSED if option.endswith("*")]
    of_families = {option for option in reasons if option not in _REFUSED}
    assert {option for option in of_families if not option.startswith(tuple(families))} == set()
    assert of_families == OF_FAMILIES, "a family refuses something new, or no longer something that it should"


def test_all_that_is_refused_by_name_exists(options: frozenset[str]) -> None:
    """A name that vLLM changed would slip through under its new one."""
    long = {option for option in _REFUSED if option.startswith("--") and not option.endswith("*")}
    assert long <= options


def test_what_sounds_like_a_way_in_or_like_code_is_refused_or_was_looked_at(options: frozenset[str]) -> None:
    dangerous = {option for option in options if SOUNDS_DANGEROUS.search(option)}
    assert {option for option in dangerous if not refusal_of(option)} == LOOKED_AT


def refusal_of(option: str) -> str:
    try:
        check_arguments((option,))
    except EngineSpecError as error:
        return str(error)
    return ""

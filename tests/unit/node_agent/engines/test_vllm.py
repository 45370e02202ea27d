"""vLLM's command line and environment."""

from pathlib import Path

import pytest

from node_agent.engines.engine import EngineAccess, EngineTls
from node_agent.engines.vllm import VllmEngine, VllmSettings, vllm_engine_factory
from node_agent.errors import EngineSpecError, LaunchError
from node_agent.session.facts import EngineSpec

PLAIN = EngineAccess("127.0.0.1", "node-1.example", 9000, 9010)
PYTHON = Path("/opt/vllm/bin/python")


def spec(*args: str, source: str = "org/model", devices: tuple[str, ...] = ()) -> EngineSpec:
    return EngineSpec("e", 1, "chat", source, args, devices)


def engine(spec: EngineSpec, access: EngineAccess = PLAIN, *, cpu_cores: str = "", **environment: str) -> VllmEngine:
    return VllmEngine(spec, access, VllmSettings(PYTHON, environment, cpu_cores=cpu_cores))


def test_the_command_line() -> None:
    command = engine(spec("--max-model-len", "2048")).launch(9001).command
    assert command[:3] == (str(PYTHON), "-m", "vllm.entrypoints.openai.api_server")
    text = " ".join(command)
    for part in ("--model org/model", "--served-model-name chat", "--host 127.0.0.1", "--port 9001"):
        assert part in text
    assert "--enable-mfu-metrics" in command
    # It would change what clients see of a stream.
    assert "--enable-force-include-usage" not in command
    assert command[-2:] == ("--max-model-len", "2048")
    assert "--ssl-certfile" not in command


def test_mutual_tls_is_required_of_every_client(tmp_path: Path) -> None:
    files = {name: tmp_path / name for name in ("cert", "key", "clients", "client", "client_key", "ca")}
    for path in files.values():
        path.write_text("x")
    tls = EngineTls(*files.values())
    access = EngineAccess("127.0.0.1", "node-1.example", 9000, 9010, tls)
    text = " ".join(engine(spec(), access).launch(9001).command)
    assert f"--ssl-certfile {files['cert']} --ssl-keyfile {files['key']}" in text
    assert f"--ssl-ca-certs {files['clients']} --ssl-cert-reqs 2" in text
    files["key"].unlink()
    with pytest.raises(LaunchError, match="key does not exist"):
        engine(spec(), access).launch(9001)


def test_a_model_directory_that_is_not_there_is_named(tmp_path: Path) -> None:
    with pytest.raises(LaunchError, match="nowhere does not exist on this node") as caught:
        engine(spec(source=str(tmp_path / "nowhere"))).launch(1)
    assert caught.value.retryable, "it may be mounted later"


def test_the_environment_is_cleaned() -> None:
    environment = (
        engine(
            spec(),
            HF_HUB_OFFLINE="1",
            PATH="/bin",
            VLLM_SERVER_DEV_MODE="1",
            VLLM_API_KEY="x",
            VLLM_ALLOW_INSECURE_SERIALIZATION="1",
            PYTHONDONTWRITEBYTECODE="1",
            PYTHONPATH="/agent",
            STOKER_JOIN_TOKEN="secret",
        )
        .launch(1)
        .environment
    )
    assert environment["HF_HUB_OFFLINE"] == "1"
    assert environment["PATH"] == "/bin"
    assert environment["VLLM_NO_USAGE_STATS"] == environment["DO_NOT_TRACK"] == "1"
    gone = {"VLLM_SERVER_DEV_MODE", "VLLM_API_KEY", "VLLM_ALLOW_INSECURE_SERIALIZATION", "PYTHONDONTWRITEBYTECODE"}
    assert not environment.keys() & (gone | {"PYTHONPATH", "STOKER_JOIN_TOKEN"})


def test_devices_become_what_the_engine_may_see() -> None:
    assert engine(spec(devices=("cuda:1", "cuda:3"))).launch(1).environment["CUDA_VISIBLE_DEVICES"] == "1,3"
    assert engine(spec(devices=("rocm:0",))).launch(1).environment["HIP_VISIBLE_DEVICES"] == "0"
    on_cpu = engine(spec(devices=("cpu:0",)), cpu_cores="2-3").launch(1).environment
    assert on_cpu["VLLM_CPU_OMP_THREADS_BIND"] == "2-3"
    unbound = engine(spec(devices=("cpu:0",))).launch(1).environment
    assert unbound["VLLM_CPU_OMP_THREADS_BIND"] == "nobind"
    chosen = engine(spec(devices=("cpu:0",)), VLLM_CPU_OMP_THREADS_BIND="1").launch(1).environment
    assert chosen["VLLM_CPU_OMP_THREADS_BIND"] == "1"


def test_default_devices_stand_in() -> None:
    settings = VllmSettings(PYTHON, default_device_ids=("cuda:0",))
    made = vllm_engine_factory(PLAIN, settings)(spec())
    assert made.device_ids == ("cuda:0",)
    assert made.launch(1).environment["CUDA_VISIBLE_DEVICES"] == "0"


@pytest.mark.parametrize("devices", [("cuda:0", "cpu:0"), ("tpu:0",), ("cuda:x",), ("cuda:0;rm",), ("cuda",)])
def test_devices_that_make_no_sense_are_refused(devices: tuple[str, ...]) -> None:
    with pytest.raises(EngineSpecError):
        engine(spec(devices=devices))


def test_the_local_address_of_an_engine_that_listens_everywhere() -> None:
    assert EngineAccess("0.0.0.0", "n", 1, 2).local_host == "127.0.0.1"  # noqa: S104
    assert EngineAccess("::", "n", 1, 2).local_host == "::1"
    assert EngineAccess("10.0.0.5", "n", 1, 2).local_host == "10.0.0.5"

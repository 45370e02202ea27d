"""vLLM as an engine kind: its command line and environment, its log, and a client for its port.

Made by the agent's composition root through `vllm_engine_factory`; called by the supervisor. Pure but for `client` and
a look whether files exist: it starts nothing and imports neither torch nor vLLM, which live in the environment of
`engine_python`.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from node_agent.engines import vllm_inside, vllm_log
from node_agent.engines.argument_check import trial_of
from node_agent.engines.arguments import check_arguments, check_name, turned_on
from node_agent.engines.engine import (
    CauseOfDeath,
    EngineAccess,
    EngineClient,
    EngineFactory,
    Launch,
    LogNews,
)
from node_agent.engines.vllm_client import VllmClient
from node_agent.errors import EngineSpecError, LaunchError
from node_agent.inside.sockets import InsideSockets
from node_agent.session.facts import EngineSpec

# How long vLLM itself waits for requests in flight after SIGTERM. The supervisor drains before; this is for a drain cut
# short. It must be shorter than the supervisor's patience before SIGKILL. With 0, clients hang instead of being told.
SHUTDOWN_TIMEOUT_SECONDS = 10
_MODULE = ("-m", "vllm.entrypoints.openai.api_server")

# Opens the routes that load and unload adapters, which without --enable-lora have no use.
_ADAPTERS_ALLOWED = {"VLLM_ALLOW_RUNTIME_LORA_UPDATING": "1"}

_NEVER_PASSED_ON = (
    "VLLM_SERVER_DEV_MODE",  # opens routes that pause, reset and run code
    "VLLM_ALLOW_INSECURE_SERIALIZATION",
    "VLLM_ALLOW_RUNTIME_LORA_UPDATING",  # set for the engines that need it, for no other
    "VLLM_API_KEY",
    "VLLM_HOST_IP",
    "VLLM_PORT",
    "PYTHONDONTWRITEBYTECODE",  # without .pyc files vLLM needs twice as long to start
    "PYTHONPATH",  # the agent's own packages are not the engine's
    "PYTHONHOME",
    "VIRTUAL_ENV",
)
_ALWAYS_SET = {
    "VLLM_NO_USAGE_STATS": "1",
    "DO_NOT_TRACK": "1",
    "TOKENIZERS_PARALLELISM": "false",  # else a warning with every fork
    "PYTHONUNBUFFERED": "1",  # so that the last words of a dying process reach the log
}
_VISIBLE_DEVICES = {"cuda": "CUDA_VISIBLE_DEVICES", "rocm": "HIP_VISIBLE_DEVICES"}


@dataclass(frozen=True)
class VllmSettings:
    """What is the same for all vLLM engines of this node."""

    engine_python: Path
    base_environment: Mapping[str, str] = field(default_factory=dict)  # the agent's own; cleaned before use
    default_device_ids: tuple[str, ...] = ()  # for specs that name none
    cpu_cores: str = ""  # for engines on a CPU: "0-3", vLLM's notation; "" lets the operating system place the threads
    plugins: Path | None = None  # the folder of `plugin_files.install`; None: vLLM runs without them


@dataclass(frozen=True)
class VllmEngine:
    spec: EngineSpec
    access: EngineAccess
    settings: VllmSettings

    def __post_init__(self) -> None:
        check_name("model's name", self.spec.model)
        check_name("model's source", self.spec.source)
        check_arguments(self.spec.engine_args)
        self._device_environment()

    @property
    def device_ids(self) -> tuple[str, ...]:
        return self.spec.device_ids or self.settings.default_device_ids

    def launch(self, port: int, inside: InsideSockets | None = None) -> Launch:
        tls = self.access.tls
        environment = self._environment()
        self._check_files()
        command = [
            *(str(self.settings.engine_python), *_MODULE),
            *("--model", self.spec.source, "--served-model-name", self.spec.model),
            *("--host", self.access.bind_host, "--port", str(port)),
            *("--shutdown-timeout", str(SHUTDOWN_TIMEOUT_SECONDS)),
            *("--enable-mfu-metrics", "--enable-prompt-tokens-details", "--disable-uvicorn-access-log"),
        ]
        if tls is not None:
            command += ["--ssl-certfile", str(tls.cert_path), "--ssl-keyfile", str(tls.key_path)]
            # 2 is ssl.CERT_REQUIRED: a client without a certificate of these CAs gets no answer at all.
            command += ["--ssl-ca-certs", str(tls.client_ca_path), "--ssl-cert-reqs", "2", "--enable-ssl-refresh"]
        plugins = self.settings.plugins
        if inside is not None and plugins is not None:
            command += vllm_inside.arguments(inside)
            environment = {**environment, **vllm_inside.environment(inside, plugins, environment)}
        command += self.spec.engine_args
        return Launch(command=tuple(command), environment=environment)

    def trial(self) -> Launch:
        """The port is one that nobody asks for: a parser binds none."""
        started = self.launch(1)
        return trial_of(started.command, len(_MODULE), started.environment)

    @property
    def takes_adapters(self) -> bool:
        return turned_on("--enable-lora", self.spec.engine_args)

    def read_line(self, line: str) -> LogNews:
        return vllm_log.read_line(line)

    def cause_of_death(self, exit_code: int | None, log_tail: Sequence[str]) -> CauseOfDeath:
        return vllm_log.cause_of_death(exit_code, log_tail)

    def client(self, port: int, *, served_paths: tuple[str, ...] = ()) -> EngineClient:
        return VllmClient(self.access, port, self.spec.model, served_paths=served_paths)

    def _check_files(self) -> None:
        """vLLM finds these missing too, but late and without a name."""
        tls = self.access.tls
        needed = () if tls is None else (tls.cert_path, tls.key_path, tls.client_ca_path)
        source = Path(self.spec.source)
        for path in (*needed, *((source,) if source.is_absolute() else ())):
            if not path.exists():
                raise LaunchError(f"{path} does not exist on this node", retryable=True)

    def _environment(self) -> dict[str, str]:
        inherited = {
            name: value
            for name, value in self.settings.base_environment.items()
            if name not in _NEVER_PASSED_ON and not name.startswith("STOKER_")
        }
        adapters = _ADAPTERS_ALLOWED if self.takes_adapters else {}
        return {**inherited, **_ALWAYS_SET, **adapters, **self._device_environment()}

    def _device_environment(self) -> dict[str, str]:
        families = {device_id.partition(":")[0] for device_id in self.device_ids}
        if len(families) > 1:
            raise EngineSpecError(f"an engine cannot span devices of several kinds: {', '.join(self.device_ids)}")
        if not families:
            return {}
        family = families.pop()
        if family == "cpu":
            return self._cpu_environment()
        variable = _VISIBLE_DEVICES.get(family)
        indices = [device_id.partition(":")[2] for device_id in self.device_ids]
        if variable is None or not all(index.isascii() and index.isdigit() for index in indices):
            raise EngineSpecError(f"no such devices: {', '.join(self.device_ids)}")
        # The order in which the probe counted them.
        return {variable: ",".join(indices), "CUDA_DEVICE_ORDER": "PCI_BUS_ID"}

    def _cpu_environment(self) -> dict[str, str]:
        """vLLM's own choice binds every engine of a machine to the same first cores, so it is never left to it."""
        if self.settings.cpu_cores:
            return {"VLLM_CPU_OMP_THREADS_BIND": self.settings.cpu_cores}
        if "VLLM_CPU_OMP_THREADS_BIND" in self.settings.base_environment:
            return {}
        return {"VLLM_CPU_OMP_THREADS_BIND": "nobind"}


def vllm_engine_factory(access: EngineAccess, settings: VllmSettings) -> EngineFactory:
    return lambda spec: VllmEngine(spec, access, settings)

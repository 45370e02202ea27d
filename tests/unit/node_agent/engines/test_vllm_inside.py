"""What vLLM is started with so that it tells of itself, and that nothing of it listens on TCP."""

import json
from pathlib import Path

from node_agent.engines import vllm_inside
from node_agent.engines.engine import EngineAccess
from node_agent.engines.vllm import VllmEngine, VllmSettings
from node_agent.inside.sockets import InsideSockets
from node_agent.session.facts import EngineSpec

INSIDE = InsideSockets(Path("/run/s/abc"))
PLUGINS = Path("/var/plugins")


def engine(plugins: Path | None, **environment: str) -> VllmEngine:
    settings = VllmSettings(Path("/venv/bin/python"), base_environment=environment, plugins=plugins)
    return VllmEngine(EngineSpec("e", 1, "m", "org/m", ("--seed", "1")), EngineAccess("::1", "h", 1, 2), settings)


def test_events_stay_in_the_agents_folder() -> None:
    arguments = vllm_inside.arguments(INSIDE)
    events = json.loads(arguments[arguments.index("--kv-events-config") + 1])
    assert (events["endpoint"], events["replay_endpoint"]) == (
        "ipc:///run/s/abc/k-inproc",
        "ipc:///run/s/abc/r-inproc",
    )
    assert "tcp" not in json.dumps(events)


def test_the_engine_sees_the_plugins_folder_and_nothing_else_of_the_agents() -> None:
    launch = engine(PLUGINS, PYTHONPATH="/agents/own", STOKER_PLUGIN_SOCKET="/elsewhere").launch(9, INSIDE)
    assert launch.environment["PYTHONPATH"] == str(PLUGINS)
    assert launch.environment["STOKER_PLUGIN_SOCKET"] == "/run/s/abc/p"
    assert "VLLM_PLUGINS" not in launch.environment
    assert launch.command[-2:] == ("--seed", "1")


def test_an_owner_who_allows_some_plugins_only_gets_ours_beside_them() -> None:
    assert engine(PLUGINS, VLLM_PLUGINS="mine").launch(9, INSIDE).environment["VLLM_PLUGINS"] == "mine,stoker"


def test_off_runs_vllm_as_it_is() -> None:
    for launch in (engine(None).launch(9, INSIDE), engine(PLUGINS).launch(9)):
        assert not {"--middleware", "--kv-events-config"} & set(launch.command)
        assert not {"PYTHONPATH", "STOKER_PLUGIN_SOCKET"} & set(launch.environment)

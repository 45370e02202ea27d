"""What vLLM's command line and environment need so that it tells the agent of itself. Pure; called by `vllm`.

KV events go over Unix sockets in a folder that only the agent's user can enter: over TCP anybody on the machine, or in
the network, could read which tokens are cached.
"""

import json
from collections.abc import Mapping
from pathlib import Path

from node_agent.engines.plugin_files import MIDDLEWARE, PLUGIN_NAME
from node_agent.inside.sockets import InsideSockets
from node_agent.vllm_plugins.wire import SOCKET_VARIABLE

# Batches kept for whoever comes late or missed some: minutes on a busy engine, some tens of megabytes at the worst.
_REPLAY_STEPS = 10_000
_ONLY_PLUGINS = "VLLM_PLUGINS"


def arguments(inside: InsideSockets) -> list[str]:
    events = {
        "enable_kv_cache_events": True,
        "publisher": "zmq",
        "endpoint": f"ipc://{inside.events}",
        "replay_endpoint": f"ipc://{inside.replay}",
        "buffer_steps": _REPLAY_STEPS,
    }
    return ["--middleware", MIDDLEWARE, "--kv-events-config", json.dumps(events)]


def environment(inside: InsideSockets, plugins: Path, inherited: Mapping[str, str]) -> dict[str, str]:
    added = {"PYTHONPATH": str(plugins), SOCKET_VARIABLE: str(inside.plugin)}
    chosen = inherited.get(_ONLY_PLUGINS)
    if chosen is not None:
        # The owner of this node allows some plug-ins only; ours is the agent's own part.
        added[_ONLY_PLUGINS] = ",".join(filter(None, (chosen, PLUGIN_NAME)))
    return added

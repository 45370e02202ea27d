"""The LoRA adapters that an engine is to serve, loaded into each of its processes. Made by `EngineRunner`, one an engine.

They outlive a process, and the agent (the engine's record holds them), until they are unloaded or the engine is
forgotten. Whether an engine takes any is for its kind to say.
"""

from collections.abc import Callable
from pathlib import Path

from node_agent.errors import AdapterError, AgentError
from node_agent.session.values import Severity
from node_agent.supervisor.instance import Instance
from node_agent.supervisor.watch import Notify


class Adapters:
    """`changed` is called when what is to be served is another: the record must hold it."""

    def __init__(self, notify: Notify, changed: Callable[[], None]) -> None:
        self._notify = notify
        self._changed = changed
        self.wanted: dict[str, str] = {}  # name → its path on this node

    async def load(self, running: Instance, name: str, source: str) -> None:
        """Raises AdapterError, and then nothing has changed; or EngineUnreachableError, and then the next process has it."""
        _check(running, source)
        if self.wanted.get(name) == source and name in running.watch.description.adapters:
            return
        running.watch.adapters_are(await running.watch.client.load_adapter(name, source))
        self.wanted[name] = source
        self._changed()

    async def unload(self, running: Instance, name: str) -> None:
        """Raises AdapterError or EngineUnreachableError, and then nothing has changed."""
        if name in running.watch.description.adapters:
            running.watch.adapters_are(await running.watch.client.unload_adapter(name))
        if self.wanted.pop(name, None) is not None:
            self._changed()

    async def load_all(self, fresh: Instance) -> None:
        """Into a process that has just come up. One that cannot be loaded keeps none of the others out."""
        for name, source in tuple(self.wanted.items()):
            try:
                await self.load(fresh, name, source)
            except AgentError as error:
                text = f"the adapter {name} is not served after the restart: {error}"
                self._notify("adapter_not_loaded", text, Severity.ERROR)


def _check(running: Instance, source: str) -> None:
    """Raises AdapterError for what vLLM would refuse in worse words."""
    if not running.engine.takes_adapters:
        raise AdapterError("the engine was started without --enable-lora: restart it with that argument first")
    if not Path(source).exists():
        raise AdapterError(f"{source} does not exist on this node")

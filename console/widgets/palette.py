"""What the command palette (Ctrl-P) offers besides Textual's own: the screens, the actions, nodes and engines by name."""

from collections.abc import Callable, Iterator
from functools import partial
from typing import TYPE_CHECKING, cast

from textual.command import DiscoveryHit, Hit, Hits, Provider
from textual.content import Content

from console.command_words import COMMANDS, parse
from console.model.format import clean

if TYPE_CHECKING:
    from console.app import StokerApp

Offer = tuple[str, str, Callable[[], None]]  # what is shown and matched, its help, what it does


class FleetCommands(Provider):
    @property
    def _stoker(self) -> "StokerApp":
        return cast("StokerApp", self.app)

    def _words(self) -> Iterator[Offer]:
        for command in COMMANDS:
            if not command.argument:
                yield f"{command.name.capitalize()}", command.what, partial(self._obey, command.name)

    def _things(self) -> Iterator[Offer]:
        view = self._stoker.view
        for name in view.nodes:
            yield f"Node {clean(name)}", "open it", partial(self._obey, f"node {name}")
        for engine_id in view.engines:
            yield f"Engine {clean(engine_id)}", "open it", partial(self._obey, f"engine {engine_id}")

    def _obey(self, line: str) -> None:
        order = parse(line)
        if order is not None:
            self._stoker.obey(order)

    async def discover(self) -> Hits:
        for text, what, do in self._words():
            yield DiscoveryHit(Content(text), do, text=text, help=what)

    async def search(self, query: str) -> Hits:
        match = self.matcher(query)
        for text, what, do in (*self._words(), *self._things()):
            score = match.match(text)
            if score > 0:
                yield Hit(score, Content(text), do, text=text, help=what)

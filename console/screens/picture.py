"""A picture of a screen, without a terminal. Called by `stoker console --screenshot` and by tests.

It runs the app on a screen that nobody sees and does nothing that somebody before it would not do by the `:` line.
"""

import asyncio
from pathlib import Path
from typing import TYPE_CHECKING

from textual.pilot import Pilot
from textual.screen import ModalScreen

from console.command_words import Order
from console.screens.routes import carry_out

if TYPE_CHECKING:
    from console.app import StokerApp

_SECONDS_MAX = 30.0


async def take_screenshot(app: "StokerApp", path: Path, size: tuple[int, int], order: Order | None = None) -> None:
    """Draws the screen that `order` leads to, by default the first one, into an SVG file, once its data is there.

    Raises NotFoundError when there is no such thing, TimeoutError when the control plane sends no fleet.
    """
    async with app.run_test(size=size, notifications=True) as pilot:
        async with asyncio.timeout(_SECONDS_MAX):
            await app.first_view.wait()
            if order is not None:
                await _obey(app, order, pilot)
            while app.front is None or not app.front.has_data:
                await pilot.pause()
            while any(each.is_running for each in app.workers if each.group == "default"):  # a dialog's dry run
                await pilot.pause()
        for _ in range(3):  # what is mounted, what gets its size then, what scrolls then
            await pilot.pause()
        drawn = app.export_screenshot()
    await asyncio.to_thread(path.write_text, drawn, encoding="utf-8")


async def _obey(app: "StokerApp", order: Order, pilot: Pilot[None]) -> None:
    """Until the order is carried out, or a dialog waits for somebody."""
    worker = app.run_worker(carry_out(app, order), group="hand", exit_on_error=False)
    while not (worker.is_finished or isinstance(app.screen, ModalScreen)):
        await pilot.pause()
    if worker.error is not None:
        raise worker.error

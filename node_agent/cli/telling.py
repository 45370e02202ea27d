"""Tells how the agent stands while it runs: systemd's status line, and the file that `status` and `doctor` read.

Run by `cli.running`. It writes only when something changed, and a disk that cannot be written to does not end it.
"""

import asyncio
import os
from dataclasses import replace
from pathlib import Path

import structlog

from node_agent import __version__
from node_agent.bootstrap import Agent
from node_agent.host.service_manager import ServiceManager
from node_agent.host.standing import Standing, count_states, line, save

_log = structlog.get_logger(__name__)
_LOOK_SECONDS = 1.0


class Telling:
    def __init__(self, state_dir: Path, service: ServiceManager) -> None:
        self._state_dir = state_dir
        self._service = service
        self._standing = Standing(
            pid=os.getpid(),
            version=__version__,
            connection="not connected yet",
            connected=False,
            watched=service.ping_seconds is not None,
        )

    def connection(self, text: str) -> None:
        """A sentence from the session, whenever it changes. Told with the next look."""
        self._standing = replace(self._standing, connection=text)

    async def run(self, agent: Agent) -> None:
        """Until cancelled."""
        told: Standing | None = None
        while True:
            now = self._look(agent)
            if now != told:
                self._service.status(line(now))
                self._save(now)
                told = now
            await asyncio.sleep(_LOOK_SECONDS)

    def _look(self, agent: Agent) -> Standing:
        clocks = agent.session.clocks
        self._standing = replace(
            self._standing,
            connected=agent.session.connected,
            engines=count_states(agent.supervisor.statuses()),
            clock_error_seconds=None if clocks is None else (clocks[0] - clocks[1]).total_seconds(),
            clock_told_at=None if clocks is None else clocks[0],
        )
        return self._standing

    def _save(self, standing: Standing) -> None:
        try:
            save(self._state_dir, standing)
        except OSError as error:
            _log.warning("standing_not_saved", error=str(error), do="free space in the state directory")

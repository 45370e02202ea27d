"""The agent's end of the plug-in's socket: one server for each engine process, so that none can speak for another.

Made by `insides`. It reads lines, hands them to its `PluginListener`, and tells the plug-in which records are safe. Garbage
closes the connection it came over and nothing else; nothing is ever raised out of it.

Records are kept in bunches, since each time costs a write to the disk and a message to the plug-in, which has them until
then. When the plug-in is gone, what it sent is kept at once.
"""

import asyncio
import contextlib
import socket
from collections.abc import Awaitable, Callable, Sequence
from pathlib import Path
from typing import Protocol

import structlog

from node_agent.inside import plugin_codec
from node_agent.inside.notes import PrefixNote
from node_agent.inside.plugin_codec import Hello, NoteLine, PluginLineError, RecordLine, Steps
from node_agent.session.records import RequestRecord
from node_agent.tasks import TaskScope
from node_agent.vllm_plugins import wire

_log = structlog.get_logger(__name__)

CONNECTIONS_MAX = 64
# More than this in memory and not kept yet: reading waits, and the plug-in keeps them meanwhile.
_UNKEPT_MAX = 2000
GATHER_SECONDS = 1.0
_BACKLOG = 16

Keep = Callable[[str, Sequence[tuple[int, RequestRecord]]], Awaitable[int]]
"""Keeps numbered records of one source safely, ignoring repeats; answers the number up to which all that came are kept."""


class PluginListener(Protocol):
    def on_greeting(self, hello: Hello) -> None: ...

    def on_steps(self, source: str, steps: Steps) -> None: ...

    def on_note(self, note: PrefixNote) -> None: ...

    def on_trouble(self, sentence: str) -> None:
        """A connection was closed for what it said."""


class PluginServer:
    """`begin` when the engine is about to start or was found again; `close` when nobody is to be heard any more."""

    def __init__(
        self,
        path: Path,
        engine_id: str,
        instance_id: str,
        listener: PluginListener,
        keep: Keep,
        *,
        gather_seconds: float = GATHER_SECONDS,
    ) -> None:
        """`gather_seconds`: for how long records are gathered after the first of a bunch."""
        self._path = path
        self._engine_id = engine_id
        self._instance_id = instance_id
        self._listener = listener
        self._keep = keep
        self._gather_seconds = gather_seconds
        self._tasks = TaskScope(f"plugin of {engine_id}")
        self._talks: set[_Talk] = set()

    @property
    def connected(self) -> bool:
        return any(talk.source for talk in self._talks)

    def begin(self) -> None:
        """Listens from now on. Raises OSError."""
        listening = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        try:
            listening.bind(str(self._path))
            self._path.chmod(0o600)
            listening.listen(_BACKLOG)
            listening.setblocking(False)
        except OSError:
            listening.close()
            raise
        self._tasks.spawn(self._accept(listening), name="accept")

    async def drained(self, seconds_max: float) -> None:
        """Waits until everything that was sent before the plug-in's end has been read and kept, but not for ever."""
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(seconds_max):
                while self._talks:
                    await next(iter(self._talks)).over.wait()

    async def close(self) -> None:
        await self._tasks.close()

    async def _accept(self, listening: socket.socket) -> None:
        loop = asyncio.get_running_loop()
        with listening:
            while True:
                accepted, _ = await loop.sock_accept(listening)
                if len(self._talks) >= CONNECTIONS_MAX:
                    accepted.close()
                    continue
                talk = _Talk()
                self._talks.add(talk)
                self._tasks.spawn(self._serve(accepted, talk), name="connection")

    async def _serve(self, accepted: socket.socket, talk: "_Talk") -> None:
        writer = None
        keeping = None
        try:
            reader, writer = await asyncio.open_unix_connection(sock=accepted, limit=plugin_codec.LINE_BYTES_MAX)
            keeping = self._tasks.spawn(self._keep_records(talk, writer), name="keep")
            await self._listen(reader, writer, talk)
        except PluginLineError as error:
            self._listener.on_trouble(str(error))
        except OSError:
            pass
        except Exception as error:  # noqa: BLE001 - one plug-in's lines must not end the agent
            _log.error("plugin_line_failed", engine_id=self._engine_id, exc_info=error)
            self._listener.on_trouble(f"a line could not be handled: {error!r}")
        finally:
            talk.ended = True
            talk.stir.set()
            talk.hurry.set()
            if keeping is not None:
                # What was read is kept even when the plug-in is gone.
                await asyncio.wait([keeping])
            if writer is not None:
                writer.close()
            self._talks.discard(talk)
            talk.over.set()

    async def _listen(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, talk: "_Talk") -> None:
        while True:
            try:
                line = await reader.readline()
            except ValueError as error:
                raise PluginLineError(f"a line is longer than {plugin_codec.LINE_BYTES_MAX} bytes") from error
            if not line.endswith(b"\n"):
                return
            message = plugin_codec.read_line(line)
            if isinstance(message, Hello):
                if not self._greet(message, writer, talk):
                    return
            elif not talk.source:
                raise PluginLineError("it speaks without a greeting")
            elif isinstance(message, RecordLine):
                if talk.failed:
                    return
                talk.unkept.append((message.n, plugin_codec.record(message, self._engine_id, self._instance_id)))
                talk.stir.set()
                if len(talk.unkept) >= _UNKEPT_MAX:
                    talk.hurry.set()
                    talk.emptied.clear()
                    await talk.emptied.wait()
            elif isinstance(message, NoteLine):
                self._listener.on_note(plugin_codec.note(message))
            else:
                self._listener.on_steps(talk.source, message)

    def _greet(self, hello: Hello, writer: asyncio.StreamWriter, talk: "_Talk") -> bool:
        if hello.protocol != wire.PROTOCOL:
            reason = f"it speaks protocol {hello.protocol}, this agent {wire.PROTOCOL}; restart the engine to renew it"
            writer.write(plugin_codec.refused(reason))
            self._listener.on_trouble(reason)
            return False
        if not talk.source:
            talk.source = hello.source
            writer.write(plugin_codec.welcome())
        self._listener.on_greeting(hello)
        return True

    async def _keep_records(self, talk: "_Talk", writer: asyncio.StreamWriter) -> None:
        while True:
            await talk.stir.wait()
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(self._gather_seconds):
                    await talk.hurry.wait()
            talk.stir.clear()
            if not talk.ended:
                talk.hurry.clear()
            batch, talk.unkept = talk.unkept, []
            talk.emptied.set()
            if batch:
                try:
                    through = await self._keep(f"{self._instance_id}.{talk.source}", batch)
                except Exception as error:  # noqa: BLE001 - not kept, so not told: they will be sent again
                    _log.error("records_not_kept", engine_id=self._engine_id, exc_info=error)
                    talk.failed = True
                    talk.emptied.set()
                    writer.close()
                    return
                writer.write(plugin_codec.kept(through))
            if talk.ended and not talk.unkept:
                return


class _Talk:
    """One connection. `source`: which process speaks; "" before its greeting."""

    def __init__(self) -> None:
        self.source = ""
        self.unkept: list[tuple[int, RequestRecord]] = []
        self.stir = asyncio.Event()
        self.hurry = asyncio.Event()
        self.emptied = asyncio.Event()
        self.over = asyncio.Event()
        self.ended = False
        self.failed = False  # to keep its records

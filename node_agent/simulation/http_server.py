"""A small HTTP/1.1 server for simulated engines: requests in, whole or streamed answers out. Used by `http_app`.

It knows nothing of the OpenAI API. A client that leaves ends the answer to it and nothing else.
"""

import asyncio
import json
import ssl
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Any

import h11

from node_agent.tasks import TaskScope

_BODY_BYTES_MAX = 32 * 1024 * 1024
_IDLE_SECONDS_MAX = 300.0


@dataclass(frozen=True, slots=True)
class HttpRequest:
    method: str
    path: str
    body: bytes
    headers: dict[str, str]  # names in lower case


class ClientGoneError(Exception):
    """Nobody reads the answer any more."""


class Reply:
    """The answer to one request: `send` it whole, or `begin`, `write` and `end`."""

    def __init__(self, connection: h11.Connection, writer: asyncio.StreamWriter) -> None:
        self._connection = connection
        self._writer = writer

    async def send(self, status: int, body: bytes, kind: str = "application/json") -> None:
        headers = [("content-type", kind), ("content-length", str(len(body)))]
        await self._write(h11.Response(status_code=status, headers=headers), h11.Data(data=body), h11.EndOfMessage())

    async def send_json(self, value: Any, status: int = 200) -> None:
        await self.send(status, json.dumps(value).encode())

    async def begin(self, kind: str) -> None:
        await self._write(h11.Response(status_code=200, headers=[("content-type", kind)]))

    async def write(self, data: bytes) -> None:
        await self._write(h11.Data(data=data))

    async def end(self) -> None:
        await self._write(h11.EndOfMessage())

    async def _write(self, *events: h11.Event) -> None:
        data = b"".join(self._connection.send(event) or b"" for event in events)
        if self._writer.is_closing():
            raise ClientGoneError
        self._writer.write(data)
        try:
            await self._writer.drain()
        except (ConnectionError, OSError) as error:
            raise ClientGoneError from error


Handler = Callable[[HttpRequest, Reply], Awaitable[None]]


async def listen(scope: TaskScope, host: str, port: int, tls: ssl.SSLContext | None, handle: Handler) -> asyncio.Server:
    """Raises OSError when the port is taken."""

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            await _converse(reader, writer, handle, scope)
        except (
            ConnectionError,
            OSError,
            h11.RemoteProtocolError,
            h11.LocalProtocolError,
            ClientGoneError,
            TimeoutError,
        ):
            pass  # the client's fault, or its leaving: its connection ends, nobody else's
        finally:
            writer.close()

    return await asyncio.start_server(serve, host, port, ssl=tls)


async def _converse(
    reader: asyncio.StreamReader, writer: asyncio.StreamWriter, handle: Handler, scope: TaskScope
) -> None:
    connection = h11.Connection(h11.SERVER)
    while True:
        request = await _request(connection, reader)
        if request is None:
            return
        work = scope.spawn(_answer(handle, request, Reply(connection, writer)), name=request.path[:80])
        gone = scope.spawn(_until_gone(connection, reader), name="client")
        await asyncio.wait((work, gone), return_when=asyncio.FIRST_COMPLETED)
        for task in (work, gone):
            task.cancel()
        await asyncio.wait((work, gone))
        if connection.our_state is not h11.DONE or connection.their_state is not h11.DONE:
            return
        connection.start_next_cycle()


async def _answer(handle: Handler, request: HttpRequest, reply: Reply) -> None:
    try:
        await handle(request, reply)
    except ClientGoneError:
        return


async def _until_gone(connection: h11.Connection, reader: asyncio.StreamReader) -> None:
    """Until the client hangs up. What it sends ahead waits for the next cycle."""
    while data := await reader.read(65536):
        connection.receive_data(data)
    connection.receive_data(b"")


async def _request(connection: h11.Connection, reader: asyncio.StreamReader) -> HttpRequest | None:
    """The next one, with its body; None when the client has hung up."""
    head: h11.Request | None = None
    body = bytearray()
    while True:
        event = connection.next_event()
        if event is h11.NEED_DATA:
            async with asyncio.timeout(_IDLE_SECONDS_MAX):
                connection.receive_data(await reader.read(65536))
        elif isinstance(event, h11.Request):
            head = event
        elif isinstance(event, h11.Data):
            body += event.data
            if len(body) > _BODY_BYTES_MAX:
                return None
        elif isinstance(event, h11.EndOfMessage) and head is not None:
            headers = {name.decode("latin-1"): value.decode("latin-1") for name, value in head.headers}
            path = head.target.decode("latin-1").partition("?")[0]
            return HttpRequest(head.method.decode("latin-1"), path, bytes(body), headers)
        else:
            return None

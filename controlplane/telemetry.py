"""Logs: one line a happening, on stderr, as JSON for machines or in colours for people.

Called by `__main__` before anything else runs (`configure`) and by bootstrap on SIGHUP (`set_level`). Libraries that
use `logging` go the same way. Never lets a token, a key or a password through, whoever tries to log it.
"""

import logging
import re
import sys
from collections.abc import MutableMapping
from typing import Any, Literal, TextIO

import structlog
from structlog.typing import EventDict, Processor

Level = Literal["debug", "info", "warning", "error"]

HIDDEN = "****"
_SECRET_NAMES = re.compile(r"(?i)token|secret|passw|authorization|cookie|api_?key|private|credential")
_HARMLESS_NAMES = re.compile(r"(?i)_(id|ids|count|total|max|seconds|bytes|tokens)$|^tokens")
_SECRET_TEXTS = (
    re.compile(r"stoker-join-v1\.[A-Za-z0-9._~+/=-]+"),
    re.compile(r"\beyJ[A-Za-z0-9_-]+\.[A-Za-z0-9_-]+\.[A-Za-z0-9_-]*"),  # a signed token: an API key is one
    re.compile(r"-----BEGIN [A-Z ]*PRIVATE KEY-----.*?(-----END [A-Z ]*PRIVATE KEY-----|$)", re.DOTALL),
    re.compile(r"(?<=://)[^:@/\s]*:[^@/\s]+(?=@)"),  # user:password in a URL
    re.compile(r"(?i)(?<=bearer )\S+"),
)
# Chatty below warning, and of no use to who runs Stoker.
_QUIET = (
    "asyncio",
    "apscheduler",
    "alembic",
    "sqlalchemy",
    "httpx",
    "httpcore",
    "uvicorn.access",
    "uvicorn.error",
    "grpc",
)


def configure(format: str, level: str, service: str = "controlplane", stream: TextIO | None = None) -> None:  # noqa: A002
    """Send all logs of this process to `stream` (None: stderr). Calling it again replaces what was configured."""
    stream = sys.stderr if stream is None else stream

    def name_service(_: Any, __: str, event: EventDict) -> EventDict:
        event.setdefault("service", service)
        event.pop("color_message", None)  # uvicorn's second copy of its text
        return event

    shared: list[Processor] = [
        structlog.contextvars.merge_contextvars,
        structlog.stdlib.add_logger_name,
        structlog.stdlib.add_log_level,
        structlog.stdlib.ExtraAdder(),
        structlog.processors.TimeStamper(fmt="iso", utc=True),
        name_service,
    ]
    structlog.configure(
        processors=[
            structlog.stdlib.filter_by_level,
            *shared,
            structlog.stdlib.PositionalArgumentsFormatter(),
            structlog.stdlib.ProcessorFormatter.wrap_for_formatter,
        ],
        wrapper_class=structlog.stdlib.BoundLogger,
        logger_factory=structlog.stdlib.LoggerFactory(),
        cache_logger_on_first_use=False,
    )
    handler = logging.StreamHandler(stream)
    handler.setFormatter(
        structlog.stdlib.ProcessorFormatter(
            foreign_pre_chain=shared,
            processors=[
                structlog.stdlib.ProcessorFormatter.remove_processors_meta,
                *_renderers(format, colours=stream.isatty()),
            ],
        )
    )
    logging.root.handlers[:] = [handler]
    logging.captureWarnings(True)
    set_level(level)


def set_level(level: str) -> None:
    """Change the level of a running process."""
    number = getattr(logging, level.upper())
    logging.root.setLevel(number)
    for name in _QUIET:
        logging.getLogger(name).setLevel(max(number, logging.WARNING))


def _renderers(format: str, *, colours: bool) -> list[Processor]:  # noqa: A002
    if format == "json":
        return [
            structlog.processors.StackInfoRenderer(),
            structlog.processors.format_exc_info,  # no locals: they may be anything
            hide_secrets,
            structlog.processors.JSONRenderer(default=str),
        ]
    return [
        structlog.processors.StackInfoRenderer(),
        structlog.processors.format_exc_info,
        hide_secrets,
        _escape_controls,
        structlog.dev.ConsoleRenderer(colors=colours, exception_formatter=structlog.dev.plain_traceback),
    ]


def hide_secrets(_: Any, __: str, event: MutableMapping[str, Any]) -> MutableMapping[str, Any]:
    """The processor that keeps secrets out: by the name of a field, and by the look of a text."""
    return {name: _without_secrets(name, value) for name, value in event.items()}


def _without_secrets(name: str, value: Any) -> Any:
    if _SECRET_NAMES.search(name) and not _HARMLESS_NAMES.search(name) and isinstance(value, str | bytes):
        return HIDDEN
    if isinstance(value, dict):
        return {key: _without_secrets(str(key), inner) for key, inner in value.items()}
    if isinstance(value, list | tuple | set | frozenset):
        return [_without_secrets(name, inner) for inner in value]
    if isinstance(value, bool | int | float | None):
        return value
    text = value if isinstance(value, str) else repr(value) if isinstance(value, bytes) else str(value)
    for pattern in _SECRET_TEXTS:
        text = pattern.sub(HIDDEN, text)
    return text


def _escape_controls(_: Any, __: str, event: EventDict) -> EventDict:
    """Nothing that a node or a client sent may drive a terminal."""
    for name, value in event.items():
        if isinstance(value, str):
            keep = "\n\t" if name == "exception" else ""
            event[name] = "".join(c if c.isprintable() or c in keep else ascii(c)[1:-1] for c in value)
    return event

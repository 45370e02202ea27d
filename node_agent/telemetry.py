"""Structured logs, set up once by the command line before anything else runs. To stderr: stdout belongs to answers."""

import logging
import sys

import structlog
from structlog.typing import Processor


def configure_logs(*, form: str, level: str) -> None:
    """`form` is "json", "console", or "auto": console on a terminal, JSON otherwise."""
    on_terminal = sys.stderr.isatty()
    console = form == "console" or (form == "auto" and on_terminal)
    shared: list[Processor] = [
        structlog.contextvars.merge_contextvars,
        structlog.processors.add_log_level,
        structlog.processors.TimeStamper(fmt="iso", utc=True),
        structlog.processors.StackInfoRenderer(),
    ]
    rendering: list[Processor] = (
        [structlog.dev.ConsoleRenderer(colors=on_terminal)]
        if console
        else [structlog.processors.format_exc_info, structlog.processors.JSONRenderer()]
    )
    structlog.configure(
        processors=[*shared, *rendering],
        wrapper_class=structlog.make_filtering_bound_logger(logging.getLevelNamesMapping()[level.upper()]),
        logger_factory=structlog.PrintLoggerFactory(sys.stderr),
        cache_logger_on_first_use=False,
    )

"""Options that many commands share, and the types of their values. Called by the modules of commands."""

import re
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import Any, TypeVar

import click

from console.clock import utc_now
from console.model.durations import parse_duration

Command = TypeVar("Command", bound=Callable[..., Any])


class Duration(click.ParamType[float]):
    """Seconds, typed as 45s, 10m, 2h, 90d, 1h30m."""

    name = "duration"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> float:
        if isinstance(value, int | float):
            return float(value)
        try:
            return parse_duration(value)
        except ValueError as error:
            self.fail(str(error), param, ctx)


class Moment(click.ParamType[datetime]):
    """A moment in the past: a span of time before now (10m), or a date in ISO 8601, UTC unless it says otherwise."""

    name = "moment"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> datetime:
        if isinstance(value, datetime):
            return value
        if re.match(r"\d{4}-", value):
            try:
                at = datetime.fromisoformat(value)
            except ValueError:
                self.fail(f"{value!r} is no date. Write it like 2026-01-31T23:59:58Z.", param, ctx)
            return at if at.tzinfo is not None else at.replace(tzinfo=UTC)
        try:
            return utc_now() - timedelta(seconds=parse_duration(value))
        except ValueError as error:
            self.fail(f"{error} Or write a date like 2026-01-31T23:59:58Z.", param, ctx)


class FutureMoment(click.ParamType[datetime]):
    """A moment to come: a span of time after now (90d), or a date in ISO 8601, UTC unless it says otherwise."""

    name = "moment"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> datetime:
        if isinstance(value, datetime) or re.match(r"\d{4}-", value):
            return MOMENT.convert(value, param, ctx)
        try:
            return utc_now() + timedelta(seconds=parse_duration(value))
        except ValueError as error:
            self.fail(f"{error} Or write a date like 2026-01-31T23:59:58Z.", param, ctx)


class Size(click.ParamType[tuple[int, int]]):
    """Columns and rows of a terminal: 120x40."""

    name = "size"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> tuple[int, int]:
        if isinstance(value, tuple):
            return value
        match = re.fullmatch(r"(\d{2,3})x(\d{2,3})", value)
        if match is None:
            self.fail(f"{value!r} is no size. Write columns and rows, like 120x40.", param, ctx)
        return int(match[1]), int(match[2])


DURATION = Duration()
MOMENT = Moment()
FUTURE_MOMENT = FutureMoment()
SIZE = Size()


def output_option(command: Command) -> Command:
    return click.option(
        "-o",
        "--output",
        type=click.Choice(["table", "json"]),
        default="table",
        show_default=True,
        help="json: units in the keys, null for unknown, times in ISO 8601, UTC.",
    )(command)


def dry_run_option(command: Command) -> Command:
    return click.option("--dry-run", is_flag=True, help="Only show what would be done.")(command)


def yes_option(command: Command) -> Command:
    return click.option("-y", "--yes", is_flag=True, help="Do not ask for confirmation.")(command)

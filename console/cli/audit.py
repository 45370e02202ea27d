"""`stoker audit`: who did what from where, with the plan and its outcome, and the proof that nothing of it was changed."""

from collections.abc import Iterator
from datetime import datetime

import click

from console.cli.failures import AuditChangedFailure, NotFoundFailure
from console.cli.output import Cell, Column, Row, show_json, show_line, show_table
from console.cli.parameters import MOMENT, output_option
from console.cli.session import Session, pass_session
from console.cli.shapes import shape
from console.model import format as fmt
from console.model.operations import AuditRow, AuditVerdict

_COLUMNS = (
    Column("ID", right=True),
    Column("AT"),
    Column("ACTOR", width_max=32),
    Column("ACTION"),
    Column("TARGET", width_max=40, drop=1),
    Column("OUTCOME", width_max=40, drop=2),
    Column("FROM", width_max=32, drop=4),
    Column("DETAIL", wrap=True, drop=3),
)


@click.group()
def audit() -> None:
    """See who did what from where, and prove that nothing of it was changed."""


@audit.command("list")
@click.option("--since", type=MOMENT, help="How far back: 10m, 2h, or a date. Default: the last 200 entries.")
@click.option("--actor", default="", help="Only of this one: ann, operator:ann, agent:gcp-1.")
@click.option("--action", default="", help="Only this, such as drain.")
@click.option("--limit", type=click.IntRange(1, 10_000), default=200, show_default=True, help="At most so many.")
@output_option
@pass_session
def list_entries(session: Session, since: datetime | None, actor: str, action: str, limit: int, output: str) -> None:
    """List what was done, oldest first."""
    actor = f"operator:{actor}" if actor and ":" not in actor else actor
    found = session.ask(lambda client: client.audit(since=since, limit=limit, actor=actor, action=action))
    if output == "json":
        show_json([shape(entry) for entry in found.entries])
    else:
        show_table(_COLUMNS, [_row(entry) for entry in found.entries], empty="No entry of the audit matches.")
    if found.truncated:
        click.echo(f"There are more than {limit}. Ask for less, or raise --limit.", err=True)


@audit.command()
@click.argument("audit_id", metavar="ID", type=click.IntRange(1, 2**63 - 1))
@output_option
@pass_session
def show(session: Session, audit_id: int, output: str) -> None:
    """Show the entry ID, with the plan as its operator saw it."""
    found = session.ask(lambda client: client.audit(limit=1, audit_id=audit_id)).entries
    if not found or found[0].audit_id != audit_id:
        raise NotFoundFailure(f"There is no entry {audit_id} in the audit. `stoker audit list` lists them.")
    if output == "json":
        show_json(shape(found[0]))
        return
    for name, value in _facts(found[0]):
        show_line(f"{name:<10}{fmt.clean(value)}")


@audit.command()
@click.option(
    "--expect", default="", metavar="HASH", help="Also prove that the entry with this hash, noted earlier, is there."
)
@output_option
@pass_session
def verify(session: Session, expect: str, output: str) -> None:
    """Prove that no entry was changed, removed, inserted or moved. Exits with 6 when one was.

    What is proved: every entry is as it was written and follows the one before it, and the control plane's CA signed the
    chain up to its newest seal. What is not: entries after that seal could have been cut off. Whoever has the
    database and the CA's key can make all of it anew; only a hash that you noted elsewhere shows that, with --expect.
    """
    verdict = session.ask(lambda client: client.verify_audit(expect))
    if output == "json":
        show_json(shape(verdict))
    else:
        for sentence in _sentences(verdict, expect):
            show_line(sentence)
    if not verdict.whole:
        raise AuditChangedFailure(
            "The audit was changed. Compare it with a backup, and find out who could write to it."
        )


def _row(entry: AuditRow) -> Row:
    return (
        str(entry.audit_id),
        fmt.instant(entry.at),
        entry.actor,
        entry.action,
        fmt.text_or_unknown(entry.target),
        Cell(fmt.text_or_unknown(entry.outcome)),
        fmt.text_or_unknown(entry.peer),
        fmt.text_or_unknown(entry.detail),
    )


def _facts(entry: AuditRow) -> Iterator[tuple[str, str]]:
    yield "id", str(entry.audit_id)
    yield "at", fmt.instant(entry.at)
    yield "actor", entry.actor
    yield "from", fmt.text_or_unknown(entry.peer)
    yield "action", entry.action
    yield "target", fmt.text_or_unknown(entry.target)
    yield "detail", fmt.text_or_unknown(entry.detail)
    yield "outcome", fmt.text_or_unknown(entry.outcome)
    if not entry.plan:
        yield "plan", fmt.UNKNOWN
    for number, step in enumerate(entry.plan):
        yield "" if number else "plan", step
    yield "hash", entry.hash


def _sentences(verdict: AuditVerdict, expected: str) -> Iterator[str]:
    entries = _counted(verdict.entries_count, "entry", "entries")
    if verdict.whole:
        yield f"The audit is whole: {entries}, each as it was written and after the one before it."
    else:
        yield f"The audit was changed: {_counted(len(verdict.problems), 'problem', 'problems')} in {entries}."
        for problem in verdict.problems:
            yield f"  {problem}"
    if expected and verdict.whole:
        yield "The entry with the expected hash is among them: nothing up to it was changed since you noted it."
    if verdict.sealed_at is None:
        yield "Nothing is signed yet: entries at the end could have been cut off. The control plane signs once an hour."
    else:
        yield (
            f"{_counted(verdict.seals_count, 'seal', 'seals')} by the control plane's CA, "
            f"the newest of {fmt.instant(verdict.sealed_at)}."
        )
        later = _counted(verdict.unsealed_count, "entry came", "entries came")
        yield f"{later} after it. Not proved: that there were not more of these, which somebody cut off."
    if verdict.head_hash:
        yield f"The newest entry is {verdict.head_id}. Keep its hash elsewhere, to be asked for with --expect:"
        yield verdict.head_hash


def _counted(count: int, one: str, more: str) -> str:
    return f"{count:,} {one if count == 1 else more}"

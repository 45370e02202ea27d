"""How often a node reports: within bounds, and with a warning where that makes its figures stale."""

import pytest

from controlplane.errors import ConflictError, InvalidInputError
from controlplane.fleet.node_commands import COMMANDS_CAPABILITY, ReportIntervalCommand
from controlplane.services.send_to_node import SendToNode
from controlplane.services.set_report_interval import SetReportInterval
from tests.support.fleet import THRESHOLDS
from tests.support.plane import ANN, Plane


@pytest.fixture
def set_interval(fleet: Plane) -> SetReportInterval:
    send = SendToNode(fleet.sessions, fleet.database, fleet.events, fleet.clock)
    return SetReportInterval(fleet.sessions, fleet.store, send)


async def test_it_is_sent(fleet: Plane, set_interval: SetReportInterval) -> None:
    session = fleet.connect("gcp-1", capabilities=(COMMANDS_CAPABILITY,))
    answer = await set_interval("gcp-1", 0.5, ANN, dry_run=False)
    command = session.queue.get_nowait()
    assert isinstance(command, ReportIntervalCommand)
    assert command.seconds == 0.5
    assert answer.steps == ("gcp-1 reports every 0.5 s, until its session ends",)


async def test_one_that_makes_figures_stale_says_so(fleet: Plane, set_interval: SetReportInterval) -> None:
    session = fleet.connect("gcp-1", capabilities=(COMMANDS_CAPABILITY,))
    answer = await set_interval("gcp-1", THRESHOLDS.stale_seconds, ANN, dry_run=True)
    assert "would report" in answer.steps[0]
    assert "get no new requests" in answer.steps[1]
    assert session.queue.empty()
    assert await fleet.audit() == []


@pytest.mark.parametrize("seconds", [0.0, -1.0, 0.19, 60.1, float("nan"), float("inf")])
async def test_out_of_bounds(fleet: Plane, set_interval: SetReportInterval, seconds: float) -> None:
    fleet.connect("gcp-1", capabilities=(COMMANDS_CAPABILITY,))
    with pytest.raises(InvalidInputError, match=r"every 0\.2 to 60 seconds"):
        await set_interval("gcp-1", seconds, ANN, dry_run=False)


async def test_a_node_that_is_not_there(set_interval: SetReportInterval) -> None:
    with pytest.raises(ConflictError, match="not connected"):
        await set_interval("gcp-1", 1.0, ANN, dry_run=False)

"""`stoker lease`: what is written down arrives as it was typed, and what is not given stays."""

import json
from datetime import UTC, datetime, timedelta

import pytest

from console.clock import utc_now
from console.model.format import UNKNOWN
from tests.fakes.operator_service import FakeOperatorService
from tests.unit.console.cli.conftest import Stoker

ADD = ("lease", "add", "--provider", "gcp", "--kind", "NVIDIA H100", "--devices", "8", "--ends", "2099-01-31")


async def test_a_lease_is_added_listed_and_changed(run: Stoker, service: FakeOperatorService) -> None:
    assert (await run(*ADD, "--price", "2.5", "--currency", "USD", "--node", "gcp-1")).exit_code == 0
    (lease,) = service.leases.values()
    assert lease.ends_at.ToDatetime(tzinfo=UTC) == datetime(2099, 1, 31, tzinfo=UTC)
    assert not lease.HasField("starts_at")  # the control plane's own clock says when
    assert (lease.price_per_device_hour, lease.currency, list(lease.nodes)) == (2.5, "USD", ["gcp-1"])

    listed = await run("lease", "list")
    assert "8  NVIDIA H100  2099-01-31" in listed.stdout
    assert "2.5 USD" in listed.stdout

    assert (await run("lease", "set", "lease-1", "--devices", "16")).exit_code == 0
    (changed,) = service.leases.values()
    assert (changed.devices_count, changed.price_per_device_hour, list(changed.nodes)) == (16, 2.5, ["gcp-1"])
    assert changed.ends_at == lease.ends_at


async def test_unknown_is_not_shown_as_zero(run: Stoker) -> None:
    await run(*ADD)
    (row,) = json.loads((await run("lease", "list", "-o", "json")).stdout)
    assert row["price_per_device_hour"] is None
    assert f"  {UNKNOWN}  any" in (await run("lease", "list")).stdout.splitlines()[1]


async def test_a_span_of_time_counts_from_now(run: Stoker, service: FakeOperatorService) -> None:
    before = utc_now()
    await run(*ADD[:-1], "90d")
    (lease,) = service.leases.values()
    assert timedelta(0) <= lease.ends_at.ToDatetime(tzinfo=UTC) - before - timedelta(days=90) < timedelta(minutes=5)


async def test_nothing_is_written_down_in_a_dry_run(run: Stoker, service: FakeOperatorService) -> None:
    result = await run(*ADD, "--dry-run")
    assert result.exit_code == 0
    assert "8 x NVIDIA H100" in result.stdout
    assert service.leases == {}


async def test_a_lease_that_is_not_there(run: Stoker) -> None:
    result = await run("lease", "set", "lease-9", "--devices", "1")
    assert result.exit_code == 3
    assert "stoker lease list --ended" in result.stderr


@pytest.mark.parametrize("when", ["tomorrow", "2099-13-01", "-5d"])
async def test_a_date_that_is_none(run: Stoker, service: FakeOperatorService, when: str) -> None:
    result = await run(*ADD[:-1], when)
    assert result.exit_code == 2
    assert "2026-01-31T23:59:58Z" in result.stderr
    assert service.leases == {}


@pytest.mark.usefixtures("terminal")
async def test_an_end_is_moved_only_when_confirmed(run: Stoker, service: FakeOperatorService) -> None:
    refused = await run("lease", "end", "lease-1", answers="n\n")
    assert refused.exit_code != 0
    assert [request.dry_run for request in service.requests("EndLease")] == [True]
    await run("lease", "end", "lease-1", "--at", "2099-01-01", "--yes")
    assert not service.requests("EndLease")[-1].dry_run


async def test_the_fleet_as_it_was(run: Stoker, service: FakeOperatorService) -> None:
    result = await run("status", "--at", "2h")
    assert result.exit_code == 0
    asked = service.requests("GetFleetAt")[0].at.ToDatetime(tzinfo=UTC)
    assert timedelta(hours=2) <= utc_now() - asked < timedelta(hours=2, minutes=5)
    assert "as it was in the minute before" in result.stdout
    assert "Not known of that time:" in result.stdout
    assert "\x1b" not in result.stdout
    past = json.loads((await run("status", "--at", "2h", "-o", "json")).stdout)
    assert past["resolution_seconds"] == 60
    assert past["unknown"]
    assert {engine["engine_id"] for engine in past["engines"]} == set(service.view.engines)

"""The commands that show something: tables for people, one stable JSON shape for programs."""

import json
import unicodedata
from dataclasses import replace
from typing import Any

import pytest

from console.model.answers import EngineHistoryRow
from console.model.format import UNKNOWN
from tests.fakes import fleet
from tests.fakes.operator_service import FakeOperatorService
from tests.unit.console.cli.conftest import Stoker

READING = ("status", "nodes", "engines", "models", "placements", "events", "history engines", "key list")
ENGINE_KEYS = (
    "adapters age_seconds context_tokens_max device_ids dtype endpoint engine_id engine_version "
    "generation_tokens_total inflight_count inside intensity kv_capacity_tokens kv_headroom kv_used_ratio "
    "kv_used_tokens last_report_at log_tail measured_at memory model node not_routable_reason preemptions_total "
    "prompt_tokens_total provider reason recompute region requests_finished_total residency residency_agrees "
    "residency_held_chunks_count restart_count retry_at ridge ridge_flops_per_byte ridge_source routable "
    "running_count shape stage state state_since trust waiting_count working_point"
)


async def _json(run: Stoker, *words: str) -> Any:
    result = await run(*words, "-o", "json")
    assert result.exit_code == 0, result.output
    return json.loads(result.stdout)


def _history(service: FakeOperatorService) -> None:
    engine = next(iter(service.view.engines.values()))
    for index in range(5):
        row = EngineHistoryRow(
            bucket_at=fleet.ago(50 - 10 * index),
            engine_id=engine.engine_id,
            node=engine.node,
            provider=engine.provider,
            region=engine.region,
            model=engine.model,
            samples_count=10,
            kv_used_ratio_max=index / 4,
            kv_used_ratio_mean=None,
            running_count_mean=2.5,
            waiting_count_max=0.0,
            prompt_tokens=1000,
            generation_tokens=200,
            batch_tokens_per_step=33.0,
            intensity_flops_per_byte=21.5,
            prefix_hit_ratio=0.4,
            preemptions_count=0,
            ttft_seconds_mean=0.085,
        )
        service.history.append(row)


@pytest.mark.parametrize("view", ["small", "mixed", "hostile", "unknown", "empty"])
async def test_every_reading_command_shows_every_fleet_harmlessly(
    service: FakeOperatorService, run: Stoker, view: str
) -> None:
    await service.show(getattr(fleet, view)())
    for command in READING:
        for output in ("table", "json"):
            result = await run(*command.split(), "-o", output)
            assert result.exit_code == 0, (command, result.output)
            shown = result.stdout.replace("\n", "") + result.stderr.replace("\n", "")
            assert not [each for each in shown if unicodedata.category(each) in {"Cc", "Cf", "Co", "Cn"}], command


async def test_engines_as_json_have_a_stable_shape(run: Stoker) -> None:
    engines = await _json(run, "engines")
    assert len(engines) == 40
    assert " ".join(sorted(engines[0])) == ENGINE_KEYS
    failed = next(each for each in engines if each["state"] == "failed")
    assert (failed["kv_used_ratio"], failed["working_point"], failed["age_seconds"] > 0) == (None, None, True)
    assert failed["state_since"] == "2026-03-14T03:09:51.000Z"
    assert failed["log_tail"][-1].startswith("of which")


async def test_an_engines_memory_intensity_and_bill_say_source_and_age(
    service: FakeOperatorService, run: Stoker
) -> None:
    await service.show(fleet.small())
    engine = (await _json(run, "engines", "--node", "gcp-1"))[0]
    for name, source in (("intensity", "plugin"), ("ridge", "measured"), ("kv_headroom", "measured")):
        assert engine[name]["source"] == source
        assert engine[name]["measured_at"].endswith("Z")
        assert engine[name]["age_seconds"] > 0
    assert engine["recompute"]["tokens_total"] == sum(each["tokens_total"] for each in engine["recompute"]["tenants"])
    assert (engine["recompute"]["source"], engine["recompute"]["age_seconds"] > 0) == ("measured", True)
    [ledger] = engine["memory"]
    assert sum(portion["bytes"] for portion in ledger["portions"]) == ledger["total_bytes"]
    assert {portion["source"] for portion in ledger["portions"]} == {"measured"}
    assert ledger["headroom"][0]["tokens"] == engine["kv_headroom"]["tokens"] > 0
    # The node's clock is 12 ms ahead: that is no part of the age.
    assert (ledger["device_id"], round(ledger["age_seconds"], 3)) == ("cuda:0", 4.012)


async def test_what_an_engine_does_not_tell_is_null_and_a_dash(service: FakeOperatorService, run: Stoker) -> None:
    await service.show(fleet.unknown())
    [engine] = await _json(run, "engines")
    nothing = ("inside", "intensity", "ridge", "kv_headroom", "recompute", "residency", "residency_agrees", "shape")
    assert {engine[name] for name in nothing} == {None}
    assert engine["memory"] == []
    shown = (await run("engine", "some-model@mystery-1")).stdout
    assert f"{'memory':<16} {UNKNOWN}" in shown
    assert "nothing listens inside" in shown


async def test_faults_are_seen_where_nodes_are_listed(run: Stoker) -> None:
    [node] = await _json(run, "nodes", "state:faulty")
    assert node["name"] == "oci-2"
    [xid, hot] = node["health"][0]["faults"]
    assert (xid["severity"], hot["severity"], "power-cycle" in xid["action"]) == ("error", "warning", True)
    assert (node["health"][0]["age_seconds"], node["memory"][0]["age_seconds"]) == (4.0, 4.0)
    assert "faulty (2 faults)" in (await run("nodes", "oci-2")).stdout


async def test_a_simulated_node_is_called_so_once(service: FakeOperatorService, run: Stoker) -> None:
    view = fleet.mixed()
    node = view.nodes["crusoe-2"]
    devices = tuple(replace(device, kind="simulated NVIDIA L40S") for device in node.devices)
    await service.show(replace(view, nodes={**view.nodes, node.name: replace(node, devices=devices)}))
    assert [each["name"] for each in await _json(run, "nodes", "simulated:yes")] == ["crusoe-2"]
    shown = (await run("nodes", "crusoe-2")).stdout
    assert f"simulated {len(devices)} x NVIDIA L40S" in shown


async def test_one_engine_tells_its_memory_and_its_bill(run: Stoker) -> None:
    shown = (await run("engine", "bge-m3@gcp-1")).stdout
    for words in ("KV headroom", "weights (measured)", "active, plug-in 0.1.0", "acme: ", "chunks resident"):
        assert words in shown, shown


async def test_engines_as_a_table(service: FakeOperatorService, run: Stoker) -> None:
    await service.show(fleet.small())
    result = await run("engines")
    header, first, second = result.stdout.splitlines()
    columns = "ENGINE NODE PROVIDER STATE KV RUN WAIT BATCH INTENSITY/RIDGE HIT TTFT p50 AGE"
    assert set(header.split()) >= set(columns.split()) - {"PROVIDER"}
    assert "42%" in first
    assert second.startswith("llama-3-8b@oci-1")
    assert "Not shown for lack of room: " in result.stderr


async def test_a_pipe_without_a_width_gets_every_column(run: Stoker, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("COLUMNS")
    result = await run("engines")
    assert "PROVIDER  REGION" in result.stdout
    assert "TRUST" in result.stdout
    assert "…" not in result.stdout
    assert result.stderr == ""


async def test_engines_are_filtered_and_sorted(run: Stoker) -> None:
    assert {each["provider"] for each in await _json(run, "engines", "provider:gcp")} == {"gcp"}
    assert len(await _json(run, "engines", "--model", "bge-m3")) == 5
    assert [each["node"] for each in await _json(run, "engines", "--node", "gcp-2")] == ["gcp-2"]
    ratios = [each["kv_used_ratio"] for each in await _json(run, "engines", "--sort", "kv", "--descending")]
    known = [ratio for ratio in ratios if ratio is not None]
    assert known == sorted(known, reverse=True)
    assert ratios[-1] is None
    assert "No engine matches" in (await run("engines", "nosuchthing")).stderr


async def test_status_says_what_is_wrong_first_and_fits_80_columns(
    run: Stoker, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("COLUMNS", "80")
    result = await run("status")
    lines = result.stdout.splitlines()
    assert max(len(line.rstrip()) for line in lines) <= 80
    assert result.stdout.index("CUDA out of memory") < result.stdout.index("PROVIDER")
    assert "stoker engine llama-3-70b@gcp-2" in result.stdout


async def test_status_as_json(service: FakeOperatorService, run: Stoker) -> None:
    status = await _json(run, "status")
    assert status["problems"][0]["severity"] == "error"
    assert (status["nodes_count"], status["nodes_connected_count"]) == (40, 39)
    assert {each["name"] for each in status["providers"]} == {"aws", "azure", "crusoe", "gcp", "oci"}
    assert status["server"]["caller_name"] == "ana"
    assert (status["total"]["engines_count"], status["total"]["routable_count"]) == (40, 35)
    await service.show(fleet.small())
    assert "Nothing is wrong." in (await run("status")).stdout


async def test_a_node_is_called_the_same_by_every_command(service: FakeOperatorService, run: Stoker) -> None:
    view = fleet.small()
    for seconds, state in ((1, "cut off"), (30, "stale"), (90, "lost")):
        node = replace(view.nodes["gcp-1"], connected=False, last_report_at=fleet.ago(seconds))
        await service.show(replace(view, nodes={**view.nodes, "gcp-1": node}))
        line = next(line for line in (await run("nodes")).stdout.splitlines() if line.startswith("gcp-1"))
        assert f"  {state}  " in line
        problems = (await _json(run, "status"))["problems"]
        assert [each["state"] for each in problems if each["topic"] == "node"] == [state]
        assert [each["name"] for each in await _json(run, "nodes", "state:" + state.split()[0])] == ["gcp-1"]
    await service.show(view)
    assert (await run("nodes")).stdout.count("  up  ") == 2


async def test_one_engine_with_its_log(run: Stoker) -> None:
    result = await run("engine", "llama-3-70b@gcp-2")
    assert "torch.OutOfMemoryError" in result.stdout
    assert (await _json(run, "engine", "llama-3-70b@gcp-2"))["state"] == "failed"
    missing = await run("engine", "nope")
    assert (missing.exit_code, missing.stderr) == (
        3,
        "stoker: There is no engine 'nope'. `stoker engines` lists them.\n",
    )


async def test_events(service: FakeOperatorService, run: Stoker) -> None:
    assert [each["event_id"] for each in await _json(run, "events", "--node", "aws-2")] == [3]
    assert [each["kind"] for each in await _json(run, "events", "--kind", "engine_failed")] == ["engine_failed"]
    assert await _json(run, "events", "--engine", "llama-3-70b@gcp-2", "--since", "2026-03-14T03:10:00Z") == []
    truncated = await run("events", "--limit", "2", "-o", "json")
    assert len(json.loads(truncated.stdout)) == 2
    assert "more than 2" in truncated.stderr
    assert "CUDA out of memory" in (await run("events")).stdout


async def test_history(service: FakeOperatorService, run: Stoker) -> None:
    assert "No sample" in (await run("history", "engines")).stderr
    _history(service)
    rows = await _json(run, "history", "engines", "--since", "10m", "--bucket", "10s")
    assert [row["kv_used_ratio_max"] for row in rows] == [0.0, 0.25, 0.5, 0.75, 1.0]
    assert (rows[0]["kv_used_ratio_mean"], rows[0]["bucket_seconds"]) == (None, 10.0)
    assert rows[0]["bucket_at"] == "2026-03-14T03:11:17.000Z"
    request = service.requests("GetEngineHistory")[-1]
    assert request.HasField("since")
    assert not request.HasField("until")
    assert "KV ▁▂▄▆█ 100%" in (await run("history", "engines")).stdout
    assert (await run("history", "engines", "--since", "1m", "--until", "2m")).exit_code == 2


async def test_keys_are_listed_without_secrets(service: FakeOperatorService, run: Stoker) -> None:
    await run("key", "create", "--tenant", "acme")
    assert (await _json(run, "key", "list"))[0].keys() >= {"key_id", "tenant", "expires_at", "revoked_at"}
    shown = await run("key", "list")
    assert "acme" in shown.stdout
    assert "a-secret" not in shown.output


async def test_placements_show_wanted_and_observed(run: Stoker) -> None:
    result = await run("placements", "--node", "gcp-2")
    assert "2/3" in result.stdout
    assert "failed" in result.stdout
    assert [each["desired"] for each in await _json(run, "placements", "--node", "gcp-2")] == ["running"]


async def test_no_color_and_pipes_get_no_escape_sequences(
    service: FakeOperatorService, run: Stoker, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("FORCE_COLOR", "1")
    assert "\x1b[" in (await run("engines")).stdout
    monkeypatch.setenv("NO_COLOR", "1")
    assert "\x1b[3" not in (await run("engines")).stdout
    server = replace(fleet.server(), gateway_state="down: port 8080 is taken")
    await service.show(replace(fleet.small(), server=server))
    assert "port 8080 is taken" in (await run("status")).stdout

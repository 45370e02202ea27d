"""The files that Envoy reads: replaced only when they changed, and never naming what is not there."""

import json
from pathlib import Path

import pytest

from controlplane.gateway.endpoint_files import XdsFiles
from controlplane.gateway.facts import GatewayEngine, GatewayModels, GatewaySettings

A = GatewayEngine("a", "a", "10.0.0.1", 8000)
B = GatewayEngine("b", "b", "10.0.0.2", 8000)


@pytest.fixture
def settings(tmp_path: Path) -> GatewaySettings:
    return GatewaySettings(run_dir=tmp_path, jwks_path=tmp_path / "jwks.json", insecure_upstreams=True)


def names(settings: GatewaySettings, file: str) -> set[str]:
    resources = json.loads((settings.xds_dir / file).read_text())["resources"]
    if file == "cds.json":
        return {resource["name"] for resource in resources}
    return {route["route"]["cluster"] for route in resources[0]["virtual_hosts"][0]["routes"] if "route" in route}


def test_unchanged_content_is_not_written_again(settings: GatewaySettings) -> None:
    files = XdsFiles(settings)
    assert files.apply(GatewayModels.of((A,)))
    before = {path: path.stat().st_mtime_ns for path in settings.xds_dir.rglob("*.json")}
    assert not files.apply(GatewayModels.of((A,)))
    assert not XdsFiles(settings).apply(GatewayModels.of((A,)))
    assert {path: path.stat().st_mtime_ns for path in settings.xds_dir.rglob("*.json")} == before
    assert not list(settings.xds_dir.rglob("*.tmp"))


def test_routes_only_name_clusters_that_are_there_at_every_step(
    settings: GatewaySettings, monkeypatch: pytest.MonkeyPatch
) -> None:
    steps: list[str] = []
    replace = Path.replace

    def watched(fresh: Path, target: Path) -> Path:
        done = replace(fresh, target)
        steps.append(target.name)
        if (settings.xds_dir / "rds.json").exists():
            assert names(settings, "rds.json") <= names(settings, "cds.json")
        return done

    monkeypatch.setattr(Path, "replace", watched)
    XdsFiles(settings).apply(GatewayModels.of((A,)))
    XdsFiles(settings).apply(GatewayModels.of((B,)))  # by another life of the daemon
    assert steps == ["cds.json", "rds.json", "cds.json", "rds.json", "cds.json"]
    assert names(settings, "cds.json") == names(settings, "rds.json") != set()


def test_last_known_engines_are_kept_for_a_new_daemon(settings: GatewaySettings) -> None:
    XdsFiles(settings).apply(GatewayModels.of((A,)))
    fresh = XdsFiles(settings)
    fresh.ensure_present()
    assert len(names(settings, "rds.json")) == 1

"""The committed stubs are those that the protos make: edited by hand or forgotten, they are found here."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
PROTOS = sorted((ROOT / "controlplane/proto/stoker/v1").glob("*.proto"))
SUFFIXES = ("_pb2.py", "_pb2.pyi", "_pb2_grpc.py", "_pb2_grpc.pyi")


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A directory with fresh stubs, made as `make proto` makes them."""
    out = tmp_path_factory.mktemp("stubs")
    outputs = [f"--{kind}_out={out}" for kind in ("python", "grpc_python", "mypy", "mypy_grpc")]
    path = f"{Path(sys.executable).parent}{os.pathsep}{os.environ.get('PATH', '')}"  # where the mypy plug-ins lie
    subprocess.run(
        [sys.executable, "-m", "grpc_tools.protoc", "-I", ".", *outputs, *(str(p.relative_to(ROOT)) for p in PROTOS)],
        cwd=ROOT,
        env={**os.environ, "PATH": path},
        check=True,
        capture_output=True,
        timeout=120,
    )
    return out


def test_there_are_protos() -> None:
    assert [proto.stem for proto in PROTOS] == ["agent", "fleet", "operator"]


@pytest.mark.parametrize("proto", PROTOS, ids=lambda proto: str(proto.stem))
@pytest.mark.parametrize("suffix", SUFFIXES)
def test_a_stub_is_what_its_proto_makes(made: Path, proto: Path, suffix: str) -> None:
    committed = proto.with_name(proto.stem + suffix)
    fresh = made / committed.relative_to(ROOT)
    assert committed.read_text() == fresh.read_text(), f"{committed.name} is stale: make proto"


def test_there_is_no_stub_without_its_proto() -> None:
    expected = {proto.stem + suffix for proto in PROTOS for suffix in SUFFIXES}
    found = {path.name for path in PROTOS[0].parent.iterdir() if "_pb2" in path.name and path.is_file()}
    assert found == expected


def test_the_makefile_makes_the_same_outputs() -> None:
    recipe = (ROOT / "Makefile").read_text()
    for output in ("--python_out=.", "--grpc_python_out=.", "--mypy_out=.", "--mypy_grpc_out=."):
        assert output in recipe

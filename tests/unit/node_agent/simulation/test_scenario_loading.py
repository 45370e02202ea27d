"""A scenario's mistakes are told with their line, all at once."""

from pathlib import Path

import pytest

from node_agent.settings import BadSettingsError
from node_agent.simulation.scenario_loading import load_scenario

EXAMPLES = sorted((Path(__file__).resolve().parents[4] / "docs/examples").glob("scenario-*.toml"))


@pytest.mark.parametrize("path", EXAMPLES, ids=lambda path: path.name)
def test_the_examples_are_right(path: Path) -> None:
    assert load_scenario(path).nodes


WRONG = """
[[nodes]]
count = 0
provider = "GCP"
region = "us-east1"
colour = "red"

[[models]]
name = "mine"

[[traffic]]
model = "llama-3-8b"

[[faults]]
kind = "earthquake"
at_seconds = 3
"""


def test_every_mistake_has_its_line(tmp_path: Path) -> None:
    path = tmp_path / "wrong.toml"
    path.write_text(WRONG)
    with pytest.raises(BadSettingsError) as raised:
        load_scenario(path)
    told = "\n".join(raised.value.problems)
    for line, words in (
        (3, "nodes[0].count"),
        (4, "nodes[0].provider"),
        (6, "there is no setting of this name"),
        (8, "has no shape"),
        (11, "set one of them"),
        (15, "must be one of"),
    ):
        assert any(problem.startswith(f"{path}:{line}:") and words in problem for problem in raised.value.problems), (
            told
        )


@pytest.mark.parametrize(("text", "words"), [("[[nodes", "is not TOML"), ("", "nodes: is missing")])
def test_what_is_no_scenario_is_said_plainly(tmp_path: Path, text: str, words: str) -> None:
    path = tmp_path / "wrong.toml"
    path.write_text(text)
    with pytest.raises(BadSettingsError, match=words):
        load_scenario(path)


def test_a_file_that_is_not_there(tmp_path: Path) -> None:
    with pytest.raises(BadSettingsError, match="cannot be read"):
        load_scenario(tmp_path / "none.toml")

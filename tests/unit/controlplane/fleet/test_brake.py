"""When most of the fleet falls silent at once, suspect ourselves."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from controlplane.fleet.brake import is_suspect
from controlplane.fleet.observed import Trust
from controlplane.fleet.snapshot import NodeObserved


def nodes(silent: int, heard: int) -> list[NodeObserved]:
    trusts = [Trust.STALE] * silent + [Trust.FRESH] * heard
    return [NodeObserved(f"n{index}", trust=trust) for index, trust in enumerate(trusts)]


@pytest.mark.parametrize(
    ("silent", "heard", "suspect"),
    [
        (0, 0, False),  # no fleet, nothing to suspect
        (0, 1, False),
        (1, 0, True),  # all of it
        (2, 0, True),
        (1, 1, False),  # a half of two says nothing
        (1, 2, False),
        (2, 1, True),  # two thirds
        (11, 9, False),  # 0.55 exactly is not more
        (12, 9, True),
        (100, 0, True),
    ],
)
def test_the_share_that_counts(silent: int, heard: int, *, suspect: bool) -> None:
    assert is_suspect(nodes(silent, heard)) is suspect


def test_nodes_that_died_long_ago_do_not_count_unless_they_are_all() -> None:
    dead = [NodeObserved(f"d{index}", trust=Trust.STALE, lost=True, written_off=True) for index in range(7)]
    assert not is_suspect([*dead, *nodes(1, 2)])
    assert is_suspect([*dead, *nodes(2, 1)])
    assert is_suspect(dead)


def test_an_ageing_node_is_not_silent() -> None:
    assert not is_suspect([NodeObserved(f"n{index}", trust=Trust.AGEING) for index in range(5)])


@given(st.integers(0, 50), st.integers(0, 50))
def test_one_more_silent_node_never_calms(silent: int, heard: int) -> None:
    assert is_suspect(nodes(silent + 1, heard)) >= is_suspect(nodes(silent, heard)) or heard == 0
    assert is_suspect(nodes(silent, heard + 1)) <= is_suspect(nodes(silent, heard))

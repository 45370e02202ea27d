"""What is there at the start is not walked again; cycles that are made and dropped later are still collected."""

import gc
import weakref
from collections.abc import Iterator

import pytest

from controlplane.bootstrap import garbage


class _Cycle:
    def __init__(self) -> None:
        self.me = self


@pytest.fixture(autouse=True)
def _as_before() -> Iterator[None]:
    before = gc.get_threshold()
    yield
    gc.set_threshold(*before)
    gc.unfreeze()


def test_the_start_is_frozen_and_young_cycles_die() -> None:
    garbage.settle()
    assert gc.get_freeze_count() > 0
    dropped = weakref.ref(_Cycle())
    kept = [[number] for number in range(2 * garbage.YOUNG_COUNT)]  # as many new objects as make the young looked at
    assert dropped() is None
    assert kept

"""What samples stand for adds up to the time in which a thing was heard of."""

from controlplane.runtime.covered_time import CoveredTime
from tests.support.fleet import at


def test_each_sample_stands_for_the_time_since_the_one_before() -> None:
    covered = CoveredTime()
    covered.begin("a", at(0))
    assert [covered.take("a", at(seconds), 20.0) for seconds in (4, 14, 24)] == [4.0, 10.0, 10.0]


def test_the_first_that_is_known_of_a_thing_stands_for_nothing_known() -> None:
    covered = CoveredTime()
    assert covered.take("a", at(5), 20.0) is None
    assert covered.take("a", at(9), 20.0) == 4.0


def test_silence_and_a_clock_that_goes_back_count_as_nothing() -> None:
    covered = CoveredTime()
    covered.begin("a", at(0))
    assert covered.take("a", at(500), 20.0) == 20.0
    assert covered.take("a", at(400), 20.0) == 0.0


def test_after_an_absence_time_counts_from_the_return_but_for_a_short_one() -> None:
    covered = CoveredTime()
    covered.begin("a", at(0))
    covered.resume("a", at(8), 10.0)
    assert covered.take("a", at(9), 20.0) == 9.0
    covered.resume("a", at(60), 10.0)
    assert covered.take("a", at(63), 20.0) == 3.0


def test_what_is_gone_is_forgotten() -> None:
    covered = CoveredTime()
    covered.begin("a", at(0))
    covered.forget_all_but({"b"})
    assert covered.take("a", at(9), 20.0) is None

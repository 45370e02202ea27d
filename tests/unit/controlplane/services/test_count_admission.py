"""Requests are counted once, in their minute, whatever is told of them and whatever is not."""

from collections import Counter
from collections.abc import Sequence
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from controlplane.fleet.history import AdmissionCount
from controlplane.fleet.requests import RequestEnd
from controlplane.policies.decision import Admit, Answer, PassThrough, Refuse
from controlplane.services.count_admission import CountAdmission
from tests.support.clock import SettableClock
from tests.support.fleet import at

ADMIT = Admit(("10.0.0.1:8000",), ("llama@gcp-1",), "llama")
NO_CAPACITY = Refuse(503, "no_capacity", "none")
SERVED = RequestEnd(
    "r1",
    at(0),
    "POST",
    "/v1/completions",
    200,
    tenant="acme",
    model="llama",
    endpoint="10.0.0.1:8000",
    attempts_count=1,
    duration_seconds=2.0,
    first_byte_seconds=0.5,
    sent_to_engine_seconds=0.1,
)
UNSERVED = replace(SERVED, endpoint="", attempts_count=0, first_byte_seconds=None, sent_to_engine_seconds=None)
BAD_KEY = replace(UNSERVED, status=401, tenant="", model="")
LEFT = replace(UNSERVED, status=0, flags=("downstream_connection_termination",))


class Counting:
    """The service with SQL's rows in a dict: a row replaces the one with its key."""

    def __init__(self) -> None:
        self.clock = SettableClock()
        self.stored: dict[tuple[object, ...], AdmissionCount] = {}
        self.admission = CountAdmission("boot-1", self.clock, self._put)

    def _put(self, rows: Sequence[AdmissionCount]) -> None:
        for row in rows:
            self.stored[row.minute_at, row.tenant, row.model, row.reason] = row

    def rows(self) -> list[AdmissionCount]:
        self.admission.hand_over()
        return list(self.stored.values())

    def one(self) -> AdmissionCount:
        [row] = self.rows()
        return row

    def ask(self, request_id: str = "r1", answer: Answer = ADMIT, tenant: str = "acme") -> None:
        self.admission.decided(request_id, tenant, "llama", answer)

    def end(self, end: RequestEnd = SERVED, model: str = "llama") -> None:
        self.admission.ended(model, end)


@pytest.fixture
def counting() -> Counting:
    return Counting()


def test_a_request_is_in_no_row_before_it_has_ended(counting: Counting) -> None:
    counting.ask()
    assert (counting.rows(), counting.admission.waiting_count) == ([], 1)
    counting.clock.advance(30)
    counting.end()
    row = counting.one()
    assert (row.minute_at, row.boot_id, row.tenant, row.model, row.reason) == (at(0), "boot-1", "acme", "llama", "")
    assert (row.offered_count, row.admitted_count, row.completed_count, row.failed_count) == (1, 1, 1, 0)
    assert (row.queue_seconds_sum, row.first_byte_seconds_sum, row.first_byte_count) == (0.1, 0.5, 1)
    assert counting.admission.waiting_count == 0


def test_a_refusal_has_the_reason_of_the_decision(counting: Counting) -> None:
    counting.ask(answer=NO_CAPACITY)
    counting.end(replace(UNSERVED, status=503, flags=("unauthorized_details",)))
    row = counting.one()
    assert (row.reason, row.offered_count, row.refused_count, row.admitted_count) == ("no_capacity", 1, 1, 0)
    assert row.queue_seconds_sum is None


@pytest.mark.parametrize(
    ("end", "expected"),
    [
        (BAD_KEY, ("invalid_api_key", 0, 1, 0)),
        (replace(UNSERVED, status=404), ("not_found", 0, 1, 0)),
        (replace(UNSERVED, status=503), ("service_unavailable", 0, 1, 0)),
        (replace(UNSERVED, status=599), ("gateway_error", 0, 1, 0)),
        (replace(UNSERVED, status=503, flags=("unauthorized_details",)), ("unknown", 0, 1, 0)),
        (SERVED, ("", 1, 0, 0)),
        (LEFT, ("", 0, 0, 1)),
    ],
)
def test_what_we_did_not_decide_about(counting: Counting, end: RequestEnd, expected: tuple[str, int, int, int]) -> None:
    """The gateway refused it, another daemon did, or it passed while no daemon was there."""
    counting.end(end)
    row = counting.one()
    assert (row.reason, row.admitted_count, row.refused_count, row.left_count) == expected
    assert (row.tenant, row.offered_count) == (end.tenant, 1)


def test_what_the_gateway_answers_by_itself_is_no_offer(counting: Counting) -> None:
    counting.end(replace(UNSERVED, path="/v1/models", method="GET", model=""))
    assert counting.rows() == []


def test_who_leaves_before_an_engine_has_it_left(counting: Counting) -> None:
    counting.ask()
    counting.end(LEFT)
    counting.ask("r2")
    counting.end(replace(SERVED, request_id="r2", flags=("downstream_remote_reset",)))
    row = counting.one()
    assert (row.offered_count, row.left_count, row.admitted_count, row.completed_count) == (2, 1, 1, 0)


def test_failures_are_the_engines_and_ours_not_the_clients(counting: Counting) -> None:
    for status, details in ((500, ""), (200, "upstream_reset_after_response_started"), (400, "")):
        counting.ask()
        counting.end(replace(SERVED, status=status, details=details))
    row = counting.one()
    assert (row.admitted_count, row.completed_count, row.failed_count) == (3, 0, 2)


def test_an_end_that_comes_late_is_in_the_minute_in_which_the_request_came(counting: Counting) -> None:
    counting.ask("r1")
    counting.ask("r2")
    counting.end(replace(SERVED, request_id="r2"))
    assert counting.one().offered_count == 1
    counting.clock.advance(3 * 3600)
    assert counting.one().offered_count == 1, "its minute stays open for it"
    counting.end()
    assert (counting.one().minute_at, counting.one().offered_count) == (at(0), 2)


def test_a_closed_minute_is_not_opened_again(counting: Counting) -> None:
    counting.end()
    counting.clock.advance(11 * 60)
    counting.rows()
    counting.end()
    counting.clock.set(at(0))
    counting.end()
    rows = {row.minute_at: row.offered_count for row in counting.rows()}
    assert rows == {at(0): 1, at(60): 2}, "in the oldest one that is open"


def test_a_request_whose_end_is_never_told_was_let_in_all_the_same(counting: Counting) -> None:
    counting.ask()
    counting.ask("r2", NO_CAPACITY)
    counting.clock.advance(25 * 3600)
    rows = {row.reason: (row.minute_at, row.offered_count, row.admitted_count) for row in counting.rows()}
    assert rows == {"": (at(0), 1, 1), "no_capacity": (at(0), 1, 0)}
    assert counting.admission.waiting_count == 0


def test_tenants_are_named_up_to_a_bound(counting: Counting) -> None:
    for number in range(1005):
        counting.end(replace(SERVED, request_id=f"r{number}", tenant=f"t{number}"))
    counting.end(replace(BAD_KEY, request_id="bad"))
    rows = counting.rows()
    assert len(rows) == 1002
    assert next(row.offered_count for row in rows if row.tenant == "other") == 5
    assert next(row.refused_count for row in rows if row.tenant == "") == 1


def test_only_what_changed_is_handed_over(counting: Counting) -> None:
    counting.end()
    assert len(counting.rows()) == 1
    counting.stored.clear()
    assert counting.rows() == []


STEPS = st.lists(
    st.tuples(
        st.sampled_from(["admit", "pass", "refuse", "end", "leave", "bad key", "hand over", "minute", "hour"]),
        st.integers(0, 5),
    ),
    max_size=60,
)


@given(steps=STEPS)
def test_offered_is_admitted_refused_left_and_waiting_at_all_times(steps: list[tuple[str, int]]) -> None:
    counting, asked, known = Counting(), 0, Counter[str]()
    answers: dict[str, Answer] = {"admit": ADMIT, "pass": PassThrough("why"), "refuse": NO_CAPACITY}
    for what, number in steps:
        name = f"r{number}"
        if what in answers:
            asked += not known[name]  # told twice of one request, it is still one
            known[name] = 1
            counting.ask(name, answers[what], tenant=f"t{number}")
        elif what in ("end", "leave", "bad key"):
            asked += not known[name]
            known[name] = 0
            end = {"end": SERVED, "leave": LEFT, "bad key": BAD_KEY}[what]
            counting.end(replace(end, request_id=name, started_at=counting.clock.now()))
        elif what == "hand over":
            counting.rows()
        else:
            counting.clock.advance({"minute": 60, "hour": 3600}[what])
        if number % 2:
            counting.admission.hand_over()
    rows = counting.rows()
    for row in rows:
        assert row.offered_count == row.admitted_count + row.refused_count + row.left_count
        assert row.completed_count + row.failed_count <= row.admitted_count
    assert sum(row.offered_count for row in rows) + counting.admission.waiting_count == asked

"""Where a client's request goes, or why it goes nowhere."""

import json
from collections.abc import Iterator
from dataclasses import replace
from itertools import repeat

import pytest

from controlplane.fleet.desired import Deployment, DesiredState
from controlplane.fleet.events import DesiredChanged, SessionClosed, SummariesRestored
from controlplane.fleet.observed import EngineGauges, EngineState
from controlplane.fleet.summaries import EngineSummary
from controlplane.policies.decision import Admit, DecisionRequest, PassThrough, Refuse
from controlplane.runtime.fleet_store import FleetStore
from controlplane.runtime.inflight import Inflight
from controlplane.services.decide_request import DecideRequest
from tests.support.clock import SettableClock
from tests.support.fleet import THRESHOLDS, at, desired, enrolled, opened, placed, report, reported

PATH = "/v1/chat/completions"
GCP, AWS = enrolled("gcp-1"), enrolled("aws-1")
WANTED = desired([GCP, AWS], [placed("llama@gcp-1"), placed("llama@aws-1")])


class Service:
    def __init__(self) -> None:
        self.clock = SettableClock()
        self.store = FleetStore(self.clock, THRESHOLDS)
        self.inflight = Inflight()
        self.revoked: set[str] = set()
        self.draws: Iterator[float] = repeat(0.5)
        self.decide = DecideRequest(self.store, self.inflight, self.clock, self._draw, lambda: self.revoked)

    def _draw(self) -> float:
        return next(self.draws)

    async def ask(self, body: bytes | None = None, **changes: str) -> Admit | PassThrough | Refuse:
        request = DecisionRequest(
            request_id=changes.get("request_id", "r1"),
            tenant="acme",
            key_id=changes.get("key_id", "k1"),
            path=changes.get("path", PATH),
            body=json.dumps({"model": changes.get("model", "llama")}).encode() if body is None else body,
            received_monotonic=self.clock.monotonic(),
        )
        return await self.decide(request)


@pytest.fixture
def service() -> Service:
    made = Service()
    made.store.apply_now(
        DesiredChanged(WANTED),
        opened("gcp-1", 0, reported("llama@gcp-1", endpoint="10.0.0.1:8000")),
        opened(
            "aws-1", 0, reported("llama@aws-1", endpoint="10.0.0.2:8000", gauges=EngineGauges(waiting=5, running=1))
        ),
    )
    return made


async def refused(service: Service, body: bytes | None = None, **changes: str) -> Refuse:
    answer = await service.ask(body, **changes)
    assert isinstance(answer, Refuse)
    return answer


async def test_the_least_expected_wait_goes_first_and_the_others_follow(service: Service) -> None:
    answer = await service.ask()
    assert answer == Admit(("10.0.0.1:8000", "10.0.0.2:8000"), ("llama@gcp-1", "llama@aws-1"), "llama")
    assert service.inflight.count("llama@gcp-1") == 1
    assert service.inflight.count("llama@aws-1") == 0


async def test_what_was_sent_since_the_last_report_counts(service: Service) -> None:
    first = []
    for index in range(12):
        answer = await service.ask(request_id=f"r{index}")
        assert isinstance(answer, Admit)
        first.append(answer.engine_ids[0])
    assert "llama@aws-1" in first, "a burst between two reports must not all go to one engine"


async def test_the_draw_decides_between_equals(service: Service) -> None:
    service.store.apply_now(report("aws-1", 0, reported("llama@aws-1", endpoint="10.0.0.2:8000")))
    service.draws = iter([0.9, 0.1])
    answer = await service.ask()
    assert isinstance(answer, Admit)
    # In the order of the engines' ids: aws-1 drew 0.9.
    assert answer.engine_ids[0] == "llama@gcp-1"


async def test_an_unknown_model_is_a_404(service: Service) -> None:
    refusal = await refused(service, model="gpt-17")
    assert (refusal.status, refusal.code, refusal.param) == (404, "model_not_found", "model")


async def test_a_model_of_which_only_a_stray_runs_is_not_served(service: Service) -> None:
    service.store.apply_now(report("gcp-1", 0, reported("stray@gcp-1", model="secret")))
    refusal = await refused(service, model="secret")
    assert refusal.status == 503


async def test_an_engine_that_claims_another_model_than_was_placed_gets_nothing(service: Service) -> None:
    other = placed("qwen@aws-1", deployment=Deployment("qwen", "qwen", "/q"))
    service.store.apply_now(
        DesiredChanged(desired([GCP, AWS], [placed("llama@gcp-1"), other])),
        report("aws-1", 0, reported("qwen@aws-1", model="llama", endpoint="10.6.6.6:1")),
    )
    answer = await service.ask()
    assert isinstance(answer, Admit)
    assert answer.endpoints == ("10.0.0.1:8000",)


@pytest.mark.parametrize(
    ("body", "status", "code"),
    [
        (b"", 400, "invalid_json"),
        (b"{", 400, "invalid_json"),
        (b"\xff\xfe", 400, "invalid_json"),
        (b'{"model": "\xff"}', 400, "invalid_json"),
        (b'{"model": "llama"} trailing', 400, "invalid_json"),
        (b'{"a": ' + b"[" * 100_000, 400, "invalid_json"),
        (b"[]", 400, "invalid_type"),
        (b'"llama"', 400, "invalid_type"),
        (b'{"model": 3}', 400, "invalid_type"),
        (b'{"model": ["llama"]}', 400, "invalid_type"),
        (b"{}", 404, "model_required"),
        (b'{"model": null}', 404, "model_required"),
        (b'{"model": ""}', 404, "model_required"),
    ],
)
async def test_bodies_that_name_no_model(service: Service, body: bytes, status: int, code: str) -> None:
    refusal = await refused(service, body)
    assert (refusal.status, refusal.code) == (status, code)
    assert refusal.error_type == "invalid_request_error"
    assert refusal.message.isprintable()
    assert service.inflight.total() == 0


async def test_a_revoked_key_is_refused_before_anything_is_read(service: Service) -> None:
    service.revoked.add("k1")
    assert (await refused(service, b"not json")).status == 401
    assert isinstance(await service.ask(key_id="k2"), Admit)


@pytest.mark.parametrize(
    ("state", "seconds"),
    [(EngineState.STARTING, 10.0), (EngineState.BACKING_OFF, 10.0), (EngineState.DRAINING, 30.0)],
)
async def test_no_engine_that_can_take_it_is_a_503_that_says_when_to_come_again(
    service: Service, state: EngineState, seconds: float
) -> None:
    for node in ("gcp-1", "aws-1"):
        service.store.apply_now(report(node, 0, reported(f"llama@{node}", state=state)))
    refusal = await refused(service)
    assert (refusal.status, refusal.code, refusal.retry_after_seconds) == (503, "no_capacity", seconds)


async def test_a_path_that_the_model_does_not_serve(service: Service) -> None:
    refusal = await refused(service, path="/v1/embeddings")
    assert (refusal.status, refusal.code) == (404, "path_not_served")


async def test_drained_engines_leave_at_once(service: Service) -> None:
    drained = replace(placed("llama@gcp-1"), desired=DesiredState.DRAINED, generation=2)
    service.store.apply_now(DesiredChanged(desired([GCP, AWS], [drained, placed("llama@aws-1")])))
    answer = await service.ask()
    assert isinstance(answer, Admit)
    assert answer.engine_ids == ("llama@aws-1",)


async def test_a_silent_node_gets_nothing_and_an_ageing_one_comes_last(service: Service) -> None:
    service.clock.advance(5)
    service.store.apply_now(report("aws-1", 5, reported("llama@aws-1", endpoint="10.0.0.2:8000")))
    answer = await service.ask()
    assert isinstance(answer, Admit)
    assert answer.engine_ids == ("llama@aws-1", "llama@gcp-1")
    service.clock.advance(11)
    service.store.apply_now(report("aws-1", 16, reported("llama@aws-1", endpoint="10.0.0.2:8000")))
    answer = await service.ask()
    assert isinstance(answer, Admit)
    assert answer.engine_ids == ("llama@aws-1",)


async def test_when_all_fell_silent_the_gateway_chooses_by_itself(service: Service) -> None:
    service.clock.advance(20)
    service.store.apply_now()
    assert service.store.snapshot.suspect
    assert isinstance(await service.ask(), PassThrough)
    assert (await refused(service, model="gpt-17")).status == 404


async def test_when_just_started_the_gateway_chooses_by_itself_until_the_models_nodes_have_reported() -> None:
    service = Service()
    service.store.apply_now(DesiredChanged(WANTED))
    assert isinstance(await service.ask(), PassThrough)
    service.store.apply_now(opened("gcp-1", 0))
    assert isinstance(await service.ask(), PassThrough)
    service.store.apply_now(opened("aws-1", 0))
    assert (await refused(service)).status == 503


async def test_a_node_that_never_came_does_not_matter_to_models_that_are_not_placed_there() -> None:
    service = Service()
    wanted = desired([GCP, AWS, enrolled("azure-1")], [placed("llama@gcp-1")])
    service.store.apply_now(DesiredChanged(wanted), opened("gcp-1", 0))
    assert (await refused(service)).status == 503


async def test_restored_engines_serve_until_their_agents_are_back() -> None:
    service = Service()
    summary = EngineSummary("llama@gcp-1", "gcp-1", "llama", 1, "i1", EngineState.READY, "10.0.0.1:8000", at(-60))
    service.store.apply_now(DesiredChanged(WANTED), SummariesRestored((summary,)))
    answer = await service.ask()
    assert isinstance(answer, Admit)
    assert answer.endpoints == ("10.0.0.1:8000",)


async def test_a_closed_session_alone_stops_no_traffic(service: Service) -> None:
    service.store.apply_now(SessionClosed("gcp-1", at(0)))
    answer = await service.ask()
    assert isinstance(answer, Admit)
    assert answer.engine_ids[0] == "llama@gcp-1"

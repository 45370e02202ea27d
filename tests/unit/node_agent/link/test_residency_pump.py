"""What is said of resident prefixes, and when: everything once in a session, then only changes, and never too much."""

import random
from collections import deque

from controlplane.proto.prefix_text import boundaries
from node_agent.inside.notes import PrefixNote
from node_agent.inside.residency import EngineResidency
from node_agent.link.codec import agent_message
from node_agent.link.residency_pump import ResidencyPump
from node_agent.probes.kv_event_batch import BlocksRemoved, BlocksStored
from node_agent.session.inside import ResidencyUpdate
from node_agent.vllm_plugins import token_chain

SIZE = 4


class Line:
    """A link that the test can clog."""

    def __init__(self) -> None:
        self.said: list[ResidencyUpdate] = []
        self.clogged = False

    def open(self, pump: ResidencyPump) -> None:
        pump.opened(self.said.append, lambda: not self.clogged)

    def take(self) -> list[ResidencyUpdate]:
        said, self.said[:] = list(self.said), []
        return said


def hold(residency: EngineResidency, number: int) -> None:
    tokens = [number >> 16 * at & 0xFFFF for at in range(SIZE)]
    [chain] = token_chain.chain(token_chain.root("", ""), tokens, SIZE)
    residency.note(PrefixNote("acme", "m", "", "", ((number, chain, SIZE),)))
    residency.apply([BlocksStored((number,), None, tokens, SIZE, "", "", (), 0)])


def test_everything_once_in_a_session_and_then_what_changed() -> None:
    residency, line = EngineResidency("e1", "i1"), Line()
    pump = ResidencyPump(lambda: [residency])
    pump.tell()
    line.open(pump)
    pump.tell()
    assert line.take() == [], "nothing is known of the engine yet"
    hold(residency, 7)
    pump.tell()
    [first] = line.take()
    assert (first.whole, first.added, first.version, first.engine_id, first.instance_id) == (True, (7,), 1, "e1", "i1")
    pump.tell()
    assert line.take() == []
    hold(residency, 8)
    residency.apply([BlocksRemoved((7,), 0)])
    pump.tell()
    [second] = line.take()
    assert (second.whole, second.added, second.removed, second.base_version) == (False, (8,), (7,), 1)

    pump.closed()
    hold(residency, 9)
    pump.tell()
    line.open(pump)
    pump.tell()
    [again] = line.take()
    assert (again.whole, sorted(again.added)) == (True, [8, 9])


def test_what_is_wanted_is_told_again_and_only_that() -> None:
    residencies, line = [EngineResidency("e1", "i1"), EngineResidency("e2", "i1")], Line()
    pump = ResidencyPump(lambda: residencies)
    line.open(pump)
    for number, residency in enumerate(residencies):
        hold(residency, number + 1)
    pump.tell()
    line.take()
    pump.wanted("e2")
    pump.wanted("e9")
    pump.tell()
    [told] = line.take()
    assert (told.engine_id, told.whole, told.added) == ("e2", True, (2,))


def test_a_new_process_of_an_engine_is_told_from_the_beginning() -> None:
    residencies, line = [EngineResidency("e1", "i1")], Line()
    pump = ResidencyPump(lambda: residencies)
    line.open(pump)
    hold(residencies[0], 1)
    pump.tell()
    line.take()
    residencies[0] = EngineResidency("e1", "i2")
    hold(residencies[0], 2)
    pump.tell()
    [told] = line.take()
    assert (told.instance_id, told.whole, told.added) == ("i2", True, (2,))


def test_nothing_is_said_or_lost_while_the_link_does_not_keep_up() -> None:
    residency, line = EngineResidency("e1", "i1"), Line()
    pump = ResidencyPump(lambda: [residency])
    line.open(pump)
    hold(residency, 1)
    pump.tell()
    line.take()
    line.clogged = True
    hold(residency, 2)
    pump.tell()
    hold(residency, 3)
    pump.tell()
    assert line.take() == []
    line.clogged = False
    pump.tell()
    [told] = line.take()
    assert (told.whole, sorted(told.added), told.base_version) == (False, [2, 3], 1)


def test_twenty_requests_a_second_on_a_full_cache_take_less_than_five_kilobytes_a_second() -> None:
    """Prompts of 8,000 bytes of text that share nothing; as much is evicted as is added."""
    chunks_count = len(list(boundaries(8_000)))
    draw = random.Random(7)  # noqa: S311 - the same requests in every run
    residency, line = EngineResidency("llama-3.1-8b@gcp-europe-west4-1", "0" * 32), Line()
    pump = ResidencyPump(lambda: [residency])
    line.open(pump)
    held = deque[int]()
    for _ in range(16_000):
        held.append(draw.getrandbits(64))
        hold(residency, held[-1])
    pump.tell()
    line.take()
    seconds = 10
    for _ in range(seconds):
        for _ in range(20):
            for _ in range(chunks_count):
                residency.apply([BlocksRemoved((held.popleft(),), 0)])
                held.append(draw.getrandbits(64))
                hold(residency, held[-1])
        pump.tell()
    sent = sum(agent_message(update).ByteSize() for update in line.take())
    assert 0 < sent / seconds <= 5_000

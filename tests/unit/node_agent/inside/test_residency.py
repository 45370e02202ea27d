"""Which prefixes an engine holds, beside a model so plain that it must be right."""

import random
import tracemalloc
from array import array
from collections import Counter
from dataclasses import dataclass, field

from hypothesis import given, settings
from hypothesis import strategies as st

from node_agent.inside.chunk_links import WAITING_MAX
from node_agent.inside.notes import PrefixNote
from node_agent.inside.residency import EngineResidency
from node_agent.inside.residency_changes import CHANGES_MAX
from node_agent.probes.kv_event_batch import AllRemoved, BlocksRemoved, BlocksStored
from node_agent.session.inside import ModelShape, ResidencyUpdate, StepTotals
from node_agent.vllm_plugins import token_chain

BLOCK = 4
SALTS = ("", "s1", "s2")


@dataclass(frozen=True)
class Prompt:
    """A request: its tokens, and hashes for blocks and chunks that depend on all that lies before, as real ones do."""

    tokens: tuple[int, ...]
    salt: str = ""

    @property
    def chains(self) -> list[int]:
        return token_chain.chain(token_chain.root(self.salt, ""), self.tokens, BLOCK)

    @property
    def names(self) -> list[int]:
        """The engine's own hashes."""
        return [name(("block", self.salt, self.tokens[: (at + 1) * BLOCK])) for at in range(len(self.chains))]

    def note(self, *, tenant: str = "acme") -> PrefixNote:
        ends = range(BLOCK - 1, len(self.tokens) + 1, BLOCK - 1)
        chunks = tuple(
            (name(("chunk", self.salt, self.tokens[:end])), self.chains[(end - 1) // BLOCK], end)
            for end in ends
            if (end - 1) // BLOCK < len(self.chains)
        )
        return PrefixNote(tenant, "m", self.salt, "", chunks)

    def stored(self, first: int = 0, last: int | None = None) -> BlocksStored:
        names = self.names[first:last]
        tokens = self.tokens[first * BLOCK : (first + len(names)) * BLOCK]
        parent = self.names[first - 1] if first else None
        return BlocksStored(tuple(names), parent, tokens, BLOCK, self.salt if not first else "", "", (), 0)

    def removed(self, first: int = 0, last: int | None = None) -> BlocksRemoved:
        return BlocksRemoved(tuple(reversed(self.names[first:last])), 0)


def name(what: object) -> int:
    return random.Random(repr(what)).getrandbits(64)  # noqa: S311 - a hash that is the same in every run


def of(text: str, salt: str = "") -> Prompt:
    return Prompt(tuple(text.encode()), salt)


@dataclass
class Receiver:
    """What somebody knows who heard every update."""

    chunks: set[int] = field(default_factory=set)
    version: int = 0

    def take(self, update: ResidencyUpdate | None) -> None:
        if update is None:
            return
        if update.whole:
            self.chunks.clear()
        else:
            assert update.base_version == self.version
            assert self.chunks.isdisjoint(update.added)
            assert self.chunks.issuperset(update.removed)
        self.chunks = (self.chunks - set(update.removed)) | set(update.added)
        self.version = update.version
        assert (len(self.chunks), sum(self.chunks) % 2**64) == (update.chunks, update.checksum)


@dataclass
class Model:
    copies: Counter[tuple[int, int]] = field(default_factory=Counter)  # (rank, the engine's hash) → copies
    chain_of: dict[int, int] = field(default_factory=dict)
    links: set[tuple[int, int]] = field(default_factory=set)  # (chain, chunk)

    def held(self) -> set[int]:
        resident = {self.chain_of[hash64] for (_, hash64), copies in self.copies.items() if copies}
        return {chunk for chain, chunk in self.links if chain in resident}


PROMPTS = st.builds(
    Prompt, st.lists(st.integers(0, 1), min_size=0, max_size=5 * BLOCK).map(tuple), st.sampled_from(SALTS)
)
RANKS = st.integers(0, 1)
STEPS = st.lists(
    st.one_of(
        st.tuples(st.just("store"), PROMPTS, RANKS, st.integers(0, 3)),
        st.tuples(st.just("remove"), PROMPTS, RANKS, st.integers(0, 3)),
        st.tuples(st.just("note"), PROMPTS, RANKS, st.just(0)),
        st.tuples(st.just("clear"), PROMPTS, RANKS, st.just(0)),
        st.tuples(st.just("take"), PROMPTS, RANKS, st.just(0)),
        st.tuples(st.just("whole"), PROMPTS, RANKS, st.just(0)),
    ),
    max_size=60,
)


@given(STEPS)
@settings(max_examples=300, deadline=None)
def test_any_interleaving_of_events_and_notes_is_what_a_plain_model_says(
    steps: list[tuple[str, Prompt, int, int]],
) -> None:
    residency, model, receiver = EngineResidency("e1", "i1"), Model(), Receiver()
    for kind, prompt, rank, first in steps:
        match kind:
            case "store":
                begin = min(first, len(prompt.names))
                if begin and not model.copies[rank, prompt.names[begin - 1]]:
                    continue  # an engine stores a block only behind those before it
                model.copies.update((rank, hash64) for hash64 in prompt.names[begin:])
                model.chain_of.update(zip(prompt.names, prompt.chains, strict=True))
                residency.apply([prompt.stored(begin)], rank)
            case "remove":
                for hash64 in prompt.names[first:]:
                    model.copies[rank, hash64] = max(0, model.copies[rank, hash64] - 1)
                residency.apply([prompt.removed(first)], rank)
            case "note":
                model.links.update((chain, chunk) for chunk, chain, _ in prompt.note().chunks)
                residency.note(prompt.note())
            case "clear":
                model.copies = Counter({key: copies for key, copies in model.copies.items() if key[0] != rank})
                if not residency_ranks(model) - {rank}:
                    model.links.clear()
                    model.copies.clear()
                residency.apply([AllRemoved()], rank)
            case "take":
                receiver.take(residency.take_update())
            case "whole":
                receiver.take(residency.whole())
        assert set(residency.whole().added) == model.held() if kind == "whole" else True
        if (summary := residency.summary()) is not None:
            held = model.held()
            assert (summary.chunks, summary.checksum) == (len(held), sum(held) % 2**64)
            assert summary.blocks == sum(model.copies.values())
            assert summary.complete
    receiver.take(residency.take_update())
    assert receiver.chunks == model.held()
    assert residency.take_update() is None


def residency_ranks(model: Model) -> set[int]:
    return {rank for rank, _ in model.copies}


def test_a_chunk_is_resident_from_its_last_block_on_until_that_is_gone_whichever_is_known_first() -> None:
    prompt = of("abcdefgh")
    for note_first in (True, False):
        residency = EngineResidency("e1", "i1")
        assert residency.summary() is None
        if note_first:
            residency.note(prompt.note())
            assert residency.take_update() is None
        residency.apply([prompt.stored(0, 1)])
        if not note_first:
            residency.note(prompt.note())
        first = residency.take_update()
        assert first is not None
        assert first.added == (prompt.note().chunks[0][0],)
        assert (first.base_version, first.version, first.whole) == (0, 1, False)
        residency.apply([prompt.stored(1)])
        residency.note(prompt.note())  # the next request with this prompt: nothing new
        second = residency.take_update()
        assert second is not None
        assert (len(second.added), second.chunks, second.base_version, second.version) == (1, 2, 1, 2)
        residency.apply([prompt.removed(1)])
        third = residency.take_update()
        assert third is not None
        assert (third.removed, third.chunks) == (second.added, 1)


def test_what_came_and_went_between_two_updates_is_not_told() -> None:
    prompt, residency = of("abcdefgh"), EngineResidency("e1", "i1")
    residency.note(prompt.note())
    residency.apply([prompt.stored(), prompt.removed()])
    assert residency.take_update() is None
    residency.apply([prompt.stored()])
    residency.take_update()
    residency.apply([prompt.removed(), prompt.stored()])
    assert residency.take_update() is None


def test_a_prefix_that_comes_back_needs_no_new_note() -> None:
    prompt, residency = of("abcdefgh"), EngineResidency("e1", "i1")
    residency.note(prompt.note())
    residency.apply([prompt.stored()])
    residency.apply([prompt.removed()])
    residency.apply([prompt.stored()])
    assert len(residency.whole().added) == len(prompt.note().chunks)


def test_a_copy_that_goes_leaves_the_other_one() -> None:
    prompt, residency = of("abcdefgh"), EngineResidency("e1", "i1")
    residency.note(prompt.note())
    residency.apply([prompt.stored(), prompt.stored()])
    residency.apply([prompt.removed()])
    assert residency.whole().chunks == len(prompt.note().chunks)
    residency.apply([prompt.stored()], rank=1)
    residency.apply([prompt.removed()], rank=0)
    assert residency.whole().chunks == len(prompt.note().chunks)
    residency.apply([prompt.removed()], rank=1)
    assert residency.whole().chunks == 0


def test_the_same_tokens_under_another_salt_are_another_prefix() -> None:
    residency = EngineResidency("e1", "i1")
    residency.note(of("abcdefgh", "s1").note())
    residency.apply([of("abcdefgh", "s2").stored()])
    assert residency.whole().chunks == 0


def test_blocks_with_an_image_in_them_are_never_taken_for_text() -> None:
    prompt, residency = of("abcdefgh"), EngineResidency("e1", "i1")
    residency.note(prompt.note())
    stored = prompt.stored()
    with_image = BlocksStored(stored.hashes, None, stored.token_ids, BLOCK, "", "", ("", "['cat', 0]"), 0)
    residency.apply([with_image])
    assert residency.whole().added == (prompt.note().chunks[0][0],)


def test_a_block_whose_parent_was_missed_is_counted_and_said_to_be_incomplete() -> None:
    prompt, residency = of("abcdefgh"), EngineResidency("e1", "i1")
    residency.note(prompt.note())
    residency.apply([prompt.stored(1)])
    summary = residency.summary()
    assert summary is not None
    assert (summary.blocks, summary.chunks, summary.complete) == (1, 0, False)
    residency.reset()
    summary = residency.summary()
    assert summary is not None
    assert (summary.blocks, summary.complete) == (0, True)


def test_events_that_were_lost_leave_it_incomplete_until_the_cache_is_emptied() -> None:
    residency = EngineResidency("e1", "i1")
    residency.missed()
    assert residency.summary() is not None
    assert not residency.summary().complete  # type: ignore[union-attr]
    residency.apply([AllRemoved()])
    assert residency.summary().complete  # type: ignore[union-attr]


def test_other_groups_of_layers_do_not_count() -> None:
    prompt, residency = of("abcdefgh"), EngineResidency("e1", "i1")
    residency.note(prompt.note())
    stored = prompt.stored()
    other = BlocksStored(stored.hashes, None, stored.token_ids, BLOCK, "", "", (), 1)
    residency.apply([stored, other, BlocksRemoved(stored.hashes, 1)])
    assert residency.whole().chunks == 2


def test_a_control_plane_that_is_away_for_long_is_told_everything_and_nothing_piles_up() -> None:
    residency, receiver = EngineResidency("e1", "i1"), Receiver()
    prompts = [of(f"{number:06d}xx", "s") for number in range(CHANGES_MAX)]
    for prompt in prompts:
        residency.note(prompt.note())
        residency.apply([prompt.stored()])
    update = residency.take_update()
    assert update is not None
    assert update.whole
    receiver.take(update)
    for prompt in prompts[:10]:
        residency.apply([prompt.removed()])
    receiver.take(residency.take_update())
    assert receiver.chunks == set(residency.whole().added)


def test_what_was_evicted_and_is_stored_again_is_billed_to_the_tenant_of_its_salt() -> None:
    acme, other, residency = of("abcdefghijkl", "s1"), of("abcdefghijkl", "s2"), EngineResidency("e1", "i1")
    residency.observe(SHAPE, StepTotals(prefill_flops=1e9, prefill_seconds=2.0))
    residency.apply([acme.stored(), other.stored()])
    residency.note(acme.note(tenant="acme"))
    residency.apply([acme.removed(1), other.removed(2)])
    assert residency.bills() == ()
    residency.apply([acme.stored(1), other.stored(2)])
    [billed, unknown] = residency.bills()
    assert (billed.tenant, billed.tokens, unknown.tenant, unknown.tokens) == ("acme", 8, "", 4)
    # 2 for each parameter and token; 4 · 2 layers · 3 heads · 5 wide for each token and token of its context.
    assert billed.flops == 2 * 100 * 8 + 4 * 2 * 3 * 5 * (4 * 8 + 4 * 12)
    assert billed.seconds is not None
    assert abs(billed.seconds - billed.flops * 2e-9) < 1e-15
    residency.note(other.note(tenant="other"))
    assert [bill.tenant for bill in residency.bills()] == ["acme", "other"]
    residency.apply([acme.stored()])  # a second copy of what is there
    assert residency.bills()[0].tokens == 8


def test_nothing_is_recomputed_for_want_of_memory_after_the_cache_was_emptied_on_purpose() -> None:
    prompt, residency = of("abcdefgh"), EngineResidency("e1", "i1")
    residency.apply([prompt.stored(), AllRemoved(), prompt.stored()])
    assert residency.bills() == ()


SHAPE = ModelShape(parameters=100, layers=2, attention_heads=3, head_size=5)

# A full engine: 57,000 blocks, prompts of 8 KB of text in 32 chunks. Blocks have 16 tokens; how many makes no difference
# to the index, and fewer are drawn faster.
BLOCKS, PROMPT_BLOCKS, PROMPT_CHUNKS, BLOCK_TOKENS = 57_000, 112, 32, 2


class Traffic:
    """Prompts that nothing is shared of, the oldest evicted for the newest: as much as there can ever be to tell."""

    def __init__(self, residency: EngineResidency) -> None:
        self._residency = residency
        self._random = random.Random(7)  # noqa: S311 - the same prompts in every run
        self._held: list[bytes] = []

    def request(self) -> None:
        draw = self._random
        salt = f"s{draw.randrange(50)}"
        tokens = array("H", draw.randbytes(2 * PROMPT_BLOCKS * BLOCK_TOKENS)).tolist()
        chains = token_chain.chain(token_chain.root(salt, ""), tokens, BLOCK_TOKENS)
        step = PROMPT_BLOCKS / PROMPT_CHUNKS
        chunks = [(draw.getrandbits(64), chains[int((at + 1) * step) - 1], 1) for at in range(PROMPT_CHUNKS)]
        self._residency.note(PrefixNote(f"t{salt}", "m", salt, "", tuple(chunks)))
        raw = draw.randbytes(8 * PROMPT_BLOCKS)
        if len(self._held) == BLOCKS // PROMPT_BLOCKS:
            self._residency.apply([BlocksRemoved(tuple(reversed(hashes_of(self._held.pop(0)))), 0)])
        self._residency.apply([BlocksStored(hashes_of(raw), None, tokens, BLOCK_TOKENS, salt, "", (), 0)])
        self._held.append(raw)

    def fill(self) -> None:
        for _ in range(BLOCKS // PROMPT_BLOCKS):
            self.request()
            self._residency.take_update()


def hashes_of(raw: bytes) -> tuple[int, ...]:
    return tuple(int.from_bytes(raw[at : at + 8], "little") for at in range(0, len(raw), 8))


def test_the_index_of_a_full_engine_takes_at_most_two_megabytes_however_long_it_runs() -> None:
    tracemalloc.start()
    try:
        residency = EngineResidency("e1", "i1")
        traffic = Traffic(residency)
        traffic.fill()
        for _ in range(WAITING_MAX // PROMPT_CHUNKS):
            traffic.request()
            residency.take_update()
        summary = residency.summary()
        assert summary is not None
        assert (summary.blocks, summary.chunks) == (56_896, 16_256)
        del traffic._random, summary
        before, _ = tracemalloc.get_traced_memory()
        del residency, traffic._residency
        after, _ = tracemalloc.get_traced_memory()
        assert before - after <= 2_000_000
    finally:
        tracemalloc.stop()

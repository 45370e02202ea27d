"""Which prefixes of text one engine process holds KV of, followed from its KV events and the plug-in's notes.

`node_agent.probes.kv_events` feeds the events, the plug-in's listener the notes, `node_agent.link.residency_pump` takes
what changed. Pure and synchronous; made anew for every engine process. All of it is bounded: a full engine of 57,000
blocks and 16,000 chunks takes less than 2 MB.

A chunk counts as resident when the last block that is full at its end is; the router asks for consecutive chunks, so a
hole before it is seen there. In an engine with several data-parallel ranks, each with a cache of its own, it is resident
when any of them has it. vLLM tells every copy of a block when it is stored and when it goes, so copies are counted; a
request that asks vLLM to tell of reused blocks as well (`kv_cache_report_mode`) would make it count too many until the
cache is emptied.
"""

from collections.abc import Iterable
from hashlib import blake2b

from node_agent.inside.block_table import HashTable
from node_agent.inside.chunk_links import ChunkLinks
from node_agent.inside.eviction_memory import EvictionMemory
from node_agent.inside.notes import PrefixNote
from node_agent.inside.prefix_roots import UNKNOWN_ROOT, PrefixRoots
from node_agent.inside.recompute import RecomputeTotals
from node_agent.inside.residency_changes import ResidencyChanges
from node_agent.probes.kv_event_batch import AllRemoved, BlocksRemoved, BlocksStored, KvEvent
from node_agent.session.inside import ModelShape, RecomputeBill, ResidencySummary, ResidencyUpdate, StepTotals
from node_agent.vllm_plugins.token_chain import chain as chain_hashes
from node_agent.vllm_plugins.token_chain import extend, root

BLOCKS_MAX = 2_000_000
RANKS_MAX = 64
_CONTEXT_BITS = 20
_CONTEXT_MAX = 2**_CONTEXT_BITS - 1


class EngineResidency:
    """A `ResidencySink` for notes and a `KvEventSink` for events. Hashes are 64-bit numbers."""

    def __init__(self, engine_id: str, instance_id: str) -> None:
        self.engine_id = engine_id
        self._ranks: dict[int, HashTable] = {}  # per rank: the engine's hash → chain hash, root number and context
        self._chains = HashTable()  # a row for each copy of a block on any rank
        self._links = ChunkLinks()
        self._changes = ResidencyChanges(engine_id, instance_id)
        self._roots = PrefixRoots()
        self._evicted = EvictionMemory()
        self._recomputed = RecomputeTotals()
        self._group: int | None = None
        self._heard = False
        self._complete = True
        self._shape: ModelShape | None = None
        self._steps: StepTotals | None = None

    def apply(self, events: Iterable[KvEvent], rank: int = 0) -> None:
        """What happened in the cache of this rank, in its order."""
        self._heard = True
        for event in events:
            match event:
                case BlocksStored():
                    self._stored(event, rank)
                case BlocksRemoved(hashes, group):
                    if group in (None, self._group):
                        self._removed(hashes, rank)
                case AllRemoved():
                    self._cleared(rank)

    def missed(self) -> None:
        """Events were lost: something may be resident of which nothing is known, or be gone and not known to be."""
        self._heard = True
        self._complete = False

    def reset(self, rank: int = 0) -> None:
        """The rank's cache is a new one: its events begin again from nothing."""
        self._cleared(rank)

    def note(self, note: PrefixNote) -> None:
        """Which chunks of a request's text stand on which blocks. Before or after these are stored; again, too."""
        first = root(note.cache_salt, note.adapter)
        self._roots.name(first, note.tenant)
        self._recomputed.name(first, note.tenant)
        for chunk, chain, _ in note.chunks:
            if self._links.link(chain, chunk, resident=chain in self._chains):
                self._changes.added(chunk)

    def observe(self, shape: ModelShape | None, steps: StepTotals | None) -> None:
        """What the engine's model is and how fast its steps are: what the bill is computed with."""
        self._shape, self._steps = shape, steps

    def bills(self) -> tuple[RecomputeBill, ...]:
        return self._recomputed.bills(self._shape, self._steps)

    def summary(self) -> ResidencySummary | None:
        """None before the first event: then nothing is known of the engine's blocks."""
        if not self._heard:
            return None
        changes = self._changes
        return ResidencySummary(changes.version, changes.chunks, len(self._chains), changes.checksum, self._complete)

    def take_update(self) -> ResidencyUpdate | None:
        """What changed since the last update that was taken; None: nothing. Everything, when too much changed."""
        if self._changes.too_many:
            return self.whole()
        return self._changes.take()

    def whole(self) -> ResidencyUpdate:
        """Everything; the next update starts from it."""
        return self._changes.take_whole(self._links.held())

    def _stored(self, event: BlocksStored, rank: int) -> None:
        if self._group is None:
            self._group = event.group
        # Of several groups of layers that look at whole prefixes, all hold the same prefixes: one of them tells.
        if not event.hashes or event.group not in (None, self._group):
            return
        if len(self._chains) + len(event.hashes) > BLOCKS_MAX or (
            rank not in self._ranks and len(self._ranks) >= RANKS_MAX
        ):
            self._complete = False
            return
        blocks = self._ranks.setdefault(rank, HashTable("Q", "I"))
        chain, number, context = self._beginning(event, blocks)
        size = event.block_tokens
        self._roots.use(number, len(event.hashes))
        for hash64, block in zip(event.hashes, _chain_hashes(chain, event), strict=True):
            context = min(context + size, _CONTEXT_MAX)
            blocks.add(hash64, block, number << _CONTEXT_BITS | context)
            self._came(block, number, size, context)

    def _beginning(self, event: BlocksStored, blocks: HashTable) -> tuple[int, int, int]:
        """Chain hash, root number and tokens of what lies before these blocks."""
        if event.parent is None:
            first = root(event.cache_salt, event.adapter)
            return first, self._roots.number(first), 0
        before = blocks.first(event.parent)
        if before is None:
            # An event before this was lost. The block is counted, under a name that no note will ever have.
            self._complete = False
            return _mixed(event.parent, "unknown parent"), UNKNOWN_ROOT, 0
        chain, place = before
        return chain, place >> _CONTEXT_BITS, place & _CONTEXT_MAX

    def _came(self, chain: int, number: int, tokens: int, context: int) -> None:
        if chain not in self._chains:
            if chain in self._evicted:
                first = self._roots.root(number)
                self._recomputed.add(first, self._roots.tenant(first), tokens, context)
            for chunk in self._links.stored(chain):
                self._changes.added(chunk)
        self._chains.add(chain)

    def _removed(self, hashes: Iterable[int], rank: int) -> None:
        blocks = self._ranks.get(rank)
        if blocks is None:
            return
        for hash64 in hashes:
            held = len(self._chains)
            row = blocks.pop(hash64)
            if row is not None and self._went(*row):
                self._evicted.add(row[0], held)

    def _went(self, chain: int, place: int) -> bool:
        """One copy of a block less. True when it was the last one."""
        self._roots.release(place >> _CONTEXT_BITS)
        self._chains.pop(chain)
        if chain in self._chains:
            return False
        for chunk in self._links.removed(chain):
            self._changes.removed(chunk)
        return True

    def _cleared(self, rank: int) -> None:
        # On purpose, so what is computed again after it is not computed again for want of memory.
        self._heard = True
        self._evicted.clear()
        blocks = self._ranks.pop(rank, None)
        if not self._ranks:
            self._chains.clear()
            self._links.forget()
            self._roots.release_all()
            self._changes.all_removed()
            self._complete = True
        elif blocks is not None:
            for row in blocks.all_rows():
                self._went(*row)


def _chain_hashes(before: int, event: BlocksStored) -> list[int]:
    """The chain hash of each of the blocks."""
    size = event.block_tokens
    if not event.other_keys:
        return chain_hashes(before, event.token_ids, size)
    hashes = []
    for at, key in zip(range(0, len(event.token_ids), size), event.other_keys, strict=True):
        before = extend(before, event.token_ids[at : at + size])
        before = _mixed(before, key) if key else before
        hashes.append(before)
    return hashes


def _mixed(chain: int, other: str) -> int:
    digest = blake2b(
        chain.to_bytes(8, "little") + other.encode("utf-8", "replace"), digest_size=8, person=b"stoker-other"
    )
    return int.from_bytes(digest.digest(), "little")

"""What can still be given to an engine's KV cache."""

from controlplane.fleet.hardware import KvHeadroom, MemoryLedger, kv_headroom_tokens
from controlplane.fleet.sources import Source
from tests.support.fleet import at


def ledger(device_id: str, tokens: int | None, engine_id: str = "e") -> MemoryLedger:
    return MemoryLedger(device_id, at(0), headroom=(KvHeadroom(engine_id, 100, tokens, None, Source.MEASURED),))


def test_the_fullest_device_decides() -> None:
    assert kv_headroom_tokens((ledger("cuda:0", 50), ledger("cuda:1", 20), ledger("cuda:2", 1, "other")), "e") == 20


def test_what_one_device_does_not_tell_is_not_guessed() -> None:
    assert kv_headroom_tokens((ledger("cuda:0", 50), ledger("cuda:1", None)), "e") is None
    assert kv_headroom_tokens((), "e") is None

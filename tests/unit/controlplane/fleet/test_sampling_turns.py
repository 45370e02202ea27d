"""A fleet is sampled in small parts, evenly, each node at its own beat."""

from controlplane.fleet.sampling_turns import SLICE_NODES_MAX, turns

NAMES = [f"gcp-{number}" for number in range(1250)]


def test_every_node_once_in_small_parts_within_the_interval() -> None:
    found = turns(NAMES, 10.0)
    assert sorted(name for turn in found for name in turn.nodes) == sorted(NAMES)
    assert max(len(turn.nodes) for turn in found) <= SLICE_NODES_MAX
    moments = [turn.after_seconds for turn in found]
    assert moments == sorted(moments)
    assert 0.0 <= moments[0] < moments[-1] < 10.0


def test_the_parts_are_spread_evenly() -> None:
    tenths = [0] * 10
    for turn in turns(NAMES, 10.0):
        tenths[int(turn.after_seconds)] += len(turn.nodes)
    assert min(tenths) > 90
    assert max(tenths) < 160


def test_a_node_keeps_its_beat_whoever_joins() -> None:
    alone = turns(["gcp-7"], 10.0)[0].after_seconds
    among = next(turn.after_seconds for turn in turns(NAMES, 10.0) if "gcp-7" in turn.nodes)
    assert abs(alone - among) <= 0.05
    assert turns(["gcp-7"], 20.0)[0].after_seconds == 2 * alone


def test_no_nodes_no_turns() -> None:
    assert turns([], 10.0) == []

"""A caller's identity comes from exactly one well-formed name of ours, and from nothing else."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from controlplane.fleet.access import Role
from controlplane.identity.peer import NodePeer, OperatorPeer, node_uri, operator_uri, peer_of

NAMES = st.from_regex(r"[a-z0-9]([a-z0-9.-]{0,61}[a-z0-9])?", fullmatch=True)
SERIALS = st.from_regex(r"[0-9a-f]{32}", fullmatch=True)


@given(NAMES, SERIALS)
def test_a_node_is_read_back(name: str, serial: str) -> None:
    assert peer_of(["10.0.0.1", "gpu-1.example", node_uri(name, serial)]) == NodePeer(name, serial)


@given(NAMES, st.sampled_from(Role))
def test_an_operator_is_read_back(name: str, role: Role) -> None:
    assert peer_of([operator_uri(name, role)]) == OperatorPeer(name, role)


@given(st.lists(st.text(), max_size=4))
def test_other_names_are_nobody(names: list[str]) -> None:
    assert peer_of(name for name in names if not name.startswith("stoker://")) is None


@given(st.text())
def test_whatever_follows_our_scheme_never_fails(rest: str) -> None:
    peer_of([f"stoker://{rest}"])


@pytest.mark.parametrize(
    "names",
    [
        [],
        ["stoker://controlplane"],
        ["stoker://gateway"],
        ["stoker://node/a"],
        ["stoker://node/a?id=" + "0" * 31],
        ["stoker://node/a?id=" + "0" * 32 + "&role=admin"],
        ["stoker://node/-a?id=" + "0" * 32],
        ["stoker://node/a?id=" + "0" * 32 + "\n"],
        ["stoker://operator/a?role=root"],
        ["stoker://operator/a?role=admin#"],
        ["stoker://operator/../a?role=admin"],
        ["stoker://operator/A?role=admin"],
        [operator_uri("a", Role.VIEWER), operator_uri("a", Role.ADMIN)],
        [node_uri("a", "0" * 32), operator_uri("a", Role.ADMIN)],
    ],
)
def test_anything_doubtful_is_nobody(names: list[str]) -> None:
    assert peer_of(names) is None

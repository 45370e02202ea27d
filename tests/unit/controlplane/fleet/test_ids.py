"""Names that pass are safe everywhere; hostile ones are refused without ever being repeated as they came."""

from collections.abc import Callable

import pytest
from hypothesis import given
from hypothesis import strategies as st

from controlplane.errors import InvalidInputError
from controlplane.fleet import ids

HOSTILE = [
    "",
    "-a",
    "a-",
    ".a",
    "a.",
    "A",
    "a b",
    "a/b",
    "../etc",
    "a\n",
    "a\x1b[31m",
    "a\u202eb",
    "[bold]a[/bold]",
    "é",
    "a" * 64,
    "a\0",
    "\u0430",  # looks like an a
]


@pytest.mark.parametrize("name", HOSTILE)
@pytest.mark.parametrize(
    "check", [ids.node_name, ids.tenant_name, lambda value: ids.place_label("region", value or "-")]
)
def test_hostile_names_are_refused(check: Callable[[str], str], name: str) -> None:
    with pytest.raises(InvalidInputError) as refused:
        check(name)
    assert str(refused.value).isascii()
    assert str(refused.value).isprintable()


@pytest.mark.parametrize("name", ["", "a/", "/a", "a b", "a\n", "a\x1b", "é", "a" * 193, "[red]a"])
def test_hostile_model_names_are_refused(name: str) -> None:
    for check in (ids.model_name, ids.deployment_name):
        with pytest.raises(InvalidInputError):
            check(name)


@pytest.mark.parametrize("name", ["a", "0", "gcp-1", "a.b-c", "a" * 63])
def test_good_names_pass_as_they_are(name: str) -> None:
    assert {str(ids.node_name(name)), str(ids.tenant_name(name)), ids.place_label("zone", name)} == {name}


@pytest.mark.parametrize("name", ["Qwen/Qwen2.5-7B", "a:b", "A" * 192, "m_1"])
def test_good_model_names_pass(name: str) -> None:
    assert {str(ids.model_name(name)), str(ids.deployment_name(name))} == {name}


def test_an_untold_place_is_no_place() -> None:
    assert ids.place_label("zone", "") == ""


@given(st.text(max_size=80))
def test_what_passes_is_printable_ascii_without_separators(text: str) -> None:
    try:
        name = ids.node_name(text)
    except InvalidInputError:
        return
    assert name == text
    assert name.isascii()
    assert not set(name) & set("/\\ \n[]<>&'\"`$;|*?@")


MODELS = st.from_regex(r"[A-Za-z0-9]([A-Za-z0-9._:/-]{0,20}[A-Za-z0-9])?", fullmatch=True)


@given(model=MODELS, ordinal=st.integers(min_value=1, max_value=50))
def test_placement_ids_are_file_names_that_agents_accept(model: str, ordinal: int) -> None:
    placement = ids.placement_id(ids.deployment_name(model), "gcp-1", ordinal)
    assert "/" not in placement
    assert ":" not in placement
    assert placement.split("@")[1].startswith("gcp-1")
    assert placement != ids.placement_id(model, "gcp-1", ordinal + 1)

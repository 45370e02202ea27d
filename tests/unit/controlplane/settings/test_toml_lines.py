"""The scanner finds every key that tomllib finds, and says on which line it stands."""

import json
import tomllib
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from controlplane.settings.toml_lines import KeyPath, key_lines


def paths_of(value: Any, at: KeyPath = ()) -> set[KeyPath]:
    """Every table, key and array item in what tomllib parsed."""
    paths = {at} if at else set()
    if isinstance(value, dict):
        return paths.union(*(paths_of(inner, (*at, key)) for key, inner in value.items()))
    if isinstance(value, list):
        return paths.union(*(paths_of(inner, (*at, index)) for index, inner in enumerate(value)))
    return paths


EXAMPLE = '''\
# a comment with = and [brackets]
title = "a # not a comment"  # a comment

[server]
port = 7443
"quoted key" = 1
'literal.key' = 2
a.b . "c" = 3
at = 1979-05-27 07:32:00Z

[server.tls]   # a comment
names = [
  "one",  # a comment with ]
  'two]',

  ["nested", { x = 1, y = "}" }],
]

text = """
[not.a.table]
key = "nor a key" \\"""
"""
raw = \'\'\'
[[nor]] this\'\'\'
after = true
inline = { a = { b = [1, 2] }, c.d = "x" }

[[fleet]]
name = "a"
[[fleet]]
name = "b"
[fleet.inner]
x = 1
[[fleet.more]]
y = 1
[[fleet.more]]
y = 2
'''


def test_a_document_with_everything() -> None:
    lines = key_lines(EXAMPLE)
    assert set(lines) == paths_of(tomllib.loads(EXAMPLE))
    text = EXAMPLE.split("\n")
    expected: dict[KeyPath, str] = {
        ("title",): "title =",
        ("server",): "[server]",
        ("server", "port"): "port = 7443",
        ("server", "quoted key"): '"quoted key"',
        ("server", "literal.key"): "'literal.key'",
        ("server", "a", "b", "c"): "a.b",
        ("server", "at"): "at =",
        ("server", "tls"): "[server.tls]",
        ("server", "tls", "names", 0): '"one"',
        ("server", "tls", "names", 1): "'two]'",
        ("server", "tls", "names", 2, 1, "y"): '["nested"',
        ("server", "tls", "text"): "text =",
        ("server", "tls", "raw"): "raw =",
        ("server", "tls", "after"): "after =",
        ("server", "tls", "inline", "a", "b", 1): "inline =",
        ("server", "tls", "inline", "c", "d"): "inline =",
        ("fleet", 0, "name"): 'name = "a"',
        ("fleet", 1, "name"): 'name = "b"',
        ("fleet", 1, "inner", "x"): "x = 1",
        ("fleet", 1, "more", 1, "y"): "y = 2",
    }
    for path, start in expected.items():
        assert text[lines[path] - 1].strip().startswith(start), path


@pytest.mark.parametrize(
    "document",
    ["", "\n\n", "# only a comment", "\ufeffa = 1", "a=1", "a = 1\r\nb = 2\r\n", "[a]\n[b]", "[ a . b ]\nc=1", "a = []",
     "a = {}", 'a = ""', 'a = """"x""""', "a = '''''x'''''", 'a = "\\\\"\nb = 1', 'a = [ [ ], [ 1 , ] , ]', "a = -inf",
     '"" = 1', '"\\u00e9" = 1', 'a."b.c".d = 1', "1 = 1\n2.3 = 4", 'a = """x\\\n  y"""\nb = 1'],
)  # fmt: skip
def test_odd_documents(document: str) -> None:
    parsed = tomllib.loads(document.removeprefix("\ufeff"))
    assert set(key_lines(document)) == paths_of(parsed)


BARE = st.from_regex(r"[A-Za-z0-9_-]{1,6}", fullmatch=True)
KEYS = BARE | st.text(st.characters(exclude_categories=["Cs"]), max_size=5)
SPACE = st.sampled_from(["", " ", "  ", "\t"])
COMMENT = st.sampled_from(["", "# = [x]", "#", '# "']) | st.just("# é 'x")


def written(key: str, data: st.DataObject) -> str:
    if key and key.isascii() and all(c.isalnum() or c in "_-" for c in key) and data.draw(st.booleans()):
        return key
    return json.dumps(key, ensure_ascii=True) if not _beyond(key) else basic(key)


def _beyond(text: str) -> bool:
    return any(ord(character) > 0xFFFF for character in text) or "\x7f" in text


def basic(text: str) -> str:
    """A basic string; json's surrogate pairs and bare DEL are not TOML's."""
    return '"' + "".join(f"\\U{ord(c):08x}" if not (c.isascii() and c.isalnum()) else c for c in text) + '"'


@st.composite
def values(draw: st.DrawFn, depth: int = 2) -> str:
    kinds = ["scalar", "string", "lines", "literal"] + (["array", "inline"] if depth else [])
    kind = draw(st.sampled_from(kinds))
    if kind == "scalar":
        return draw(
            st.sampled_from(["1", "-2.5e3", "true", "inf", "0xff", "1979-05-27", "1979-05-27 07:32:00", "1_000"])
        )
    if kind == "string":
        return basic(draw(st.text(st.characters(exclude_categories=["Cs"]), max_size=8)))
    if kind == "lines":
        return '"""\n' + draw(st.text(st.sampled_from("ab [=]#'\n"), max_size=12)) + '"""'
    if kind == "literal":
        return "'" + draw(st.text(st.sampled_from('ab [=]#"\\'), max_size=8)) + "'"
    if kind == "array":
        gap = draw(st.sampled_from([" ", "\n", " # ] \n"]))
        inner = draw(st.lists(values(depth - 1), max_size=3))
        return f"[{gap}{f',{gap}'.join(inner)}{gap}]"
    keys = draw(st.lists(BARE, max_size=3, unique=True))
    return "{ " + ", ".join(f"{key} = {draw(values(depth - 1))}" for key in keys) + " }"


@given(st.data())
def test_documents_of_every_kind(data: st.DataObject) -> None:
    """Build a document line by line, noting where each key is put; then both readers must agree with the notes."""
    document: list[str] = []
    noted: dict[KeyPath, int] = {}

    def put(text: str) -> int:
        document.append(text)
        return "\n".join(document).count("\n") + 1 - text.count("\n")

    tables = data.draw(st.lists(KEYS, max_size=3, unique=True))
    arrays = data.draw(st.lists(KEYS.filter(lambda key: key not in tables), max_size=2, unique=True))
    heads: list[tuple[KeyPath, str]] = [((), "")]
    heads += [((name,), f"[{data.draw(SPACE)}{written(name, data)}]") for name in tables]
    heads += [((name, index), f"[[{written(name, data)}]]") for name in arrays for index in range(2)]
    for path, header in heads:
        if header:
            line = put(f"{data.draw(SPACE)}{header} {data.draw(COMMENT)}")
            noted.setdefault(path[:1], line)
            noted[path] = line
        taken = {*tables, *arrays} if not path else set()
        for key in data.draw(st.lists(KEYS, max_size=3, unique=True)):
            if key in taken:
                continue
            put(data.draw(st.sampled_from(["", "# a comment", "  "])))
            dotted = data.draw(st.booleans())
            name = f"{written(key, data)} . x" if dotted else written(key, data)
            line = put(
                f"{data.draw(SPACE)}{name}{data.draw(SPACE)}={data.draw(SPACE)}{data.draw(values())} {data.draw(COMMENT)}"
            )
            noted[(*path, key, "x") if dotted else (*path, key)] = line
    text = "\n".join(document)
    lines = key_lines(text)
    assert set(lines) == paths_of(tomllib.loads(text))
    assert {path: lines[path] for path in noted} == noted

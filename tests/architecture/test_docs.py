"""The documents tell the truth: settings, commands with their options, links, and the examples under deploy/."""

import re
import shlex
import tomllib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import click
import pytest

from console.cli.root import stoker
from controlplane.__main__ import cli as controlplane
from controlplane.settings import Settings
from controlplane.settings import load as load_controlplane
from controlplane.settings.model import settings_of
from controlplane.settings.values import known_keys
from node_agent.__main__ import main as agent
from node_agent.settings import AgentSettings
from node_agent.settings import load as load_agent
from node_agent.settings.model import KEYS

ROOT = Path(__file__).parents[2]
PROGRAMS: dict[str, click.Command] = {"stoker": stoker, "stoker-controlplane": controlplane, "stoker-agent": agent}
PAGE_OF = {
    "stoker": ROOT / "docs" / "operator.md",
    "stoker-controlplane": ROOT / "docs" / "control-plane.md",
    "stoker-agent": ROOT / "docs" / "node-owner.md",
}
DOCUMENTS = sorted([*ROOT.glob("*.md"), *ROOT.glob("docs/*.md"), *ROOT.glob("deploy/*.md")])
AGENT_EXAMPLE = ROOT / "deploy" / "agent.toml"

_FENCE = re.compile(r"(?ms)^```\w*\n(.*?)^```$")
_SPAN = re.compile(r"`([^`]+)`")
_INVOCATION = re.compile(r"(?:^|^\$ | -- )(?:\S*/)?(stoker(?:-controlplane|-agent)?)(?: (.*))?$")
_LINK = re.compile(r"\]\(([^)\s]+)\)")
_ROW = re.compile(r"(?m)^\| `([a-z_]+(?:\.[a-z_]+)?)` \|(.*)\|$")


def named(path: Path) -> str:
    return str(path.relative_to(ROOT))


# ---- settings


def rows(page: Path) -> dict[str, list[str]]:
    """The rows of the table under "Settings": the cells after the name."""
    section = page.read_text().partition("\n## Settings\n")[2].partition("\n## ")[0]
    return {key: [cell.strip() for cell in cells.split("|")] for key, cells in _ROW.findall(section)}


def test_every_setting_of_the_control_plane_has_its_row() -> None:
    told = rows(PAGE_OF["stoker-controlplane"])
    assert set(told) == set(known_keys())
    for key, value, can_reload in settings_of(Settings(data_dir=Path("/"))):
        default, sighup = told[key][0], told[key][1]
        assert (sighup == "yes") == can_reload, f"{key}: SIGHUP"
        if key != "data_dir":
            assert default == shown(value), f"{key}: default"


def test_every_setting_of_the_agent_has_its_row() -> None:
    told = rows(PAGE_OF["stoker-agent"])
    assert set(told) == set(KEYS)
    defaults = AgentSettings(state_dir=Path("/"))
    for group in ("engines", "link", "log"):
        for name, value in getattr(defaults, group):
            if name != "python":
                assert told[f"{group}.{name}"][0] == shown(value), f"{group}.{name}: default"


def shown(value: Any) -> str:
    """A default as the tables write it."""
    match value:
        case None:
            return "not set"
        case bool():
            return f"`{str(value).lower()}`"
        case int() | float():
            return f"`{value:.10g}`"
        case tuple():
            return f"`[{', '.join(value)}]`"
        case _:
            return f"`{value}`" if value else '`""`'


# ---- commands


def leaves(command: click.Command, path: str) -> Iterator[str]:
    if isinstance(command, click.Group):
        for name, inner in command.commands.items():
            yield from leaves(inner, f"{path} {name}")
    else:
        yield path


def invocations(text: str) -> Iterator[tuple[str, str]]:
    """Programs of ours where they are called in code, with the rest of their command lines."""
    lines = [line.strip() for fence in _FENCE.findall(text) for line in fence.replace("\\\n", " ").splitlines()]
    lines += [" ".join(span.split()) for span in _SPAN.findall(_FENCE.sub("", text))]
    for line in lines:
        found = _INVOCATION.search(line)
        if found is not None:
            yield found[1], (found[2] or "").replace("\\|", "/")


def mistake(program: str, rest: str) -> str:
    """What is wrong with a command line of the documents; "" when nothing is."""
    lexer = shlex.shlex(rest, posix=True, punctuation_chars="|")
    lexer.whitespace_split = True
    words = iter(lexer)
    command = PROGRAMS[program]
    for word in words:
        if word in ("--", "|"):
            break  # vLLM's own arguments, another program
        if word.startswith("-") and word != "-":
            name = word.split("=")[0]
            known = {opt: param for param in command.params for opt in (*param.opts, *param.secondary_opts)}
            if name not in (*known, "--help", "-h"):
                return f"{command.name} has no option {name}"
            option = known.get(name)
            if isinstance(option, click.Option) and not option.is_flag and "=" not in word:
                next(words, None)
        elif isinstance(command, click.Group):
            if re.fullmatch(r"[a-z][a-z-]*", word) is None:
                break  # a placeholder, or a picture
            if word not in command.commands:
                return f"there is no command {word}"
            command = command.commands[word]
    return ""


@pytest.mark.parametrize("document", DOCUMENTS, ids=named)
def test_every_command_that_is_named_exists(document: Path) -> None:
    wrong = [
        f"{program} {rest}: {why}"
        for program, rest in invocations(document.read_text())
        if (why := mistake(program, rest))
    ]
    assert not wrong, "\n".join(wrong)


@pytest.mark.parametrize("program", PROGRAMS)
def test_every_command_has_its_row(program: str) -> None:
    page = PAGE_OF[program].read_text()
    missing = [path for path in leaves(PROGRAMS[program], program) if f"| `{path}` |" not in page]
    assert not missing, f"{named(PAGE_OF[program])} lacks {', '.join(missing)}"


@pytest.mark.parametrize(
    ("program", "rest"),
    [
        ("stoker", "frobnicate"),
        ("stoker", "node forgte n"),
        ("stoker", "drain --nod n"),
        ("stoker-agent", "join --srv h"),
    ],
)
def test_a_mistake_is_found(program: str, rest: str) -> None:
    assert mistake(program, rest)


# ---- links


def anchors(document: Path) -> set[str]:
    """The headings, as web pages name them."""
    headings = re.findall(r"(?m)^#+ (.*)$", _FENCE.sub("", document.read_text()))
    return {re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") for heading in headings}


@pytest.mark.parametrize("document", DOCUMENTS, ids=named)
def test_every_link_leads_somewhere(document: Path) -> None:
    broken = []
    for link in _LINK.findall(_FENCE.sub("", document.read_text())):
        if re.match(r"[a-z]+:", link):
            continue
        path, _, anchor = link.partition("#")
        target = document.parent / path if path else document
        if not target.exists() or (anchor and anchor not in anchors(target)):
            broken.append(link)
    assert not broken, f"{named(document)}: {', '.join(broken)}"


# ---- examples


@pytest.mark.parametrize("example", sorted((ROOT / "deploy").glob("*.toml")), ids=named)
def test_every_example_can_be_loaded(example: Path, tmp_path: Path) -> None:
    if example == AGENT_EXAMPLE:
        assert load_agent(example, {"state_dir": tmp_path}, {}) == AgentSettings(state_dir=tmp_path)
    else:
        assert load_controlplane(example, {"data_dir": str(tmp_path)}, {}).settings == Settings(data_dir=tmp_path)


def test_the_agents_example_names_every_setting_and_each_can_be_used(tmp_path: Path) -> None:
    text = re.sub(r"(?m)^# (?=[a-z_]+ = )", "", AGENT_EXAMPLE.read_text())
    values = tomllib.loads(text)
    told = {
        "state_dir",
        *(f"{group}.{key}" for group, table in values.items() if group != "state_dir" for key in table),
    }
    assert told == set(KEYS)
    whole = tmp_path / "agent.toml"
    whole.write_text(text)
    settings = load_agent(whole, {"state_dir": tmp_path}, {})
    defaults = AgentSettings(state_dir=tmp_path)
    assert (settings.link, settings.log) == (defaults.link, defaults.log)
    examples = {"python", "default_device_ids", "cpu_cores", "socket_dir"}
    assert settings.engines.model_dump(exclude=examples) == defaults.engines.model_dump(exclude=examples)

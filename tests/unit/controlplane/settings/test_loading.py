"""Settings from all sources; every error at once, each with its place, its reason and what to do."""

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from controlplane.settings import BadSettingsError, LoadedSettings, load

GOLDEN = Path(__file__).parent / "golden"
PREFIX = "STOKER_CONTROLPLANE_"


def refused(directory: Path, text: str | bytes = "", environ: dict[str, str] | None = None) -> list[str]:
    """The lines of all problems with a file, which is called FILE in them."""
    file = directory / "controlplane.toml"
    file.write_bytes(text if isinstance(text, bytes) else text.encode())
    with pytest.raises(BadSettingsError) as error:
        load(file, environ={"STATE_DIRECTORY": str(directory), **(environ or {})})
    return str(error.value).replace(str(file), "FILE").replace(str(directory), "DIR").split("\n")


def fine(directory: Path, text: str, environ: dict[str, str] | None = None) -> LoadedSettings:
    file = directory / "controlplane.toml"
    file.write_text(text)
    return load(file, environ={"STATE_DIRECTORY": str(directory), **(environ or {})})


def test_every_error_at_once(tmp_path: Path) -> None:
    environ = {
        f"{PREFIX}SERVER__PRT": "1",
        f"{PREFIX}HISTORY__BUFFER_MAX": "many",
        f"{PREFIX}GATEWAY__INSECURE": "yes",
    }
    assert refused(tmp_path, (GOLDEN / "wrong.toml").read_text(), environ) == (
        (GOLDEN / "wrong.txt").read_text().splitlines()
    )


def test_rules_between_settings(tmp_path: Path) -> None:
    assert refused(tmp_path, (GOLDEN / "broken_rules.toml").read_text()) == (
        (GOLDEN / "broken_rules.txt").read_text().splitlines()
    )


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        (
            "samples_retention_days = 30",
            (
                "FILE:2: history.samples_retention_days: no setting has this name; samples are kept by the hour now; set "
                "samples_retention_hours, and minutes_retention_days for the minutes made of them"
            ),
        ),
        (
            "samples_retention_hours = 800",
            (
                "FILE:2: history.samples_retention_hours: samples, minutes and hours are kept for 800 h, 720 h, 17520 h, "
                "and none may be kept for longer than the next; change one of them"
            ),
        ),
    ],
)
def test_how_long_history_is_kept(tmp_path: Path, text: str, expected: str) -> None:
    assert refused(tmp_path, f"[history]\n{text}\n") == [expected]


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("[server]\nport 7443\n", "FILE:2: column 6: Expected '=' after a key in a key/value pair; this is not TOML"),
        ('[server]\nhost = "x', "FILE:2: column 10: "),
        ("[server\n", "FILE:1: column 8: "),
        ("a = 1\na = 2\n", "FILE:2: column 6: "),
        (b"a = 1\nb = '\xff'\n", "FILE:2: the file is not UTF-8; save it as UTF-8"),
    ],
)
def test_what_is_not_toml(tmp_path: Path, text: str | bytes, expected: str) -> None:
    (line,) = refused(tmp_path, text)
    assert line.startswith(expected)


def test_the_environment_is_checked_even_when_the_file_is_not_toml(tmp_path: Path) -> None:
    lines = refused(tmp_path, "[", {f"{PREFIX}SERVER__PORT": "http"})
    assert len(lines) == 2
    assert lines[1].startswith(f"environment {PREFIX}SERVER__PORT: server.port: must be a whole number")


def test_a_file_that_was_named_must_be_there(tmp_path: Path) -> None:
    for config, environ in ((tmp_path / "no.toml", {}), (None, {f"{PREFIX}CONFIG": str(tmp_path / "no.toml")})):
        with pytest.raises(BadSettingsError, match="cannot read the file: No such file or directory; named by"):
            load(config, environ={"STATE_DIRECTORY": str(tmp_path), **environ})


def test_later_sources_win(tmp_path: Path) -> None:
    file = tmp_path / "c.toml"
    file.write_text('[server]\nport = 1001\nenrolment_port = 1002\nhosts = ["a"]\n[gateway]\nport = 1003\n')
    environ = {
        "STATE_DIRECTORY": str(tmp_path),
        f"{PREFIX}SERVER__ENROLMENT_PORT": "2002",
        f"{PREFIX}SERVER__HOSTS": "b, c",
        f"{PREFIX}GATEWAY__PORT": "",
        f"{PREFIX}DATA_DIR": "/from/environment",
    }
    loaded = load(file, {"data_dir": "/from/flag"}, environ)
    server = loaded.settings.server
    assert (server.port, server.enrolment_port, server.hosts) == (1001, 2002, ("b", "c"))
    assert loaded.settings.gateway.port == 1003  # an empty variable counts as not set
    assert loaded.settings.data_dir == Path("/from/flag")
    origins = {key: str(origin) for key, origin in loaded.origins.items()}
    assert origins["server.port"] == f"{file}:2"
    assert origins["server.enrolment_port"] == f"environment {PREFIX}SERVER__ENROLMENT_PORT"
    assert origins["server.host"] == "default"
    assert origins["data_dir"] == "--data-dir"
    assert loaded.config_file == file


@pytest.mark.parametrize(
    ("key", "text", "expected"),
    [
        ("GATEWAY__INSECURE", "TRUE", True),
        ("GATEWAY__CONCURRENCY", " 4 ", 4),
        ("GATEWAY__DRAIN_SECONDS_MAX", "1e2", 100.0),
        ("GATEWAY__HOST", "::1", "::1"),
        ("GATEWAY__BODY_BYTES_MAX", "2048", 2048),
    ],
)
def test_texts_of_the_environment(tmp_path: Path, key: str, text: str, expected: object) -> None:
    loaded = fine(tmp_path, "", {PREFIX + key: text})
    assert getattr(loaded.settings.gateway, key.partition("__")[2].lower()) == expected


def test_lists_in_the_environment(tmp_path: Path) -> None:
    for text in ("a,b", '["a", "b"]', " a , b ,"):
        assert fine(tmp_path, "", {f"{PREFIX}SERVER__HOSTS": text}).settings.server.hosts == ("a", "b")


def test_relative_paths(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "elsewhere").mkdir()
    monkeypatch.chdir(tmp_path / "elsewhere")
    loaded = fine(tmp_path, 'data_dir = "data"\n')
    assert loaded.settings.data_dir == tmp_path / "data"
    flagged = load(tmp_path / "controlplane.toml", {"data_dir": "data"}, {})
    assert flagged.settings.data_dir == tmp_path / "elsewhere" / "data"


def test_default_places(tmp_path: Path) -> None:
    nothing = load(environ={"STATE_DIRECTORY": str(tmp_path)})
    assert nothing.settings.data_dir == tmp_path
    (tmp_path / "controlplane.toml").write_text("[server]\nport = 1\n")
    assert load(environ={"STATE_DIRECTORY": f"{tmp_path}:/other"}).settings.server.port == 1
    assert load(flags={"data_dir": str(tmp_path)}, environ={}).settings.server.port == 1


def test_passwords(tmp_path: Path) -> None:
    text = '[database]\nurl = "postgresql://u@h/d"\n'
    by_environment = fine(tmp_path, text, {f"{PREFIX}DATABASE__PASSWORD": "a b"})
    assert by_environment.settings.database_url == "postgresql://u:a%20b@h/d"
    (tmp_path / "pw").write_text("from-file\n")
    by_file = fine(tmp_path, f'{text}password_file = "pw"\n')
    assert by_file.settings.database_url == "postgresql://u:from-file@h/d"
    assert str(by_file.origins["database.password"]) == str(tmp_path / "pw")
    (tmp_path / "pw").write_text("\n")
    (line,) = refused(tmp_path, f'{text}password_file = "pw"\n')
    assert line == "FILE:3: database.password_file: DIR/pw holds no password; write it there, as UTF-8 text"


SECRET = "correct-horse"


@pytest.mark.parametrize(
    ("text", "environ"),
    [
        (f'[database]\nurl = "mysql://u:{SECRET}@h/d"\n', {}),
        (f'[database]\nurl = ["postgresql://u:{SECRET}@h/d"]\n', {}),
        (f'[database]\npassword = "{SECRET}"\n', {}),
        (f'[database]\npasword = "{SECRET}"\n', {}),
        (f'[database]\npassword = ["{SECRET}"]\n', {}),
        ("", {f"{PREFIX}DATABASE__PASSWORD": SECRET}),
        ("", {f"{PREFIX}DATABASE__PASWORD": SECRET}),
        ("", {f"{PREFIX}DATABASE__URL": f"postgresql:/u:{SECRET}@h/d"}),
    ],
)
def test_no_error_shows_a_secret(tmp_path: Path, text: str, environ: dict[str, str]) -> None:
    assert SECRET not in "\n".join(refused(tmp_path, text, environ))


def test_kubernetes_variables_of_a_service_of_our_name_do_no_harm(tmp_path: Path) -> None:
    environ = {
        f"{PREFIX}SERVICE_HOST": "10.0.0.1",
        f"{PREFIX}PORT_7443_TCP_ADDR": "10.0.0.1",
        f"{PREFIX}SERVER_PORT": "7000",
    }
    loaded = fine(tmp_path, "", environ)
    assert loaded.settings.server.port == 7443
    assert loaded.notes == (
        f"environment {PREFIX}SERVER_PORT is not a setting and is ignored; did you mean {PREFIX}SERVER__PORT?",
    )


@given(
    st.recursive(
        st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=5),
        lambda inner: st.lists(inner, max_size=2) | st.dictionaries(st.text(max_size=8), inner, max_size=2),
        max_leaves=6,
    ),
    st.sampled_from(["server", "server.port", "gateway.envoy_path", "database.url", "fleet.lost_seconds", "logs", "x"]),
)
def test_no_value_makes_it_fail_in_another_way(value: object, key: str) -> None:
    from controlplane.settings.loading import load_gathered
    from controlplane.settings.problems import Origin
    from controlplane.settings.sources import Gathered

    if value is None:
        return
    gathered = Gathered(values={"data_dir": "/data"})
    gathered.put(key, value, Origin("test"))
    try:
        load_gathered(gathered)
    except BadSettingsError as error:
        assert all(str(problem).isprintable() for problem in error.problems)  # noqa: PT017

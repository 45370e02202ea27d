"""Making a data directory: once, wholly, and never over something else."""

from pathlib import Path

import pytest

from controlplane.errors import ConflictError, DatabaseVersionError
from controlplane.fleet.access import OperatorIdentity, Role
from controlplane.identity.api_keys import ApiKeySigner
from controlplane.identity.authority import Authority
from controlplane.identity.files import DataDirectoryError
from controlplane.identity.layout import DataLayout
from controlplane.identity.marker import Marker, read_marker, require_initialised, write_marker
from controlplane.services.initialise import Initialised, initialise
from controlplane.settings import DatabaseSettings, ServerSettings, Settings
from controlplane.storage import migrate
from controlplane.storage.database import Database
from tests.support.clock import SettableClock

BY = OperatorIdentity("root@here", Role.ADMIN, "offline")


async def init(
    directory: Path,
    *,
    version: str = "1.0.0",
    url: str | None = None,
    config_text: str = "",
    told: list[str] | None = None,
) -> Initialised:
    settings = Settings(
        data_dir=directory, server=ServerSettings(hosts=("cp.example",)), database=DatabaseSettings(url=url)
    )
    tell = (told if told is not None else []).append
    return await initialise(settings, version, BY, SettableClock(), tell, config_text)


def everything(directory: Path) -> dict[str, bytes]:
    return {
        str(path): path.read_bytes() for path in directory.rglob("*") if path.is_file() and "stoker.db" not in path.name
    }


async def test_all_that_is_made(tmp_path: Path) -> None:
    root, told = tmp_path / "deep" / "data", list[str]()
    done = await init(root, told=told, config_text="[server]\n")
    assert done == Initialised(DataLayout(root), changed=True)
    assert [line.split("  ")[0].strip() for line in told] == [
        "data directory", "settings", "database", "identity", "first operator",
    ]  # fmt: skip
    assert require_initialised(done.layout).version == "1.0.0"
    authority = Authority.load(done.layout.identity)
    ApiKeySigner.load(done.layout.api_keys)
    assert not authority.server_credentials(["cp.example"], SettableClock().now()).renewed
    assert not authority.gateway_credentials(SettableClock().now()).renewed
    admin = done.layout.operator("admin")
    assert {path.name for path in admin.iterdir()} == {"ca.pem", "cert.pem", "context.toml", "key.pem"}
    assert (admin / "context.toml").read_text() == 'server = "cp.example:7443"\nname = "admin"\n'
    assert (admin / "ca.pem").read_bytes() == authority.ca_pem
    modes = {path: path.stat().st_mode & 0o777 for path in (root, admin, admin / "key.pem", done.layout.config)}
    assert list(modes.values()) == [0o700, 0o700, 0o600, 0o600]
    migrate.require_current(f"sqlite:///{done.layout.database}")
    database = Database.open(f"sqlite:///{done.layout.database}")
    (entry,) = await database.run(lambda uow: uow.audit.list())
    await database.close()
    assert (entry.actor, entry.action, entry.target) == ("operator:root@here", "create_operator", "admin")


async def test_again_by_the_same_release_changes_nothing(tmp_path: Path) -> None:
    await init(tmp_path / "data")
    before = everything(tmp_path)
    assert not (await init(tmp_path / "data")).changed
    assert everything(tmp_path) == before


async def test_again_by_another_release(tmp_path: Path) -> None:
    await init(tmp_path / "data")
    with pytest.raises(DataDirectoryError, match=r"initialised by Stoker '1\.0\.0'.*stoker-controlplane migrate"):
        await init(tmp_path / "data", version="1.1.0")


async def test_a_directory_that_holds_something_else(tmp_path: Path) -> None:
    (tmp_path / "thesis\x1b.txt").touch()
    with pytest.raises(DataDirectoryError, match=r"not empty.*'thesis\\x1b\.txt'.*with --data-dir"):
        await init(tmp_path)
    assert everything(tmp_path) == {str(tmp_path / "thesis\x1b.txt"): b""}


async def test_a_directory_that_is_not_ours_to_look_into(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(DataDirectoryError, match="cannot"):
        await init(tmp_path / "file" / "data")


async def test_settings_may_be_there_first(tmp_path: Path) -> None:
    (tmp_path / "controlplane.toml").write_text("# mine\n")
    await init(tmp_path, config_text="[server]\n")
    assert (tmp_path / "controlplane.toml").read_text() == "# mine\n"


@pytest.mark.parametrize("lost", [["stoker.toml", "identity", "operators"], ["operators"], ["identity/gateway_ca"], []])
async def test_an_interrupted_init_is_continued(tmp_path: Path, lost: list[str]) -> None:
    """Whatever had been made by then is kept; what had not is made."""
    import shutil

    layout = (await init(tmp_path / "data")).layout
    kept = None if "identity" in lost else Authority.load(layout.identity).ca_der
    write_marker(layout, Marker("1.0.0", complete=False))
    for name in lost:
        path = layout.root / name
        shutil.rmtree(path) if path.is_dir() else path.unlink()
    if "operators" in lost:
        # It had not come to the database either: files go first.
        database = Database.open(f"sqlite:///{layout.database}")
        await database.close()
        layout.database.unlink()
    await init(tmp_path / "data")
    assert require_initialised(layout).complete
    assert kept is None or Authority.load(layout.identity).ca_der == kept


async def test_a_database_of_another_installation(tmp_path: Path) -> None:
    url = f"sqlite:///{tmp_path / 'shared.db'}"
    await init(tmp_path / "one", url=url)
    for _ in range(2):  # trying again makes it no better
        with pytest.raises(ConflictError, match="belongs to another installation"):
            await init(tmp_path / "two", url=url)
    assert read_marker(DataLayout(tmp_path / "two")) is None


async def test_a_database_that_is_newer_than_the_code(tmp_path: Path) -> None:
    import sqlite3

    url = f"sqlite:///{tmp_path / 'newer.db'}"
    migrate.upgrade(url)
    with sqlite3.connect(tmp_path / "newer.db") as connection:
        connection.execute("UPDATE alembic_version SET version_num = 'from_the_future'")
    connection.close()
    with pytest.raises(DatabaseVersionError, match="newer release of Stoker"):
        await init(tmp_path / "data", url=url)

"""Make a data directory: its database migrated, its CAs, our own certificates, the first operator's credentials.

Called by `stoker-controlplane init`. Can be run again after it was interrupted: every step keeps what is there. Never
touches a directory that holds something else, nor a database that belongs to another installation.
"""

import asyncio
from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime, timedelta
from pathlib import Path

from controlplane.clock import Clock
from controlplane.errors import ConflictError
from controlplane.fleet.access import OperatorIdentity, Role
from controlplane.identity import certificates
from controlplane.identity.api_keys import ApiKeySigner
from controlplane.identity.authority import Authority
from controlplane.identity.files import DataDirectoryError, make_directory, write_private
from controlplane.identity.layout import DataLayout
from controlplane.identity.marker import Marker, read_marker, write_marker
from controlplane.identity.operator_files import write_operator
from controlplane.services.create_operator import record_operator
from controlplane.settings import Settings, masked_url
from controlplane.storage import migrate
from controlplane.storage.database import Database
from controlplane.storage.unit_of_work import UnitOfWork

FIRST_OPERATOR = "admin"
_HARMLESS = {"controlplane.toml", "lost+found"}  # may be there before us: our own settings, a fresh file system


@dataclass(frozen=True, slots=True)
class Initialised:
    layout: DataLayout
    changed: bool  # False: this very release had initialised it already


async def initialise(
    settings: Settings,
    version: str,
    by: OperatorIdentity,
    clock: Clock,
    tell: Callable[[str], None],
    config_text: str = "",
) -> Initialised:
    """`tell` gets a line a step; `config_text` becomes the directory's controlplane.toml unless "" or there is one.

    Raises DataDirectoryError, DatabaseVersionError, UnavailableError or ConflictError.
    """
    layout = DataLayout(settings.data_dir)
    marker = read_marker(layout)
    if marker is None:
        _refuse_foreign(layout.root)
    elif marker.complete:
        if marker.version != version:
            raise DataDirectoryError(
                f"{layout.root} was initialised by Stoker {marker.version[:40]!a}: it needs no second `init`; "
                "run `stoker-controlplane migrate` to bring its database to this release"
            )
        return Initialised(layout, changed=False)
    make_directory(layout.root)
    tell(f"data directory  {layout.root}")
    if config_text and not layout.config.exists():
        write_private(layout.config, config_text.encode())  # private: a database's URL may hold a password
        tell(f"settings        {layout.config}")
    await asyncio.to_thread(migrate.upgrade, settings.database_url)
    tell(f"database        {masked_url(settings.database_url)}")
    database = Database.open(settings.database_url)
    try:
        await _refuse_foreign_database(database, layout)
        write_marker(layout, Marker(version, complete=False))
        now = clock.now()
        authority = _identities(layout, settings, now)
        tell(f"identity        {layout.identity} (until {authority.not_after:%Y-%m-%d})")
        await _first_operator(database, authority, layout, settings, by, now)
        tell(f"first operator  {layout.operator(FIRST_OPERATOR)}")
    finally:
        await database.close()
    write_marker(layout, Marker(version, complete=True))
    return Initialised(layout, changed=True)


def _refuse_foreign(root: Path) -> None:
    try:
        if not root.exists():
            return
        foreign = sorted(path.name for path in root.iterdir() if path.name not in _HARMLESS)
    except OSError as error:
        raise DataDirectoryError(
            f"cannot look into {root}: {error.strerror}; name a directory that is yours with --data-dir"
        ) from error
    # A database file alone is what a first `init` leaves that was interrupted early.
    foreign = [name for name in foreign if not name.startswith("stoker.db")]
    if foreign:
        some = ", ".join(ascii(name[:60]) for name in foreign[:3])
        raise DataDirectoryError(
            f"{root} is not empty and not a data directory of Stoker (it holds {some}): "
            "name an empty or a new directory with --data-dir"
        )


async def _refuse_foreign_database(database: Database, layout: DataLayout) -> None:
    """A database with identities in it is ours only if it knows the first operator's certificate that lies here."""

    def owner(uow: UnitOfWork) -> tuple[bool, str]:
        admin = uow.operators.get(FIRST_OPERATOR)
        in_use = admin is not None or bool(uow.operators.list() or uow.nodes.all() or uow.keys.list())
        return in_use, "" if admin is None else admin.serial

    in_use, serial = await database.run(owner)
    certificate = layout.operator(FIRST_OPERATOR) / "cert.pem"
    ours = certificate.exists() and certificates.serial_of(certificate.read_bytes()) == serial
    if in_use and not ours:
        raise ConflictError(
            "the database belongs to another installation: its nodes and operators have certificates of another CA; "
            "name an empty database with --database-url, or use that installation's data directory"
        )


def _identities(layout: DataLayout, settings: Settings, now: datetime) -> Authority:
    authority = Authority.create(layout.identity, now)
    authority.server_credentials(settings.server.hosts, now)
    authority.gateway_credentials(now)
    ApiKeySigner.ensure(layout.api_keys)
    return authority


async def _first_operator(
    database: Database,
    authority: Authority,
    layout: DataLayout,
    settings: Settings,
    by: OperatorIdentity,
    now: datetime,
) -> None:
    key = certificates.new_key()
    issued = authority.issue_operator(
        certificates.request_pem(key, FIRST_OPERATOR),
        name=FIRST_OPERATOR,
        role=Role.ADMIN,
        now=now,
        lifetime=timedelta(seconds=settings.fleet.operator_certificate_lifetime_seconds),
    )
    # Files first: a run that stops in between is told by `_refuse_foreign_database` from somebody else's database.
    write_operator(
        layout.operator(FIRST_OPERATOR),
        server=settings.operator_address,
        name=FIRST_OPERATOR,
        key=key,
        certificate_pem=issued.certificate_pem,
        ca_pem=authority.ca_pem,
    )
    await database.run(lambda uow: record_operator(uow, by, FIRST_OPERATOR, Role.ADMIN, issued, now))

"""Operators: what their certificate says, and which of several counts."""

from collections.abc import AsyncIterator
from datetime import timedelta
from pathlib import Path

import pytest
from cryptography import x509

from controlplane.errors import InvalidInputError
from controlplane.fleet.access import Role
from controlplane.identity import certificates
from controlplane.identity.peer import OperatorPeer, peer_of
from controlplane.services.create_operator import CreateOperator
from tests.support.identity import ADMIN, Installation, installation, new_request


@pytest.fixture
async def here(tmp_path: Path) -> AsyncIterator[Installation]:
    async with installation(tmp_path) as made:
        yield made


@pytest.fixture
def create(here: Installation) -> CreateOperator:
    return CreateOperator(here.database, here.authority, here.clock, lambda: 86_400.0)


async def test_an_operator(here: Installation, create: CreateOperator) -> None:
    issued = await create(ADMIN, "ann", "viewer", new_request("root"))
    certificate = x509.load_pem_x509_certificate(issued.certificate_pem)
    names = certificate.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    assert peer_of(names.get_values_for_type(x509.UniformResourceIdentifier)) == OperatorPeer("ann", Role.VIEWER)
    assert issued.not_after == here.clock.now() + timedelta(days=1)
    assert issued.serial == certificates.serial_of(issued.certificate_pem)
    stored = await here.database.run(lambda uow: uow.operators.get("ann"))
    assert stored is not None
    assert (stored.role, stored.serial, stored.not_after) == (Role.VIEWER, issued.serial, issued.not_after)
    (entry,) = await here.audit()
    assert (entry.action, entry.target, entry.outcome) == ("create_operator", "ann", "created")


async def test_the_newest_certificate_counts(here: Installation, create: CreateOperator) -> None:
    await create(ADMIN, "ann", "viewer", new_request())
    newest = await create(ADMIN, "ann", "admin", new_request())
    stored = await here.database.run(lambda uow: uow.operators.get("ann"))
    assert stored is not None
    assert (stored.serial, stored.role) == (newest.serial, Role.ADMIN)
    assert [entry.outcome for entry in await here.audit()] == ["created", "replaced"]


@pytest.mark.parametrize(
    ("name", "role", "request_pem", "told"),
    [
        ("", "viewer", new_request(), "needs a name"),
        ("Ann", "viewer", new_request(), "operator name"),
        ("../ann", "viewer", new_request(), "operator name"),
        ("ann", "root", new_request(), "use one of viewer, operator, admin"),
        ("ann", "", new_request(), "use one of viewer, operator, admin"),
        ("ann", "viewer", b"", "certificate request"),
    ],
)
async def test_what_is_refused(
    here: Installation, create: CreateOperator, name: str, role: str, request_pem: bytes, told: str
) -> None:
    with pytest.raises(InvalidInputError, match=told):
        await create(ADMIN, name, role, request_pem)
    assert await here.audit() == []

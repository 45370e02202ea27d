"""API keys: made, listed, never kept."""

from collections.abc import AsyncIterator
from datetime import timedelta
from pathlib import Path

import jwt
import pytest

from controlplane.errors import InvalidInputError
from controlplane.identity import certificates
from controlplane.identity.api_keys import ApiKeySigner
from controlplane.services.create_key import CreateKey
from controlplane.services.list_keys import ListKeys
from tests.support.identity import ADMIN, Installation, installation


@pytest.fixture
async def here(tmp_path: Path) -> AsyncIterator[Installation]:
    async with installation(tmp_path) as made:
        yield made


@pytest.fixture
def create(here: Installation) -> CreateKey:
    return CreateKey(here.database, ApiKeySigner(certificates.new_key()), here.clock)


async def test_a_key_is_what_is_stored_of_it(here: Installation, create: CreateKey) -> None:
    made = await create(ADMIN, "acme", 3600, "batch jobs")
    claims = jwt.decode(made.secret, options={"verify_signature": False})
    assert claims["sub"] == made.key.tenant == "acme"
    assert claims["jti"] == made.key.key_id
    assert made.key.expires_at == here.clock.now() + timedelta(hours=1)
    assert claims["exp"] == made.key.expires_at.timestamp()
    assert await ListKeys(here.database)() == [made.key]
    assert made.secret not in repr(made)
    (entry,) = await here.audit()
    assert (entry.actor, entry.action, entry.target) == ("operator:admin", "create_key", made.key.key_id)
    assert made.secret not in repr(entry)


async def test_a_key_without_an_end(create: CreateKey) -> None:
    made = await create(ADMIN, "acme")
    assert made.key.expires_at is None
    assert "exp" not in jwt.decode(made.secret, options={"verify_signature": False})


async def test_keys_of_one_tenant(here: Installation, create: CreateKey) -> None:
    made = [(await create(ADMIN, tenant)).key for tenant in ("a", "b", "a")]
    assert {key.key_id for key in await ListKeys(here.database)("a")} == {made[0].key_id, made[2].key_id}
    with pytest.raises(InvalidInputError):
        await ListKeys(here.database)("A B")


@pytest.mark.parametrize(
    ("tenant", "seconds", "note"),
    [
        ("", 0, ""),
        ("A", 0, ""),
        ("a", -1, ""),
        ("a", float("nan"), ""),
        ("a", 1e30, ""),
        ("a", 0, "x" * 201),
        ("a", 0, "\n"),
    ],
)
async def test_what_is_refused(here: Installation, create: CreateKey, tenant: str, seconds: float, note: str) -> None:
    with pytest.raises(InvalidInputError):
        await create(ADMIN, tenant, seconds, note)
    assert await ListKeys(here.database)() == []

"""Revoking: refused at once, and written down."""

from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from controlplane.errors import NotFoundError, UnavailableError
from controlplane.identity import certificates
from controlplane.identity.api_keys import ApiKeySigner
from controlplane.services.create_key import CreateKey
from controlplane.services.revoke_key import RevokeKey
from tests.support.identity import ADMIN, Installation, installation


@pytest.fixture
async def here(tmp_path: Path) -> AsyncIterator[Installation]:
    async with installation(tmp_path) as made:
        yield made


async def test_a_key_is_revoked_once(here: Installation) -> None:
    told: list[str] = []
    key = (await CreateKey(here.database, ApiKeySigner(certificates.new_key()), here.clock)(ADMIN, "acme")).key
    here.clock.advance(5)
    revoke = RevokeKey(here.database, here.clock, told.append)
    revoked = await revoke(ADMIN, key.key_id)
    assert revoked.changed
    assert revoked.key.revoked_at == here.clock.now()
    here.clock.advance(5)
    again = await revoke(ADMIN, key.key_id)
    assert not again.changed
    assert again.key == revoked.key
    assert told == [key.key_id, key.key_id]
    assert [entry.outcome for entry in await here.audit()] == ["created", "revoked", "was revoked before"]
    assert await here.database.run(lambda uow: uow.keys.revoked_ids()) == {key.key_id}


async def test_a_key_that_is_not_there(here: Installation) -> None:
    told: list[str] = []
    with pytest.raises(NotFoundError, match=r"no API key '\\x1bx'"):
        await RevokeKey(here.database, here.clock, told.append)(ADMIN, "\x1bx")
    assert told == []
    assert await here.audit() == []


async def test_a_database_that_is_away(here: Installation) -> None:
    revoke = RevokeKey(here.database, here.clock, lambda _: None)
    await here.database.close()
    with pytest.raises(UnavailableError):
        await revoke(ADMIN, "k")

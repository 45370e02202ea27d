"""Join tokens: what is stored, for how long, and which are not made at all."""

import base64
from collections.abc import AsyncIterator
from datetime import timedelta
from pathlib import Path

import pytest

from controlplane.errors import InvalidInputError
from controlplane.identity import join_tokens
from controlplane.services.create_join_token import CreateJoinToken
from tests.support.identity import ADMIN, Installation, installation


@pytest.fixture
async def here(tmp_path: Path) -> AsyncIterator[Installation]:
    async with installation(tmp_path) as made:
        yield made


@pytest.fixture
def create(here: Installation) -> CreateJoinToken:
    return CreateJoinToken(here.database, here.authority, here.clock, lambda: 1800.0)


async def test_what_is_kept_of_a_token(here: Installation, create: CreateJoinToken) -> None:
    made = await create(ADMIN, 600, "gpu-1", replace=True)
    _, token_id, secret, pinned = made.token.split(".")
    assert base64.urlsafe_b64decode(pinned + "=" * (-len(pinned) % 4)) == here.authority.ca_der
    stored = await here.database.run(lambda uow: uow.tokens.get(token_id))
    assert stored is not None
    assert join_tokens.secret_matches(secret, stored.secret_hash)
    assert (stored.node_name, stored.replace, stored.created_by) == ("gpu-1", True, "operator:admin")
    assert stored.expires_at == made.expires_at == here.clock.now() + timedelta(minutes=10)
    assert secret not in repr(made)
    (entry,) = await here.audit()
    assert (entry.actor, entry.action, entry.target, entry.peer) == (
        "operator:admin",
        "create_join_token",
        token_id,
        ADMIN.peer,
    )
    assert secret not in repr(entry)


async def test_the_default_lifetime(here: Installation, create: CreateJoinToken) -> None:
    assert (await create(ADMIN)).expires_at == here.clock.now() + timedelta(minutes=30)


@pytest.mark.parametrize("seconds", [-1, 1, 59.9, 2_592_001, float("inf"), float("nan")])
async def test_lifetimes_that_make_no_sense(here: Installation, create: CreateJoinToken, seconds: float) -> None:
    with pytest.raises(InvalidInputError, match="between a minute and 30 days"):
        await create(ADMIN, seconds)
    assert await here.audit() == []


async def test_a_replacing_token_must_name_its_node(create: CreateJoinToken) -> None:
    with pytest.raises(InvalidInputError, match="must name it"):
        await create(ADMIN, replace=True)


async def test_a_name_that_no_node_can_have(create: CreateJoinToken) -> None:
    with pytest.raises(InvalidInputError, match="node name"):
        await create(ADMIN, node_name="GPU 1")

"""The daemon's own certificates live on."""

from datetime import timedelta
from pathlib import Path

from controlplane.identity.authority import OWN_LIFETIME, Authority
from controlplane.jobs import renew_own_certificates
from tests.support.clock import START


async def test_they_are_issued_anew_in_time_and_the_gateway_is_told_of_its_own(tmp_path: Path) -> None:
    authority, told = Authority.create(tmp_path, START), list[bool]()

    async def run(days: float) -> bytes:
        now = START + timedelta(days=days)
        await renew_own_certificates.run(authority, ("cp.example",), lambda: told.append(True), now)
        return (tmp_path / "gateway" / "cert.pem").read_bytes()

    first = await run(0)
    assert told == [True]
    assert await run(1) == first
    assert told == [True]
    assert await run(OWN_LIFETIME.days * 0.8) != first
    assert told == [True, True]

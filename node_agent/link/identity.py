"""Who this node is, on disk: `<state_dir>/identity`, readable by the agent alone.

    node.pem            the node's key and short-lived certificate, one file so that a renewal replaces both at once
    ca.pem              what the node trusts as the control plane, and what verifies this node's own engines
    gateway_ca.pem      the CA of the gateway's client certificate
    scraper.pem         the agent's self-signed client certificate and key, with which it reads its engines
    engine.pem          what node.pem holds, for the engines: they are servers under the node's name
    engine_clients.pem  whom engines answer: the gateway and this agent, nobody else

Running engines watch the last two by file, not by name: vLLM notices only the first of several renames. So those two are
written in place, the others by rename.

Used by `enrolment` (writes), the session and the composition root (read). Never sends anything anywhere.
"""

import shutil
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path

from node_agent.link.certificates import new_key_pem, read_chain, scraper_certificate_pem, split_key, validity
from node_agent.link.files import private_directory, write_atomically, write_in_place
from node_agent.link.problems import CredentialsUnusableError, NotJoinedError

_JOIN_COMMAND = "stoker-agent join --server HOST:PORT --token-file FILE --name NAME --provider P --region R"


@dataclass(frozen=True, slots=True)
class NodeIdentity:
    """What the node shows and trusts when it dials. `certificate_pem` may hold a chain, the node's own first."""

    key_pem: bytes = field(repr=False)
    certificate_pem: bytes
    ca_pem: bytes
    not_before: datetime
    not_after: datetime


@dataclass(frozen=True, slots=True)
class IssuedCredentials:
    """What the control plane answers to a certificate request, already checked."""

    certificate_pem: bytes
    ca_pem: bytes
    gateway_ca_pem: bytes


class IdentityStore:
    """The identity directory of one agent. Methods raise OSError when the disk does not play along."""

    def __init__(self, state_dir: Path) -> None:
        self._directory = state_dir / "identity"

    @property
    def node_path(self) -> Path:
        return self._directory / "node.pem"

    @property
    def ca_path(self) -> Path:
        return self._directory / "ca.pem"

    @property
    def scraper_path(self) -> Path:
        return self._directory / "scraper.pem"

    @property
    def engine_path(self) -> Path:
        return self._directory / "engine.pem"

    @property
    def engine_clients_path(self) -> Path:
        return self._directory / "engine_clients.pem"

    def exists(self) -> bool:
        return self.node_path.exists()

    def load(self) -> NodeIdentity:
        """Read anew at every dial, so that a renewed certificate is used. Raises NotJoinedError."""
        try:
            combined, ca_pem = self.node_path.read_bytes(), self.ca_path.read_bytes()
        except FileNotFoundError as error:
            raise NotJoinedError(f"this node has not joined: run {_JOIN_COMMAND}") from error
        except OSError as error:
            raise NotJoinedError(
                f"the identity in {self._directory} cannot be read ({error.strerror}): "
                "run the agent as the user that joined, or mend the permissions"
            ) from error
        try:
            key_pem, valid = split_key(combined), validity(combined)
            read_chain(ca_pem, "the CA")
        except CredentialsUnusableError as error:
            raise NotJoinedError(f"the identity in {self._directory} is damaged ({error}): join again") from error
        return NodeIdentity(key_pem, _certificates_only(combined), ca_pem, valid.not_before, valid.not_after)

    def prepare(self) -> None:
        """Fail before a one-time token is spent rather than after. Raises OSError."""
        private_directory(self._directory)
        probe = self._directory / "writable"
        write_atomically(probe, b"")
        probe.unlink()

    def install(self, key_pem: bytes, issued: IssuedCredentials, now: datetime) -> None:
        """A new identity, after a join: all of it at once. The agent is not running (the caller holds its lock)."""
        staged = self._directory.with_name("identity.new")
        shutil.rmtree(staged, ignore_errors=True)
        private_directory(staged)
        scraper_key = new_key_pem()
        scraper = scraper_certificate_pem(scraper_key, now)
        files = {
            "node.pem": key_pem + issued.certificate_pem,
            "engine.pem": key_pem + issued.certificate_pem,
            "ca.pem": issued.ca_pem,
            "gateway_ca.pem": issued.gateway_ca_pem,
            "scraper.pem": scraper_key + scraper,
            "engine_clients.pem": issued.gateway_ca_pem + scraper,
        }
        for name, content in files.items():
            write_atomically(staged / name, content)
        old = self._directory.with_name("identity.old")
        shutil.rmtree(old, ignore_errors=True)
        if self._directory.exists():
            self._directory.rename(old)
        staged.rename(self._directory)
        shutil.rmtree(old, ignore_errors=True)

    def renew(self, key_pem: bytes, issued: IssuedCredentials) -> None:
        """A renewed certificate. Trust first, so that at no moment an engine or a dial has a pair that does not fit."""
        scraper = _certificates_only(self.scraper_path.read_bytes())
        write_in_place(self.engine_clients_path, issued.gateway_ca_pem + scraper)
        write_atomically(self._directory / "gateway_ca.pem", issued.gateway_ca_pem)
        write_atomically(self.ca_path, issued.ca_pem)
        write_atomically(self.node_path, key_pem + issued.certificate_pem)
        write_in_place(self.engine_path, key_pem + issued.certificate_pem)


def _certificates_only(pem: bytes) -> bytes:
    start = pem.find(b"-----BEGIN CERTIFICATE-----")
    if start < 0:
        raise CredentialsUnusableError("there is no certificate in it")
    return pem[start:]

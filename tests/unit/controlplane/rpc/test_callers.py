"""Which role each method needs, for all methods and none that is not there; and whose certificate counts at all."""

from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest

from controlplane.errors import IdentityRefusedError, RoleRefusedError
from controlplane.fleet.access import Role
from controlplane.identity.authority import IssuedCertificate
from controlplane.identity.peer import node_uri, operator_uri
from controlplane.proto.stoker.v1 import operator_pb2
from controlplane.rpc.callers import ROLE_NEEDED, OperatorCalls, node_calling
from controlplane.services.check_operator import KEPT_SECONDS, CheckOperator
from tests.support.identity import Installation, installation, new_request

METHODS = sorted(operator_pb2.DESCRIPTOR.services_by_name["OperatorService"].methods_by_name)


class Call:
    """What gRPC tells of a caller whose certificate it has verified."""

    def __init__(self, *names: str, pem: bytes = b"") -> None:
        self._names = [name.encode() for name in names]
        self._pem = pem

    def auth_context(self) -> dict[str, Any]:
        found = {"x509_subject_alternative_name": self._names, "x509_pem_cert": [self._pem]}
        return {key: value for key, value in found.items() if any(value)}

    def peer(self) -> str:
        return "ipv4:10.0.0.9:5000"


@pytest.fixture
async def installed(tmp_path: Path) -> AsyncIterator[Installation]:
    async with installation(tmp_path) as made:
        yield made


class Operators:
    """Operators with certificates of the installation's CA, one of each role."""

    def __init__(self, made: Installation) -> None:
        self.made = made
        self.issued = {role: self.issue(role.value, role) for role in Role}
        self.calls = OperatorCalls(
            CheckOperator(made.database, made.clock, {role.value: self.issued[role].serial for role in Role})
        )

    def issue(self, name: str, role: Role) -> IssuedCertificate:
        return self.made.authority.issue_operator(new_request(), name=name, role=role, now=self.made.clock.now())

    def call(self, role: Role) -> Call:
        return Call(operator_uri(role.value, role), pem=self.issued[role].certificate_pem)

    async def record(self, role: Role, serial: str) -> None:
        now = self.made.clock.now()
        await self.made.database.run(lambda uow: uow.operators.put(role.value, role, serial, now, "ann", now))


@pytest.fixture
def operators(installed: Installation) -> Operators:
    return Operators(installed)


def test_the_table_names_every_method_and_no_other() -> None:
    assert sorted(ROLE_NEEDED) == METHODS


async def test_a_role_may_do_what_it_includes_and_nothing_more(operators: Operators) -> None:
    for method in METHODS:
        for role in Role:
            if role.includes(ROLE_NEEDED[method]):
                caller = await operators.calls.caller(operators.call(role), method)
                assert (caller.name, caller.role, caller.peer) == (role.value, role, "ipv4:10.0.0.9:5000")
            else:
                with pytest.raises(RoleRefusedError, match=f"needs the role {ROLE_NEEDED[method].value}"):
                    await operators.calls.caller(operators.call(role), method)


def test_what_is_read_needs_viewer_what_moves_operator_what_identifies_admin() -> None:
    by_role = {role: {method for method, needed in ROLE_NEEDED.items() if needed is role} for role in Role}
    present = {"Watch", "GetFleet", "GetServer", "ReadEngineLog", "ListJobs", "ListLeases"}
    past = {"ListEvents", "GetEngineHistory", "GetFleetAt", "QuerySql", "ListAudit", "VerifyAudit"}
    assert by_role[Role.VIEWER] == present | past
    moves = {"Place", "Remove", "Drain", "Resume", "Restart", "LoadAdapter", "UnloadAdapter"}
    assert by_role[Role.OPERATOR] == moves | {"ProbeNode", "SetReportInterval", "PutLease", "EndLease"}


async def test_a_method_without_a_role_is_for_nobody(operators: Operators) -> None:
    with pytest.raises(RoleRefusedError, match="nobody"):
        await operators.calls.caller(operators.call(Role.ADMIN), "Explode")


async def test_a_newer_certificate_ends_the_older_one(operators: Operators) -> None:
    for role in Role:
        await operators.record(role, operators.issued[role].serial)
    newer = operators.issue("viewer", Role.VIEWER)
    await operators.record(Role.VIEWER, newer.serial)
    call = Call(operator_uri("viewer", Role.VIEWER), pem=newer.certificate_pem)
    assert (await operators.calls.caller(call, "GetServer")).name == "viewer"
    with pytest.raises(IdentityRefusedError, match="does not count any more"):
        await operators.calls.caller(operators.call(Role.VIEWER), "GetServer")


async def test_a_revoked_operator_is_out_within_seconds_and_the_others_stay(operators: Operators) -> None:
    for role in Role:
        await operators.record(role, operators.issued[role].serial)
    now = operators.made.clock.now()
    assert await operators.made.database.run(lambda uow: uow.operators.revoke("admin", now))
    operators.made.clock.advance(KEPT_SECONDS + 1)
    with pytest.raises(IdentityRefusedError):
        await operators.calls.caller(operators.call(Role.ADMIN), "GetServer")
    assert (await operators.calls.caller(operators.call(Role.VIEWER), "GetServer")).name == "viewer"


async def test_operators_get_in_while_the_database_is_away(operators: Operators) -> None:
    await operators.made.database.close()
    operators.made.clock.advance(KEPT_SECONDS + 1)
    assert (await operators.calls.caller(operators.call(Role.VIEWER), "GetServer")).name == "viewer"


SERIAL = "0" * 32


@pytest.mark.parametrize("call", [Call(), Call("gcp-1"), Call(node_uri("gcp-1", SERIAL)), Call("stoker://gateway")])
async def test_only_operators_are_operators(operators: Operators, call: Call) -> None:
    with pytest.raises(IdentityRefusedError):
        await operators.calls.caller(call, "GetServer")


@pytest.mark.parametrize("call", [Call(), Call(operator_uri("ann", Role.ADMIN)), Call("stoker://controlplane")])
def test_only_nodes_are_nodes(call: Call) -> None:
    with pytest.raises(IdentityRefusedError):
        node_calling(call)


def test_a_node() -> None:
    assert node_calling(Call("localhost", node_uri("gcp-1", SERIAL))).name == "gcp-1"

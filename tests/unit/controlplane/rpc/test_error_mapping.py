"""Every error of ours has its status; nothing else leaks."""

from collections.abc import Iterator

import grpc
import pytest

from controlplane import errors
from controlplane.errors import StokerError
from controlplane.rpc.error_mapping import STATUS, status_of


def subclasses(kind: type[StokerError]) -> Iterator[type[StokerError]]:
    for found in kind.__subclasses__():
        yield found
        yield from subclasses(found)


EXPECTED = {
    errors.InvalidInputError: grpc.StatusCode.INVALID_ARGUMENT,
    errors.NotFoundError: grpc.StatusCode.NOT_FOUND,
    errors.ConflictError: grpc.StatusCode.FAILED_PRECONDITION,
    errors.IdentityRefusedError: grpc.StatusCode.UNAUTHENTICATED,
    errors.RoleRefusedError: grpc.StatusCode.PERMISSION_DENIED,
    errors.IncompatibleError: grpc.StatusCode.UNIMPLEMENTED,
    errors.UnavailableError: grpc.StatusCode.UNAVAILABLE,
}


@pytest.mark.parametrize("kind", [StokerError, *subclasses(StokerError)])
def test_every_error_has_a_status(kind: type[StokerError]) -> None:
    wanted = next((code for base, code in EXPECTED.items() if issubclass(kind, base)), grpc.StatusCode.INTERNAL)
    assert status_of(kind.__new__(kind)) is wanted
    assert kind.code


def test_no_line_of_the_table_is_hidden_by_one_above() -> None:
    kinds = [kind for kind, _ in STATUS]
    for index, kind in enumerate(kinds):
        assert not any(issubclass(kind, above) for above in kinds[:index])


def test_codes_tell_kinds_apart() -> None:
    own = [kind for kind in subclasses(StokerError) if kind.__module__ == errors.__name__]
    assert len({kind.code for kind in own}) == len(own)

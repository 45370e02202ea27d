"""Every error that the control plane raises on purpose, as one tree.

Raised by any layer; translated at the edges only: `rpc.error_mapping` to gRPC statuses, `gateway.decision_app` to HTTP,
`__main__` to exit codes. The message is a sentence for people that says what to do; `code` is for machines and stable.
"""


class StokerError(Exception):
    """The root. `code` is stable across releases; `str(error)` may be reworded."""

    code = "internal"


class InvalidInputError(StokerError):
    """The caller asked for something that can never be done as asked."""

    code = "invalid_input"


class NotFoundError(StokerError):
    code = "not_found"


class ConflictError(StokerError):
    """It cannot be done now, because of what already is."""

    code = "conflict"


class IdentityRefusedError(StokerError):
    """We do not know this caller, or no longer."""

    code = "identity_refused"


class RoleRefusedError(StokerError):
    """We know the caller; the role does not allow this."""

    code = "role_refused"


class IncompatibleError(StokerError):
    """The two sides speak versions that do not understand each other."""

    code = "incompatible"


class UnavailableError(StokerError):
    """A part that we need is away at the moment; the same call may work later."""

    code = "unavailable"


class DatabaseAwayError(UnavailableError):
    """The database cannot be used at the moment: gone, locked, full, read-only. It may come back by itself."""

    code = "database_away"


class DatabaseSlowError(DatabaseAwayError):
    """The database took longer over this than it may. Perhaps it was asked too much."""

    code = "database_slow"


class DatabaseDamagedError(DatabaseAwayError):
    """What the database reads from its disk is not what it wrote. Only a backup helps."""

    code = "database_damaged"


class ConfigurationError(StokerError):
    """Settings that cannot be used: names file, line and key."""

    code = "bad_configuration"


class DatabaseVersionError(StokerError):
    """The database was written by another release: newer than this code, or never migrated."""

    code = "database_version"


class AlreadyRunningError(StokerError):
    """Another control plane holds this data directory or leads this database."""

    code = "already_running"

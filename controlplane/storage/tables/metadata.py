"""The one MetaData, its naming convention, and the checks that tables share."""

from enum import Enum

from sqlalchemy import CheckConstraint, MetaData

# Every constraint has a name that can be derived, so that a migration can find it on both databases.
NAMING_CONVENTION = {
    "ix": "ix_%(table_name)s_%(column_0_N_name)s",
    "uq": "uq_%(table_name)s_%(column_0_N_name)s",
    "ck": "ck_%(table_name)s_%(constraint_name)s",
    "fk": "fk_%(table_name)s_%(column_0_N_name)s_%(referred_table_name)s",
    "pk": "pk_%(table_name)s",
}

metadata = MetaData(naming_convention=NAMING_CONVENTION)


def not_negative(column: str) -> CheckConstraint:
    """Unknown (NULL) passes."""
    return CheckConstraint(f"{column} >= 0", name=f"{column}_not_negative")


def not_empty(column: str) -> CheckConstraint:
    return CheckConstraint(f"{column} <> ''", name=f"{column}_not_empty")


def one_of(column: str, values: type[Enum]) -> CheckConstraint:
    listed = ", ".join(f"'{value.value}'" for value in values)
    return CheckConstraint(f"{column} IN ({listed})", name=f"{column}_known")

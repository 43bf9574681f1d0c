"""Column types: moments in UTC, and closed sets of states that a CHECK in the table keeps."""

from datetime import UTC, datetime
from enum import StrEnum

from sqlalchemy import DateTime, Dialect, Enum, TypeDecorator

MAX_OFFSET = 1_000_000_000  # rows that a query may skip: databases take no much larger number


class Utc(TypeDecorator[datetime]):
    """A moment, stored in UTC and returned with its zone, which SQLite does not store.

    Raises ValueError for a moment without a time zone.
    """

    impl = DateTime(timezone=True)
    cache_ok = True

    def process_bind_param(self, value: datetime | None, dialect: Dialect) -> datetime | None:
        if value is None:
            return None
        if value.tzinfo is None:
            raise ValueError(f"{value} has no time zone")
        value = value.astimezone(UTC)
        return value.replace(tzinfo=None) if dialect.name == "sqlite" else value

    def process_result_value(self, value: datetime | None, dialect: Dialect) -> datetime | None:
        if value is None:
            return None
        return value.replace(tzinfo=UTC) if value.tzinfo is None else value.astimezone(UTC)


def one_of(states: type[StrEnum], *, name: str | None = None) -> Enum:
    """Column type that holds a member of a `StrEnum` as its value, with a CHECK constraint.

    Reading gives the member. Writing takes a member or its value; anything else is refused by
    SQLAlchemy (`LookupError`) and by the database. `name` is the constraint's, which a second
    column of the same states in one table must give.
    """
    return Enum(
        states,
        native_enum=False,
        create_constraint=True,
        validate_strings=True,
        values_callable=lambda enum: [member.value for member in enum],
        name=name or states.__name__.lower(),
        length=max(len(member.value) for member in states),
    )

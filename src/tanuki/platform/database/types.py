"""Column types: closed sets of states, kept by a CHECK in the table."""

from enum import StrEnum

from sqlalchemy import Enum


def one_of(states: type[StrEnum]) -> Enum:
    """Column type that holds a member of a `StrEnum` as its value, with a CHECK constraint.

    Reading gives the member. Writing takes a member or its value; anything else is refused by
    SQLAlchemy (`LookupError`) and by the database.
    """
    return Enum(
        states,
        native_enum=False,
        create_constraint=True,
        validate_strings=True,
        values_callable=lambda enum: [member.value for member in enum],
        name=states.__name__.lower(),
        length=max(len(member.value) for member in states),
    )

"""The chain's rules: what happens when a deadline passes, and where the thresholds are; people change them, models do not."""

from datetime import datetime

from sqlalchemy import select
from sqlalchemy.orm import Session

from tanuki.errors import UserError
from tanuki.platform.accounts import Person, require
from tanuki.shop.tables import Rules

DEFAULT = {"release_unchecked": True, "order_unconfirmed": True, "too_much": 0.20, "too_little": 0.0, "unusual": 0.20}
MOST = {"too_much": 10.0, "too_little": 1.0, "unusual": 10.0}  # shares of a week's sales


def get(db: Session) -> Rules:
    """The rules in force; the defaults when nobody has ever changed them."""
    return db.scalars(select(Rules).order_by(Rules.id.desc()).limit(1)).first() or Rules(**DEFAULT)


def history(db: Session) -> list[Rules]:
    """All rules there ever were, newest first."""
    return list(db.scalars(select(Rules).order_by(Rules.id.desc()).limit(100)))


def change(
    db: Session,
    who: Person,
    *,
    release_unchecked: bool,
    order_unconfirmed: bool,
    too_much: float,
    too_little: float,
    unusual: float,
    why: str,
    now: datetime,
) -> Rules:
    """Put new rules in force; the old ones stay on record. Raises UserError for a share out of its range or a missing reason."""
    require(who, "analyst")
    for name, value in (("too_much", too_much), ("too_little", too_little), ("unusual", unusual)):
        if not 0 <= value <= MOST[name] or (name == "unusual" and value == 0):
            raise UserError("%(name)s is %(value)s; expected a share from 0 to %(most)s.", name=name, value=value, most=MOST[name])
    if not why.strip():
        raise UserError("Please say why the rules change.")
    rules = Rules(
        release_unchecked=release_unchecked,
        order_unconfirmed=order_unconfirmed,
        too_much=too_much,
        too_little=too_little,
        unusual=unusual,
        by=who.name,
        at=now,
        why=why.strip(),
    )
    db.add(rules)
    db.flush()
    return rules

"""The chain's rules: what happens when a deadline passes, and where the thresholds are; people change them, models do not."""

from datetime import datetime

from sqlalchemy import select
from sqlalchemy.orm import Session

from tanuki.errors import UserError
from tanuki.platform.accounts import Person, require
from tanuki.shop.tables import Rules

SHARES = {  # by name: the default, the least and the most
    "too_much": (0.20, 0.0, 10.0),  # of a week's sales
    "too_little": (0.0, 0.0, 1.0),
    "unusual": (0.20, 0.01, 10.0),
    "service_a": (0.97, 0.0, 0.99),  # of weeks
    "service_b": (0.93, 0.0, 0.99),  # 99 of 100 units sold in the closed loop (bench/shop_cost.py)
    "service_c": (0.0, 0.0, 0.99),
    "holding": (0.25, 0.0, 1.0),  # of the leftover cost
}
DEFAULT = {
    "release_unchecked": True,
    "order_unconfirmed": True,
    **{name: default for name, (default, _, _) in SHARES.items()},
}


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
    why: str,
    now: datetime,
    **shares: float,
) -> Rules:
    """Put new rules in force; the old ones stay on record. A share (SHARES) that is not given stays what it was.

    Raises UserError for a share out of its range or a missing reason.
    """
    require(who, "analyst")
    before = get(db)
    values = {name: shares.get(name, getattr(before, name)) for name in SHARES}
    for name, value in values.items():
        _, least, most = SHARES[name]
        if not least <= value <= most:
            raise UserError(
                "%(name)s is %(value)s; expected a share from %(least)s to %(most)s.",
                name=name,
                value=value,
                least=least,
                most=most,
            )
    if not why.strip():
        raise UserError("Please say why the rules change.")
    rules = Rules(
        release_unchecked=release_unchecked,
        order_unconfirmed=order_unconfirmed,
        by=who.name,
        at=now,
        why=why.strip(),
        **values,
    )
    db.add(rules)
    db.flush()
    return rules

"""The chain's rules: what happens when a deadline passes, and the thresholds.

People change them; models do not.
"""

from dataclasses import dataclass, field
from datetime import datetime

from sqlalchemy import select
from sqlalchemy.orm import Session

from tanuki.errors import UserError
from tanuki.platform.accounts import Person, require_role
from tanuki.shop.tables import DEFAULT_RULES, Rules

SHARE_RANGES = {  # by column of Rules: the smallest and the largest share
    "too_much": (0.0, 10.0),
    "too_little": (0.0, 1.0),
    "unusual": (0.01, 10.0),
    "service_a": (0.0, 0.99),
    "service_b": (0.0, 0.99),
    "service_c": (0.0, 0.99),
    "holding": (0.0, 1.0),
}
MAX_RULES_HISTORY = 100


@dataclass(frozen=True)
class RulesChange:
    """New rules. A share (a key of SHARE_RANGES) that is not given stays what it was."""

    release_unchecked: bool
    order_unconfirmed: bool
    why: str
    shares: dict[str, float] = field(default_factory=dict)


def load_rules(db: Session) -> Rules:
    """The rules in force; the defaults while nobody has changed them."""
    newest = db.scalars(select(Rules).order_by(Rules.id.desc()).limit(1)).first()
    return newest or Rules(**DEFAULT_RULES)


def load_rules_history(db: Session) -> list[Rules]:
    """Past and present rules, newest first."""
    return list(db.scalars(select(Rules).order_by(Rules.id.desc()).limit(MAX_RULES_HISTORY)))


def change_rules(db: Session, person: Person, change: RulesChange, now: datetime) -> Rules:
    """Put new rules in force; the old ones stay on record.

    Raises UserError for a share out of its range or a missing reason.
    """
    require_role(person, "analyst")
    before = load_rules(db)
    shares = {name: change.shares.get(name, getattr(before, name)) for name in SHARE_RANGES}
    for name, share in shares.items():
        low, high = SHARE_RANGES[name]
        if not low <= share <= high:
            raise UserError(
                "%(name)s is %(value)s; expected a share from %(least)s to %(most)s.",
                name=name,
                value=share,
                least=low,
                most=high,
            )
    if not change.why.strip():
        raise UserError("Please say why the rules change.")
    rules = Rules(
        release_unchecked=change.release_unchecked,
        order_unconfirmed=change.order_unconfirmed,
        by=person.name,
        at=now,
        why=change.why.strip(),
        **shares,
    )
    db.add(rules)
    db.flush()
    return rules

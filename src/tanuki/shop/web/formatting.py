"""What several pages show: names in the reader's language, a choice in a form, a week that was asked for."""

from dataclasses import dataclass
from datetime import UTC, datetime

from pydantic import BaseModel
from sqlalchemy import select
from sqlalchemy.orm import Session

from tanuki.shop import purchase_orders, weekly
from tanuki.shop.calendar import TOKYO, Week, parse_week, week_to_order
from tanuki.shop.tables import Region


class Choice(BaseModel):
    """One of the values that a form offers."""

    code: str
    name: str


@dataclass(frozen=True)
class Names:
    """Names of stores, items, makers and regions in one language; a code nobody named is its own name."""

    stores: dict[str, str]
    items: dict[str, str]
    makers: dict[str, str]
    regions: dict[str, str]

    def choices(self, kind: str, codes: list[str] | None = None) -> list[Choice]:
        """What a form offers, in the order of the codes; of some codes only, when they are given."""
        names: dict[str, str] = getattr(self, kind)
        return [
            Choice(code=code, name=names.get(code, code))
            for code in (sorted(names) if codes is None else codes)
        ]


def names(db: Session, lang: str) -> Names:
    """Everybody's names."""
    found = purchase_orders.names(db)
    stores, items, made = (
        {code: str(getattr(each, f"name_{lang}")) for code, each in group.items()}
        for group in (found[1], found[2], found[0])
    )
    regions = {
        region.code: str(getattr(region, f"name_{lang}")) for region in db.scalars(select(Region))
    }
    return Names(stores, items, made, regions)


def wanted(db: Session, week: str | None) -> Week | None:
    """The week that was asked for, or the newest one; None when none was ever started."""
    if week:
        return parse_week(week)
    found = weekly.latest(db)
    return None if found is None else parse_week(found.week)


def next_week() -> Week:
    """The week that is ordered in the week of today."""
    return week_to_order(datetime.now(UTC).astimezone(TOKYO).date())

"""Shared by several pages: names in the reader's language, choices, the week of a page."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Protocol

from pydantic import BaseModel
from sqlalchemy import select
from sqlalchemy.orm import Session

from tanuki.i18n import TOKYO, Translate, msgid
from tanuki.platform.accounts import Account
from tanuki.shop import purchase_orders, weekly
from tanuki.shop.calendar import Week, parse_week, week_to_order
from tanuki.shop.tables import Region

MODEL_TITLES = {
    "poisson_regression": msgid("Poisson regression"),
    "lightgbm": msgid("Gradient boosting (LightGBM)"),
    "auto_ets": msgid("Exponential smoothing (ETS)"),
    "moving_average": msgid("Moving average"),
    "seasonal_naive": msgid("Same week of last year"),
}


class Choice(BaseModel):
    """One of the values that a form offers."""

    code: str
    name: str


class Named(Protocol):
    """A master record with a name in each language."""

    name_en: str
    name_ja: str


@dataclass(frozen=True)
class Names:
    """Names by code in one language. Where a code has no name, callers show the code."""

    stores: Mapping[str, str]
    items: Mapping[str, str]
    suppliers: Mapping[str, str]
    regions: Mapping[str, str]


def load_names(db: Session, lang: str) -> Names:
    suppliers, stores, items = purchase_orders.load_masters_by_code(db)
    regions = {region.code: region for region in db.scalars(select(Region))}
    return Names(
        stores=names_in(lang, stores),
        items=names_in(lang, items),
        suppliers=names_in(lang, suppliers),
        regions=names_in(lang, regions),
    )


def names_in(lang: str, records: Mapping[str, Named]) -> dict[str, str]:
    return {
        code: record.name_ja if lang == "ja" else record.name_en for code, record in records.items()
    }


def render_model_title(model: str | None, say: Translate) -> str:
    """A forecaster's name in words; a name without a title stays as it is."""
    if model is None:
        return ""
    return say(MODEL_TITLES[model]) if model in MODEL_TITLES else model


def load_person_names(db: Session, say: Translate) -> dict[str, str]:
    """Display names by account. Those of the example's people are msgids."""
    accounts = db.execute(select(Account.name, Account.display_name))
    return {name: say(display_name) for name, display_name in accounts}


def build_choices(names: Mapping[str, str], codes: Sequence[str] | None = None) -> list[Choice]:
    """What a form offers: the given codes in their order, or all codes that have a name."""
    return [
        Choice(code=code, name=names.get(code, code))
        for code in (sorted(names) if codes is None else codes)
    ]


def choose_week(db: Session, week: str | None) -> Week | None:
    """The week that a page asks for, or the latest one; None when no week was ever started."""
    if week:
        return parse_week(week)
    cycle = weekly.get_latest_cycle(db)
    return None if cycle is None else parse_week(cycle.week)


def next_week_to_order() -> Week:
    """The week whose orders are due in today's week."""
    return week_to_order(datetime.now(UTC).astimezone(TOKYO).date())

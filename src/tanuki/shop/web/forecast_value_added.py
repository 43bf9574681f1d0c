"""What changes were worth: by person, stage, store and item, with the interval and what follows from it. Managers see their own stores."""

from typing import Any

from fastapi import APIRouter
from pydantic import BaseModel

from tanuki.platform.web.pages import Db, Lang, Who, page
from tanuki.shop import forecast_value_added
from tanuki.shop.web.formatting import names

router = APIRouter()
STAGES = {"check": {"en": "check", "ja": "確認"}, "confirm": {"en": "confirmation", "ja": "確定"}}
COLOURS = {"keep": "var(--ok)", "stop": "var(--bad)", "not_enough": "var(--muted)"}
MOST_BARS = 20


class ValueRow(BaseModel):
    """Changes added up; yen saved, below zero: what they cost. `advice` is keep, stop or not_enough."""

    by: str
    key: str
    name: str
    changes: int
    weeks: int
    helped: int
    hurt: int
    sold_out: int
    saved_yen: float
    per_change_yen: float
    low_yen: float | None
    high_yen: float | None
    advice: str


class AddedValueView(BaseModel):
    """All changes together, and by person, stage, store and item."""

    changes: int
    saved_yen: float
    least_changes: int
    least_weeks: int
    person: list[ValueRow]
    stage: list[ValueRow]
    store: list[ValueRow]
    item: list[ValueRow]
    chart: dict[str, Any] | None


def view(db: Db, who: Who, lang: Lang) -> AddedValueView:
    """The changes of the last year's evaluated weeks, in the stores this person may see."""
    found = forecast_value_added.changes(db, who)
    called = names(db, lang)
    known = {
        "person": {},
        "stage": {code: each[lang] for code, each in STAGES.items()},
        "store": called.stores,
        "item": called.items,
    }
    rows = {
        by: [row(each, known[by]) for each in forecast_value_added.valued(found, by)]
        for by in known
    }
    return AddedValueView(
        changes=len(found),
        saved_yen=sum(each.saved_yen for each in found),
        least_changes=forecast_value_added.LEAST_CHANGES,
        least_weeks=forecast_value_added.LEAST_WEEKS,
        chart=chart_of(rows["person"][:MOST_BARS]) if found else None,
        **rows,
    )


def row(each: forecast_value_added.Value, called: dict[str, str]) -> ValueRow:
    """A sum with its name."""
    return ValueRow(
        name=called.get(each.key, each.key),
        **{name: getattr(each, name) for name in ValueRow.model_fields if name != "name"},
    )


def chart_of(rows: list[ValueRow]) -> dict[str, Any]:
    """Yen saved by a change, each person a point with its interval; right of the line is better. Needs a description."""
    y: dict[str, Any] = {
        "field": "name",
        "type": "nominal",
        "title": None,
        "sort": [each.name for each in rows],
    }
    x: dict[str, Any] = {"type": "quantitative", "title": None}
    colour = {
        "field": "advice",
        "type": "nominal",
        "legend": None,
        "scale": {"domain": list(COLOURS), "range": list(COLOURS.values())},
    }
    return {
        "width": 420,
        "data": {
            "values": [
                each.model_dump(include={"name", "advice", "per_change_yen", "low_yen", "high_yen"})
                for each in rows
            ]
        },
        "layer": [
            {
                "data": {"values": [{"zero": 0}]},
                "mark": {"type": "rule", "strokeDash": [4, 4]},
                "encoding": {"x": {**x, "field": "zero"}},
            },
            {
                "transform": [{"filter": "isValid(datum.low_yen)"}],
                "mark": {"type": "rule", "strokeWidth": 2},
                "encoding": {
                    "y": y,
                    "x": {**x, "field": "low_yen"},
                    "x2": {"field": "high_yen"},
                    "color": colour,
                },
            },
            {
                "mark": {"type": "point", "filled": True, "size": 70, "opacity": 1},
                "encoding": {"y": y, "x": {**x, "field": "per_change_yen"}, "color": colour},
            },
        ],
    }


page(
    router,
    "/shop/added-value",
    view,
    "shop/added_value.html",
    csv=lambda view: [*view.person, *view.stage, *view.store, *view.item],
)

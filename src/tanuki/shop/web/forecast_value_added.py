"""Value of manual changes (forecast value added): by person, stage, store and item, with advice."""

from collections.abc import Mapping, Sequence
from typing import Any

from fastapi import APIRouter
from pydantic import BaseModel

from tanuki.i18n import msgid
from tanuki.platform.web.auth import CurrentPerson, Lang, Say
from tanuki.platform.web.pages import read_route
from tanuki.platform.web.transactions import Db
from tanuki.shop import forecast_value_added
from tanuki.shop.forecast_value_added import FvaSummary
from tanuki.shop.web.formatting import load_names, load_person_names

router = APIRouter(tags=["shop"])
STAGES = {"check": msgid("Analyst’s check"), "confirm": msgid("Store’s confirmation")}
ADVICE_COLOURS = {"keep": "var(--ok)", "stop": "var(--bad)", "not_enough": "var(--muted)"}
MAX_CHART_ROWS = 20


class ValueRow(BaseModel):
    """Changes added up. Yen saved are negative where the changes cost money.

    `advice` is keep, stop or not_enough; `low_yen` and `high_yen` are the 90 % interval per change.
    """

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


class ForecastValueAddedPage(BaseModel):
    """All changes together, and by person, stage, store and item."""

    changes: int
    saved_yen: float
    min_changes: int
    min_weeks: int
    person: list[ValueRow]
    stage: list[ValueRow]
    store: list[ValueRow]
    item: list[ValueRow]
    chart: dict[str, Any] | None


@read_route(
    router,
    "/shop/forecast-value-added",
    "shop/forecast_value_added.html",
    csv=lambda page: [*page.person, *page.stage, *page.store, *page.item],
)
def show_forecast_value_added_page(
    db: Db, person: CurrentPerson, lang: Lang, say: Say
) -> ForecastValueAddedPage:
    """The changes of the last year's evaluated weeks, in the stores that this person may see."""
    effects = forecast_value_added.list_override_effects(db, person)
    names = load_names(db, lang)
    names_by_group: dict[str, Mapping[str, str]] = {
        "person": load_person_names(db, say),
        "stage": {stage: say(title) for stage, title in STAGES.items()},
        "store": names.stores,
        "item": names.items,
    }
    rows = {
        by: [
            build_value_row(summary, names_by_group[by])
            for summary in forecast_value_added.summarise_overrides(effects, by)
        ]
        for by in names_by_group
    }
    return ForecastValueAddedPage(
        changes=len(effects),
        saved_yen=sum(effect.saved_yen for effect in effects),
        min_changes=forecast_value_added.MIN_CHANGES,
        min_weeks=forecast_value_added.MIN_WEEKS,
        chart=build_savings_chart(rows["person"][:MAX_CHART_ROWS]),
        **rows,
    )


def build_value_row(summary: FvaSummary, names: Mapping[str, str]) -> ValueRow:
    values = {field: getattr(summary, field) for field in ValueRow.model_fields if field != "name"}
    return ValueRow(name=names.get(summary.key, summary.key), **values)


def build_savings_chart(rows: Sequence[ValueRow]) -> dict[str, Any] | None:
    """Yen saved per change for each person: a point with its interval; right of zero is better.

    None when no person has enough changes for an interval: the table says as much. A Vega-Lite
    spec; the template adds the description.
    """
    if not any(row.low_yen is not None for row in rows):
        return None
    y: dict[str, Any] = {
        "field": "name",
        "type": "nominal",
        "title": None,
        "sort": [row.name for row in rows],
    }
    x: dict[str, Any] = {"type": "quantitative", "title": None, "axis": {"tickCount": 6}}
    colour = {
        "field": "advice",
        "type": "nominal",
        "legend": None,
        "scale": {"domain": list(ADVICE_COLOURS), "range": list(ADVICE_COLOURS.values())},
    }
    fields = {"name", "advice", "per_change_yen", "low_yen", "high_yen"}
    return {
        "height": {"step": 44},
        "data": {"values": [row.model_dump(include=fields) for row in rows]},
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

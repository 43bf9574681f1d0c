"""Forecast accuracy: how past weeks' orders turned out, by week, store and item."""

from collections.abc import Mapping, Sequence
from typing import Any

from fastapi import APIRouter
from pydantic import BaseModel

from tanuki.platform.web.auth import CurrentPerson, Lang
from tanuki.platform.web.pages import read_route
from tanuki.platform.web.transactions import Db
from tanuki.shop import evaluation, rules
from tanuki.shop.calendar import parse_week
from tanuki.shop.evaluation import EvaluationSummary
from tanuki.shop.store_access import require_store_access
from tanuki.shop.tables import Evaluation, Rules
from tanuki.shop.web.formatting import Choice, Names, build_choices, load_names

router = APIRouter(tags=["shop"])
ZONE_COLOURS = {"within": "var(--ok)", "too_much": "var(--chart-2)", "too_little": "var(--bad)"}
MAX_CHART_POINTS = 2000
MAX_CHANGED_ROWS = 100
CHART_MARGIN = 1.05  # the axes end a little beyond the largest point


class Summary(BaseModel):
    """Evaluated lines added up. wape, bias and fill_rate are shares, costs are in yen."""

    key: str
    name: str
    lines: int
    actual: float
    wape: float
    bias: float
    fill_rate: float
    shortage_units: float
    leftover_units: float
    cost_yen: float
    proposed_cost_yen: float
    within: int
    too_much: int
    too_little: int


class EvaluatedRow(BaseModel):
    """One evaluated line: a store and item in a week."""

    week: str
    store: str
    store_name: str
    item: str
    item_name: str
    actual: float
    forecast: float
    proposed_units: float
    ordered_units: float
    available_units: float
    shortage_units: float
    leftover_units: float
    cost_yen: float
    proposed_cost_yen: float
    zone: str


class EvaluationFilter(BaseModel):
    """What the page is limited to, and what it may be limited to."""

    week: str | None
    store: str | None
    item: str | None
    weeks: list[str]
    stores: list[Choice]
    items: list[Choice]


class ChangedLines(BaseModel):
    """The lines that people changed: the first rows, and the sums of all."""

    rows: list[EvaluatedRow]
    lines: int
    cost_yen: float
    proposed_cost_yen: float


class EvaluationPage(BaseModel):
    """How orders turned out: all together, by week, store and item, and each line."""

    filter: EvaluationFilter
    whole: Summary | None
    by_week: list[Summary]
    by_store: list[Summary]
    by_item: list[Summary]
    changed: ChangedLines
    too_much: float
    too_little: float
    rows: list[EvaluatedRow]
    chart: dict[str, Any] | None


@read_route(router, "/shop/evaluation", "shop/evaluation.html", csv=lambda page: page.rows)
def show_evaluation_page(
    db: Db,
    person: CurrentPerson,
    lang: Lang,
    week: str | None = None,
    store: str | None = None,
    item: str | None = None,
) -> EvaluationPage:
    """All evaluated weeks that this person may see, or a part of them."""
    if store is not None:
        require_store_access(db, person, store)
    all_lines = evaluation.list_evaluations(db, person)
    lines = evaluation.list_evaluations(
        db, person, parse_week(week) if week else None, store=store, item=item
    )
    names, limits = load_names(db, lang), rules.load_rules(db)
    rows = [build_evaluated_row(line, names) for line in lines]

    def summarise(by: str, names_by_key: Mapping[str, str]) -> list[Summary]:
        summaries = evaluation.summarise_evaluations(lines, by)
        return [name_summary(summary, names_by_key) for summary in summaries]

    whole = summarise("all", {})
    return EvaluationPage(
        filter=EvaluationFilter(
            week=week,
            store=store,
            item=item,
            weeks=sorted({line.week for line in all_lines}, reverse=True),
            stores=build_choices(names.stores, sorted({line.store for line in all_lines})),
            items=build_choices(names.items, sorted({line.item for line in all_lines})),
        ),
        whole=whole[0] if whole else None,
        by_week=summarise("week", {})[::-1],
        by_store=summarise("store", names.stores),
        by_item=summarise("item", names.items),
        changed=summarise_changed_lines(rows),
        too_much=limits.too_much,
        too_little=limits.too_little,
        rows=rows,
        chart=build_zones_chart(rows[:MAX_CHART_POINTS], limits) if rows else None,
    )


def name_summary(summary: EvaluationSummary, names: Mapping[str, str]) -> Summary:
    values = {field: getattr(summary, field) for field in Summary.model_fields if field != "name"}
    return Summary(name=names.get(summary.key, summary.key), **values)


def build_evaluated_row(line: Evaluation, names: Names) -> EvaluatedRow:
    own_names: dict[str, Any] = {
        "store_name": names.stores.get(line.store, line.store),
        "item_name": names.items.get(line.item, line.item),
    }
    values = {
        field: getattr(line, field) for field in EvaluatedRow.model_fields if field not in own_names
    }
    return EvaluatedRow(**own_names, **values)


def summarise_changed_lines(rows: Sequence[EvaluatedRow]) -> ChangedLines:
    changed = [row for row in rows if row.ordered_units != row.proposed_units]
    return ChangedLines(
        rows=changed[:MAX_CHANGED_ROWS],
        lines=len(changed),
        cost_yen=sum(row.cost_yen for row in changed),
        proposed_cost_yen=sum(row.proposed_cost_yen for row in changed),
    )


def build_zones_chart(rows: Sequence[EvaluatedRow], limits: Rules) -> dict[str, Any]:
    """The three zones: units sold on the x axis, units available on the y axis, equality dashed.

    A Vega-Lite spec; the template adds the description.
    """
    largest = max(1.0, *(row.actual for row in rows), *(row.available_units for row in rows))
    end = CHART_MARGIN * largest
    scale = {"domain": [0, end], "nice": False}
    axis = {"type": "quantitative", "title": None, "scale": scale, "axis": {"tickCount": 6}}
    x: dict[str, Any] = {"field": "actual", **axis}
    y: dict[str, Any] = {"field": "available_units", **axis}
    edges = [
        {
            "actual": actual,
            "floor": 0,
            "low": actual * (1 - limits.too_little),
            "even": actual,
            "high": actual * (1 + limits.too_much),
            "top": end,
        }
        for actual in (0.0, end)
    ]
    points = [row.model_dump(include={"actual", "available_units", "zone"}) for row in rows]

    def area(zone: str, low: str, high: str) -> dict[str, Any]:
        return {
            "data": {"values": edges},
            "mark": {"type": "area", "color": ZONE_COLOURS[zone], "opacity": 0.13, "clip": True},
            "encoding": {"x": x, "y": {**y, "field": low}, "y2": {"field": high}},
        }

    colour_scale = {"domain": list(ZONE_COLOURS), "range": list(ZONE_COLOURS.values())}
    return {
        "width": 400,  # small enough for its labels to be legible on a phone
        "height": 400,
        "layer": [
            area("too_little", "floor", "low"),
            area("within", "low", "high"),
            area("too_much", "high", "top"),
            {
                "data": {"values": edges},
                "mark": {"type": "line", "color": "var(--muted)", "strokeDash": [4, 4]},
                "encoding": {"x": x, "y": {**y, "field": "even"}},
            },
            {
                "data": {"values": points},
                "mark": {"type": "point", "filled": True, "size": 36, "opacity": 0.8},
                "encoding": {
                    "x": x,
                    "y": y,
                    "color": {
                        "field": "zone",
                        "type": "nominal",
                        "legend": None,
                        "scale": colour_scale,
                    },
                },
            },
        ],
    }

"""How good was it: what past weeks' orders were worth, the three zones as a scatter, and what people's changes did."""

from typing import Any

from fastapi import APIRouter
from pydantic import BaseModel

from tanuki.platform.web.pages import Db, Lang, Who, page
from tanuki.shop import evaluation, rules
from tanuki.shop.calendar import parse_week
from tanuki.shop.store_access import must_see
from tanuki.shop.tables import Evaluation
from tanuki.shop.web.formatting import Choice, Names, names

router = APIRouter()
ZONES = {"within": "var(--ok)", "too_much": "var(--chart-2)", "too_little": "var(--bad)"}
MOST_POINTS = 2000
MOST_CHANGED = 100


class Sum(BaseModel):
    """Evaluated lines added up; wape, bias and fill_rate are shares, cost in yen."""

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


class Row(BaseModel):
    """One evaluated line."""

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


class GoodView(BaseModel):
    """What orders were worth: all together, by week, store and item, and each line."""

    week: str | None
    store: str | None
    item: str | None
    weeks: list[str]
    stores: list[Choice]
    items: list[Choice]
    whole: Sum | None
    by_week: list[Sum]
    by_store: list[Sum]
    by_item: list[Sum]
    changed: list[Row]
    changed_lines: int
    changed_cost_yen: float
    changed_proposed_cost_yen: float
    too_much: float
    too_little: float
    rows: list[Row]
    chart: dict[str, Any] | None


def view(
    db: Db,
    who: Who,
    lang: Lang,
    week: str | None = None,
    store: str | None = None,
    item: str | None = None,
) -> GoodView:
    """All evaluated weeks this person may see, or a part of them."""
    if store is not None:
        must_see(db, who, store)
    every = evaluation.evaluations(db, who)
    found = evaluation.evaluations(
        db, who, parse_week(week) if week else None, store=store, item=item
    )
    called = names(db, lang)
    whole = evaluation.worth(found, "all")
    limits = rules.get(db)
    rows = [row(each, called) for each in found]
    changed = [each for each in rows if each.ordered_units != each.proposed_units]
    return GoodView(
        week=week,
        store=store,
        item=item,
        weeks=sorted({each.week for each in every}, reverse=True),
        stores=called.choices("stores", sorted({each.store for each in every})),
        items=called.choices("items", sorted({each.item for each in every})),
        whole=total(whole[0], {}) if whole else None,
        by_week=[total(each, {}) for each in reversed(evaluation.worth(found, "week"))],
        by_store=[total(each, called.stores) for each in evaluation.worth(found, "store")],
        by_item=[total(each, called.items) for each in evaluation.worth(found, "item")],
        changed=changed[:MOST_CHANGED],
        changed_lines=len(changed),
        changed_cost_yen=sum(each.cost_yen for each in changed),
        changed_proposed_cost_yen=sum(each.proposed_cost_yen for each in changed),
        too_much=limits.too_much,
        too_little=limits.too_little,
        rows=rows,
        chart=chart_of(rows[:MOST_POINTS], limits.too_much, limits.too_little) if rows else None,
    )


def total(each: evaluation.Worth, called: dict[str, str]) -> Sum:
    """A sum with its name."""
    values = {name: getattr(each, name) for name in Sum.model_fields if name not in ("name",)}
    return Sum(name=called.get(each.key, each.key), **values)


def row(each: Evaluation, called: Names) -> Row:
    """An evaluated line as the page shows it."""
    named: dict[str, Any] = {
        "store_name": called.stores.get(each.store, each.store),
        "item_name": called.items.get(each.item, each.item),
    }
    return Row(
        **named, **{name: getattr(each, name) for name in Row.model_fields if name not in named}
    )


def chart_of(rows: list[Row], too_much: float, too_little: float) -> dict[str, Any]:
    """The three zones: units sold to the right, units that were there to sell upwards, the diagonal dashed. Needs a description."""
    most = 1.05 * max(
        1.0, *(each.actual for each in rows), *(each.available_units for each in rows)
    )
    scale = {"domain": [0, most], "nice": False}
    x: dict[str, Any] = {"field": "actual", "type": "quantitative", "title": None, "scale": scale}
    y: dict[str, Any] = {
        "field": "available_units",
        "type": "quantitative",
        "title": None,
        "scale": scale,
    }
    edges = [
        {
            "actual": at,
            "floor": 0,
            "low": at * (1 - too_little),
            "even": at,
            "high": at * (1 + too_much),
            "top": most,
        }
        for at in (0.0, most)
    ]
    points = [
        {"actual": each.actual, "available_units": each.available_units, "zone": each.zone}
        for each in rows
    ]

    def area(zone: str, low: str, high: str) -> dict[str, Any]:
        return {
            "data": {"values": edges},
            "mark": {"type": "area", "color": ZONES[zone], "opacity": 0.13, "clip": True},
            "encoding": {"x": x, "y": {**y, "field": low}, "y2": {"field": high}},
        }

    return {
        "width": 400,  # small enough for its labels to be read on a phone
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
                        "scale": {"domain": list(ZONES), "range": list(ZONES.values())},
                    },
                },
            },
        ],
    }


page(router, "/shop/good", view, "shop/good.html", csv=lambda view: view.rows)

"""Watching: open alarms with what to do, what was closed lately, and the last weeks' bias, coverage and cost."""

from datetime import UTC, datetime
from typing import Annotated, Any

from fastapi import APIRouter, Form
from pydantic import BaseModel

from tanuki.i18n import msgid
from tanuki.platform.web.pages import Db, Done, Lang, Who, WriteDb, action, page
from tanuki.shop.monitoring import alerts, messages
from tanuki.shop.monitoring.detectors import LIMITS
from tanuki.shop.tables import Alarm
from tanuki.shop.web.formatting import names

router = APIRouter()
WIDE, HIGH = 620, 150


class AlarmRow(BaseModel):
    """An alarm: what is seen, compared with what, since when, and what to do."""

    id: int
    code: str
    subject: str
    week: str
    seen: str
    do: str
    opened_at: datetime
    seen_at: datetime
    closed_at: datetime | None
    closed_by: str | None
    why: str | None


class WeekRow(BaseModel):
    """One evaluated week: bias and coverage are shares, costs in yen."""

    week: str
    lines: int
    bias: float | None
    coverage: float | None
    cost: float
    expected: float
    floor: float


class WatchView(BaseModel):
    """What is open, what was closed lately, and the last weeks."""

    alarms: list[AlarmRow]
    closed: list[AlarmRow]
    weeks: list[WeekRow]
    limits: dict[str, float]
    bias_chart: dict[str, Any] | None
    coverage_chart: dict[str, Any] | None
    cost_chart: dict[str, Any] | None


def view(db: Db, who: Who, lang: Lang) -> WatchView:
    """Open alarms first."""
    still, past = alerts.alarms(db, who)
    called = names(db, lang)
    known = {**called.items, **called.stores}
    weeks = [
        WeekRow(**{name: week[name] for name in WeekRow.model_fields})
        for week in alerts.weeks(db, who)
    ]
    limits = {
        "bias": LIMITS.bias,
        "covered_least": LIMITS.covered_least,
        "covered_most": LIMITS.covered_most,
        "weeks": LIMITS.weeks,
    }
    return WatchView(
        alarms=[row(each, lang, known) for each in still],
        closed=[row(each, lang, known) for each in past],
        weeks=weeks,
        limits=limits,
        bias_chart=band(weeks, "bias", -LIMITS.bias, LIMITS.bias) if weeks else None,
        coverage_chart=band(weeks, "coverage", LIMITS.covered_least, LIMITS.covered_most)
        if weeks
        else None,
        cost_chart=costs(weeks, lang) if weeks else None,
    )


def row(each: Alarm, lang: str, known: dict[str, str]) -> AlarmRow:
    """An alarm in the reader's language."""
    kept = {
        name: getattr(each, name) for name in AlarmRow.model_fields if name not in ("seen", "do")
    }
    return AlarmRow(
        **kept,
        seen=messages.seen(each.code, each.subject, each.values, lang, known),
        do=messages.to_do(each.code, each.values, lang),
    )


def band(weeks: list[WeekRow], name: str, low: float, high: float) -> dict[str, Any]:
    """A share by week, with the band that raises nothing. Needs a description."""
    values = [
        {"week": week.week, "share": getattr(week, name), "low": low, "high": high}
        for week in weeks
    ]
    x: dict[str, Any] = {
        "field": "week",
        "type": "ordinal",
        "title": None,
        "axis": {"labelAngle": -45, "labelOverlap": True},
    }
    y: dict[str, Any] = {
        "type": "quantitative",
        "title": None,
        "axis": {"format": ".0%"},
        "scale": {"zero": False},
    }
    return {
        "width": WIDE,
        "height": HIGH,
        "data": {"values": values},
        "layer": [
            {
                "mark": {"type": "area", "color": "var(--ok)", "opacity": 0.13},
                "encoding": {"x": x, "y": {**y, "field": "low"}, "y2": {"field": "high"}},
            },
            {
                "mark": {"type": "line", "point": True},
                "encoding": {"x": x, "y": {**y, "field": "share"}},
            },
        ],
    }


def costs(weeks: list[WeekRow], lang: str) -> dict[str, Any]:
    """Yen by week: what orders cost, what was expected of them, what the simplest rule would have cost. Needs a description."""
    called = dict(zip(("cost", "expected", "floor"), COSTS[lang], strict=True))
    values = [
        {"week": week.week, "yen": getattr(week, name), "what": word}
        for week in weeks
        for name, word in called.items()
    ]
    return {
        "width": WIDE,
        "height": HIGH,
        "data": {"values": values},
        "mark": {"type": "line", "point": True},
        "encoding": {
            "x": {
                "field": "week",
                "type": "ordinal",
                "title": None,
                "axis": {"labelAngle": -45, "labelOverlap": True},
            },
            "y": {"field": "yen", "type": "quantitative", "title": None},
            "color": {"field": "what", "type": "nominal", "sort": list(called.values())},
            "strokeDash": {
                "field": "what",
                "type": "nominal",
                "sort": list(called.values()),
                "legend": None,
            },
        },
    }


COSTS = {
    "en": ("cost", "expected when proposed", "simplest rule"),
    "ja": ("実際", "提案時の見込み", "単純な発注"),
}


def close(db: WriteDb, who: Who, alarm_id: int, why: Annotated[str, Form()]) -> Done:
    """Close an alarm, with the reason."""
    alerts.close(db, who, alarm_id, why=why, now=datetime.now(UTC))
    return Done("/shop/watch", msgid("The alarm is closed."))


page(router, "/shop/watch", view, "shop/watch.html", csv=lambda view: [*view.alarms, *view.closed])
action(router, "/shop/watch/{alarm_id}/close", close)

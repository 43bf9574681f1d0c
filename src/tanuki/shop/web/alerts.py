"""Alerts: what is open and what to do, what was closed recently, and the last weeks' figures."""

from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from typing import Annotated, Any

from fastapi import APIRouter, Form
from pydantic import BaseModel

from tanuki.i18n import Translate, msgid
from tanuki.platform.web.auth import CurrentPerson, Lang, Say
from tanuki.platform.web.pages import ActionResult, read_route, write_route
from tanuki.platform.web.transactions import Db, WriteDb
from tanuki.shop.monitoring import alerts, messages
from tanuki.shop.monitoring.detectors import DETECTOR_LIMITS
from tanuki.shop.tables import Alert
from tanuki.shop.web.formatting import load_names

router = APIRouter(tags=["shop"])
CHART_HEIGHT = 170
MIN_CHART_WEEKS = 3  # with fewer weeks the table says it all
COST_SERIES = {
    "cost": msgid("actual cost"),
    "expected": msgid("expected by the proposals"),
    "baseline": msgid("simplest rule"),
}


class AlertRow(BaseModel):
    """An alert: what was observed, compared with what, since when, and what to do."""

    id: int
    code: str
    subject: str
    week: str
    observation: str
    action: str
    opened_at: datetime
    last_seen_at: datetime
    closed_at: datetime | None
    closed_by: str | None
    why: str | None


class WeeklyFigures(BaseModel):
    """One evaluated week: bias and coverage are shares, costs are in yen."""

    week: str
    lines: int
    bias: float | None
    coverage: float | None
    cost: float
    expected: float
    baseline: float


class AlertsPage(BaseModel):
    """What is open, what was closed recently, and the last weeks."""

    open_alerts: list[AlertRow]
    closed_alerts: list[AlertRow]
    weeks: list[WeeklyFigures]
    evaluated_weeks: int
    bias_chart: dict[str, Any] | None
    coverage_chart: dict[str, Any] | None
    cost_chart: dict[str, Any] | None


@read_route(
    router,
    "/shop/alerts",
    "shop/alerts.html",
    csv=lambda page: [*page.open_alerts, *page.closed_alerts],
)
def show_alerts_page(db: Db, person: CurrentPerson, lang: Lang, say: Say) -> AlertsPage:
    """Open alerts first."""
    open_alerts, closed_alerts = alerts.list_alerts(db, person)
    names = load_names(db, lang)
    subject_names = {**names.items, **names.stores}
    weeks = [
        WeeklyFigures(**{field: week[field] for field in WeeklyFigures.model_fields})
        for week in alerts.list_weekly_metrics(db, person)
    ]
    has_charts = len(weeks) >= MIN_CHART_WEEKS
    limits = DETECTOR_LIMITS
    return AlertsPage(
        open_alerts=[build_alert_row(alert, subject_names, say) for alert in open_alerts],
        closed_alerts=[build_alert_row(alert, subject_names, say) for alert in closed_alerts],
        weeks=weeks,
        evaluated_weeks=limits.weeks,
        bias_chart=build_band_chart(weeks, "bias", (-limits.forecast.bias, limits.forecast.bias))
        if has_charts
        else None,
        coverage_chart=build_band_chart(
            weeks, "coverage", (limits.forecast.covered_least, limits.forecast.covered_most)
        )
        if has_charts
        else None,
        cost_chart=build_cost_chart(weeks, say) if has_charts else None,
    )


def build_alert_row(alert: Alert, names: Mapping[str, str], say: Translate) -> AlertRow:
    """An alert in the reader's language."""
    return AlertRow(
        id=alert.id,
        code=alert.code,
        subject=alert.subject,
        week=alert.week,
        observation=messages.render_observation(alert, say, names),
        action=messages.render_action(alert.code, alert.values, say),
        opened_at=alert.opened_at,
        last_seen_at=alert.last_seen_at,
        closed_at=alert.closed_at,
        closed_by=alert.closed_by,
        why=alert.why,
    )


# ---- charts: Vega-Lite specs; the template adds their descriptions -------------------------------


def week_axis() -> dict[str, Any]:
    """The x axis of weeks: horizontal labels, of which Vega leaves out those that would overlap."""
    axis = {"labelAngle": 0, "labelOverlap": "greedy", "labelSeparation": 12}
    return {"field": "week", "type": "ordinal", "title": None, "axis": axis}


def build_band_chart(
    weeks: Sequence[WeeklyFigures], field: str, band: tuple[float, float]
) -> dict[str, Any]:
    """A share by week, with the band in which it raises no alert."""
    low, high = band
    values = [
        {"week": week.week, "share": getattr(week, field), "low": low, "high": high}
        for week in weeks
    ]
    y: dict[str, Any] = {
        "type": "quantitative",
        "title": None,
        "axis": {"format": ".0%", "tickCount": 5},
        "scale": {"zero": False},
    }
    return {
        "height": CHART_HEIGHT,
        "data": {"values": values},
        "layer": [
            {
                "mark": {"type": "area", "color": "var(--ok)", "opacity": 0.13},
                "encoding": {
                    "x": week_axis(),
                    "y": {**y, "field": "low"},
                    "y2": {"field": "high"},
                },
            },
            {
                "mark": {"type": "line", "point": True},
                "encoding": {"x": week_axis(), "y": {**y, "field": "share"}},
            },
        ],
    }


def build_cost_chart(weeks: Sequence[WeeklyFigures], say: Translate) -> dict[str, Any]:
    """Yen by week: the orders' cost, the proposals' expectation, the simplest rule's cost."""
    titles = {field: say(title) for field, title in COST_SERIES.items()}
    values = [
        {"week": week.week, "yen": getattr(week, field), "series": title}
        for week in weeks
        for field, title in titles.items()
    ]
    series = {"field": "series", "type": "nominal", "sort": list(titles.values())}
    return {
        "height": CHART_HEIGHT,
        "data": {"values": values},
        "mark": {"type": "line", "point": True},
        "encoding": {
            "x": week_axis(),
            "y": {"field": "yen", "type": "quantitative", "title": None, "axis": {"tickCount": 5}},
            "color": series,
            "strokeDash": {**series, "legend": None},
        },
    }


@write_route(router, "/shop/alerts/{alert_id}/close")
def close_alert(
    db: WriteDb, person: CurrentPerson, alert_id: int, why: Annotated[str, Form()]
) -> ActionResult:
    """Close an alert, with the reason."""
    alerts.close_alert(db, person, alert_id, why=why, now=datetime.now(UTC))
    return ActionResult("/shop/alerts", msgid("The alert is closed."))

"""Watching: alarms about bias, coverage, cost, drift, and sales that did not come. Each is compared with a named reference and says what to do.

Files: signs.py (what an alarm is raised for; pure), words.py (alarms in Japanese and English).
"""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import date, datetime, timedelta
from typing import TYPE_CHECKING, Any

import polars as pl
from sqlalchemy import select
from sqlalchemy.orm import Session

from tanuki.errors import Conflict, NotFound, UserError
from tanuki.platform import metrics
from tanuki.platform.accounts import Person, require
from tanuki.platform.warehouse import Warehouse
from tanuki.shop import panel
from tanuki.shop.calendar import TOKYO, Week, week_of
from tanuki.shop.ingest.loading import PRICES, PROMOTIONS, SALES
from tanuki.shop.monitoring import detectors, messages
from tanuki.shop.monitoring.detectors import LIMITS, Sign
from tanuki.shop.store_access import CHAIN
from tanuki.shop.tables import Alarm, Cycle, Evaluation, Forecast

if TYPE_CHECKING:
    from tanuki.platform.jobs import Work

RETRAIN = "retrain"  # the workflow that trains the champion's kind of model again (retrain.py)
STARTS = ("bias", "coverage", "drift")  # alarms that start it
CODES = tuple(messages.SEEN)
YEAR_AND_A_BIT = timedelta(
    weeks=58
)  # of sales that are read: the reference weeks, and the same season a year ago
LINES = {"week": pl.String, "store": pl.String, "item": pl.String} | dict.fromkeys(
    ("actual", "forecast", "q10", "q50", "q90", "cost", "proposed", "expected", "floor"), pl.Float64
)
CLOSED_SHOWN = 20


@dataclass(frozen=True)
class Seen:
    """What a look found, and the week that the newest sales let people order."""

    signs: list[Sign]
    next_week: Week | None


# ---- looking -------------------------------------------------------------------------------------------------------


def look(db: Session, warehouse: Warehouse, now: datetime) -> Seen:
    """Everything that is not as it should be now."""
    today = now.astimezone(TOKYO).date()
    lines = evaluated_lines(db)
    found = [*detectors.evaluated(lines), *detectors.demand(lines)]
    found += detectors.overdue(
        db.scalars(select(Cycle.week).where(Cycle.state == "ordered")), today
    )
    sales = warehouse.read(
        db, SALES, as_of=now, where="date >= ?", params=(today - YEAR_AND_A_BIT,)
    ).filter(pl.col("units") > 0)
    if sales.is_empty():
        return Seen(found, None)
    last = dict(sales.group_by("store").agg(pl.col("date").max()).iter_rows())
    until = last_whole_week(max(last.values()))
    weekly = sales.group_by("store", "item", pl.col("date").dt.truncate("1w").alias("monday")).agg(
        pl.col("units").sum()
    )
    quiet = set(last) - set(weekly.filter(pl.col("monday") == until.monday)["store"])
    found += [*detectors.silent(last), *detectors.missing(weekly, until, quiet)]
    found += inputs(db, warehouse, weekly, until, now)
    return Seen(found, until.plus(2))


def evaluated_lines(db: Session, limits: detectors.Limits = LIMITS) -> pl.DataFrame:
    """The last evaluated weeks' lines, with the bands that were forecast."""
    weeks = list(
        db.scalars(
            select(Evaluation.week)
            .distinct()
            .order_by(Evaluation.week.desc())
            .limit(limits.weeks + limits.before)
        )
    )
    e, f = Evaluation, Forecast
    query = (
        select(
            e.week,
            e.store,
            e.item,
            e.actual,
            e.forecast,
            f.q10,
            f.q50,
            f.q90,
            e.cost_yen,
            e.proposed_cost_yen,
            e.expected_cost_yen,
            e.floor_cost_yen,
        )
        .outerjoin(
            f, (f.cycle == e.week) & (f.week == e.week) & (f.store == e.store) & (f.item == e.item)
        )
        .where(e.week.in_(weeks))
        .order_by(e.week, e.store, e.item)
    )
    return pl.DataFrame([tuple(row) for row in db.execute(query)], schema=LINES, orient="row")


def inputs(
    db: Session, warehouse: Warehouse, weekly: pl.DataFrame, until: Week, now: datetime
) -> list[Sign]:
    """Drift of prices, promotions and of what sells beside what. Weekly: store, item, monday, units."""
    mondays = weekly.select(pl.col("monday").alias("date"), "store", "item").filter(
        pl.col("date") <= until.monday
    )
    first = detectors.periods(until, LIMITS)[1][0].monday
    known = mondays.filter(pl.col("date") >= first)
    plans = warehouse.read(db, PRICES, as_of=now).drop("recorded_at")
    found = detectors.prices(panel.in_force(known, plans), until)
    promotions = warehouse.read(db, PROMOTIONS, as_of=now).drop("recorded_at")
    days = mondays.select(
        pl.date_ranges("date", pl.col("date") + pl.duration(days=6)).alias("date"), "store", "item"
    ).explode("date")
    on = panel.promoted(days, promotions).unique(
        ["date", "store", "item"], keep="first", maintain_order=True
    )
    kinds = days.join(on, on=["date", "store", "item"], how="left").with_columns(
        pl.col("kind").fill_null("none")
    )
    found += detectors.shares(
        "promotions",
        counted(kinds.with_columns(pl.col("date").dt.truncate("1w").alias("monday")), "kind"),
        until,
    )
    return [*found, *detectors.shares("mix", counted(weekly, "item", pl.col("units").sum()), until)]


def counted(frame: pl.DataFrame, name: str, how_many: pl.Expr | None = None) -> detectors.Weekly:
    """How many rows (or how much) of each category in each week. Frame: monday and the category."""
    made: detectors.Weekly = {}
    sums = frame.group_by("monday", name).agg(
        (pl.len() if how_many is None else how_many).alias("n")
    )
    for monday, category, n in sums.iter_rows():
        made.setdefault(str(week_of(monday)), {})[category] = float(n)
    return made


def last_whole_week(day: date) -> Week:
    """The last week that a day ends or is after."""
    return week_of(day) if day.weekday() == 6 else week_of(day).plus(-1)


# ---- alarms --------------------------------------------------------------------------------------------------------


def watch(db: Session, warehouse: Warehouse, work: "Work", now: datetime) -> list[Alarm]:
    """Look, raise and end alarms, and start a retraining where one is due; gives what was raised now."""
    seen = look(db, warehouse, now)
    raised = record(db, seen.signs, now)
    due = list(db.scalars(select(Alarm).where(Alarm.closed_at.is_(None), Alarm.code.in_(STARTS))))
    if due and seen.next_week is not None:
        week = str(seen.next_week)
        work.enqueue(db, RETRAIN, retrain_id(week), week)
        for alarm in due:
            if alarm.values.get("retraining", {}).get("week") != week:
                alarm.values = {**alarm.values, "retraining": {"state": "started", "week": week}}
    count(db)
    return raised


def retrain_id(week: str) -> str:
    """The id of a week's retraining: however often it is asked for, it runs once."""
    return f"{RETRAIN}-{week}"


def record(db: Session, found: Sequence[Sign], now: datetime) -> list[Alarm]:
    """Raise what is new, refresh what is still so, end what is over. What a person closed is not raised again for the same week."""
    known: dict[tuple[str, str], Alarm] = {}
    for alarm in db.scalars(
        select(Alarm).where(Alarm.closed_at.is_(None)).order_by(Alarm.id).with_for_update()
    ):
        if known.setdefault((alarm.code, alarm.subject), alarm) is not alarm:
            alarm.closed_at = now  # two looks at the same moment
    raised = []
    for sign in found:
        open_one = known.pop((sign.code, sign.subject), None)
        if open_one is not None:
            kept = (
                {"retraining": open_one.values["retraining"]}
                if "retraining" in open_one.values
                else {}
            )
            open_one.week, open_one.values, open_one.seen_at = (
                sign.week,
                {**sign.values, **kept},
                now,
            )
        elif not closed_by_hand(db, sign):
            made = Alarm(
                code=sign.code,
                subject=sign.subject,
                week=sign.week,
                values=sign.values,
                opened_at=now,
                seen_at=now,
            )
            raised.append(made)
    for over in known.values():
        over.closed_at = now
    db.add_all(raised)
    db.flush()
    return raised


def closed_by_hand(db: Session, sign: Sign) -> bool:
    """Whether a person has closed this very alarm for this week."""
    same = (
        Alarm.code == sign.code,
        Alarm.subject == sign.subject,
        Alarm.week == sign.week,
        Alarm.closed_by.is_not(None),
    )
    return db.scalars(select(Alarm.id).where(*same).limit(1)).first() is not None


def close(db: Session, who: Person, alarm_id: int, *, why: str, now: datetime) -> Alarm:
    """A person says that an alarm needs nothing more."""
    require(who, *CHAIN)
    if not why.strip():
        raise UserError("Please say why the alarm is closed.")
    alarm = db.scalars(select(Alarm).where(Alarm.id == alarm_id).with_for_update()).first()
    if alarm is None:
        raise NotFound("There is no alarm %(alarm)s.", alarm=alarm_id)
    if alarm.closed_at is not None:
        raise Conflict("Alarm %(alarm)s is closed already.", alarm=alarm_id)
    alarm.closed_at, alarm.closed_by, alarm.why = now, who.name, why.strip()
    db.flush()
    count(db)
    return alarm


def alarms(db: Session, who: Person) -> tuple[list[Alarm], list[Alarm]]:
    """What is open, newest first; and what was closed lately."""
    require(who, *CHAIN)
    order = Alarm.opened_at.desc(), Alarm.id.desc()
    still = db.scalars(select(Alarm).where(Alarm.closed_at.is_(None)).order_by(*order).limit(200))
    past = db.scalars(
        select(Alarm)
        .where(Alarm.closed_at.is_not(None))
        .order_by(Alarm.closed_at.desc(), Alarm.id.desc())
        .limit(CLOSED_SHOWN)
    )
    return list(still), list(past)


def weeks(db: Session, who: Person) -> list[dict[str, Any]]:
    """The last evaluated weeks' bias, coverage and costs, oldest first."""
    require(who, *CHAIN)
    return detectors.by_week(evaluated_lines(db)).to_dicts()


def retrained(db: Session, week: str, version: str, *, go: bool) -> None:
    """Say on the alarms that started a retraining what became of it."""
    for alarm in db.scalars(
        select(Alarm).where(Alarm.closed_at.is_(None), Alarm.code.in_(STARTS)).with_for_update()
    ):
        alarm.values = {
            **alarm.values,
            "retraining": {"state": "go" if go else "no_go", "week": week, "version": version},
        }


def count(db: Session) -> None:
    """Let the metrics know how many alarms of each kind are open."""
    still = list(db.scalars(select(Alarm.code).where(Alarm.closed_at.is_(None))))
    for code in CODES:
        metrics.set_open_alarms("shop", code, still.count(code))

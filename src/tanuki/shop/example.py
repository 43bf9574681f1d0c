"""The example chain made real: files as a chain would send them, imported on the days they came, people, and weeks on their way."""

import io
from dataclasses import dataclass
from datetime import date, datetime, time, timedelta
from pathlib import Path
from typing import NamedTuple

import polars as pl
from sqlalchemy.orm import Session

from tanuki.errors import UserError
from tanuki.platform import accounts
from tanuki.platform.accounts import COMMAND_LINE, Person
from tanuki.platform.resources import Resources
from tanuki.shop import evaluation, orders, weekly
from tanuki.shop.calendar import TOKYO, Week, clock, week_to_order
from tanuki.shop.ingest import loading, quarantine
from tanuki.shop.simulation.demand import World, world
from tanuki.shop.simulation.personas import STORES
from tanuki.shop.tables import Import, OrderLine

ARRIVES = time(8)  # files of the week before are there when the shops open on Monday
WEEKLY_FILES = 3  # the last weeks come in a file each, what was before in one
PAST = 3  # weeks played before the one that waits
HOURS = 72.0  # that people have for each turn of the waiting week
LONGEST = 600.0  # seconds that one turn of a week may take
CHECKED_LINES = 5  # that the analyst changes in a past week
STORES_EACH_CHANGE = 3  # every third store's manager changes a line
WHY_CHECKED = (
    "近くで催しがあるため",
    "先週は売り切れたため",
    "在庫が多く残っているため",
    "気温が下がる予報のため",
    "担当者と相談して調整",
)
WHY_CONFIRMED = (
    "団体の予約があるため",
    "売り場を広げるため",
    "倉庫に余裕がないため",
    "常連客の要望",
)
AFTER_CHECK = ("checked", *orders.SEEN_BY_STORES)
PEOPLE = {
    name: Person(name, display, frozenset({grant}))
    for name, display, grant in [
        ("analyst", "需要分析担当", ("analyst", None)),
        ("operator", "運用担当", ("operator", None)),
        ("admin", "管理者", ("admin", None)),
        *(
            (f"manager-{store.code}", f"{store.ja}店長", ("manager", store.code))
            for store in STORES
        ),
    ]
}


class DataFile(NamedTuple):
    """A file as the chain sends it, and the morning on which it came."""

    kind: str
    name: str
    content: bytes
    came: date


@dataclass(frozen=True)
class Made:
    """What make_example left: files imported, rows waiting in quarantine, new people's passwords (only now), the week that waits."""

    files: int
    rows: int
    quarantined: int
    passwords: dict[str, str]
    weeks: list[Week]


# ---- files ---------------------------------------------------------------------------------------------------------


def files(made: World) -> list[DataFile]:
    """Everything the chain sends, in the order in which it comes. The last is a till's late file, whose bad rows quarantine must catch."""
    begin = made.last_day - timedelta(weeks=WEEKLY_FILES)
    monday = begin + timedelta(days=1)
    masters = ("regions", "stores", "items", "prices", "promotions")
    sent = [DataFile(kind, f"{kind}.csv", as_csv(getattr(made, kind)), monday) for kind in masters]
    ends = [begin + timedelta(weeks=n) for n in range(WEEKLY_FILES + 1)]
    for after, until in zip([date.min, *ends], ends, strict=False):
        for kind in ("weather", "deliveries", "stock", "sales"):
            frame: pl.DataFrame = getattr(made, kind)
            ahead = timedelta(
                days=1 if kind == "deliveries" else 0
            )  # Monday's delivery is known on its morning
            low = after + ahead if after > date.min else after
            part = frame.filter(pl.col("date").is_between(low, until + ahead, closed="right"))
            name = f"{kind}_{part.item(0, 'date')}_{part.item(-1, 'date')}.csv"
            sent.append(DataFile(kind, name, as_csv(part), until + timedelta(days=1)))
    late = DataFile(
        "sales",
        f"sales_late_till_{made.last_day}.csv",
        as_csv(late_file(made)),
        made.last_day + timedelta(days=1),
    )
    return [*sent, late]


def late_file(made: World) -> pl.DataFrame:
    """Twelve rows of the last day, three as they were sent before and nine that cannot be believed; all columns as text."""
    rows = made.sales.filter(pl.col("date") == made.last_day).head(12).cast(pl.String).to_dicts()
    rows[3]["store"] = "atlantis"
    rows[4]["item"] = "unicorn_milk"
    rows[5]["sales"] = "-5"
    rows[6]["sales"] = "many"
    rows[7]["sales"] = "99999999"
    rows[8]["day_of_week"] = "MON"
    rows[9]["date"] = str(made.last_day + timedelta(days=400))
    rows[10]["total_sales_amount"] = str(int(rows[10]["total_sales_amount"]) * 10 + 7)
    rows[11]["date"] = made.last_day.strftime("%Y-%m-32")
    return pl.DataFrame(rows)


def as_csv(frame: pl.DataFrame) -> bytes:
    """A frame as CSV in UTF-8; nothing in the example needs quotes, and an empty field is nothing at all."""
    buffer = io.BytesIO()
    frame.write_csv(buffer, quote_style="never")
    return buffer.getvalue()


def write(made: World, folder: Path) -> list[DataFile]:
    """Write the chain's files, and beside them the true demand that nobody in the chain knows. Gives the files, truth left out."""
    folder.mkdir(parents=True, exist_ok=True)
    sent = files(made)
    for file in sent:
        (folder / file.name).write_bytes(file.content)
    (folder / "truth.csv").write_bytes(as_csv(made.truth))
    return sent


# ---- the chain -----------------------------------------------------------------------------------------------------


def make_example(
    res: Resources, *, seed: int, now: datetime, last_day: date | None = None, played: int = PAST
) -> Made:
    """Bring the example chain in: files, people, past weeks played to their end, and the week to order waiting at the analyst's check.

    A worker must be running. Doing it again makes nothing twice; a week later it goes on from there.
    """
    target = (
        week_to_order(now.astimezone(TOKYO).date())
        if last_day is None
        else week_to_order(last_day + timedelta(days=1))
    )
    sent = write(world(seed, target.cutoff), res.settings.home / "example")
    imports = [bring_in(res, file, now) for file in sent]
    past = [target.plus(-n) for n in range(played, 0, -1)]
    for week in past:
        play(res, week, now)
    wait_at_check(res, target, now)
    with res.db.write() as db:
        held = quarantine.count(db)
        passwords = add_people(
            db, now
        )  # last, so that nobody's password is lost when something before fails
    return Made(
        files=len(imports),
        rows=sum(each.rows for each in imports),
        quarantined=held,
        passwords=passwords,
        weeks=[*past, target],
    )


def bring_in(res: Resources, file: DataFile, now: datetime) -> Import:
    """Import one file as of the morning it came."""
    came = min(now, datetime.combine(file.came, ARRIVES, TOKYO))
    with res.db.write() as db:
        return loading.import_file(
            db, res.warehouse, file.kind, file.name, file.content, by=COMMAND_LINE.name, now=came
        )


def add_people(db: Session, now: datetime) -> dict[str, str]:
    """Give everybody of the example who has none yet an account. Gives their new passwords."""
    known = {account.name for account, _ in accounts.users(db)}
    return {
        person.name: accounts.add_user(
            db, person.name, display=person.display, grants=person.grants, now=now
        )
        for person in PEOPLE.values()
        if person.name not in known
    }


def play(res: Resources, week: Week, now: datetime) -> None:
    """A past week to its end, as people would have taken it there; a week half played goes on where it is."""
    with res.db.write() as db:
        weekly.start(
            db,
            res.work,
            week,
            by=COMMAND_LINE.name,
            now=now,
            as_of=min(now, clock(week).aggregate),
            hours=HOURS,
        )
    if reached(res, week, *orders.CHECKING, *AFTER_CHECK) in orders.CHECKING:
        check(res, week, now)
    if reached(res, week, *orders.SEEN_BY_STORES) == "released":
        confirm(res, week, now)
    if (
        reached(res, week, "ordered", "evaluated") == "ordered"
        and week.sunday < now.astimezone(TOKYO).date()
    ):
        with res.db.write() as db:
            if evaluation.complete(db, res.warehouse, week, now):
                evaluation.evaluate(db, res.warehouse, week, now)


def wait_at_check(res: Resources, week: Week, now: datetime) -> None:
    """The week to order, started and proposed, with days left for people."""
    with res.db.write() as db:
        weekly.start(db, res.work, week, by=COMMAND_LINE.name, now=now, hours=HOURS)
    reached(res, week, *orders.CHECKING, *AFTER_CHECK)


def reached(res: Resources, week: Week, *states: str) -> str:
    """Wait until a week is in one of these states, and give which. Raises UserError when its run stopped or takes too long."""

    def state() -> str:
        with res.db.read() as db:
            return orders.cycle(db, week).state

    run = res.work.wait(orders.run_id(week), seconds=LONGEST, until=lambda: state() in states)
    found = state()
    if found not in states:
        raise UserError(
            "The example's week %(week)s is %(state)s and its run %(status)s; look at it with `tanuki work show %(run)s`.",
            week=week,
            state=found,
            status=run.status,
            run=run.id,
        )
    return found


def check(res: Resources, week: Week, now: datetime) -> None:
    """The analyst looks at the most unusual lines, changes some, and lets the stores see the week."""
    analyst = PEOPLE["analyst"]
    with res.db.write() as db:
        for n, line in enumerate(orders.visible(db, analyst, week)[:CHECKED_LINES]):
            change(db, analyst, week, line, n, WHY_CHECKED[n % len(WHY_CHECKED)], now)
        orders.release(db, analyst, res.work, week, now)


def confirm(res: Resources, week: Week, now: datetime) -> None:
    """Each store's manager says yes; some change a line before."""
    for n, store in enumerate(STORES):
        manager = PEOPLE[f"manager-{store.code}"]
        with res.db.write() as db:
            if store.code not in orders.unconfirmed(db, week):
                continue
            lines = orders.visible(db, manager, week, store.code)
            if lines and (n + week.number) % STORES_EACH_CHANGE == 0:
                change(
                    db,
                    manager,
                    week,
                    lines[n % len(lines)],
                    n,
                    WHY_CONFIRMED[n % len(WHY_CONFIRMED)],
                    now,
                )
            orders.confirm(db, manager, res.work, week, store.code, now)


def change(
    db: Session, who: Person, week: Week, line: OrderLine, n: int, reason: str, now: datetime
) -> None:
    """A case or two more or, every third time, fewer."""
    step = max(1, round(line.cases * 0.15))
    cases = max(0, line.cases - step) if n % 3 == 2 else line.cases + step
    orders.change(
        db,
        who,
        week,
        line.store,
        line.item,
        cases=cases,
        reason=reason,
        version=line.version,
        now=now,
    )

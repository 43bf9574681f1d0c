"""The example chain on this machine: its files imported as of the days they came, its people, and
past weeks played to their orders.
"""

import io
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import date, datetime, time, timedelta
from pathlib import Path
from typing import NamedTuple

import polars as pl
from sqlalchemy.orm import Session

from tanuki.errors import UserError
from tanuki.i18n import TOKYO, msgid
from tanuki.platform import accounts
from tanuki.platform.accounts import COMMAND_LINE, Person
from tanuki.platform.resources import Resources
from tanuki.shop import evaluation, orders, weekly
from tanuki.shop.calendar import Week, clock, week_to_order
from tanuki.shop.ingest import loading, quarantine
from tanuki.shop.simulation.personas import STORES
from tanuki.shop.simulation.world import World, simulate_world
from tanuki.shop.tables import CycleState, Import, OrderLine

FILE_ARRIVAL = time(8)  # files of the week before are there when the shops open on Monday
SINGLE_WEEK_FILES = 3  # the last weeks come in a file each, all weeks before in one
PAST_WEEKS = 3  # played before the week that waits
DECISION_HOURS = 72.0  # that people have for each stage of a week
MAX_STAGE_SECONDS = 600.0  # that one stage of a week may take
ANALYST_CHANGES_PER_WEEK = 5
STORES_PER_MANAGER_CHANGE = 3  # every third store's manager changes a line
CHANGE_SHARE = 0.15  # of a line's cases
ANALYST_REASONS = (
    "近くで催しがあるため",
    "先週は売り切れたため",
    "在庫が多く残っているため",
    "気温が下がる予報のため",
    "担当者と相談して調整",
)
MANAGER_REASONS = (
    "団体の予約があるため",
    "売り場を広げるため",
    "倉庫に余裕がないため",
    "常連客の要望",
)
STATES_AFTER_CHECK = (CycleState.CHECKED, *orders.STORE_VISIBLE_STATES)
MANAGER_NAMES = {
    "morioka": msgid("Manager of Morioka"),
    "sendai": msgid("Manager of Sendai"),
    "shinjuku": msgid("Manager of Shinjuku"),
    "ueno": msgid("Manager of Ueno"),
    "yokohama": msgid("Manager of Yokohama"),
    "chiba": msgid("Manager of Chiba"),
    "nagoya": msgid("Manager of Nagoya"),
    "osaka": msgid("Manager of Osaka"),
    "fukuoka": msgid("Manager of Fukuoka"),
    "naha": msgid("Manager of Naha"),
}
PEOPLE = {  # their names are msgids, so that pages show them in the reader's language
    name: Person(name, display, frozenset({grant}))
    for name, display, grant in [
        ("analyst", msgid("Demand analyst"), ("analyst", None)),
        ("operator", msgid("Operator"), ("operator", None)),
        ("admin", msgid("Administrator"), ("admin", None)),
        *(
            (f"manager-{store.code}", MANAGER_NAMES[store.code], ("manager", store.code))
            for store in STORES
        ),
    ]
}


class DataFile(NamedTuple):
    """A file as the chain sends it, and the day on whose morning it came."""

    kind: str
    name: str
    content: bytes
    arrived_on: date


@dataclass(frozen=True)
class ExampleResult:
    """What make_example did; `passwords` are those of new users, shown only now.

    `quarantined` are the rows that wait in quarantine. The last of `weeks` waits for its check.
    """

    files: int
    rows: int
    quarantined: int
    passwords: dict[str, str]
    weeks: list[Week]


# ---- files ---------------------------------------------------------------------------------------


def list_example_files(world: World) -> list[DataFile]:
    """Everything that the chain sends, in the order in which it comes.

    The last is a till's late file, whose bad rows quarantine must catch.
    """
    start = world.last_day - timedelta(weeks=SINGLE_WEEK_FILES)
    monday = start + timedelta(days=1)
    files = [
        DataFile(kind, f"{kind}.csv", to_csv(world.files[kind]), monday)
        for kind in ("regions", "stores", "items", "prices", "promotions")
    ]
    ends = [start + timedelta(weeks=n) for n in range(SINGLE_WEEK_FILES + 1)]
    for after, until in zip([date.min, *ends], ends, strict=False):
        for kind in ("weather", "deliveries", "stock", "sales"):
            # Monday's delivery is known on its morning.
            ahead = timedelta(days=1 if kind == "deliveries" else 0)
            low = after + ahead if after > date.min else after
            part = world.files[kind].filter(
                pl.col("date").is_between(low, until + ahead, closed="right")
            )
            name = f"{kind}_{part.item(0, 'date')}_{part.item(-1, 'date')}.csv"
            files.append(DataFile(kind, name, to_csv(part), until + timedelta(days=1)))
    late = to_csv(build_late_file(world))
    name = f"sales_late_till_{world.last_day}.csv"
    return [*files, DataFile("sales", name, late, world.last_day + timedelta(days=1))]


def build_late_file(world: World) -> pl.DataFrame:
    """Twelve rows of the last day as text: three as sent before, nine that are not valid."""
    sales = world.files["sales"].filter(pl.col("date") == world.last_day)
    rows = sales.head(12).cast(pl.String).to_dicts()
    rows[3]["store"] = "atlantis"
    rows[4]["item"] = "unicorn_milk"
    rows[5]["sales"] = "-5"
    rows[6]["sales"] = "many"
    rows[7]["sales"] = "99999999"
    rows[8]["day_of_week"] = "MON"
    rows[9]["date"] = str(world.last_day + timedelta(days=400))
    rows[10]["total_sales_amount"] = str(int(rows[10]["total_sales_amount"]) * 10 + 7)
    rows[11]["date"] = world.last_day.strftime("%Y-%m-32")
    return pl.DataFrame(rows)


def to_csv(frame: pl.DataFrame) -> bytes:
    """A frame as CSV in UTF-8. Nothing in the example needs quotes; null is an empty field."""
    buffer = io.BytesIO()
    frame.write_csv(buffer, quote_style="never")
    return buffer.getvalue()


def write_example_files(world: World, folder: Path) -> list[DataFile]:
    """Write the chain's files, and beside them truth.csv, which is not one of them."""
    folder.mkdir(parents=True, exist_ok=True)
    files = list_example_files(world)
    for file in files:
        (folder / file.name).write_bytes(file.content)
    (folder / "truth.csv").write_bytes(to_csv(world.truth))
    return files


# ---- the chain -----------------------------------------------------------------------------------


def make_example(
    res: Resources,
    *,
    seed: int,
    now: datetime,
    last_day: date | None = None,
    past_weeks: int = PAST_WEEKS,
) -> ExampleResult:
    """Import the example chain, play past weeks to their end, and start the week to order.

    A worker must be running. Calling it again repeats nothing; a week later it goes on from there.
    The week to order waits for the analyst's check.
    """
    today = now.astimezone(TOKYO).date() if last_day is None else last_day + timedelta(days=1)
    target = week_to_order(today)
    world = simulate_world(seed, target.cutoff)
    files = write_example_files(world, res.settings.home / "example")
    imports = [import_data_file(res, file, now) for file in files]
    past = [target.plus(-n) for n in range(past_weeks, 0, -1)]
    for week in past:
        complete_week(res, week, now)
    start_current_week(res, target, now)
    with res.db.write() as db:
        quarantined = quarantine.count_waiting_rows(db)
        # Last, so that no password is lost when something before fails.
        passwords = add_accounts(db, now)
    return ExampleResult(
        files=len(imports),
        rows=sum(record.rows for record in imports),
        quarantined=quarantined,
        passwords=passwords,
        weeks=[*past, target],
    )


def import_data_file(res: Resources, file: DataFile, now: datetime) -> Import:
    """Import a file as of the morning on which it came."""
    arrived_at = min(now, datetime.combine(file.arrived_on, FILE_ARRIVAL, TOKYO))
    with res.db.write() as db:
        return loading.import_file(
            db,
            res.warehouse,
            loading.Upload(file.kind, file.name, file.content),
            by=COMMAND_LINE.name,
            now=arrived_at,
        )


def add_accounts(db: Session, now: datetime) -> dict[str, str]:
    """Add the accounts of PEOPLE that are missing. Gives their new passwords by name."""
    known = {account.name for account, _ in accounts.load_accounts(db)}
    return {
        person.name: accounts.add_user(
            db, accounts.NewUser(person.name, person.grants, display_name=person.display_name), now
        )
        for person in PEOPLE.values()
        if person.name not in known
    }


def complete_week(res: Resources, week: Week, now: datetime) -> None:
    """Bring a past week to its end as people would; an unfinished one goes on where it is."""
    with res.db.write() as db:
        weekly.start_cycle(
            db,
            res.jobs,
            week,
            weekly.CycleStart(
                COMMAND_LINE.name,
                now,
                as_of=min(now, clock(week).aggregate),
                hours=DECISION_HOURS,
            ),
        )
    state = wait_for_state(res, week, *orders.CHECK_STATES, *STATES_AFTER_CHECK)
    if state in orders.CHECK_STATES:
        check_orders(res, week, now)
    if wait_for_state(res, week, *orders.STORE_VISIBLE_STATES) == CycleState.RELEASED:
        confirm_orders(res, week, now)
    state = wait_for_state(res, week, CycleState.ORDERED, CycleState.EVALUATED)
    if state == CycleState.ORDERED and week.sunday < now.astimezone(TOKYO).date():
        with res.db.write() as db:
            if evaluation.has_all_sales(db, res.warehouse, week, now):
                evaluation.evaluate_week(db, res.warehouse, week, now)


def start_current_week(res: Resources, week: Week, now: datetime) -> None:
    """Start the week to order and wait until it is proposed."""
    with res.db.write() as db:
        start = weekly.CycleStart(COMMAND_LINE.name, now, hours=DECISION_HOURS)
        weekly.start_cycle(db, res.jobs, week, start)
    wait_for_state(res, week, *orders.CHECK_STATES, *STATES_AFTER_CHECK)


def wait_for_state(res: Resources, week: Week, *states: CycleState) -> CycleState:
    """Wait until a week is in one of these states, and give which.

    Raises UserError when its run has stopped or takes longer than MAX_STAGE_SECONDS.
    """

    def state() -> CycleState:
        with res.db.read() as db:
            return orders.get_cycle(db, week).state

    run = res.jobs.wait_for_run(
        orders.weekly_run_id(week), seconds=MAX_STAGE_SECONDS, until=lambda: state() in states
    )
    reached = state()
    if reached not in states:
        raise UserError(
            "The example's week %(week)s is %(state)s and its run is %(status)s. See"
            " `tanuki jobs show %(run)s` for what stopped it.",
            week=week,
            state=reached,
            status=run.status,
            run=run.id,
        )
    return reached


def check_orders(res: Resources, week: Week, now: datetime) -> None:
    """The analyst changes some of the most unusual lines, and releases the week to the stores."""
    analyst = PEOPLE["analyst"]
    with res.db.write() as db:
        lines = orders.list_order_lines(db, analyst, week)
        for n, line in enumerate(lines[:ANALYST_CHANGES_PER_WEEK]):
            change = make_change(line, n, ANALYST_REASONS)
            orders.change_order_line(db, analyst, week, change, now)
        orders.release_week(db, analyst, res.jobs, week, now)


def confirm_orders(res: Resources, week: Week, now: datetime) -> None:
    """Each store's manager confirms; some change a line before."""
    for n, store in enumerate(STORES):
        manager = PEOPLE[f"manager-{store.code}"]
        with res.db.write() as db:
            if store.code not in orders.list_unconfirmed_stores(db, week):
                continue
            lines = orders.list_order_lines(db, manager, week, store.code)
            if lines and (n + week.number) % STORES_PER_MANAGER_CHANGE == 0:
                change = make_change(lines[n % len(lines)], n, MANAGER_REASONS)
                orders.change_order_line(db, manager, week, change, now)
            orders.confirm_store(db, manager, res.jobs, week, store.code, now)


def make_change(line: OrderLine, n: int, reasons: Sequence[str]) -> orders.LineChange:
    """Some cases more or, every third time, fewer; with the reason of this number."""
    step = max(1, round(line.cases * CHANGE_SHARE))
    cases = max(0, line.cases - step) if n % 3 == 2 else line.cases + step
    reason = reasons[n % len(reasons)]
    return orders.LineChange(line.store, line.item, cases, line.version, reason)

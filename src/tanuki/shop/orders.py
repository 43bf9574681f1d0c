"""The order lines of a week: checked by the analyst, released, confirmed by each store's manager.

Every change keeps who, when, before, after and why. What people do wakes the week's durable run in
the same transaction.
"""

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum

from sqlalchemy import func, select
from sqlalchemy.orm import Session

from tanuki.errors import Conflict, NotAllowed, NotFound, UserError
from tanuki.i18n import Translate, english, msgid
from tanuki.platform.accounts import Person, require_role
from tanuki.platform.jobs import Jobs
from tanuki.shop.calendar import Week
from tanuki.shop.store_access import CHAIN_ROLES, list_visible_stores, require_store_access
from tanuki.shop.tables import Change, ChangeStage, Confirmation, Cycle, CycleState, OrderLine

WAKE_TOPIC = "people"  # of the messages that wake a week's run
MAX_CASES_PER_LINE = 100_000
MAX_CHANGES_SHOWN = 500
CHECK_STATES = (CycleState.PROPOSED, CycleState.HELD)
STORE_VISIBLE_STATES = (CycleState.RELEASED, CycleState.ORDERED, CycleState.EVALUATED)


class CycleAlert(StrEnum):
    """What a person must see to before a week goes on."""

    HELD = "held"
    UNCHECKED = "unchecked"
    UNCONFIRMED = "unconfirmed"
    STOPPED = "stopped"  # for a reason that a person can mend, such as missing sales
    FAILED = "failed"  # because of an error in the code


CYCLE_ALERTS: dict[str, str] = {
    CycleAlert.HELD: msgid("%(by)s holds it: %(why)s"),
    CycleAlert.UNCHECKED: msgid(
        "The check's deadline passed and nobody had checked; an analyst must release the week."
    ),
    CycleAlert.UNCONFIRMED: msgid("Not confirmed in time, so not ordered yet: %(stores)s."),
    CycleAlert.STOPPED: msgid("The run stopped: %(why)s"),
    CycleAlert.FAILED: msgid("The run failed (%(error)s); see the run's record."),
}


@dataclass(frozen=True)
class LineChange:
    """A person's new number of cases for one line of a week.

    version: of the line that the person saw.
    reason: needed at the analyst's check.
    """

    store: str
    item: str
    cases: int
    version: int
    reason: str = ""


def render_cycle_alert(cycle: Cycle, say: Translate = english) -> str | None:
    """What a person must see to; None when there is nothing."""
    if cycle.alert is None:
        return None
    code, values = cycle.alert["code"], dict(cycle.alert)
    if code == CycleAlert.STOPPED:
        values = {"why": say(values["message"], **values["values"])}
    return say(CYCLE_ALERTS[code], **values)


def weekly_run_id(week: Week) -> str:
    """The id of a week's durable run."""
    return f"weekly-{week}"


def get_cycle(db: Session, week: Week) -> Cycle:
    """A week's cycle. Raises NotFound when it was never started."""
    cycle = db.get(Cycle, str(week))
    if cycle is None:
        raise NotFound("Week %(week)s was never started.", week=week)
    return cycle


def lock_cycle(db: Session, week: Week) -> Cycle:
    """The cycle, with its row locked until the transaction ends. Raises NotFound."""
    cycle = db.scalars(select(Cycle).where(Cycle.week == str(week)).with_for_update()).first()
    if cycle is None:
        raise NotFound("Week %(week)s was never started.", week=week)
    return cycle


def list_order_lines(
    db: Session, person: Person, week: Week, store: str | None = None
) -> list[OrderLine]:
    """The week's lines that a person may see, most unusual first.

    Managers see their own stores', and only after the release.
    """
    if store is not None:
        require_store_access(db, person, store)
    cycle = get_cycle(db, week)
    if not person.has_role(*CHAIN_ROLES) and cycle.state not in STORE_VISIBLE_STATES:
        return []
    stores = [store] if store is not None else list_visible_stores(db, person)
    query = select(OrderLine).where(OrderLine.week == str(week), OrderLine.store.in_(stores))
    return list(
        db.scalars(query.order_by(OrderLine.unusual.desc(), OrderLine.store, OrderLine.item))
    )


def change_order_line(
    db: Session, person: Person, week: Week, change: LineChange, now: datetime
) -> OrderLine:
    """Set a line's cases.

    Analysts may while they check, managers of the store from the release until they confirm.
    Raises Conflict when somebody changed the line after the person saw it; nothing is overwritten.
    """
    store, item = change.store, change.item
    require_store_access(db, person, store)
    stage = get_change_stage(db, person, get_cycle(db, week), store)
    line = db.scalars(
        select(OrderLine)
        .where(OrderLine.week == str(week), OrderLine.store == store, OrderLine.item == item)
        .with_for_update()
    ).first()
    if line is None:
        raise NotFound(
            "There is no item %(item)s among the orders of %(store)s in %(week)s.",
            item=item,
            store=store,
            week=week,
        )
    require_valid_cases(item, change.cases)
    if line.version != change.version:
        raise Conflict(
            "Somebody has changed %(item)s of %(store)s to %(cases)s cases meanwhile. "
            "Reload the page, then change it.",
            item=item,
            store=store,
            cases=line.cases,
        )
    if change.cases == line.cases:
        return line
    if stage == ChangeStage.CHECK and not change.reason.strip():
        raise UserError("Please say why %(item)s of %(store)s changes.", item=item, store=store)
    db.add(
        Change(
            week=str(week),
            store=store,
            item=item,
            stage=stage,
            before_cases=line.cases,
            after_cases=change.cases,
            reason=change.reason.strip(),
            by=person.name,
            at=now,
        )
    )
    line.cases = change.cases
    line.version += 1
    db.flush()
    return line


def require_valid_cases(item: str, cases: int) -> None:
    """Raises UserError for a number of cases that no line can have."""
    if not 0 <= cases <= MAX_CASES_PER_LINE:
        raise UserError(
            "%(cases)s cases of %(item)s; expected 0 to %(most)s.",
            cases=cases,
            item=item,
            most=MAX_CASES_PER_LINE,
        )


def get_change_stage(db: Session, person: Person, cycle: Cycle, store: str) -> ChangeStage:
    """The stage at which a person may change the store's lines now. Raises when they may not."""
    if cycle.state in CHECK_STATES:
        require_role(person, "analyst")
        return ChangeStage.CHECK
    if cycle.state != CycleState.RELEASED:
        raise Conflict(
            "The orders of %(week)s can no longer be changed: they are %(state)s.",
            week=cycle.week,
            state=cycle.state,
        )
    if store not in person.role_scopes("manager") and not person.has_role("analyst"):
        raise NotAllowed("Only the store's manager or an analyst changes its orders.")
    if db.get(Confirmation, (cycle.week, store)) is not None:
        raise Conflict("%(store)s has confirmed %(week)s already.", store=store, week=cycle.week)
    return ChangeStage.CONFIRM


def release_week(db: Session, person: Person, jobs: Jobs, week: Week, now: datetime) -> Cycle:
    """The analyst's check is done: the stores see the week from its release time on."""
    require_role(person, "analyst")
    cycle = lock_cycle(db, week)
    if cycle.state not in CHECK_STATES:
        raise Conflict(
            "%(week)s is %(state)s; only a week that waits for the check can be released.",
            week=week,
            state=cycle.state,
        )
    cycle.state = CycleState.CHECKED
    cycle.checked_at, cycle.checked_by = now, person.name
    cycle.alert = None
    jobs.send_message(db, weekly_run_id(week), "checked", WAKE_TOPIC)
    return cycle


def hold_week(db: Session, person: Person, jobs: Jobs, week: Week, *, why: str) -> Cycle:
    """Keep the week from the stores, whatever the clock says, until somebody releases it."""
    require_role(person, "analyst")
    if not why.strip():
        raise UserError("Please say why %(week)s is held.", week=week)
    cycle = lock_cycle(db, week)
    if cycle.state not in CHECK_STATES:
        raise Conflict(
            "%(week)s is %(state)s; only a week that waits for the check can be held.",
            week=week,
            state=cycle.state,
        )
    cycle.state = CycleState.HELD
    cycle.alert = {"code": CycleAlert.HELD, "by": person.name, "why": why.strip()}
    jobs.send_message(db, weekly_run_id(week), "held", WAKE_TOPIC)
    return cycle


def confirm_store(
    db: Session, person: Person, jobs: Jobs, week: Week, store: str, now: datetime
) -> Confirmation:
    """Confirm a store's orders, as its manager or as an analyst; then they no longer change."""
    require_store_access(db, person, store)
    cycle = lock_cycle(db, week)
    if cycle.state != CycleState.RELEASED:
        raise Conflict(
            "%(week)s is %(state)s; stores confirm it after its release and before it is ordered.",
            week=week,
            state=cycle.state,
        )
    if store not in person.role_scopes("manager") and not person.has_role("analyst"):
        raise NotAllowed("Only the store's manager or an analyst confirms its orders.")
    if db.get(Confirmation, (str(week), store)) is not None:
        raise Conflict("%(store)s has confirmed %(week)s already.", store=store, week=week)
    confirmation = Confirmation(week=str(week), store=store, by=person.name, at=now)
    db.add(confirmation)
    db.flush()
    jobs.send_message(db, weekly_run_id(week), store, WAKE_TOPIC)
    return confirmation


def load_confirmations(db: Session, week: Week) -> dict[str, Confirmation]:
    """The week's confirmations by store."""
    return {
        confirmation.store: confirmation
        for confirmation in db.scalars(select(Confirmation).where(Confirmation.week == str(week)))
    }


def list_unconfirmed_stores(db: Session, week: Week) -> list[str]:
    """Stores that have lines in the week and no confirmation yet."""
    stores = db.scalars(
        select(OrderLine.store)
        .where(OrderLine.week == str(week))
        .distinct()
        .order_by(OrderLine.store)
    )
    confirmed = load_confirmations(db, week)
    return [store for store in stores if store not in confirmed]


def list_order_changes(
    db: Session, person: Person, week: Week, store: str | None = None
) -> list[Change]:
    """People's changes of a week, newest first, within the stores that the person may see."""
    if store is not None:
        require_store_access(db, person, store)
    stores: Iterable[str] = [store] if store is not None else list_visible_stores(db, person)
    query = select(Change).where(Change.week == str(week), Change.store.in_(stores))
    return list(db.scalars(query.order_by(Change.id.desc()).limit(MAX_CHANGES_SHOWN)))


def count_unusual_lines(db: Session, week: Week) -> tuple[int, int]:
    """The numbers of unusual lines and of all lines."""
    unusual, lines = db.execute(
        select(func.count().filter(OrderLine.unusual >= 1), func.count())
        .select_from(OrderLine)
        .where(OrderLine.week == str(week))
    ).one()
    return int(unusual), int(lines)

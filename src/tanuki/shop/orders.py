"""A week's order lines on their way through people: checked by the analyst, released, confirmed by each store's manager.

Every change keeps who, when, before, after and why. What people do wakes the week's durable run in the same transaction.
"""

from collections.abc import Iterable
from datetime import datetime

from sqlalchemy import func, select
from sqlalchemy.orm import Session

from tanuki.errors import Conflict, NotAllowed, NotFound, UserError
from tanuki.platform.accounts import Person, require
from tanuki.platform.jobs import Work
from tanuki.shop.calendar import Week
from tanuki.shop.store_access import CHAIN, must_see, stores_of
from tanuki.shop.tables import Change, Confirmation, Cycle, OrderLine

TOPIC = "people"
MOST_CASES = 100_000
ALERTS = {
    "held": {"en": "{by} holds it: {why}", "ja": "{by}が保留しました：{why}"},
    "unchecked": {
        "en": "The check’s deadline passed and nobody had checked; an analyst must release the week.",
        "ja": "確認の期限までに誰も確認しませんでした。分析担当が公開してください。",
    },
    "unconfirmed": {
        "en": "Not confirmed in time, so not ordered yet: {stores}.",
        "ja": "期限までに確定されず、まだ発注していません：{stores}。",
    },
    "stopped": {"en": "The run stopped: {why}", "ja": "処理が止まりました：{why}"},
}
CHECKING = ("proposed", "held")
SEEN_BY_STORES = ("released", "ordered", "evaluated")


def alert_words(found: Cycle, lang: str) -> str | None:
    """What a person must see to, in "ja" or "en"; None when there is nothing."""
    return None if found.alert is None else ALERTS[found.alert["code"]][lang].format(**found.alert)


def run_id(week: Week) -> str:
    """The id of a week's durable run."""
    return f"weekly-{week}"


def cycle(db: Session, week: Week) -> Cycle:
    """A week's cycle. Raises NotFound when it was never started."""
    found = db.get(Cycle, str(week))
    if found is None:
        raise NotFound("Week %(week)s was never started.", week=week)
    return found


def visible(db: Session, who: Person, week: Week, store: str | None = None) -> list[OrderLine]:
    """The week's lines this person may see, most unusual first. Managers see their own stores', and only after the release."""
    if store is not None:
        must_see(db, who, store)
    found = cycle(db, week)
    if not who.has(*CHAIN) and found.state not in SEEN_BY_STORES:
        return []
    stores = [store] if store is not None else stores_of(db, who)
    query = select(OrderLine).where(OrderLine.week == str(week), OrderLine.store.in_(stores))
    return list(
        db.scalars(query.order_by(OrderLine.unusual.desc(), OrderLine.store, OrderLine.item))
    )


def change(
    db: Session,
    who: Person,
    week: Week,
    store: str,
    item: str,
    *,
    cases: int,
    reason: str,
    version: int,
    now: datetime,
) -> OrderLine:
    """Set a line's cases. Analysts may while they check, managers of the store from the release until they confirm.

    `version` is the one the person saw: when somebody changed the line since, it is a Conflict and nothing is overwritten.
    """
    must_see(db, who, store)
    found = cycle(db, week)
    stage = stage_of(db, who, found, store)
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
    if not 0 <= cases <= MOST_CASES:
        raise UserError(
            "%(cases)s cases of %(item)s; expected 0 to %(most)s.",
            cases=cases,
            item=item,
            most=MOST_CASES,
        )
    if line.version != version:
        raise Conflict(
            "Somebody changed %(item)s of %(store)s to %(cases)s cases meanwhile; look again, then change it.",
            item=item,
            store=store,
            cases=line.cases,
        )
    if cases == line.cases:
        return line
    if stage == "check" and not reason.strip():
        raise UserError("Please say why %(item)s of %(store)s changes.", item=item, store=store)
    db.add(
        Change(
            week=str(week),
            store=store,
            item=item,
            stage=stage,
            before_cases=line.cases,
            after_cases=cases,
            reason=reason.strip(),
            by=who.name,
            at=now,
        )
    )
    line.cases = cases
    line.version += 1
    db.flush()
    return line


def stage_of(db: Session, who: Person, found: Cycle, store: str) -> str:
    """At which stage this person may change the store's lines now: check or confirm. Raises when they may not."""
    if found.state in CHECKING:
        require(who, "analyst")
        return "check"
    if found.state != "released":
        raise Conflict(
            "The orders of %(week)s can no longer be changed: they are %(state)s.",
            week=found.week,
            state=found.state,
        )
    if store not in who.scopes("manager") and not who.has("analyst"):
        raise NotAllowed("Only the store's manager or an analyst changes its orders.")
    if db.get(Confirmation, (found.week, store)) is not None:
        raise Conflict("%(store)s has confirmed %(week)s already.", store=store, week=found.week)
    return "confirm"


def release(db: Session, who: Person, work: Work, week: Week, now: datetime) -> Cycle:
    """The analyst's check is done: the stores see the week from its release time on."""
    require(who, "analyst")
    found = locked(db, week)
    if found.state not in CHECKING:
        raise Conflict(
            "%(week)s is %(state)s; only a week that waits for the check can be released.",
            week=week,
            state=found.state,
        )
    found.state, found.checked_at, found.checked_by, found.alert = "checked", now, who.name, None
    work.send(db, run_id(week), "checked", TOPIC)
    return found


def hold(db: Session, who: Person, work: Work, week: Week, *, why: str, now: datetime) -> Cycle:
    """Keep the week from the stores, whatever the clock says, until somebody releases it."""
    require(who, "analyst")
    if not why.strip():
        raise UserError("Please say why %(week)s is held.", week=week)
    found = locked(db, week)
    if found.state not in CHECKING:
        raise Conflict(
            "%(week)s is %(state)s; only a week that waits for the check can be held.",
            week=week,
            state=found.state,
        )
    found.state, found.alert = "held", {"code": "held", "by": who.name, "why": why.strip()}
    work.send(db, run_id(week), "held", TOPIC)
    return found


def confirm(
    db: Session, who: Person, work: Work, week: Week, store: str, now: datetime
) -> Confirmation:
    """The store's manager (or an analyst for them) says yes: nothing of the store changes any more."""
    must_see(db, who, store)
    found = locked(db, week)
    if found.state != "released":
        raise Conflict(
            "%(week)s is %(state)s; stores confirm it after its release and before it is ordered.",
            week=week,
            state=found.state,
        )
    if store not in who.scopes("manager") and not who.has("analyst"):
        raise NotAllowed("Only the store's manager or an analyst confirms its orders.")
    if db.get(Confirmation, (str(week), store)) is not None:
        raise Conflict("%(store)s has confirmed %(week)s already.", store=store, week=week)
    made = Confirmation(week=str(week), store=store, by=who.name, at=now)
    db.add(made)
    db.flush()
    work.send(db, run_id(week), store, TOPIC)
    return made


def locked(db: Session, week: Week) -> Cycle:
    """The cycle, with its row locked until the transaction ends."""
    found = db.scalars(select(Cycle).where(Cycle.week == str(week)).with_for_update()).first()
    if found is None:
        raise NotFound("Week %(week)s was never started.", week=week)
    return found


def confirmations(db: Session, week: Week) -> dict[str, Confirmation]:
    """Who has confirmed, by store."""
    return {
        confirmation.store: confirmation
        for confirmation in db.scalars(select(Confirmation).where(Confirmation.week == str(week)))
    }


def unconfirmed(db: Session, week: Week) -> list[str]:
    """Stores that have lines in the week and no confirmation yet."""
    stores = db.scalars(
        select(OrderLine.store)
        .where(OrderLine.week == str(week))
        .distinct()
        .order_by(OrderLine.store)
    )
    done = confirmations(db, week)
    return [store for store in stores if store not in done]


def changes(
    db: Session, who: Person, week: Week, store: str | None = None, limit: int = 500
) -> list[Change]:
    """What people changed in a week, newest first, within the stores this person may see."""
    if store is not None:
        must_see(db, who, store)
    stores: Iterable[str] = [store] if store is not None else stores_of(db, who)
    query = select(Change).where(Change.week == str(week), Change.store.in_(stores))
    return list(db.scalars(query.order_by(Change.id.desc()).limit(limit)))


def count_unusual(db: Session, week: Week) -> tuple[int, int]:
    """How many lines are unusual, of how many."""
    row = db.execute(
        select(func.count().filter(OrderLine.unusual >= 1), func.count())
        .select_from(OrderLine)
        .where(OrderLine.week == str(week))
    ).one()
    return int(row[0]), int(row[1])

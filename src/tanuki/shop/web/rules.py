"""The chain's rules: what happens when a deadline passes, the thresholds and the service; with everything they ever were."""

from datetime import UTC, datetime
from typing import Annotated

from fastapi import APIRouter, Form
from pydantic import BaseModel

from tanuki.i18n import msgid
from tanuki.platform.accounts import require
from tanuki.platform.web.pages import Db, Done, Who, WriteDb, action, page
from tanuki.shop import rules
from tanuki.shop.store_access import CHAIN
from tanuki.shop.tables import Rules

router = APIRouter()
Share = Annotated[float, Form()]


class RulesRow(BaseModel):
    """Rules, and who put them in force."""

    release_unchecked: bool
    order_unconfirmed: bool
    too_much: float
    too_little: float
    unusual: float
    service_a: float
    service_b: float
    service_c: float
    holding: float
    by: str | None
    at: datetime | None
    why: str | None


class RulesView(BaseModel):
    """The rules in force, and all there ever were, newest first."""

    now: RulesRow
    history: list[RulesRow]
    may_change: bool


def row(each: Rules) -> RulesRow:
    """Rules as the page shows them."""
    return RulesRow(**{name: getattr(each, name) for name in RulesRow.model_fields})


def view(db: Db, who: Who) -> RulesView:
    """The rules in force."""
    require(who, *CHAIN)
    return RulesView(
        now=row(rules.get(db)),
        history=[row(each) for each in rules.history(db)],
        may_change=who.has("analyst"),
    )


def change(
    db: WriteDb,
    who: Who,
    too_much: Share,
    too_little: Share,
    unusual: Share,
    service_a: Share,
    service_b: Share,
    service_c: Share,
    holding: Share,
    why: Annotated[str, Form()],
    release_unchecked: Annotated[bool, Form()] = False,
    order_unconfirmed: Annotated[bool, Form()] = False,
) -> Done:
    """Put new rules in force."""
    rules.change(
        db,
        who,
        release_unchecked=release_unchecked,
        order_unconfirmed=order_unconfirmed,
        too_much=too_much,
        too_little=too_little,
        unusual=unusual,
        service_a=service_a,
        service_b=service_b,
        service_c=service_c,
        holding=holding,
        why=why,
        now=datetime.now(UTC),
    )
    return Done("/shop/rules", msgid("The new rules are in force."))


page(router, "/shop/rules", view, "shop/rules.html", csv=lambda view: view.history)
action(router, "/shop/rules", change)

"""The chain's ordering rules: missed deadlines, thresholds and service levels."""

from datetime import UTC, datetime
from typing import Annotated

from fastapi import APIRouter, Form
from pydantic import BaseModel

from tanuki.i18n import msgid
from tanuki.platform.accounts import require_role
from tanuki.platform.web.auth import CurrentPerson
from tanuki.platform.web.pages import ActionResult, read_route, write_route
from tanuki.platform.web.transactions import Db, WriteDb
from tanuki.shop import rules
from tanuki.shop.rules import RulesChange
from tanuki.shop.store_access import CHAIN_ROLES
from tanuki.shop.tables import Rules

router = APIRouter(tags=["shop"])


class Shares(BaseModel):
    """The rules that are shares: 0.2 is 20 %."""

    too_much: float
    too_little: float
    unusual: float
    service_a: float
    service_b: float
    service_c: float
    holding: float


class RulesRow(Shares):
    """Rules, and who put them in force; empty for the defaults."""

    release_unchecked: bool
    order_unconfirmed: bool
    by: str | None
    at: datetime | None
    why: str | None


class RulesPage(BaseModel):
    """The rules in force, and all earlier ones, newest first."""

    now: RulesRow
    history: list[RulesRow]
    may_change: bool


@read_route(router, "/shop/rules", "shop/rules.html", csv=lambda page: page.history)
def show_rules_page(db: Db, person: CurrentPerson) -> RulesPage:
    """The rules in force."""
    require_role(person, *CHAIN_ROLES)
    return RulesPage(
        now=build_rules_row(rules.load_rules(db)),
        history=[build_rules_row(past_rules) for past_rules in rules.load_rules_history(db)],
        may_change=person.has_role("analyst"),
    )


def build_rules_row(row: Rules) -> RulesRow:
    return RulesRow(**{field: getattr(row, field) for field in RulesRow.model_fields})


class RulesForm(Shares):
    """New rules. A box that is not ticked is not sent."""

    why: str
    release_unchecked: bool = False
    order_unconfirmed: bool = False


@write_route(router, "/shop/rules")
def change_rules(
    db: WriteDb, person: CurrentPerson, form: Annotated[RulesForm, Form()]
) -> ActionResult:
    """Put new rules in force."""
    change = RulesChange(
        release_unchecked=form.release_unchecked,
        order_unconfirmed=form.order_unconfirmed,
        why=form.why,
        shares={field: getattr(form, field) for field in Shares.model_fields},
    )
    rules.change_rules(db, person, change, datetime.now(UTC))
    return ActionResult("/shop/rules", msgid("The new rules are in force."))

"""Purchase orders: all of a week, and each as a printable page with its document, its trail, cancelling and issuing again."""

from datetime import UTC, date, datetime
from typing import Annotated

from fastapi import APIRouter, Form
from fastapi.responses import Response
from pydantic import BaseModel

from tanuki.errors import UserError
from tanuki.i18n import msgid
from tanuki.platform.web.pages import Db, Done, Lang, Res, Who, WriteDb, action, page
from tanuki.shop import purchase_orders, weekly
from tanuki.shop.calendar import parse_week
from tanuki.shop.orders import cycle
from tanuki.shop.tables import PurchaseOrder
from tanuki.shop.web.formatting import Names, names, wanted

router = APIRouter()


class OrderRow(BaseModel):
    """A purchase order in a list."""

    number: str
    maker: str
    maker_name: str
    store: str
    store_name: str
    status: str
    issue: int
    lines: int
    cases: int
    units: int
    issued_at: datetime


class MakerSum(BaseModel):
    """What goes to one maker."""

    maker: str
    name: str
    orders: int
    cases: int
    units: int


class OrdersView(BaseModel):
    """A week's purchase orders."""

    week: str | None
    weeks: list[str]
    state: str | None
    rows: list[OrderRow]
    makers: list[MakerSum]


def view(db: Db, who: Who, lang: Lang, week: str | None = None) -> OrdersView:
    """The purchase orders of the newest week, or of the one asked for, within the stores this person may see."""
    target = wanted(db, week)
    state = cycle(db, target).state if target else None
    called = names(db, lang)
    found = (
        purchase_orders.purchase_orders(db, who, target)
        if target
        else purchase_orders.purchase_orders(db, who, limit=0)
    )
    rows = [row(db, called, each) for each in found]
    sums: dict[str, MakerSum] = {}
    for each in rows:
        if each.status == "issued":
            total = sums.setdefault(
                each.maker,
                MakerSum(maker=each.maker, name=each.maker_name, orders=0, cases=0, units=0),
            )
            total.orders, total.cases, total.units = (
                total.orders + 1,
                total.cases + each.cases,
                total.units + each.units,
            )
    weeks = [each.week for each in weekly.cycles(db)]
    return OrdersView(
        week=str(target) if target else None,
        weeks=weeks,
        state=state,
        rows=rows,
        makers=list(sums.values()),
    )


def row(db: Db, called: Names, each: PurchaseOrder) -> OrderRow:
    """A purchase order in a list."""
    held = purchase_orders.lines(db, each.number)
    return OrderRow(
        number=each.number,
        maker=each.maker,
        maker_name=called.makers.get(each.maker, each.maker),
        store=each.store,
        store_name=called.stores.get(each.store, each.store),
        status=each.status,
        issue=each.issue,
        lines=len(held),
        cases=sum(line.cases for line in held),
        units=sum(line.units for line in held),
        issued_at=each.issued_at,
    )


class OrderedItem(BaseModel):
    """One item of a purchase order."""

    item: str
    name: str
    cases: int
    case_units: int
    units: int


class Issue(BaseModel):
    """One issue of a purchase order."""

    number: str
    status: str
    issued_at: datetime
    issued_by: str
    cancelled_at: datetime | None
    cancelled_by: str | None
    cancelled_why: str | None


class OrderView(BaseModel):
    """A purchase order as it is printed, with the trail of its issues."""

    order: OrderRow
    week: str
    delivery: date
    lines: list[OrderedItem]
    trail: list[Issue]
    may_change: bool
    newest: bool


def order_view(db: Db, who: Who, lang: Lang, number: str) -> OrderView:
    """One purchase order."""
    found = purchase_orders.purchase_order(db, who, number)
    called = names(db, lang)
    trail = purchase_orders.trail(db, found)
    return OrderView(
        order=row(db, called, found),
        week=found.week,
        delivery=parse_week(found.week).monday,
        lines=[
            OrderedItem(
                item=line.item,
                name=called.items.get(line.item, line.item),
                cases=line.cases,
                case_units=line.case_units,
                units=line.units,
            )
            for line in purchase_orders.lines(db, number)
        ],
        trail=[
            Issue(**{name: getattr(each, name) for name in Issue.model_fields}) for each in trail
        ],
        may_change=who.has("analyst"),
        newest=trail[-1].number == number,
    )


@router.get("/shop/orders/{number}/sent.csv", include_in_schema=False, response_class=Response)
@router.get("/api/shop/orders/{number}/sent.csv", response_class=Response)
def sent(db: Db, who: Who, res: Res, number: str) -> Response:
    """The document as it was sent to the maker, the same bytes each time."""
    found = purchase_orders.purchase_order(db, who, number)
    headers = {"Content-Disposition": f'attachment; filename="{found.number}.csv"'}
    return Response(
        purchase_orders.document(res.objects, found),
        media_type="text/csv; charset=utf-8",
        headers=headers,
    )


def cancel(db: WriteDb, who: Who, number: str, why: Annotated[str, Form()]) -> Done:
    """Cancel a purchase order; it stays on record."""
    purchase_orders.cancel(db, who, number, why=why, now=datetime.now(UTC))
    return Done(f"/shop/orders/{number}", msgid("%(number)s is cancelled."), {"number": number})


def reissue(
    db: WriteDb,
    who: Who,
    res: Res,
    number: str,
    item: Annotated[list[str], Form()],
    cases: Annotated[list[int], Form()],
) -> Done:
    """Issue a cancelled purchase order again, with its own cases for each item."""
    if len(item) != len(cases):
        raise UserError("The form is not whole: expected cases for each item.")
    made = purchase_orders.reissue(
        db,
        who,
        res.objects,
        number,
        cases=dict(zip(item, cases, strict=True)),
        now=datetime.now(UTC),
    )
    return Done(
        f"/shop/orders/{made.number}",
        msgid("%(number)s replaces %(old)s."),
        {"number": made.number, "old": number},
    )


page(router, "/shop/orders", view, "shop/orders.html", csv=lambda view: view.rows)
page(router, "/shop/orders/{number}", order_view, "shop/order.html", csv=lambda view: view.lines)
action(router, "/shop/orders/{number}/cancel", cancel)
action(router, "/shop/orders/{number}/reissue", reissue)

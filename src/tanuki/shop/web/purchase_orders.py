"""Purchase orders: those of a week, and each as a printable page with its document and issues."""

from collections.abc import Iterable
from datetime import UTC, date, datetime
from typing import Annotated

from fastapi import APIRouter, Form
from fastapi.responses import Response
from pydantic import BaseModel
from sqlalchemy.orm import Session

from tanuki.errors import UserError
from tanuki.i18n import msgid
from tanuki.platform.web.auth import CurrentPerson, Lang
from tanuki.platform.web.pages import ActionResult, read_route, write_route
from tanuki.platform.web.site import Res
from tanuki.platform.web.transactions import Db, WriteDb
from tanuki.shop import purchase_orders, weekly
from tanuki.shop.calendar import parse_week
from tanuki.shop.orders import get_cycle
from tanuki.shop.tables import PurchaseOrder
from tanuki.shop.web.formatting import Names, choose_week, load_names

router = APIRouter(tags=["shop"])


class PurchaseOrderRow(BaseModel):
    """A purchase order in a list."""

    number: str
    supplier: str
    supplier_name: str
    store: str
    store_name: str
    status: str
    issue: int
    lines: int
    cases: int
    units: int
    issued_at: datetime


class SupplierTotal(BaseModel):
    """What is ordered from one supplier, without cancelled orders."""

    supplier: str
    name: str
    orders: int = 0
    cases: int = 0
    units: int = 0


class PurchaseOrdersPage(BaseModel):
    """A week's purchase orders."""

    week: str | None
    weeks: list[str]
    state: str | None
    orders: list[PurchaseOrderRow]
    suppliers: list[SupplierTotal]


@read_route(router, "/shop/orders", "shop/purchase_orders.html", csv=lambda page: page.orders)
def show_purchase_orders_page(
    db: Db, person: CurrentPerson, lang: Lang, week: str | None = None
) -> PurchaseOrdersPage:
    """A week's purchase orders, in the stores that this person may see."""
    target = choose_week(db, week)
    names = load_names(db, lang)
    orders = [] if target is None else purchase_orders.list_purchase_orders(db, person, target)
    rows = [build_order_row(db, names, order) for order in orders]
    return PurchaseOrdersPage(
        week=str(target) if target else None,
        weeks=[cycle.week for cycle in weekly.list_cycles(db)],
        state=get_cycle(db, target).state if target else None,
        orders=rows,
        suppliers=sum_by_supplier(rows),
    )


def build_order_row(db: Session, names: Names, order: PurchaseOrder) -> PurchaseOrderRow:
    lines = purchase_orders.list_purchase_order_lines(db, order.number)
    return PurchaseOrderRow(
        number=order.number,
        supplier=order.supplier,
        supplier_name=names.suppliers.get(order.supplier, order.supplier),
        store=order.store,
        store_name=names.stores.get(order.store, order.store),
        status=order.status,
        issue=order.issue,
        lines=len(lines),
        cases=sum(line.cases for line in lines),
        units=sum(line.units for line in lines),
        issued_at=order.issued_at,
    )


def sum_by_supplier(rows: Iterable[PurchaseOrderRow]) -> list[SupplierTotal]:
    totals: dict[str, SupplierTotal] = {}
    for row in rows:
        if row.status != "issued":
            continue
        total = totals.setdefault(
            row.supplier, SupplierTotal(supplier=row.supplier, name=row.supplier_name)
        )
        total.orders += 1
        total.cases += row.cases
        total.units += row.units
    return list(totals.values())


# ---- one purchase order --------------------------------------------------------------------------


class OrderedItem(BaseModel):
    """One item of a purchase order."""

    item: str
    name: str
    cases: int
    case_units: int
    units: int


class Issue(BaseModel):
    """One issue of a purchase order: a cancelled one can be issued again under a new number."""

    number: str
    status: str
    issued_at: datetime
    issued_by: str
    cancelled_at: datetime | None
    cancelled_by: str | None
    cancelled_why: str | None


class PurchaseOrderPage(BaseModel):
    """A purchase order as it is printed, with all of its issues."""

    order: PurchaseOrderRow
    week: str
    delivery: date
    lines: list[OrderedItem]
    issues: list[Issue]
    may_change: bool
    is_latest: bool


@read_route(
    router,
    "/shop/orders/{number}",
    "shop/purchase_order.html",
    csv=lambda page: page.lines,
)
def show_purchase_order_page(
    db: Db, person: CurrentPerson, lang: Lang, number: str
) -> PurchaseOrderPage:
    order = purchase_orders.get_purchase_order(db, person, number)
    names = load_names(db, lang)
    issues = purchase_orders.list_issues(db, order)
    return PurchaseOrderPage(
        order=build_order_row(db, names, order),
        week=order.week,
        delivery=parse_week(order.week).monday,
        lines=[
            OrderedItem(
                item=line.item,
                name=names.items.get(line.item, line.item),
                cases=line.cases,
                case_units=line.case_units,
                units=line.units,
            )
            for line in purchase_orders.list_purchase_order_lines(db, number)
        ],
        issues=[
            Issue(**{field: getattr(issue, field) for field in Issue.model_fields})
            for issue in issues
        ],
        may_change=person.has_role("analyst"),
        is_latest=issues[-1].number == number,
    )


@read_route(router, "/shop/orders/{number}/sent.csv")
@read_route(router, "/api/shop/orders/{number}/sent.csv", response_class=Response)
def download_document(db: Db, person: CurrentPerson, res: Res, number: str) -> Response:
    """The document as it was sent to the supplier, the same bytes each time."""
    order = purchase_orders.get_purchase_order(db, person, number)
    return Response(
        purchase_orders.load_document(res.objects, order),
        media_type="text/csv; charset=utf-8",
        headers={"Content-Disposition": f'attachment; filename="{order.number}.csv"'},
    )


@write_route(router, "/shop/orders/{number}/cancel")
def cancel_purchase_order(
    db: WriteDb, person: CurrentPerson, number: str, why: Annotated[str, Form()]
) -> ActionResult:
    """Cancel a purchase order; it stays on record."""
    purchase_orders.cancel_purchase_order(db, person, number, why=why, now=datetime.now(UTC))
    return ActionResult(
        f"/shop/orders/{number}", msgid("%(number)s is cancelled."), {"number": number}
    )


class ReissueForm(BaseModel):
    """The new cases by item."""

    item: list[str]
    cases: list[int]


@write_route(router, "/shop/orders/{number}/reissue")
def reissue_purchase_order(
    db: WriteDb,
    person: CurrentPerson,
    res: Res,
    number: str,
    form: Annotated[ReissueForm, Form()],
) -> ActionResult:
    """Issue a cancelled purchase order again, with new cases for each item."""
    if len(form.item) != len(form.cases):
        raise UserError("The form is incomplete: every item needs its cases.")
    order = purchase_orders.reissue_purchase_order(
        db,
        person,
        res.objects,
        number,
        cases=dict(zip(form.item, form.cases, strict=True)),
        now=datetime.now(UTC),
    )
    return ActionResult(
        f"/shop/orders/{order.number}",
        msgid("%(number)s replaces %(old)s."),
        {"number": order.number, "old": number},
    )

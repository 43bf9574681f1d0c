"""Purchase orders: one for each supplier and store, numbered, with a document that never changes.

A purchase order is never changed: it is cancelled, and a new issue replaces it.
"""

import csv
import hashlib
import io
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime

from sqlalchemy import select
from sqlalchemy.orm import Session

from tanuki.errors import Conflict, NotFound, UserError
from tanuki.platform.accounts import Person, require_role
from tanuki.platform.object_store import ObjectStore
from tanuki.shop.calendar import Week, parse_week
from tanuki.shop.orders import load_confirmations, require_valid_cases
from tanuki.shop.store_access import list_visible_stores
from tanuki.shop.tables import (
    Item,
    OrderLine,
    PurchaseOrder,
    PurchaseOrderLine,
    PurchaseOrderStatus,
    Store,
    Supplier,
)

NO_SUPPLIER = "unassigned"  # of items whose master names none
MAX_PURCHASE_ORDERS = 1000
DOCUMENT_COLUMNS = (  # suppliers' programs read them
    "order",
    "week",
    "delivery",
    "maker",
    "store",
    "item",
    "item_name_ja",
    "item_name_en",
    "cases",
    "case_units",
    "units",
)


@dataclass(frozen=True)
class Issue:
    """One purchase order to be issued: what it is about, by whom and when, and what it replaces."""

    week: Week
    supplier: str
    store: str
    by: str
    at: datetime
    issue: int = 1
    replaces: str | None = None

    @property
    def number(self) -> str:
        """The order's number. It follows from what the order is about, so no order gets two."""
        return make_order_number(self.week, self.supplier, self.store, self.issue)


Cases = Sequence[tuple[Item, int]]  # of each item


def issue_purchase_orders(
    db: Session, objects: ObjectStore, week: Week, now: datetime, by: str
) -> list[PurchaseOrder]:
    """Purchase orders for every confirmed store that has none yet; a repeated call issues none."""
    confirmed = load_confirmations(db, week)
    issued = {
        (order.supplier, order.store)
        for order in db.scalars(select(PurchaseOrder).where(PurchaseOrder.week == str(week)))
    }
    items = {item.code: item for item in db.scalars(select(Item))}
    orders: dict[tuple[str, str], list[tuple[Item, int]]] = {}
    for line in db.scalars(
        select(OrderLine)
        .where(OrderLine.week == str(week))
        .order_by(OrderLine.store, OrderLine.item)
    ):
        if line.store in confirmed and line.cases > 0:
            item = items[line.item]
            supplier = item.supplier_code or NO_SUPPLIER
            orders.setdefault((supplier, line.store), []).append((item, line.cases))
    return [
        create_purchase_order(db, objects, Issue(week, supplier, store, by, now), cases)
        for (supplier, store), cases in sorted(orders.items(), key=lambda order: order[0])
        if (supplier, store) not in issued
    ]


def create_purchase_order(
    db: Session, objects: ObjectStore, issue: Issue, cases: Cases
) -> PurchaseOrder:
    """Record one purchase order and store its document."""
    order = PurchaseOrder(
        number=issue.number,
        week=str(issue.week),
        supplier=issue.supplier,
        store=issue.store,
        issue=issue.issue,
        status=PurchaseOrderStatus.ISSUED,
        issued_at=issue.at,
        issued_by=issue.by,
        replaces=issue.replaces,
        csv_sha256="",
    )
    lines = [
        PurchaseOrderLine(
            number=order.number,
            item=item.code,
            cases=count,
            case_units=item.case_units,
            units=count * item.case_units,
        )
        for item, count in sorted(cases, key=lambda pair: pair[0].code)
    ]
    content = render_document(order, lines, {item.code: item for item, _ in cases})
    order.csv_sha256 = hashlib.sha256(content).hexdigest()
    objects.put(document_key(order), content)
    db.add(order)
    db.flush()
    db.add_all(lines)
    db.flush()
    return order


def make_order_number(week: Week, supplier: str, store: str, issue: int) -> str:
    """PO-2021W03-SUPPLIER-STORE-1. A code with other signs than ASCII letters gets a hash."""

    def plain(code: str) -> str:
        ascii_code = re.sub(r"[^A-Za-z0-9]+", "", code).upper()
        if ascii_code == code.upper():
            return ascii_code
        return f"{ascii_code}{hashlib.sha256(code.encode()).hexdigest()[:6].upper()}"

    return f"PO-{week.year}W{week.number:02d}-{plain(supplier)}-{plain(store)}-{issue}"


def document_key(order: PurchaseOrder) -> str:
    """The document's key in the object store.

    The content's hash is part of it, so that a retry after a crash overwrites no other document.
    """
    return f"shop/purchase-orders/{order.week}/{order.number}-{order.csv_sha256[:12]}.csv"


def render_document(
    order: PurchaseOrder, lines: Sequence[PurchaseOrderLine], items: Mapping[str, Item]
) -> bytes:
    """The document as CSV with CRLF line ends (RFC 4180).

    UTF-8 with a byte order mark, without which spreadsheets do not show Japanese.
    """
    text = io.StringIO()
    out = csv.writer(text, lineterminator="\r\n")
    out.writerow(DOCUMENT_COLUMNS)
    delivery = parse_week(order.week).monday.isoformat()
    for line in lines:
        item = items[line.item]
        out.writerow(
            [
                order.number,
                order.week,
                delivery,
                order.supplier,
                order.store,
                line.item,
                item.name_ja,
                item.name_en,
                line.cases,
                line.case_units,
                line.units,
            ]
        )
    return text.getvalue().encode("utf-8-sig")


def load_document(objects: ObjectStore, order: PurchaseOrder) -> bytes:
    """The document as it was sent. Raises Conflict when another one is stored."""
    content = objects.get(document_key(order))
    if hashlib.sha256(content).hexdigest() != order.csv_sha256:
        raise Conflict(
            "The stored document of %(number)s is not the one that was sent; "
            "restore it from a backup.",
            number=order.number,
        )
    return content


def list_purchase_orders(
    db: Session, person: Person, week: Week | None = None
) -> list[PurchaseOrder]:
    """The purchase orders that a person may see, newest week first."""
    query = select(PurchaseOrder).where(PurchaseOrder.store.in_(list_visible_stores(db, person)))
    if week is not None:
        query = query.where(PurchaseOrder.week == str(week))
    order = (
        PurchaseOrder.week.desc(),
        PurchaseOrder.supplier,
        PurchaseOrder.store,
        PurchaseOrder.issue,
    )
    return list(db.scalars(query.order_by(*order).limit(MAX_PURCHASE_ORDERS)))


def get_purchase_order(db: Session, person: Person, number: str) -> PurchaseOrder:
    """One purchase order. Raises NotFound when there is none or it is another store's."""
    order = db.get(PurchaseOrder, number)
    if order is None or order.store not in list_visible_stores(db, person):
        raise NotFound("There is no purchase order %(number)s.", number=number)
    return order


def list_purchase_order_lines(db: Session, number: str) -> list[PurchaseOrderLine]:
    """The lines of a purchase order, by item."""
    return list(
        db.scalars(
            select(PurchaseOrderLine)
            .where(PurchaseOrderLine.number == number)
            .order_by(PurchaseOrderLine.item)
        )
    )


def list_issues(db: Session, order: PurchaseOrder) -> list[PurchaseOrder]:
    """All issues of a purchase order, oldest first."""
    query = select(PurchaseOrder).where(
        PurchaseOrder.week == order.week,
        PurchaseOrder.supplier == order.supplier,
        PurchaseOrder.store == order.store,
    )
    return list(db.scalars(query.order_by(PurchaseOrder.issue)))


def cancel_purchase_order(
    db: Session, person: Person, number: str, *, why: str, now: datetime
) -> PurchaseOrder:
    """Cancel an issued purchase order; it stays on record with who, when and why."""
    require_role(person, "analyst")
    order = get_purchase_order(db, person, number)
    if order.status != PurchaseOrderStatus.ISSUED:
        raise Conflict("%(number)s is cancelled already.", number=number)
    if not why.strip():
        raise UserError("Please say why %(number)s is cancelled.", number=number)
    order.status = PurchaseOrderStatus.CANCELLED
    order.cancelled_at, order.cancelled_by = now, person.name
    order.cancelled_why = why.strip()
    db.flush()
    return order


def reissue_purchase_order(
    db: Session,
    person: Person,
    objects: ObjectStore,
    number: str,
    *,
    cases: Mapping[str, int],
    now: datetime,
) -> PurchaseOrder:
    """A new issue of a cancelled purchase order. `cases`: by item code."""
    require_role(person, "analyst")
    order = get_purchase_order(db, person, number)
    if order.status != PurchaseOrderStatus.CANCELLED:
        raise Conflict(
            "%(number)s is in force; cancel it before a new issue replaces it.", number=number
        )
    last = list_issues(db, order)[-1]
    if last.number != order.number:
        raise Conflict(
            "%(number)s was replaced by %(last)s already.", number=number, last=last.number
        )
    items = {item.code: item for item in db.scalars(select(Item))}
    for code, count in cases.items():
        if code not in items or (items[code].supplier_code or NO_SUPPLIER) != order.supplier:
            raise UserError(
                "%(item)s is not supplied by %(supplier)s.", item=code, supplier=order.supplier
            )
        require_valid_cases(code, count)
    ordered = [(items[code], count) for code, count in cases.items() if count > 0]
    if not ordered:
        raise UserError(
            "A new issue of %(number)s needs at least one case of something.", number=number
        )
    issue = Issue(
        week=parse_week(order.week),
        supplier=order.supplier,
        store=order.store,
        by=person.name,
        at=now,
        issue=order.issue + 1,
        replaces=order.number,
    )
    return create_purchase_order(db, objects, issue, ordered)


def load_masters_by_code(
    db: Session,
) -> tuple[dict[str, Supplier], dict[str, Store], dict[str, Item]]:
    """Suppliers, stores and items by code."""
    return (
        {supplier.code: supplier for supplier in db.scalars(select(Supplier))},
        {store.code: store for store in db.scalars(select(Store))},
        {item.code: item for item in db.scalars(select(Item))},
    )

"""The purchase orders that leave the house: one a maker and store, numbered, the same document however often it is sent.

A purchase order is never changed: it is cancelled, and a new issue replaces it.
"""

import csv
import hashlib
import io
import re
from datetime import datetime

from sqlalchemy import select
from sqlalchemy.orm import Session

from tanuki.errors import Conflict, NotFound, UserError
from tanuki.platform.accounts import Person, require
from tanuki.platform.object_store import Objects
from tanuki.shop.calendar import Week, parse_week
from tanuki.shop.orders import MOST_CASES, confirmations
from tanuki.shop.store_access import stores_of
from tanuki.shop.tables import Item, Maker, OrderLine, PurchaseOrder, PurchaseOrderLine, Store

NO_MAKER = "unassigned"
HEADER = (
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


def issue(db: Session, objects: Objects, week: Week, now: datetime, by: str) -> list[PurchaseOrder]:
    """Purchase orders for every confirmed store that has none yet; doing it again issues nothing twice."""
    confirmed = confirmations(db, week)
    known = {
        (each.maker, each.store)
        for each in db.scalars(select(PurchaseOrder).where(PurchaseOrder.week == str(week)))
    }
    items = {item.code: item for item in db.scalars(select(Item))}
    wanted: dict[tuple[str, str], dict[str, int]] = {}
    for line in db.scalars(
        select(OrderLine)
        .where(OrderLine.week == str(week))
        .order_by(OrderLine.store, OrderLine.item)
    ):
        if line.store in confirmed and line.cases > 0:
            maker = items[line.item].maker_code or NO_MAKER
            wanted.setdefault((maker, line.store), {})[line.item] = line.cases
    return [
        write(db, objects, week, maker, store, 1, cases, items, now=now, by=by, replaces=None)
        for (maker, store), cases in sorted(wanted.items())
        if (maker, store) not in known
    ]


def write(
    db: Session,
    objects: Objects,
    week: Week,
    maker: str,
    store: str,
    number_of_issue: int,
    cases: dict[str, int],
    items: dict[str, Item],
    *,
    now: datetime,
    by: str,
    replaces: str | None,
) -> PurchaseOrder:
    """Record one purchase order and keep its document."""
    order = PurchaseOrder(
        number=number(week, maker, store, number_of_issue),
        week=str(week),
        maker=maker,
        store=store,
        issue=number_of_issue,
        status="issued",
        issued_at=now,
        issued_by=by,
        replaces=replaces,
        csv_sha256="",
    )
    lines = [
        PurchaseOrderLine(
            number=order.number,
            item=item,
            cases=count,
            case_units=items[item].case_units,
            units=count * items[item].case_units,
        )
        for item, count in sorted(cases.items())
    ]
    content = as_csv(order, lines, items)
    order.csv_sha256 = hashlib.sha256(content).hexdigest()
    objects.put(document_key(order), content)
    db.add(order)
    db.flush()
    db.add_all(lines)
    db.flush()
    return order


def number(week: Week, maker: str, store: str, number_of_issue: int) -> str:
    """A purchase order's number, made from what it is about: the same order can never get two."""

    def plain(code: str) -> str:
        ascii_code = re.sub(r"[^A-Za-z0-9]+", "", code).upper()
        return (
            ascii_code
            if ascii_code == code.upper()
            else f"{ascii_code}{hashlib.sha256(code.encode()).hexdigest()[:6].upper()}"
        )

    return f"PO-{week.year}W{week.number:02d}-{plain(maker)}-{plain(store)}-{number_of_issue}"


def document_key(order: PurchaseOrder) -> str:
    """Where the document is kept; its content is part of the name, so that a retry after a crash cannot overwrite another one."""
    return f"shop/purchase-orders/{order.week}/{order.number}-{order.csv_sha256[:12]}.csv"


def as_csv(order: PurchaseOrder, lines: list[PurchaseOrderLine], items: dict[str, Item]) -> bytes:
    """The document: UTF-8 with a byte order mark, so that spreadsheets show Japanese; CRLF line ends (RFC 4180)."""
    text = io.StringIO()
    out = csv.writer(text, lineterminator="\r\n")
    out.writerow(HEADER)
    for line in lines:
        item = items[line.item]
        delivery = parse_week(order.week).monday.isoformat()
        out.writerow(
            [
                order.number,
                order.week,
                delivery,
                order.maker,
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


def document(objects: Objects, order: PurchaseOrder) -> bytes:
    """The document as it was sent. Raises Conflict when what is stored is not what was sent."""
    content = objects.get(document_key(order))
    if hashlib.sha256(content).hexdigest() != order.csv_sha256:
        raise Conflict(
            "The stored document of %(number)s is not the one that was sent; restore it from a backup.",
            number=order.number,
        )
    return content


def purchase_orders(
    db: Session, who: Person, week: Week | None = None, limit: int = 1000
) -> list[PurchaseOrder]:
    """The purchase orders this person may see, newest week first."""
    query = select(PurchaseOrder).where(PurchaseOrder.store.in_(stores_of(db, who)))
    if week is not None:
        query = query.where(PurchaseOrder.week == str(week))
    order = (
        PurchaseOrder.week.desc(),
        PurchaseOrder.maker,
        PurchaseOrder.store,
        PurchaseOrder.issue,
    )
    return list(db.scalars(query.order_by(*order).limit(limit)))


def purchase_order(db: Session, who: Person, wanted: str) -> PurchaseOrder:
    """One purchase order. Raises NotFound when there is none or it is another store's."""
    found = db.get(PurchaseOrder, wanted)
    if found is None or found.store not in stores_of(db, who):
        raise NotFound("There is no purchase order %(number)s.", number=wanted)
    return found


def lines(db: Session, wanted: str) -> list[PurchaseOrderLine]:
    """What a purchase order holds."""
    return list(
        db.scalars(
            select(PurchaseOrderLine)
            .where(PurchaseOrderLine.number == wanted)
            .order_by(PurchaseOrderLine.item)
        )
    )


def trail(db: Session, order: PurchaseOrder) -> list[PurchaseOrder]:
    """All issues of a purchase order, oldest first."""
    same = (
        PurchaseOrder.week == order.week,
        PurchaseOrder.maker == order.maker,
        PurchaseOrder.store == order.store,
    )
    return list(db.scalars(select(PurchaseOrder).where(*same).order_by(PurchaseOrder.issue)))


def cancel(db: Session, who: Person, wanted: str, *, why: str, now: datetime) -> PurchaseOrder:
    """Cancel an issued purchase order; it stays on record with who, when and why."""
    require(who, "analyst")
    order = purchase_order(db, who, wanted)
    if order.status != "issued":
        raise Conflict("%(number)s is cancelled already.", number=wanted)
    if not why.strip():
        raise UserError("Please say why %(number)s is cancelled.", number=wanted)
    order.status, order.cancelled_at, order.cancelled_by, order.cancelled_why = (
        "cancelled",
        now,
        who.name,
        why.strip(),
    )
    db.flush()
    return order


def reissue(
    db: Session, who: Person, objects: Objects, wanted: str, *, cases: dict[str, int], now: datetime
) -> PurchaseOrder:
    """A new issue of a cancelled purchase order, with its own cases an item; the trail links both."""
    require(who, "analyst")
    order = purchase_order(db, who, wanted)
    if order.status != "cancelled":
        raise Conflict(
            "%(number)s is in force; cancel it before a new issue replaces it.", number=wanted
        )
    last = trail(db, order)[-1]
    if last.number != order.number:
        raise Conflict(
            "%(number)s was replaced by %(last)s already.", number=wanted, last=last.number
        )
    items = {item.code: item for item in db.scalars(select(Item))}
    for item, count in cases.items():
        if item not in items or (items[item].maker_code or NO_MAKER) != order.maker:
            raise UserError("%(item)s is not made by %(maker)s.", item=item, maker=order.maker)
        if not 0 <= count <= MOST_CASES:
            raise UserError(
                "%(cases)s cases of %(item)s; expected 0 to %(most)s.",
                cases=count,
                item=item,
                most=MOST_CASES,
            )
    kept = {item: count for item, count in cases.items() if count > 0}
    if not kept:
        raise UserError(
            "A new issue of %(number)s needs at least one case of something.", number=wanted
        )
    week = parse_week(order.week)
    return write(
        db,
        objects,
        week,
        order.maker,
        order.store,
        order.issue + 1,
        kept,
        items,
        now=now,
        by=who.name,
        replaces=order.number,
    )


def names(db: Session) -> tuple[dict[str, Maker], dict[str, Store], dict[str, Item]]:
    """Makers, stores and items by code, for pages and documents."""
    return (
        {maker.code: maker for maker in db.scalars(select(Maker))},
        {store.code: store for store in db.scalars(select(Store))},
        {item.code: item for item in db.scalars(select(Item))},
    )

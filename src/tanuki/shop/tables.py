"""The shop's records. Sales and other daily facts are not here: they live in the warehouse (facts.py)."""

from datetime import date, datetime
from typing import Any

from sqlalchemy import JSON, ForeignKey, Index, UniqueConstraint
from sqlalchemy.orm import Mapped, mapped_column

from tanuki.platform.database.engine import Base

# ---- masters -------------------------------------------------------------------------------------------------------


class Region(Base):
    """Where stores are."""

    __tablename__ = "shop_region"

    code: Mapped[str] = mapped_column(primary_key=True)
    name_ja: Mapped[str]
    name_en: Mapped[str]
    external_id: Mapped[str | None]


class Store(Base):
    """A shop of the chain. `code` is its name in sales files."""

    __tablename__ = "shop_store"

    code: Mapped[str] = mapped_column(primary_key=True)
    region_code: Mapped[str | None] = mapped_column(ForeignKey("shop_region.code"))
    name_ja: Mapped[str]
    name_en: Mapped[str]
    external_id: Mapped[str | None]
    shelf_units: Mapped[int | None]  # what fits on all its shelves; None: everything
    truck_cases: Mapped[int | None]  # cases that one week's delivery can bring; None: all of them


class Maker(Base):
    """Who makes items and gets purchase orders."""

    __tablename__ = "shop_maker"

    code: Mapped[str] = mapped_column(primary_key=True)
    name_ja: Mapped[str]
    name_en: Mapped[str]


class Item(Base):
    """A beverage: how it is ordered, how long it keeps, and what a unit too few or too many costs (yen)."""

    __tablename__ = "shop_item"

    code: Mapped[str] = mapped_column(primary_key=True)
    maker_code: Mapped[str | None] = mapped_column(ForeignKey("shop_maker.code"))
    name_ja: Mapped[str]
    name_en: Mapped[str]
    external_id: Mapped[str | None]
    case_units: Mapped[int] = mapped_column(default=1)
    min_cases: Mapped[int] = mapped_column(default=0)
    max_cases: Mapped[int | None]
    shelf_life_days: Mapped[int | None]  # None: keeps longer than it matters
    shortage_cost_yen: Mapped[float] = mapped_column(default=3.0)
    leftover_cost_yen: Mapped[float] = mapped_column(
        default=1.0
    )  # of a unit that cannot be sold any more
    service_class: Mapped[str] = mapped_column(
        default="B", server_default="B"
    )  # A, B or C: how often it must be there at least (rules)


class Rules(Base):
    """How the chain wants its week run; people change it on a page, the newest row counts. Thresholds live here, not in models."""

    __tablename__ = "shop_rules"

    id: Mapped[int] = mapped_column(primary_key=True)
    release_unchecked: Mapped[bool] = mapped_column(
        default=True
    )  # when the check is late: release as proposed, else hold and alert
    order_unconfirmed: Mapped[bool] = mapped_column(
        default=True
    )  # when a store is late: order as released, else hold that store
    too_much: Mapped[float] = mapped_column(
        default=0.20
    )  # leftovers up to this share of sales are within tolerance
    too_little: Mapped[float] = mapped_column(
        default=0.0
    )  # shortages beyond this share of demand are risky
    unusual: Mapped[float] = mapped_column(
        default=0.20
    )  # a proposal this share away from recent weeks is shown first
    service_a: Mapped[float] = mapped_column(
        default=0.97, server_default="0.97"
    )  # an item of class A must be enough in this share of weeks
    service_b: Mapped[float] = mapped_column(default=0.93, server_default="0.93")
    service_c: Mapped[float] = mapped_column(default=0.0, server_default="0")
    holding: Mapped[float] = mapped_column(
        default=0.25, server_default="0.25"
    )  # of its leftover cost: a unit that can be sold next week
    by: Mapped[str | None]
    at: Mapped[datetime | None]
    why: Mapped[str | None]


# ---- files that came in --------------------------------------------------------------------------------------------


class Import(Base):
    """One file that was imported: what it held and what became of its rows."""

    __tablename__ = "shop_import"

    id: Mapped[int] = mapped_column(primary_key=True)
    kind: Mapped[str]  # sales, stores, items, prices, regions, stock, promotions, deliveries
    file_name: Mapped[str]
    sha256: Mapped[str] = mapped_column(index=True)
    rows: Mapped[int]
    new: Mapped[int]
    changed: Mapped[int]
    unchanged: Mapped[int]
    quarantined: Mapped[int]
    recorded_at: Mapped[datetime]
    by: Mapped[str]


class QuarantinedRow(Base):
    """A row that could not be believed. It waits until a person fixes or drops it."""

    __tablename__ = "shop_quarantined_row"
    __table_args__ = (Index("ix_shop_quarantined_row_status", "status", "id"),)

    id: Mapped[int] = mapped_column(primary_key=True)
    import_id: Mapped[int] = mapped_column(ForeignKey("shop_import.id"))
    kind: Mapped[str]
    file_name: Mapped[str]
    row: Mapped[int]  # 1 is the first line after the header
    column: Mapped[str]
    found: Mapped[str]
    expected: Mapped[str]
    values: Mapped[dict[str, Any]] = mapped_column(JSON)  # the whole row as it stood in the file
    status: Mapped[str] = mapped_column(default="waiting")  # waiting, fixed or dropped
    decided_by: Mapped[str | None]
    decided_at: Mapped[datetime | None]
    why: Mapped[str | None]


# ---- the week ------------------------------------------------------------------------------------------------------


class Cycle(Base):
    """One target week on its way from sales to purchase orders. `week` is written 2021-W03."""

    __tablename__ = "shop_cycle"

    week: Mapped[str] = mapped_column(primary_key=True)
    # started, aggregated, forecast, proposed (the analyst's turn), held, checked, released (the managers' turn), ordered, evaluated
    state: Mapped[str]
    cutoff: Mapped[date]  # last day whose sales may be used
    as_of: Mapped[datetime]  # facts recorded later are not seen
    auto: Mapped[bool]
    started_by: Mapped[str]
    started_at: Mapped[datetime]
    forecast_due: Mapped[datetime]  # not before
    check_due: Mapped[datetime]
    release_at: Mapped[datetime]
    confirm_due: Mapped[datetime]
    aggregated_at: Mapped[datetime | None]
    forecast_at: Mapped[datetime | None]
    proposed_at: Mapped[datetime | None]
    checked_at: Mapped[datetime | None]
    checked_by: Mapped[str | None]  # None when the deadline passed
    released_at: Mapped[datetime | None]
    ordered_at: Mapped[datetime | None]
    evaluated_at: Mapped[datetime | None]
    sales_rows: Mapped[int | None]
    findings: Mapped[list[dict[str, Any]]] = mapped_column(
        JSON, default=list
    )  # of the data check: code and fields, worded when shown
    model: Mapped[str | None]
    model_version: Mapped[str | None]
    alert: Mapped[dict[str, Any] | None] = mapped_column(
        JSON(none_as_null=True)
    )  # code and values, worded when shown (orders.alert_words): what a person must see to: why it is held, or why its run stopped


class Forecast(Base):
    """What a model thought of one store, item and week, as quantiles of the week's units."""

    __tablename__ = "shop_forecast"
    __table_args__ = (UniqueConstraint("cycle", "week", "store", "item"),)

    id: Mapped[int] = mapped_column(primary_key=True)
    cycle: Mapped[str] = mapped_column(
        ForeignKey("shop_cycle.week")
    )  # the target week it was made for
    week: Mapped[str]  # the target week, its buffer week, or both together (Week.both)
    store: Mapped[str]
    item: Mapped[str]
    as_of: Mapped[datetime]
    model: Mapped[str]
    q01: Mapped[float] = mapped_column(server_default="0")
    q05: Mapped[float]
    q10: Mapped[float]
    q25: Mapped[float]
    q50: Mapped[float]
    q75: Mapped[float]
    q90: Mapped[float]
    q95: Mapped[float]
    q99: Mapped[float] = mapped_column(server_default="0")
    mean: Mapped[float]
    moved: Mapped[dict[str, float] | None] = mapped_column(
        JSON(none_as_null=True)
    )  # of the target week: from the last known week to the mean, in units


class OrderLine(Base):
    """What one store gets of one item in one week: proposed, as the analyst left it, as the manager left it."""

    __tablename__ = "shop_order_line"
    __table_args__ = (UniqueConstraint("week", "store", "item"),)

    id: Mapped[int] = mapped_column(primary_key=True)
    week: Mapped[str] = mapped_column(ForeignKey("shop_cycle.week"))
    store: Mapped[str]
    item: Mapped[str]
    case_units: Mapped[int]
    proposed_cases: Mapped[int]
    cases: Mapped[int]  # what counts now
    recent_units: Mapped[float]  # mean week of the last four known
    reason: Mapped[list[dict[str, Any]]] = mapped_column(
        JSON
    )  # codes and numbers, worded in ja or en when shown (explain.words)
    floor_units: Mapped[float] = mapped_column(
        default=0.0, server_default="0"
    )  # what the simplest rule would order: the recent mean, less what is left
    expected_cost_yen: Mapped[float] = mapped_column(
        default=0.0, server_default="0"
    )  # of the proposal
    unusual: Mapped[float]  # how far from what is usual; the analyst sees the largest first
    unusual_why: Mapped[list[dict[str, Any]]] = mapped_column(JSON, default=list)
    version: Mapped[int] = mapped_column(
        default=1
    )  # grows with each change, so that nobody overwrites what they did not see


class Change(Base):
    """A person changed a number: who, when, before, after and why."""

    __tablename__ = "shop_change"

    id: Mapped[int] = mapped_column(primary_key=True)
    week: Mapped[str] = mapped_column(ForeignKey("shop_cycle.week"), index=True)
    store: Mapped[str]
    item: Mapped[str]
    stage: Mapped[str]  # check or confirm
    before_cases: Mapped[int]
    after_cases: Mapped[int]
    reason: Mapped[str]
    by: Mapped[str]
    at: Mapped[datetime]


class Confirmation(Base):
    """A store's manager said yes to the week, or the deadline did."""

    __tablename__ = "shop_confirmation"

    week: Mapped[str] = mapped_column(ForeignKey("shop_cycle.week"), primary_key=True)
    store: Mapped[str] = mapped_column(primary_key=True)
    by: Mapped[str | None]  # None when the deadline passed
    at: Mapped[datetime]


class PurchaseOrder(Base):
    """What one maker delivers to one store for one week. A new issue replaces a cancelled one; nothing is ever deleted."""

    __tablename__ = "shop_purchase_order"
    __table_args__ = (UniqueConstraint("week", "maker", "store", "issue"),)

    number: Mapped[str] = mapped_column(primary_key=True)  # PO-2021W03-MAKER-STORE-1
    week: Mapped[str] = mapped_column(ForeignKey("shop_cycle.week"), index=True)
    maker: Mapped[str]
    store: Mapped[str]
    issue: Mapped[int]
    status: Mapped[str] = mapped_column(default="issued")  # issued or cancelled
    issued_at: Mapped[datetime]
    issued_by: Mapped[str]
    replaces: Mapped[str | None]
    cancelled_at: Mapped[datetime | None]
    cancelled_by: Mapped[str | None]
    cancelled_why: Mapped[str | None]
    csv_sha256: Mapped[str]  # the document as it was sent; sent again, it must be the same


class PurchaseOrderLine(Base):
    """One item of a purchase order."""

    __tablename__ = "shop_purchase_order_line"

    number: Mapped[str] = mapped_column(ForeignKey("shop_purchase_order.number"), primary_key=True)
    item: Mapped[str] = mapped_column(primary_key=True)
    cases: Mapped[int]
    case_units: Mapped[int]
    units: Mapped[int]


class Evaluation(Base):
    """What one order line was worth, once the week's sales are known. Units and yen."""

    __tablename__ = "shop_evaluation"

    week: Mapped[str] = mapped_column(ForeignKey("shop_cycle.week"), primary_key=True)
    store: Mapped[str] = mapped_column(primary_key=True)
    item: Mapped[str] = mapped_column(primary_key=True)
    actual: Mapped[float]
    forecast: Mapped[float]  # mean of the target week
    proposed_units: Mapped[float]
    ordered_units: Mapped[float]
    available_units: Mapped[
        float
    ]  # what could have been sold: ordered plus stock expected on Monday
    shortage_units: Mapped[float]
    leftover_units: Mapped[float]
    cost_yen: Mapped[float]
    proposed_cost_yen: Mapped[float]  # had the proposal been ordered unchanged
    expected_cost_yen: Mapped[float] = mapped_column(
        default=0.0, server_default="0"
    )  # what the proposal was expected to cost
    floor_cost_yen: Mapped[float] = mapped_column(
        default=0.0, server_default="0"
    )  # had the simplest rule ordered
    zone: Mapped[str]  # within, too_much or too_little
    at: Mapped[datetime]


# ---- watching ------------------------------------------------------------------------------------------------------


class Alarm(Base):
    """Something is not as it should be, compared with a named reference, and what to do about it. Open until it is over or a person closes it."""

    __tablename__ = "shop_alarm"
    __table_args__ = (Index("ix_shop_alarm_open", "closed_at", "id"),)

    id: Mapped[int] = mapped_column(primary_key=True)
    code: Mapped[str]  # worded when shown (watch.words)
    subject: Mapped[str]  # what it is about: "all", store=…, item=…, a model
    week: Mapped[str]  # the last week that it was seen in
    values: Mapped[dict[str, Any]] = mapped_column(JSON)
    opened_at: Mapped[datetime]
    seen_at: Mapped[datetime]
    closed_at: Mapped[datetime | None]
    closed_by: Mapped[str | None]  # None while open, and when it ended by itself
    why: Mapped[str | None]

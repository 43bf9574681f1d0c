"""The shop's records. Daily facts (sales, stock, prices, …) are in the warehouse, see `ingest/`."""

from datetime import date, datetime
from enum import StrEnum
from typing import Any

from sqlalchemy import JSON, ForeignKey, Index, UniqueConstraint
from sqlalchemy.orm import Mapped, mapped_column

from tanuki.platform.database.engine import Base
from tanuki.platform.database.types import one_of

DEFAULT_SHORTAGE_COST_YEN = 3.0
DEFAULT_LEFTOVER_COST_YEN = 1.0
DEFAULT_RULES: dict[str, bool | float] = {
    "release_unchecked": True,
    "order_unconfirmed": True,
    "too_much": 0.20,
    "too_little": 0.0,
    "unusual": 0.20,
    "service_a": 0.97,
    "service_b": 0.93,  # sells 99 of 100 units in the closed loop (bench/shop_cost.py)
    "service_c": 0.0,
    "holding": 0.25,
}

# ---- masters -------------------------------------------------------------------------------------


class Region(Base):
    """An area with stores; its weather is the weather of its stores."""

    __tablename__ = "shop_region"

    code: Mapped[str] = mapped_column(primary_key=True)
    name_ja: Mapped[str]
    name_en: Mapped[str]
    external_id: Mapped[str | None]


class Store(Base):
    """A store of the chain. `code` is its name in sales files."""

    __tablename__ = "shop_store"

    code: Mapped[str] = mapped_column(primary_key=True)
    region_code: Mapped[str | None] = mapped_column(ForeignKey("shop_region.code"))
    name_ja: Mapped[str]
    name_en: Mapped[str]
    external_id: Mapped[str | None]
    shelf_units: Mapped[int | None]  # units that fit on all its shelves; None: no limit
    truck_cases: Mapped[int | None]  # cases that one weekly delivery can bring; None: no limit


class Supplier(Base):
    """A company that gets purchase orders and delivers items."""

    __tablename__ = "shop_supplier"

    code: Mapped[str] = mapped_column(primary_key=True)
    name_ja: Mapped[str]
    name_en: Mapped[str]


class ServiceClass(StrEnum):
    """How often an item must be in stock; the shares of weeks are in `Rules`."""

    A = "A"
    B = "B"
    C = "C"


class Item(Base):
    """A beverage: how it is ordered, its shelf life, and the costs of a shortage and a leftover."""

    __tablename__ = "shop_item"

    code: Mapped[str] = mapped_column(primary_key=True)
    supplier_code: Mapped[str | None] = mapped_column(ForeignKey("shop_supplier.code"))
    name_ja: Mapped[str]
    name_en: Mapped[str]
    external_id: Mapped[str | None]
    case_units: Mapped[int] = mapped_column(default=1)
    min_cases: Mapped[int] = mapped_column(default=0)
    max_cases: Mapped[int | None]
    shelf_life_days: Mapped[int | None]  # None: longer than matters for ordering
    shortage_cost_yen: Mapped[float] = mapped_column(default=DEFAULT_SHORTAGE_COST_YEN)
    # of a unit that cannot be sold any more
    leftover_cost_yen: Mapped[float] = mapped_column(default=DEFAULT_LEFTOVER_COST_YEN)
    service_class: Mapped[ServiceClass] = mapped_column(
        one_of(ServiceClass), default=ServiceClass.B
    )


class Rules(Base):
    """The chain's rules for its weeks. Analysts change them on a page; the newest row is in force.

    Thresholds live here, not in models.
    """

    __tablename__ = "shop_rules"

    id: Mapped[int] = mapped_column(primary_key=True)
    # The check's deadline passed: release the week as proposed, or else hold it and raise an alert.
    release_unchecked: Mapped[bool] = mapped_column(default=DEFAULT_RULES["release_unchecked"])
    # A store did not confirm in time: order as released, or else leave that store out.
    order_unconfirmed: Mapped[bool] = mapped_column(default=DEFAULT_RULES["order_unconfirmed"])
    # Leftovers up to this share of sales are within tolerance.
    too_much: Mapped[float] = mapped_column(default=DEFAULT_RULES["too_much"])
    # Shortages above this share of demand are risky.
    too_little: Mapped[float] = mapped_column(default=DEFAULT_RULES["too_little"])
    # The analyst first sees proposals that differ from recent weeks by more than this share.
    unusual: Mapped[float] = mapped_column(default=DEFAULT_RULES["unusual"])
    # The smallest share of weeks in which an item of each service class is enough.
    service_a: Mapped[float] = mapped_column(default=DEFAULT_RULES["service_a"])
    service_b: Mapped[float] = mapped_column(default=DEFAULT_RULES["service_b"])
    service_c: Mapped[float] = mapped_column(default=DEFAULT_RULES["service_c"])
    # The cost of a unit that can still be sold next week, as a share of its leftover cost.
    holding: Mapped[float] = mapped_column(default=DEFAULT_RULES["holding"])
    by: Mapped[str | None]
    at: Mapped[datetime | None]
    why: Mapped[str | None]


# ---- imported files ------------------------------------------------------------------------------


class Import(Base):
    """One imported file: its kind, how many rows it had, and what became of them."""

    __tablename__ = "shop_import"

    id: Mapped[int] = mapped_column(primary_key=True)
    kind: Mapped[str]  # a key of ingest.schemas.LAYOUTS
    file_name: Mapped[str]
    sha256: Mapped[str] = mapped_column(index=True)
    rows: Mapped[int]
    new: Mapped[int]
    changed: Mapped[int]
    unchanged: Mapped[int]
    quarantined: Mapped[int]
    recorded_at: Mapped[datetime]
    by: Mapped[str]


class QuarantineStatus(StrEnum):
    """What became of a quarantined row."""

    WAITING = "waiting"
    FIXED = "fixed"
    DROPPED = "dropped"


class QuarantinedRow(Base):
    """A row that failed a check. It waits until a person fixes or drops it."""

    __tablename__ = "shop_quarantined_row"
    __table_args__ = (Index("ix_shop_quarantined_row_status", "status", "id"),)

    id: Mapped[int] = mapped_column(primary_key=True)
    import_id: Mapped[int] = mapped_column(ForeignKey("shop_import.id"))
    kind: Mapped[str]
    file_name: Mapped[str]
    row: Mapped[int]  # 1 is the first line after the header
    column: Mapped[str]
    actual: Mapped[str]
    expected: Mapped[str]  # a code (ingest.validation.MESSAGES) and its values
    expected_values: Mapped[dict[str, Any]] = mapped_column(JSON, default=dict)
    values: Mapped[dict[str, Any]] = mapped_column(JSON)  # the whole row as it stood in the file
    status: Mapped[QuarantineStatus] = mapped_column(
        one_of(QuarantineStatus), default=QuarantineStatus.WAITING
    )
    decided_by: Mapped[str | None]
    decided_at: Mapped[datetime | None]
    why: Mapped[str | None]


# ---- the week ------------------------------------------------------------------------------------


class CycleState(StrEnum):
    """The stages of a week, in order; `HELD` is left again by the analyst's release."""

    STARTED = "started"
    AGGREGATED = "aggregated"
    FORECAST = "forecast"
    PROPOSED = "proposed"  # the analyst's turn
    HELD = "held"  # kept from the stores until an analyst releases it
    CHECKED = "checked"
    RELEASED = "released"  # the store managers' turn
    ORDERED = "ordered"
    EVALUATED = "evaluated"


class Cycle(Base):
    """One target week on its way from sales to purchase orders. `week` is written 2021-W03."""

    __tablename__ = "shop_cycle"

    week: Mapped[str] = mapped_column(primary_key=True)
    state: Mapped[CycleState] = mapped_column(one_of(CycleState))
    cutoff: Mapped[date]  # the last day whose sales may be used
    as_of: Mapped[datetime]  # facts recorded later are not used
    auto: Mapped[bool]
    started_by: Mapped[str]
    started_at: Mapped[datetime]
    forecast_due: Mapped[datetime]  # the forecast does not begin earlier
    check_due: Mapped[datetime]
    release_at: Mapped[datetime]
    confirm_due: Mapped[datetime]
    aggregated_at: Mapped[datetime | None]
    forecast_at: Mapped[datetime | None]
    proposed_at: Mapped[datetime | None]
    checked_at: Mapped[datetime | None]
    checked_by: Mapped[str | None]  # None: the deadline passed
    released_at: Mapped[datetime | None]
    ordered_at: Mapped[datetime | None]
    evaluated_at: Mapped[datetime | None]
    sales_rows: Mapped[int | None]
    # Findings of the data check, as codes with values.
    findings: Mapped[list[dict[str, Any]]] = mapped_column(JSON, default=list)
    model: Mapped[str | None]
    model_version: Mapped[str | None]
    # What a person must see to, as a code with values (orders.render_cycle_alert): why the week is
    # held, or why its run stopped.
    alert: Mapped[dict[str, Any] | None] = mapped_column(JSON(none_as_null=True))


class Forecast(Base):
    """The forecast of one store, item and week: mean and quantiles of the week's units."""

    __tablename__ = "shop_forecast"
    __table_args__ = (UniqueConstraint("cycle", "week", "store", "item"),)

    id: Mapped[int] = mapped_column(primary_key=True)
    cycle: Mapped[str] = mapped_column(ForeignKey("shop_cycle.week"))  # its target week
    week: Mapped[str]  # the target week, its buffer week, or Week.two_week_interval
    store: Mapped[str]
    item: Mapped[str]
    as_of: Mapped[datetime]
    model: Mapped[str]
    q01: Mapped[float]
    q05: Mapped[float]
    q10: Mapped[float]
    q25: Mapped[float]
    q50: Mapped[float]
    q75: Mapped[float]
    q90: Mapped[float]
    q95: Mapped[float]
    q99: Mapped[float]
    mean: Mapped[float]
    # Of the target week: units that each driver adds, from the last known week to the mean.
    contributions: Mapped[dict[str, float] | None] = mapped_column(JSON(none_as_null=True))


class OrderLine(Base):
    """The order of one store for one item and week: as proposed, checked and confirmed."""

    __tablename__ = "shop_order_line"
    __table_args__ = (UniqueConstraint("week", "store", "item"),)

    id: Mapped[int] = mapped_column(primary_key=True)
    week: Mapped[str] = mapped_column(ForeignKey("shop_cycle.week"))
    store: Mapped[str]
    item: Mapped[str]
    case_units: Mapped[int]
    proposed_cases: Mapped[int]
    cases: Mapped[int]  # the number in force
    recent_units: Mapped[float]  # mean of the last four known weeks
    # Codes with values (explanation.render_reasons).
    reasons: Mapped[list[dict[str, Any]]] = mapped_column(JSON)
    # The baseline's order: the recent mean, less the stock left over.
    baseline_units: Mapped[float] = mapped_column(default=0.0)
    expected_cost_yen: Mapped[float] = mapped_column(default=0.0)  # of the proposal
    unusual: Mapped[float]  # a score; from 1 on an analyst should check the line
    unusual_reasons: Mapped[list[dict[str, Any]]] = mapped_column(JSON, default=list)
    # Grows with each change; a writer names the version that they saw, so that two people cannot
    # overwrite each other.
    version: Mapped[int] = mapped_column(default=1)


class ChangeStage(StrEnum):
    """When a line was changed: at the analyst's check or at the manager's confirmation."""

    CHECK = "check"
    CONFIRM = "confirm"


class Change(Base):
    """A person's change of one order line: who, when, before, after and why."""

    __tablename__ = "shop_change"

    id: Mapped[int] = mapped_column(primary_key=True)
    week: Mapped[str] = mapped_column(ForeignKey("shop_cycle.week"), index=True)
    store: Mapped[str]
    item: Mapped[str]
    stage: Mapped[ChangeStage] = mapped_column(one_of(ChangeStage))
    before_cases: Mapped[int]
    after_cases: Mapped[int]
    reason: Mapped[str]
    by: Mapped[str]
    at: Mapped[datetime]


class Confirmation(Base):
    """A store's orders of a week are final: its manager confirmed them, or the deadline did."""

    __tablename__ = "shop_confirmation"

    week: Mapped[str] = mapped_column(ForeignKey("shop_cycle.week"), primary_key=True)
    store: Mapped[str] = mapped_column(primary_key=True)
    by: Mapped[str | None]  # None: the deadline passed
    at: Mapped[datetime]


class PurchaseOrderStatus(StrEnum):
    """Whether a purchase order is in force."""

    ISSUED = "issued"
    CANCELLED = "cancelled"


class PurchaseOrder(Base):
    """The delivery of one supplier to one store for one week.

    A new issue replaces a cancelled one; nothing is ever deleted.
    """

    __tablename__ = "shop_purchase_order"
    __table_args__ = (UniqueConstraint("week", "supplier", "store", "issue"),)

    number: Mapped[str] = mapped_column(primary_key=True)  # PO-2021W03-SUPPLIER-STORE-1
    week: Mapped[str] = mapped_column(ForeignKey("shop_cycle.week"), index=True)
    supplier: Mapped[str]
    store: Mapped[str]
    issue: Mapped[int]
    status: Mapped[PurchaseOrderStatus] = mapped_column(
        one_of(PurchaseOrderStatus), default=PurchaseOrderStatus.ISSUED
    )
    issued_at: Mapped[datetime]
    issued_by: Mapped[str]
    replaces: Mapped[str | None]
    cancelled_at: Mapped[datetime | None]
    cancelled_by: Mapped[str | None]
    cancelled_why: Mapped[str | None]
    csv_sha256: Mapped[str]  # of the document, which is the same however often it is sent


class PurchaseOrderLine(Base):
    """One item of a purchase order."""

    __tablename__ = "shop_purchase_order_line"

    number: Mapped[str] = mapped_column(ForeignKey("shop_purchase_order.number"), primary_key=True)
    item: Mapped[str] = mapped_column(primary_key=True)
    cases: Mapped[int]
    case_units: Mapped[int]
    units: Mapped[int]


class Zone(StrEnum):
    """The outcome of an order line: within tolerance, too much (tolerable), too little (risky)."""

    WITHIN = "within"
    TOO_MUCH = "too_much"
    TOO_LITTLE = "too_little"


class Evaluation(Base):
    """The outcome of one order line once the week's sales are known. Units and yen."""

    __tablename__ = "shop_evaluation"

    week: Mapped[str] = mapped_column(ForeignKey("shop_cycle.week"), primary_key=True)
    store: Mapped[str] = mapped_column(primary_key=True)
    item: Mapped[str] = mapped_column(primary_key=True)
    actual: Mapped[float]
    forecast: Mapped[float]  # mean of the target week
    proposed_units: Mapped[float]
    ordered_units: Mapped[float]
    available_units: Mapped[float]  # ordered, plus the stock on the Sunday before
    shortage_units: Mapped[float]
    leftover_units: Mapped[float]
    cost_yen: Mapped[float]
    proposed_cost_yen: Mapped[float]  # had the proposal been ordered unchanged
    expected_cost_yen: Mapped[float] = mapped_column(default=0.0)  # of the proposal, in advance
    baseline_cost_yen: Mapped[float] = mapped_column(default=0.0)  # had the baseline been ordered
    zone: Mapped[Zone] = mapped_column(one_of(Zone))
    at: Mapped[datetime]


# ---- monitoring ----------------------------------------------------------------------------------


class AlertCode(StrEnum):
    """What an alert is about; its sentences are in monitoring/messages.py."""

    BIAS = "bias"
    COVERAGE = "coverage"
    COST_PLAN = "cost_plan"
    COST_BASELINE = "cost_baseline"
    DRIFT = "drift"
    STALE_STORE = "stale_store"
    MISSING_ITEM = "missing_item"
    NO_EVALUATION = "no_evaluation"


class Alert(Base):
    """A deviation from a named reference, and what to do about it.

    Open until the deviation is over or a person closes it.
    """

    __tablename__ = "shop_alert"
    __table_args__ = (Index("ix_shop_alert_open", "closed_at", "id"),)

    id: Mapped[int] = mapped_column(primary_key=True)
    code: Mapped[AlertCode] = mapped_column(one_of(AlertCode))
    subject: Mapped[str]  # "all", "store=…", "item=…", "week=…" or "input=…"
    week: Mapped[str]  # the last week in which the deviation was measured
    values: Mapped[dict[str, Any]] = mapped_column(JSON)
    opened_at: Mapped[datetime]
    last_seen_at: Mapped[datetime]
    closed_at: Mapped[datetime | None]
    closed_by: Mapped[str | None]  # None while open, and when it ended by itself
    why: Mapped[str | None]

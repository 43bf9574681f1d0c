"""Loading: a file is read, every row is checked, good rows are loaded, bad rows are quarantined.

Rows of masters become records, rows of daily facts go to the warehouse.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from hashlib import sha256

import polars as pl
from sqlalchemy import insert, select
from sqlalchemy.orm import Session

from tanuki.errors import UserError
from tanuki.i18n import TOKYO
from tanuki.platform.accounts import Person, require_role
from tanuki.platform.warehouse import FactTable, Warehouse
from tanuki.shop.ingest import readers, validation
from tanuki.shop.ingest.readers import ROW
from tanuki.shop.ingest.schemas import (
    DELIVERIES,
    LAYOUTS,
    PRICES,
    PROMOTIONS,
    SALES,
    STOCK,
    WEATHER,
    Layout,
)
from tanuki.shop.store_access import CHAIN_ROLES
from tanuki.shop.tables import (
    Import,
    Item,
    QuarantinedRow,
    QuarantineStatus,
    Region,
    Store,
    Supplier,
)

__all__ = [
    "DELIVERIES",
    "FILE_KINDS",
    "PRICES",
    "PROMOTIONS",
    "SALES",
    "STOCK",
    "WEATHER",
    "Upload",
    "import_file",
    "list_column_names",
    "list_imports",
]

FILE_KINDS = (  # masters first
    "regions",
    "stores",
    "items",
    "prices",
    "promotions",
    "weather",
    "stock",
    "deliveries",
    "sales",
)
ANY_CODE = ""  # in a key: every store, every item
MEDIAN_WINDOW = timedelta(days=28)  # of known sales, for the median day of a series
MAX_IMPORTS_SHOWN = 100


@dataclass(frozen=True)
class Upload:
    """A file as it arrived. `mapping`: its names of our columns where they are not recognised."""

    kind: str
    name: str
    content: bytes
    mapping: Mapping[str, str] | None = None


@dataclass(frozen=True)
class RowCounts:
    """What became of good rows: new, different from what was known, or the same."""

    new: int = 0
    changed: int = 0
    unchanged: int = 0


def import_file(
    db: Session, warehouse: Warehouse, upload: Upload, *, by: str, now: datetime
) -> Import:
    """Import one file. Good rows count from now on, bad rows wait in quarantine.

    Rows that differ from known ones replace them; reads as of an earlier moment still find the old
    ones. The same file again changes nothing.

    Raises UserError, and changes nothing, when it is no file of that kind.
    """
    kind, mapping = upload.kind, upload.mapping or {}
    if kind not in LAYOUTS:
        raise UserError(
            "%(kind)s is not a kind of file; expected one of %(kinds)s.",
            kind=kind,
            kinds=", ".join(FILE_KINDS),
        )
    layout = LAYOUTS[kind]
    rows = readers.read_rows(layout, upload.name, upload.content, mapping)
    digest = sha256(upload.content + repr(sorted(mapping.items())).encode()).hexdigest()
    good, bad = validation.validate_rows(layout, rows, load_references(db, warehouse, layout, now))
    earlier = list(
        db.scalars(select(Import.id).where(Import.kind == kind, Import.sha256 == digest))
    )
    counts = load_rows(db, warehouse, layout, good, now=now, source=upload.name)
    report = Import(
        kind=kind,
        file_name=upload.name,
        sha256=digest,
        rows=rows.height,
        new=counts.new,
        changed=counts.changed,
        unchanged=counts.unchanged,
        # The bad rows of a file that was imported before are quarantined or decided already.
        quarantined=0 if earlier else len(bad),
        recorded_at=now,
        by=by,
    )
    if earlier:
        resolve_quarantined(db, earlier, set(good[ROW]), by, now)
        if not report.new and not report.changed:
            return report
    db.add(report)
    db.flush()
    if report.quarantined:
        for row in bad:
            row.update(
                import_id=report.id,
                kind=kind,
                file_name=upload.name,
                status=QuarantineStatus.WAITING,
            )
        db.execute(insert(QuarantinedRow), bad)
    return report


def resolve_quarantined(
    db: Session, imports: list[int], rows: set[int], by: str, now: datetime
) -> None:
    """Mark the waiting rows of earlier imports as fixed that are good by now.

    A file comes again, for example, after the master that its rows needed.
    """
    for row in db.scalars(
        select(QuarantinedRow).where(
            QuarantinedRow.import_id.in_(imports),
            QuarantinedRow.status == QuarantineStatus.WAITING,
        )
    ):
        if row.row in rows:
            row.status = QuarantineStatus.FIXED
            row.decided_by, row.decided_at, row.why = by, now, "the file came again"


def load_references(
    db: Session, warehouse: Warehouse, layout: Layout, now: datetime
) -> validation.References:
    """The records with which a file's rows are compared.

    Before the first master file of a kind, every code is accepted and made from the sales.
    """
    kinds = set(db.scalars(select(Import.kind).distinct()))
    prices = median_units = None
    if layout.kind == "sales":
        prices = warehouse.read_facts(db, PRICES, as_of=now).drop("recorded_at")
        median_units = load_median_units(db, warehouse, now)
    any_code = {ANY_CODE} if layout.kind in ("prices", "promotions") else set()
    return validation.References(
        today=now.astimezone(TOKYO).date(),
        stores=set(db.scalars(select(Store.code))) | any_code if "stores" in kinds else None,
        items=set(db.scalars(select(Item.code))) | any_code if "items" in kinds else None,
        regions=set(db.scalars(select(Region.code))) if "regions" in kinds else None,
        prices=prices,
        median_units=median_units,
    )


def load_median_units(db: Session, warehouse: Warehouse, now: datetime) -> pl.DataFrame | None:
    """[store, item, _usual]: the median day of the last known weeks; None without known sales.

    Older sales are not read, because a large chain has many.
    """
    last = warehouse.load_latest_value(db, SALES, "date", as_of=now)
    if last is None:
        return None
    recent = warehouse.read_facts(
        db, SALES, as_of=now, where="date > ?", params=(last - MEDIAN_WINDOW,)
    )
    return recent.group_by("store", "item").agg(pl.col("units").median().alias("_usual"))


def load_rows(
    db: Session,
    warehouse: Warehouse,
    layout: Layout,
    good: pl.DataFrame,
    *,
    now: datetime,
    source: str,
) -> RowCounts:
    """Load good rows into the records or the warehouse. `source`: stored with the facts."""
    if good.is_empty():
        return RowCounts()
    if layout.table is None:
        return upsert_masters(db, layout.kind, good)
    if layout.kind == "sales":
        create_missing_masters(db, good)
    facts, counts = select_changed_facts(db, warehouse, layout.table, good.drop(ROW), now)
    warehouse.append_facts(db, layout.table, facts, recorded_at=now, source=source)
    return counts


def select_changed_facts(
    db: Session, warehouse: Warehouse, table: FactTable, good: pl.DataFrame, now: datetime
) -> tuple[pl.DataFrame, RowCounts]:
    """The facts that are not known yet or differ from what is known, and the counts of all."""
    keys = list(table.keys)
    text_keys = [key for key in keys if table.schema[key] == pl.String]
    facts = good.with_columns(pl.col(text_keys).fill_null(ANY_CODE)).select(
        pl.col(name).cast(kind) for name, kind in table.schema.items()
    )
    where: str = "true"
    params: tuple[object, ...] = ()
    if "date" in keys:
        where, params = "date between ? and ?", (facts["date"].min(), facts["date"].max())
    before = (
        warehouse.read_facts(db, table, as_of=now, where=where, params=params)
        .drop("recorded_at")
        .with_columns(_known=pl.lit(True))
    )
    joined = facts.join(before, on=keys, how="left", suffix="_before", maintain_order="left")
    same = pl.all_horizontal(
        pl.col(name).eq_missing(pl.col(f"{name}_before"))
        for name in table.schema
        if name not in keys
    )
    states = joined.select(
        pl.when(pl.col("_known").is_null())
        .then(pl.lit("new"))
        .when(same)
        .then(pl.lit("unchanged"))
        .otherwise(pl.lit("changed"))
        .alias("state")
    ).to_series()
    counts = RowCounts(*(int((states == state).sum()) for state in ("new", "changed", "unchanged")))
    return facts.filter(states != "unchanged"), counts


def create_missing_masters(db: Session, sales: pl.DataFrame) -> None:
    """Stores and items that only the sales know, with their codes as names."""
    for table, column in ((Store, "store"), (Item, "item")):
        known = set(db.scalars(select(table.code)))
        for code in sorted(set(sales[column].unique()) - known):
            db.add(table(code=code, name_ja=code, name_en=code))
    db.flush()


def upsert_masters(db: Session, kind: str, good: pl.DataFrame) -> RowCounts:
    """Create or update regions, stores or items. A value that the file leaves empty stays."""
    new = changed = unchanged = 0
    tables: dict[str, type[Region] | type[Store] | type[Item]] = {
        "regions": Region,
        "stores": Store,
        "items": Item,
    }
    for row in good.drop(ROW).iter_rows(named=True):
        values = {name: value for name, value in row.items() if value is not None}
        resolve_references(db, kind, values)
        master = db.get(tables[kind], values["code"])
        if master is None:
            names = {"name_ja": values["code"], "name_en": values["code"]}
            db.add(tables[kind](**{**names, **values}))
            db.flush()
            new += 1
        elif any(getattr(master, name) != value for name, value in values.items()):
            for name, value in values.items():
                setattr(master, name, value)
            changed += 1
        else:
            unchanged += 1
    db.flush()
    return RowCounts(new, changed, unchanged)


def resolve_references(db: Session, kind: str, values: dict[str, object]) -> None:
    """Replace a store's region and an item's supplier by references; new ones are created."""
    if kind == "stores" and "region" in values:
        code = str(values.pop("region"))
        if db.get(Region, code) is None:
            db.add(Region(code=code, name_ja=code, name_en=code))
            db.flush()
        values["region_code"] = code
    if kind == "items":
        names = {lang: values.pop(f"supplier_name_{lang}", None) for lang in ("ja", "en")}
        if "supplier" in values:
            code = str(values.pop("supplier"))
            supplier = db.get(Supplier, code)
            if supplier is None:
                supplier = Supplier(code=code, name_ja=code, name_en=code)
                db.add(supplier)
            supplier.name_ja = str(names["ja"] or supplier.name_ja)
            supplier.name_en = str(names["en"] or supplier.name_en)
            db.flush()
            values["supplier_code"] = code


def list_column_names(kind: str) -> list[str]:
    """The columns of a kind of file."""
    return [column.name for column in LAYOUTS[kind].columns]


def list_imports(db: Session, person: Person) -> list[Import]:
    """Imported files, newest first."""
    require_role(person, *CHAIN_ROLES)
    return list(db.scalars(select(Import).order_by(Import.id.desc()).limit(MAX_IMPORTS_SHOWN)))

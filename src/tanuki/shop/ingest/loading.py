"""Facts come in: files are read, every row is checked, good rows become masters or warehouse facts, bad rows wait in quarantine.

Files: layouts.py (what files look like), files.py (bytes to rows), checks.py (which rows can be believed), quarantine.py (the others).
"""

from collections.abc import Mapping
from datetime import datetime, timedelta
from hashlib import sha256

import polars as pl
from sqlalchemy import insert, select
from sqlalchemy.orm import Session

from tanuki.errors import UserError
from tanuki.platform.accounts import Person, require
from tanuki.platform.warehouse import FactTable, Warehouse
from tanuki.shop.calendar import TOKYO
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
from tanuki.shop.tables import Import, Item, Maker, QuarantinedRow, Region, Store

__all__ = [
    "DELIVERIES",
    "KINDS",
    "PRICES",
    "PROMOTIONS",
    "SALES",
    "STOCK",
    "WEATHER",
    "columns",
    "import_file",
    "imports",
]

KINDS = (
    "regions",
    "stores",
    "items",
    "prices",
    "promotions",
    "weather",
    "stock",
    "deliveries",
    "sales",
)  # masters first
EVERY = ""  # in a key: every store, every item
USUAL = timedelta(days=28)  # of the last sales that are known: what a series usually sells on a day
ITEM_DEFAULTS = {
    "case_units": 1,
    "min_cases": 0,
    "shortage_cost_yen": 3.0,
    "leftover_cost_yen": 1.0,
}


def import_file(
    db: Session,
    warehouse: Warehouse,
    kind: str,
    name: str,
    content: bytes,
    *,
    by: str,
    now: datetime,
    mapping: Mapping[str, str] | None = None,
) -> Import:
    """Bring in one file. Good rows count from now on, bad rows wait in quarantine; the same file again changes nothing.

    Rows that say something else than what is known replace it; what was known stays readable as of before. `mapping` gives the file's
    names of our columns where they are not recognised. Raises UserError when it is no such file at all; then nothing has changed.
    """
    if kind not in LAYOUTS:
        raise UserError(
            "%(kind)s is not a kind of file; expected one of %(kinds)s.",
            kind=kind,
            kinds=", ".join(KINDS),
        )
    layout = LAYOUTS[kind]
    rows = readers.read(layout, name, content, mapping or {})
    digest = sha256(content + repr(sorted((mapping or {}).items())).encode()).hexdigest()
    report = Import(
        kind=kind,
        file_name=name,
        sha256=digest,
        rows=rows.height,
        new=0,
        changed=0,
        unchanged=0,
        quarantined=0,
        recorded_at=now,
        by=by,
    )
    good, bad = validation.sort(layout, rows, known(db, warehouse, layout, now))
    before = list(db.scalars(select(Import.id).where(Import.kind == kind, Import.sha256 == digest)))
    report.new, report.changed, report.unchanged = take(db, warehouse, layout, good, now, name)
    report.quarantined = (
        0 if before else len(bad)
    )  # the rows of a file that came before wait already, or were decided
    if before:
        let_go(db, before, set(good[ROW]), by, now)
        if not report.new and not report.changed:
            return report
    db.add(report)
    db.flush()
    if report.quarantined:
        for each in bad:
            each.update(import_id=report.id, kind=kind, file_name=name, status="waiting")
        db.execute(insert(QuarantinedRow), bad)
    return report


def let_go(db: Session, imports: list[int], rows: set[int], by: str, now: datetime) -> None:
    """Rows of a file that waited and can be believed now that it came again: a master they needed has come meanwhile."""
    for row in db.scalars(
        select(QuarantinedRow).where(
            QuarantinedRow.import_id.in_(imports), QuarantinedRow.status == "waiting"
        )
    ):
        if row.row in rows:
            row.status, row.decided_by, row.decided_at, row.why = (
                "fixed",
                by,
                now,
                "the file came again",
            )


def known(db: Session, warehouse: Warehouse, layout: Layout, now: datetime) -> validation.Known:
    """What a file's rows are compared with. Before a master was imported, any store or item may come and is made from the sales."""
    mastered = set(db.scalars(select(Import.kind).distinct()))
    prices = usual = None
    if layout.kind == "sales":
        prices = warehouse.read(db, PRICES, as_of=now).drop("recorded_at")
        usual = usual_units(db, warehouse, now)
    every = {EVERY} if layout.kind in ("prices", "promotions") else set()
    return validation.Known(
        today=now.astimezone(TOKYO).date(),
        stores=set(db.scalars(select(Store.code))) | every if "stores" in mastered else None,
        items=set(db.scalars(select(Item.code))) | every if "items" in mastered else None,
        regions=set(db.scalars(select(Region.code))) if "regions" in mastered else None,
        prices=prices,
        usual=usual,
    )


def usual_units(db: Session, warehouse: Warehouse, now: datetime) -> pl.DataFrame | None:
    """[store, item, _usual]: the median day of the last weeks that are known; None when nothing is. Older sales are not read: a chain has many."""
    last = warehouse.last(db, SALES, "date", as_of=now)
    if last is None:
        return None
    recent = warehouse.read(db, SALES, as_of=now, where="date > ?", params=(last - USUAL,))
    return recent.group_by("store", "item").agg(pl.col("units").median().alias("_usual"))


def take(
    db: Session,
    warehouse: Warehouse,
    layout: Layout,
    good: pl.DataFrame,
    now: datetime,
    source: str,
) -> tuple[int, int, int]:
    """Let good rows count: how many are new, how many changed what was known, how many said nothing new."""
    if good.is_empty():
        return 0, 0, 0
    if layout.table is None:
        return masters(db, layout.kind, good)
    if layout.kind == "sales":
        make_missing(db, good)
    return append_new(db, warehouse, layout.table, good.drop(ROW), now, source)


def append_new(
    db: Session,
    warehouse: Warehouse,
    table: FactTable,
    good: pl.DataFrame,
    now: datetime,
    source: str,
) -> tuple[int, int, int]:
    """Append the facts that are not known yet or differ from what is known."""
    keys = list(table.keys)
    text_keys = [key for key in keys if table.schema[key] == pl.String]
    facts = good.with_columns(pl.col(text_keys).fill_null(EVERY)).select(
        pl.col(name).cast(kind) for name, kind in table.schema.items()
    )
    where: str = "true"
    params: tuple[object, ...] = ()
    if "date" in keys:
        where, params = "date between ? and ?", (facts["date"].min(), facts["date"].max())
    before = (
        warehouse.read(db, table, as_of=now, where=where, params=params)
        .drop("recorded_at")
        .with_columns(_known=pl.lit(True))
    )
    joined = facts.join(before, on=keys, how="left", suffix="_before", maintain_order="left")
    same = pl.all_horizontal(
        pl.col(name).eq_missing(pl.col(f"{name}_before"))
        for name in table.schema
        if name not in keys
    )
    state = joined.select(
        pl.when(pl.col("_known").is_null())
        .then(pl.lit("new"))
        .when(same)
        .then(pl.lit("unchanged"))
        .otherwise(pl.lit("changed"))
        .alias("s")
    ).to_series()
    warehouse.append(db, table, facts.filter(state != "unchanged"), recorded_at=now, source=source)
    return (
        int((state == "new").sum()),
        int((state == "changed").sum()),
        int((state == "unchanged").sum()),
    )


def make_missing(db: Session, sales: pl.DataFrame) -> None:
    """Stores and items that only the sales know."""
    for table, column in ((Store, "store"), (Item, "item")):
        there = set(db.scalars(select(table.code)))
        for code in sorted(set(sales[column].unique()) - there):
            defaults = ITEM_DEFAULTS if table is Item else {}
            db.add(table(code=code, name_ja=code, name_en=code, **defaults))
    db.flush()


def masters(db: Session, kind: str, good: pl.DataFrame) -> tuple[int, int, int]:
    """Regions, stores or items: new ones are made, known ones take what the file says; what it leaves empty stays."""
    new = changed = unchanged = 0
    tables: dict[str, type[Region] | type[Store] | type[Item]] = {
        "regions": Region,
        "stores": Store,
        "items": Item,
    }
    for row in good.drop(ROW).iter_rows(named=True):
        values = {name: value for name, value in row.items() if value is not None}
        follow(db, kind, values)
        found = db.get(tables[kind], values["code"])
        if found is None:
            defaults = {
                "name_ja": values["code"],
                "name_en": values["code"],
                **(ITEM_DEFAULTS if kind == "items" else {}),
            }
            db.add(tables[kind](**{**defaults, **values}))
            db.flush()
            new += 1
        elif any(getattr(found, name) != value for name, value in values.items()):
            for name, value in values.items():
                setattr(found, name, value)
            changed += 1
        else:
            unchanged += 1
    db.flush()
    return new, changed, unchanged


def follow(db: Session, kind: str, values: dict[str, object]) -> None:
    """Turn a store's region and an item's maker into what they refer to, made when they are new."""
    if kind == "stores" and "region" in values:
        code = str(values.pop("region"))
        if db.get(Region, code) is None:
            db.add(Region(code=code, name_ja=code, name_en=code))
            db.flush()
        values["region_code"] = code
    if kind == "items":
        names = {lang: values.pop(f"maker_name_{lang}", None) for lang in ("ja", "en")}
        if "maker" in values:
            code = str(values.pop("maker"))
            maker = db.get(Maker, code)
            if maker is None:
                maker = Maker(code=code, name_ja=code, name_en=code)
                db.add(maker)
            maker.name_ja, maker.name_en = (
                str(names["ja"] or maker.name_ja),
                str(names["en"] or maker.name_en),
            )
            db.flush()
            values["maker_code"] = code


def columns(kind: str) -> list[str]:
    """Our names for the columns of a kind of file."""
    return [column.name for column in LAYOUTS[kind].columns]


def imports(db: Session, who: Person, limit: int = 100) -> list[Import]:
    """Files that came in, newest first."""
    require(who, "analyst", "operator")
    return list(db.scalars(select(Import).order_by(Import.id.desc()).limit(limit)))

"""What people see and do, kept until the warehouse has it: written in batches beside the pages, or durably before somebody is told.

An event has an id of its own: the same event sent twice is one event, here and in the warehouse.
"""

import json
import re
import secrets
import threading
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from queue import Empty, SimpleQueue
from typing import TYPE_CHECKING, Any

import structlog
from sqlalchemy import JSON, Index
from sqlalchemy.exc import SQLAlchemyError
from sqlalchemy.orm import Mapped, Session, mapped_column

from tanuki.platform import metrics
from tanuki.platform.database.engine import Base, Database
from tanuki.platform.database.upsert import insert_new_rows
from tanuki.platform.warehouse import FactTable

if TYPE_CHECKING:
    import polars as pl

log = structlog.get_logger()

BATCH_INTERVAL_SECONDS = 0.25  # between batches
MAX_EVENTS_PER_BATCH = 5_000
MAX_BUFFERED_EVENTS = (
    100_000  # while the database does not answer; what comes on top is lost, and counted
)
KIND_NAME = re.compile(r"[a-z][a-z0-9_]{0,40}")
FACT_TABLE_PREFIX = "events_"  # and the kind


class Event(Base):
    """Something that somebody saw or did. `person` is whatever stands for them, or None; `values` is what this kind of event says."""

    __tablename__ = "event"
    __table_args__ = (Index("ix_event_kind", "kind", "id"),)

    id: Mapped[str] = mapped_column(primary_key=True)
    kind: Mapped[str]
    at: Mapped[datetime]
    person: Mapped[str | None]
    values: Mapped[dict[str, Any]] = mapped_column(JSON)


@dataclass(frozen=True)
class EventKind:
    """What events of a kind say, for their fact table `events_<name>`: names and types (str, int, float, bool, list[str], list[int]).

    `each` names a list in the values whose items become facts of their own, numbered by `n`; what is beside the list is said in each.
    Values that are not in the schema, or not of its type, are kept as JSON in the column `more`. A kind that nobody declared has only that.
    Names that SQL reserves (order, at, limit) would have to be quoted in every query: choose others.
    """

    name: str
    schema: Mapping[str, Any]
    list_field: str | None = None

    @property
    def table(self) -> FactTable:
        """Its fact table: the event's id (and n), when, who, and what the kind says."""
        import polars as pl

        types = {
            str: pl.String,
            int: pl.Int64,
            float: pl.Float64,
            bool: pl.Boolean,
            list[str]: pl.List(pl.String),
            list[int]: pl.List(pl.Int64),
        }
        number = {"n": pl.Int64} if self.list_field else {}
        said = {name: types[type_] for name, type_ in self.schema.items()}
        columns = {
            "id": pl.String,
            **number,
            "happened_at": pl.Datetime("us", "UTC"),
            "person": pl.String,
            **said,
            "more": pl.String,
        }
        return FactTable(f"{FACT_TABLE_PREFIX}{self.name}", ("id", *number), columns)

    def build_facts(self, events: Sequence[Event]) -> "pl.DataFrame":
        """The events as facts of the table."""
        import polars as pl

        rows: list[dict[str, Any]] = []
        for event in events:
            same = {"id": event.id, "happened_at": event.at, "person": event.person}
            if self.list_field is None:
                rows.append({**same, **self.split_values(event.values)})
                continue
            around = {
                name: value for name, value in event.values.items() if name != self.list_field
            }
            rows += [
                {**same, "n": n, **self.split_values({**around, **item})}
                for n, item in enumerate(event.values.get(self.list_field, ()))
            ]
        return pl.DataFrame(rows, schema=pl.Schema(self.table.schema), orient="row")

    def split_values(self, values: Mapping[str, Any]) -> dict[str, Any]:
        """Values by column; what has no column of its own goes to `more`."""
        own = {
            name: values[name]
            for name, type_ in self.schema.items()
            if name in values and fits_column(values[name], type_)
        }
        rest = {
            name: value for name, value in values.items() if name not in own and value is not None
        }
        return {
            **dict.fromkeys(self.schema),
            **own,
            "more": json.dumps(rest, ensure_ascii=False, sort_keys=True) if rest else None,
        }


def fits_column(value: object, type_: Any) -> bool:
    """Whether a JSON value is of a column's type."""
    if type_ is float:
        return isinstance(value, int | float) and not isinstance(value, bool)
    if type_ in (list[str], list[int]):
        (inner,) = type_.__args__
        return isinstance(value, list) and all(fits_column(each, inner) for each in value)
    if type_ is int:
        return isinstance(value, int) and not isinstance(value, bool) and -(2**63) <= value < 2**63
    return isinstance(value, type_)


class EventLog:
    """Where events go. `put` returns at once and may lose a quarter of a second when the process is killed; `write` loses nothing."""

    def __init__(self, db: Database, kinds: Iterable[EventKind] = ()) -> None:
        self.db = db
        self.kinds = {kind.name: kind for kind in kinds}
        self.buffer: SimpleQueue[dict[str, Any] | None] = SimpleQueue()
        self.lock = threading.Lock()
        self.thread: threading.Thread | None = None
        self.closing = threading.Event()

    def find_kind(self, name: str) -> EventKind:
        """A kind as its system declared it, or with nothing but what every event has."""
        return self.kinds.get(name) or EventKind(name, {})

    def write_later(self, *events: Event) -> None:
        """Let events be written soon. Never waits, also when the database does not answer."""
        rows = [event_row(event) for event in events]
        with self.lock:
            if self.buffer.qsize() > MAX_BUFFERED_EVENTS or self.closing.is_set():
                metrics.count_events("lost", len(rows))
                return
            for each in rows:
                self.buffer.put(each)
            if self.thread is None:
                self.thread = threading.Thread(
                    target=self.run_writer, name="event-log", daemon=True
                )
                self.thread.start()

    def write_now(self, events: Iterable[Event]) -> None:
        """Write events; they are on the disk when this returns."""
        self.write_rows([event_row(event) for event in events])

    def write_rows(self, rows: Sequence[dict[str, Any]]) -> None:
        """Rows in one commit, with others."""
        if rows:
            self.db.write_batched(lambda db: insert(db, rows))
            metrics.count_events("written", len(rows))

    def run_writer(self) -> None:
        """Batch after batch, until closed. When the database fails, the batch waits for the next turn."""
        batch: list[dict[str, Any]] = []
        going = True
        while going or batch:
            if going and not batch:
                going = self.take(batch, self.buffer.get())
            if going:
                self.closing.wait(BATCH_INTERVAL_SECONDS)
            while going and len(batch) < MAX_EVENTS_PER_BATCH:
                try:
                    going = self.take(batch, self.buffer.get_nowait())
                except Empty:
                    break
            try:
                self.write_rows(batch)
            except SQLAlchemyError as error:
                log.warning(
                    "events could not be written", count=len(batch), error=error.__class__.__name__
                )
                if going:
                    continue
                metrics.count_events("lost", len(batch))
            batch = []

    def take(self, batch: list[dict[str, Any]], each: dict[str, Any] | None) -> bool:
        """Take one into the batch; False when that was the end."""
        if each is not None:
            batch.append(each)
        return each is not None

    def close(self) -> None:
        """Write what waits, and end."""
        with self.lock:
            self.closing.set()
            self.buffer.put(None)
        if self.thread is not None:
            self.thread.join()


def add_events(db: Session, *events: Event) -> None:
    """Events of what this transaction does: there if it is, gone if it is not."""
    insert(db, [event_row(event) for event in events])


def insert(db: Session, rows: Sequence[dict[str, Any]]) -> None:
    """Rows, each once."""
    insert_new_rows(db, Event, rows)


def event_row(event: Event) -> dict[str, Any]:
    """An event as a row. One that could not be kept or exported is a bug of whoever made it: ValueError or TypeError."""
    if not KIND_NAME.fullmatch(event.kind):
        raise ValueError(f"{event.kind!r} is not a kind of event")
    values = json.loads(json.dumps(event.values or {}, allow_nan=False))
    return {
        "id": event.id or new_event_id(event.at),
        "kind": event.kind,
        "at": event.at,
        "person": event.person,
        "values": values,
    }


def new_event_id(at: datetime) -> str:
    """An id that nobody else makes; ids sort in time order."""
    return f"{int(at.astimezone(UTC).timestamp() * 1000):012x}{secrets.token_hex(8)}"

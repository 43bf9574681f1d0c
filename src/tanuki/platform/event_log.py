"""Event log: what people see and do, stored until the hourly export moves it to the warehouse.

Events are written in batches in the background, or durably before the caller goes on. The same
event sent twice is one event, here and in the warehouse, because it has an id of its own.
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

BATCH_INTERVAL_SECONDS = 0.25
MAX_EVENTS_PER_BATCH = 5_000
MAX_BUFFERED_EVENTS = 100_000  # without a database; events beyond it are lost, and counted
KIND_NAME = re.compile(r"[a-z][a-z0-9_]{0,40}")
FACT_TABLE_PREFIX = "events_"  # followed by the kind


class Event(Base):
    """Something that somebody saw or did.

    `person` is an id that stands for them, or None. `values` are the fields of the event's kind.
    """

    __tablename__ = "event"
    __table_args__ = (Index("ix_event_kind", "kind", "id"),)

    id: Mapped[str] = mapped_column(primary_key=True)
    kind: Mapped[str]
    at: Mapped[datetime]
    person: Mapped[str | None]
    values: Mapped[dict[str, Any]] = mapped_column(JSON)


@dataclass(frozen=True)
class EventKind:
    """A kind of event and its fact table `events_<name>`.

    `schema` has the names and types of its fields: str, int, float, bool, list[str] or list[int].
    Choose names that SQL does not reserve (not order, at, limit): every query would have to quote
    them. Other fields, and values of another type, go as JSON into the column `more`. A kind that
    nobody declared has only that column.

    `list_field` names a field that is a list of objects. Each item becomes a fact, numbered by the
    column `n`, with the other fields repeated.
    """

    name: str
    schema: Mapping[str, Any]
    list_field: str | None = None

    @property
    def table(self) -> FactTable:
        """The fact table: id (and n), happened_at, person, the schema's fields, more."""
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
        columns = {
            "id": pl.String,
            **number,
            "happened_at": pl.Datetime("us", "UTC"),
            "person": pl.String,
            **{name: types[type_] for name, type_ in self.schema.items()},
            "more": pl.String,
        }
        return FactTable(f"{FACT_TABLE_PREFIX}{self.name}", ("id", *number), columns)

    def build_facts(self, events: Sequence[Event]) -> "pl.DataFrame":
        """The events as rows of the fact table."""
        import polars as pl

        rows: list[dict[str, Any]] = []
        for event in events:
            common = {"id": event.id, "happened_at": event.at, "person": event.person}
            if self.list_field is None:
                rows.append({**common, **self.split_values(event.values)})
                continue
            shared = {
                name: value for name, value in event.values.items() if name != self.list_field
            }
            rows += [
                {**common, "n": n, **self.split_values({**shared, **item})}
                for n, item in enumerate(event.values.get(self.list_field, ()))
            ]
        return pl.DataFrame(rows, schema=pl.Schema(self.table.schema), orient="row")

    def split_values(self, values: Mapping[str, Any]) -> dict[str, Any]:
        """The values of an event by column, with the rest in `more`."""
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


def fits_column(value: object, type_: Any) -> bool:  # noqa: ANN401 also list[str]
    """Whether a JSON value is of a column's type."""
    if type_ is float:
        return isinstance(value, int | float) and not isinstance(value, bool)
    if type_ in (list[str], list[int]):
        (inner,) = type_.__args__
        return isinstance(value, list) and all(fits_column(item, inner) for item in value)
    if type_ is int:
        return isinstance(value, int) and not isinstance(value, bool) and -(2**63) <= value < 2**63
    return isinstance(value, type_)


class EventLog:
    """Where a process writes its events.

    `write_later` returns at once; a killed process loses a quarter of a second of its events.
    `write_now` returns when the events are on the disk.
    """

    def __init__(self, db: Database, kinds: Iterable[EventKind] = ()) -> None:
        self.db = db
        self.kinds = {kind.name: kind for kind in kinds}
        self.buffer: SimpleQueue[dict[str, Any] | None] = SimpleQueue()
        self.lock = threading.Lock()
        self.thread: threading.Thread | None = None
        self.closing = threading.Event()

    def find_kind(self, name: str) -> EventKind:
        """The declared kind of that name, or else one without fields."""
        return self.kinds.get(name) or EventKind(name, {})

    def write_later(self, *events: Event) -> None:
        """Write events in the background. Never waits, even while the database does not answer."""
        rows = [event_row(event) for event in events]
        with self.lock:
            if self.buffer.qsize() > MAX_BUFFERED_EVENTS or self.closing.is_set():
                metrics.count_events("lost", len(rows))
                return
            for row in rows:
                self.buffer.put(row)
            if self.thread is None:
                self.thread = threading.Thread(
                    target=self.run_writer, name="event-log", daemon=True
                )
                self.thread.start()

    def write_now(self, events: Iterable[Event]) -> None:
        """Write events durably."""
        self.write_rows([event_row(event) for event in events])

    def write_rows(self, rows: Sequence[dict[str, Any]]) -> None:
        """Write rows in a group commit."""
        if rows:
            self.db.write_batched(lambda db: insert_new_rows(db, Event, rows))
            metrics.count_events("written", len(rows))

    def run_writer(self) -> None:
        """Write batch after batch until closed. A batch that fails is tried again."""
        batch: list[dict[str, Any]] = []
        open_ = True
        while open_ or batch:
            if open_ and not batch:
                open_ = append_row(batch, self.buffer.get())
            if open_:
                self.closing.wait(BATCH_INTERVAL_SECONDS)
            while open_ and len(batch) < MAX_EVENTS_PER_BATCH:
                try:
                    open_ = append_row(batch, self.buffer.get_nowait())
                except Empty:
                    break
            try:
                self.write_rows(batch)
            except SQLAlchemyError as error:
                log.warning(
                    "events could not be written", count=len(batch), error=error.__class__.__name__
                )
                if open_:
                    continue
                metrics.count_events("lost", len(batch))
            batch = []

    def close(self) -> None:
        """Write the buffered events, then end the thread."""
        with self.lock:
            self.closing.set()
            self.buffer.put(None)
        if self.thread is not None:
            self.thread.join()


def append_row(batch: list[dict[str, Any]], row: dict[str, Any] | None) -> bool:
    """Add a row to a batch. False for None, which is the end of the buffer."""
    if row is not None:
        batch.append(row)
    return row is not None


def add_events(db: Session, *events: Event) -> None:
    """Store events in the transaction that causes them."""
    insert_new_rows(db, Event, [event_row(event) for event in events])


def event_row(event: Event) -> dict[str, Any]:
    """An event as a row.

    Raises ValueError or TypeError for one that cannot be stored or exported: a bug of its maker.
    """
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
    """A unique id; ids sort by time."""
    return f"{int(at.astimezone(UTC).timestamp() * 1000):012x}{secrets.token_hex(8)}"

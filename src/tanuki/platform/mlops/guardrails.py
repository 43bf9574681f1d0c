"""Is a challenger well behaved: what servers count of each version, and the bounds that it must keep within. Pure, but for writing the counts."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, field, fields
from datetime import datetime, timedelta
from math import ceil, log2
from typing import Any

from sqlalchemy import delete, select
from sqlalchemy.orm import Session

from tanuki.platform.mlops.tables import Watched

KEPT = timedelta(days=30)
STEPS = 4  # of the histogram, for each doubling of the milliseconds


@dataclass(frozen=True)
class Bounds:
    """What a version must keep within to stay. Kept in the plan, so that it can be another for each model and release."""

    requests: int = 500  # watched; a version that kept within its bounds so long has passed
    errors: float = 0.01  # share of requests, more than the champion's
    least_errors: int = 5  # fewer may be anything
    slower: float = 2.0  # times the champion's 95th percentile, and in the middle half as much
    least_timed: int = 50  # requests, before times are compared
    least_ms: float = 1.0  # a champion faster than this counts as this fast
    agreement: float = 0.7  # with the champion's answers to the same requests, on average
    least_compared: int = 50

    @classmethod
    def read(cls, kept: Mapping[str, float]) -> "Bounds":
        """From a plan; bounds that it does not name are as they are by default."""
        whole = {each.name for each in fields(cls) if each.type is int or each.type == "int"}
        return cls(**{name: int(value) if name in whole else value for name, value in kept.items()})  # type: ignore[arg-type]

    def as_json(self) -> dict[str, float]:
        """Plain values."""
        return asdict(self)


@dataclass
class Counts:
    """What was counted of one version."""

    requests: int = 0
    errors: int = 0
    rows: int = 0
    times: dict[int, int] = field(
        default_factory=dict
    )  # requests by step of the histogram of milliseconds a row
    agreed: float = 0.0  # the sum over requests that champion and challenger both answered
    compared: int = 0  # how many those are
    last_error: str = ""

    def answered(self, milliseconds: float, rows: int) -> None:
        """A request was answered."""
        self.requests += 1
        self.rows += rows
        step = ceil(STEPS * log2(max(milliseconds, 0.001)))
        self.times[step] = self.times.get(step, 0) + 1

    def failed(self, why: str) -> None:
        """A request was not."""
        self.requests += 1
        self.errors += 1
        self.last_error = why[:200]

    def beside(self, agreement: float) -> None:
        """Champion and challenger answered the same request."""
        self.agreed += agreement
        self.compared += 1

    def add(self, other: "Counts") -> None:
        """Another process's."""
        self.requests += other.requests
        self.errors += other.errors
        self.rows += other.rows
        self.agreed += other.agreed
        self.compared += other.compared
        self.last_error = other.last_error or self.last_error
        for step, count in other.times.items():
            self.times[step] = self.times.get(step, 0) + count

    def quantile(self, share: float) -> float | None:
        """Milliseconds a row that this share of the answers kept within, to the next step; None when there are none."""
        total = sum(self.times.values())
        seen = 0
        for step in sorted(self.times):
            seen += self.times[step]
            if seen >= share * total:
                return float(2 ** (step / STEPS))
        return None

    def as_json(self) -> dict[str, Any]:
        """Plain values."""
        return {**asdict(self), "times": {str(step): count for step, count in self.times.items()}}

    @classmethod
    def read(cls, kept: Mapping[str, Any]) -> "Counts":
        """From a row."""
        return cls(**{**kept, "times": {int(step): count for step, count in kept["times"].items()}})


def out_of_bounds(bounds: Bounds, ours: Counts, theirs: Counts) -> str | None:
    """Why a version must go, in a sentence, or None. `theirs` is the champion's; without any answers of it times are not compared."""
    if ours.errors >= bounds.least_errors:
        share = ours.errors / ours.requests
        allowed = bounds.errors + (theirs.errors / theirs.requests if theirs.requests else 0.0)
        if share > allowed:
            return f"{ours.errors} of {ours.requests} requests failed ({share:.1%}; up to {allowed:.1%} is allowed): {ours.last_error}"
    times = [sum(each.times.values()) for each in (ours, theirs)]
    if min(times) >= bounds.least_timed:
        (our_most, our_middle), (their_most, their_middle) = (
            (each.quantile(0.95) or 0.0, each.quantile(0.5) or 0.0) for each in (ours, theirs)
        )
        most, middle = (max(each, bounds.least_ms) for each in (their_most, their_middle))
        if our_most > bounds.slower * most and our_middle > (1 + bounds.slower) / 2 * middle:
            return f"It takes {our_most:.1f} ms a row (95th percentile), the champion {their_most:.1f}; up to {bounds.slower:g} times is allowed."
    if ours.compared >= bounds.least_compared:
        agreed = ours.agreed / ours.compared
        if agreed < bounds.agreement:
            return f"Its answers agree with the champion's by {agreed:.0%}; at least {bounds.agreement:.0%} is wanted."
    return None


def keep(
    db: Session, model: str, version: str, serial: int, process: str, counts: Counts, now: datetime
) -> None:
    """Write what this process counted so far."""
    db.merge(
        Watched(
            model=model,
            version=version,
            serial=serial,
            process=process,
            counts=counts.as_json(),
            at=now,
        )
    )


def together(rows: Iterable[Watched]) -> dict[str, Counts]:
    """What all processes counted, by version."""
    found: dict[str, Counts] = {}
    for row in rows:
        found.setdefault(row.version, Counts()).add(Counts.read(row.counts))
    return found


def counted(db: Session, model: str, serials: Sequence[int]) -> dict[str, Counts]:
    """What was counted of a model's versions under some plans."""
    wanted = select(Watched).where(Watched.model == model, Watched.serial.in_(serials))
    return together(
        db.scalars(wanted.order_by(Watched.serial, Watched.version, Watched.process).limit(1000))
    )


def forget(db: Session, now: datetime) -> None:
    """Forget what was counted long ago, under plans that are over."""
    db.execute(delete(Watched).where(Watched.at < now - KEPT))

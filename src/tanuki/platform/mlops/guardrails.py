"""Guardrails: what servers count of each version, and the bounds that it must keep within."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, field, fields
from datetime import datetime, timedelta
from math import ceil, log2
from typing import Any

from sqlalchemy import delete, select
from sqlalchemy.orm import Session

from tanuki.i18n import Translate, english, msgid
from tanuki.platform.mlops.tables import VersionStats

Violation = dict[str, Any]
"""A violated guardrail, as a code with values; `render_violation` gives the sentence."""

COUNTS_RETENTION = timedelta(days=30)
MAX_STATS_ROWS = 1_000
MAX_ERROR_LENGTH = 200
BUCKETS_PER_DOUBLING = 4
"""Buckets of the latency histogram for each doubling of the milliseconds."""

MESSAGES: dict[str, str] = {
    "errors": msgid(
        "%(errors)s of %(requests)s requests failed (%(share)s; up to %(allowed)s is allowed): "
        "%(last_error)s"
    ),
    "latency": msgid(
        "It takes %(p95)s ms a row (95th percentile), the champion %(other_p95)s ms; "
        "up to %(factor)s times as much is allowed."
    ),
    "agreement": msgid(
        "Its answers agree with the champion's by %(agreement)s; at least %(minimum)s is needed."
    ),
}
FORMATS: dict[str, str] = {
    "share": ".1%",
    "allowed": ".1%",
    "p95": ".1f",
    "other_p95": ".1f",
    "factor": "g",
    "agreement": ".0%",
    "minimum": ".0%",
}


def render_violation(violation: Mapping[str, Any], say: Translate = english) -> str:
    values = {
        name: format(value, FORMATS[name]) if name in FORMATS else str(value)
        for name, value in violation.items()
    }
    return say(MESSAGES[violation["code"]], **values)


@dataclass(frozen=True)
class Bounds:
    """What a version must keep within to stay. Stored in the rollout, so each may have its own.

    requests: a version that kept within its bounds for so many has passed.
    errors: share of requests that may fail more than the champion's; fewer than `least_errors`
    failures never count.
    slower: times the champion's 95th percentile, and half as much of the median; compared from
    `least_timed` requests on. A champion faster than `least_ms` counts as that fast.
    agreement: mean agreement with the champion on `least_compared` requests or more.
    """

    requests: int = 500
    errors: float = 0.01
    least_errors: int = 5
    slower: float = 2.0
    least_timed: int = 50
    least_ms: float = 1.0
    agreement: float = 0.7
    least_compared: int = 50

    @classmethod
    def from_json(cls, stored: Mapping[str, float]) -> "Bounds":
        """Bounds as a rollout stores them; those that it does not name have their defaults."""
        whole = {bound.name for bound in fields(cls) if bound.type is int or bound.type == "int"}
        return cls(
            **{name: int(value) if name in whole else value for name, value in stored.items()}  # type: ignore[arg-type]
        )

    def as_json(self) -> dict[str, float]:
        return asdict(self)


@dataclass
class VersionCounts:
    """What was counted of one version.

    buckets: requests by bucket of the histogram of milliseconds per row.
    agreement_sum: over the `compared` requests that champion and challenger both answered.
    """

    requests: int = 0
    errors: int = 0
    rows: int = 0
    buckets: dict[int, int] = field(default_factory=dict)
    agreement_sum: float = 0.0
    compared: int = 0
    last_error: str = ""

    def count_answer(self, milliseconds: float, rows: int) -> None:
        """Count an answered request, with its milliseconds per row."""
        self.requests += 1
        self.rows += rows
        bucket = ceil(BUCKETS_PER_DOUBLING * log2(max(milliseconds, 0.001)))
        self.buckets[bucket] = self.buckets.get(bucket, 0) + 1

    def count_error(self, message: str) -> None:
        self.requests += 1
        self.errors += 1
        self.last_error = message[:MAX_ERROR_LENGTH]

    def count_agreement(self, agreement: float) -> None:
        """Count a request that champion and challenger both answered."""
        self.agreement_sum += agreement
        self.compared += 1

    def add(self, other: "VersionCounts") -> None:
        """Add what another process counted."""
        self.requests += other.requests
        self.errors += other.errors
        self.rows += other.rows
        self.agreement_sum += other.agreement_sum
        self.compared += other.compared
        self.last_error = other.last_error or self.last_error
        for bucket, count in other.buckets.items():
            self.buckets[bucket] = self.buckets.get(bucket, 0) + count

    @property
    def agreement(self) -> float | None:
        """Mean agreement; None when nothing was compared."""
        return self.agreement_sum / self.compared if self.compared else None

    def quantile(self, share: float) -> float | None:
        """Milliseconds per row that this share of the answers kept within, up to its bucket's end.

        None when there are no answers.
        """
        total = sum(self.buckets.values())
        count = 0
        for bucket in sorted(self.buckets):
            count += self.buckets[bucket]
            if count >= share * total:
                return float(2 ** (bucket / BUCKETS_PER_DOUBLING))
        return None

    def as_json(self) -> dict[str, Any]:
        """Values for the JSON column; its keys are texts."""
        buckets = {str(bucket): count for bucket, count in self.buckets.items()}
        return {**asdict(self), "buckets": buckets}

    @classmethod
    def from_json(cls, stored: Mapping[str, Any]) -> "VersionCounts":
        buckets = {int(bucket): count for bucket, count in stored["buckets"].items()}
        return cls(**{**stored, "buckets": buckets})


def find_violation(
    bounds: Bounds, version: VersionCounts, champion: VersionCounts
) -> Violation | None:
    """The guardrail that a version violates; None when it keeps within its bounds.

    Without answers of the champion times are not compared.
    """
    return (
        error_violation(bounds, version, champion)
        or latency_violation(bounds, version, champion)
        or agreement_violation(bounds, version)
    )


def error_violation(
    bounds: Bounds, version: VersionCounts, champion: VersionCounts
) -> Violation | None:
    if version.errors < bounds.least_errors:
        return None
    share = version.errors / version.requests
    champion_share = champion.errors / champion.requests if champion.requests else 0.0
    allowed = bounds.errors + champion_share
    if share <= allowed:
        return None
    return {
        "code": "errors",
        "errors": version.errors,
        "requests": version.requests,
        "share": share,
        "allowed": allowed,
        "last_error": version.last_error,
    }


def latency_violation(
    bounds: Bounds, version: VersionCounts, champion: VersionCounts
) -> Violation | None:
    answers = [sum(counts.buckets.values()) for counts in (version, champion)]
    if min(answers) < bounds.least_timed:
        return None
    (p95, p50), (other_p95, other_p50) = (
        (counts.quantile(0.95) or 0.0, counts.quantile(0.5) or 0.0)
        for counts in (version, champion)
    )
    if p95 <= bounds.slower * max(other_p95, bounds.least_ms):
        return None
    if p50 <= (1 + bounds.slower) / 2 * max(other_p50, bounds.least_ms):
        return None
    return {"code": "latency", "p95": p95, "other_p95": other_p95, "factor": bounds.slower}


def agreement_violation(bounds: Bounds, version: VersionCounts) -> Violation | None:
    agreement = version.agreement
    if version.compared < bounds.least_compared or agreement is None:
        return None
    if agreement >= bounds.agreement:
        return None
    return {"code": "agreement", "agreement": agreement, "minimum": bounds.agreement}


@dataclass(frozen=True)
class StatsKey:
    """A version under a rollout's serial."""

    model: str
    version: str
    serial: int


def save_counts(
    db: Session, key: StatsKey, process: str, counts: VersionCounts, now: datetime
) -> None:
    """Store what a process counted so far; what it stored before is replaced."""
    db.merge(
        VersionStats(
            model=key.model,
            version=key.version,
            serial=key.serial,
            process=process,
            counts=counts.as_json(),
            at=now,
        )
    )


def sum_counts(rows: Iterable[VersionStats]) -> dict[str, VersionCounts]:
    """What all processes counted, by version."""
    totals: dict[str, VersionCounts] = {}
    for row in rows:
        totals.setdefault(row.version, VersionCounts()).add(VersionCounts.from_json(row.counts))
    return totals


def load_counts(db: Session, model: str, serials: Sequence[int]) -> dict[str, VersionCounts]:
    """What was counted of a model's versions under some rollouts' serials."""
    query = select(VersionStats).where(
        VersionStats.model == model, VersionStats.serial.in_(serials)
    )
    order = (VersionStats.serial, VersionStats.version, VersionStats.process)
    return sum_counts(db.scalars(query.order_by(*order).limit(MAX_STATS_ROWS)))


def delete_old_counts(db: Session, now: datetime) -> None:
    """Delete counts of rollouts that ended long ago."""
    db.execute(delete(VersionStats).where(VersionStats.at < now - COUNTS_RETENTION))

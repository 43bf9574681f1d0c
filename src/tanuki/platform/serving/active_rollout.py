"""A model's rollout as one server process carries it out."""

from dataclasses import dataclass
from hashlib import sha256

from sqlalchemy.orm import Session

from tanuki.platform.mlops import guardrails, release
from tanuki.platform.mlops.guardrails import Bounds, StatsKey, VersionCounts, Violation
from tanuki.platform.mlops.tables import Rollout, RolloutMode


@dataclass(frozen=True)
class ActiveRollout:
    """A model's rollout as this process carries it out: both versions are loaded.

    read_serial: of the row that was read last. It is larger than `serial` when the row's champion
    could not be loaded.
    """

    model: str
    champion: str
    challenger: str | None
    mode: RolloutMode
    share: float
    bounds: Bounds
    serial: int
    read_serial: int

    def stats_key(self, version: str) -> StatsKey:
        return StatsKey(self.model, version, self.serial)


def canary_position(person: str, model: str) -> float:
    """A number from 0 to 1, the same for a person and a model, uniform over people."""
    return int.from_bytes(sha256(f"{model}:{person}".encode()).digest()[:8], "big") / 2**64


def find_rollout_violation(db: Session, row: Rollout) -> Violation | None:
    """The guardrail that the newest version of a rollout violates, by all processes' counts.

    The challenger is compared with the champion, a new champion with the one before it.
    """
    counts = guardrails.load_counts(db, row.model, [row.serial])
    bounds = Bounds.from_json(row.bounds)
    champion = counts.get(row.champion or "", VersionCounts())
    if row.challenger is not None:
        challenger = counts.get(row.challenger, VersionCounts())
        return guardrails.find_violation(bounds, challenger, champion)
    newest = next(iter(release.list_releases(db, row.model, 1)), None)
    if (
        not champion.requests
        or champion.requests > bounds.requests
        or newest is None
        or newest.version != row.champion
        or newest.previous is None
    ):
        return None
    before = guardrails.load_counts(db, row.model, [row.serial - 1, row.serial - 2])
    return guardrails.find_violation(bounds, champion, before.get(newest.previous, VersionCounts()))

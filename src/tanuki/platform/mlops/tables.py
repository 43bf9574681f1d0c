"""Records of the model life cycle: verdicts, releases, rollouts, statistics, kept predictions."""

from datetime import datetime
from enum import StrEnum
from typing import Any

from sqlalchemy import JSON, Index, LargeBinary
from sqlalchemy.orm import Mapped, mapped_column

from tanuki.platform.database.engine import Base
from tanuki.platform.database.types import one_of


class Decision(StrEnum):
    """What a gate decides about a version."""

    GO = "GO"
    NO_GO = "NO-GO"


class ReleaseKind(StrEnum):
    """Why the champion changed: a GO, a person against a NO-GO, or back to the one before."""

    GATE = "gate"
    OVERRIDE = "override"
    ROLLBACK = "rollback"


class RolloutMode(StrEnum):
    """Who gets the challenger's answers: nobody (none runs, or in shadow), or some people."""

    CHAMPION_ONLY = "champion_only"
    SHADOW = "shadow"
    CANARY = "canary"


class ServedAs(StrEnum):
    """The role in which a version answered a request."""

    CHAMPION = "champion"
    CHALLENGER = "challenger"
    SHADOW = "shadow"
    VERSION = "version"
    """Asked for by its number."""


class GateVerdict(Base):
    """The verdict on one version of a model, beside the champion and the baselines."""

    __tablename__ = "gate_verdict"
    __table_args__ = (Index("ix_gate_verdict_model", "model", "id"),)

    id: Mapped[int] = mapped_column(primary_key=True)
    model: Mapped[str]  # its name in the registry
    version: Mapped[str]
    champion: Mapped[str | None]  # the version it was compared with; None: there was none
    decision: Mapped[Decision] = mapped_column(one_of(Decision))
    # Data window, comparisons per slice, and the reasons as codes and values.
    report: Mapped[dict[str, Any]] = mapped_column(JSON)
    at: Mapped[datetime]
    by: Mapped[str]

    @property
    def go(self) -> bool:
        return self.decision == Decision.GO


class Release(Base):
    """A change of a model's champion."""

    __tablename__ = "model_release"
    __table_args__ = (Index("ix_model_release_model", "model", "id"),)

    id: Mapped[int] = mapped_column(primary_key=True)
    model: Mapped[str]
    version: Mapped[str]
    previous: Mapped[str | None]
    kind: Mapped[ReleaseKind] = mapped_column(one_of(ReleaseKind))
    verdict_id: Mapped[int | None]
    at: Mapped[datetime]
    by: Mapped[str]
    why: Mapped[str | None]  # in the words of the person who did it
    # Of an automatic rollback: which guardrail was violated, as a code with values.
    violation: Mapped[dict[str, Any] | None] = mapped_column(JSON)


class Rollout(Base):
    """Which versions the servers of a model answer with; they read this row, not the registry."""

    __tablename__ = "model_rollout"

    model: Mapped[str] = mapped_column(primary_key=True)
    champion: Mapped[str | None]
    challenger: Mapped[str | None]
    files: Mapped[dict[str, str]] = mapped_column(JSON)  # by version: the prefix of its objects
    mode: Mapped[RolloutMode] = mapped_column(
        one_of(RolloutMode), default=RolloutMode.CHAMPION_ONLY
    )
    # Share of people who get the challenger's answers, or of requests that a shadow answers.
    share: Mapped[float] = mapped_column(default=0.0)
    bounds: Mapped[dict[str, float]] = mapped_column(JSON)  # of guardrails.Bounds
    serial: Mapped[int] = mapped_column(default=0)  # grows with every change
    at: Mapped[datetime]


class VersionStats(Base):
    """What one server process counted of one version since a rollout's serial."""

    __tablename__ = "model_version_stats"

    model: Mapped[str] = mapped_column(primary_key=True)
    version: Mapped[str] = mapped_column(primary_key=True)
    serial: Mapped[int] = mapped_column(primary_key=True)
    process: Mapped[str] = mapped_column(primary_key=True)
    counts: Mapped[dict[str, Any]] = mapped_column(JSON)  # of guardrails.VersionCounts
    at: Mapped[datetime]


class Prediction(Base):
    """A sampled answer of a model, kept so that it can be computed again byte for byte."""

    __tablename__ = "model_prediction"
    __table_args__ = (
        Index("ix_model_prediction_model", "model", "id"),
        Index("ix_model_prediction_at", "at"),
    )

    id: Mapped[int] = mapped_column(primary_key=True)
    model: Mapped[str]
    version: Mapped[str]
    served_as: Mapped[ServedAs] = mapped_column(one_of(ServedAs))
    input_hash: Mapped[str]  # SHA-256 of the inputs as they are kept
    inputs: Mapped[bytes] = mapped_column(LargeBinary)  # the protocol's binary request
    outputs: Mapped[bytes] = mapped_column(LargeBinary)  # its binary answer
    milliseconds: Mapped[float]
    at: Mapped[datetime]

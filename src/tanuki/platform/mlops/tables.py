"""The records of gates and releases: what was found about a version, and who or what made it live."""

from datetime import datetime
from typing import Any

from sqlalchemy import JSON, Index, LargeBinary
from sqlalchemy.orm import Mapped, mapped_column

from tanuki.platform.database.engine import Base


class GateVerdict(Base):
    """What the gate found about one version of a model, beside the live one and the floor, on the same data."""

    __tablename__ = "gate_verdict"
    __table_args__ = (Index("ix_gate_verdict_model", "model", "id"),)

    id: Mapped[int] = mapped_column(primary_key=True)
    model: Mapped[str]  # its name in the registry
    version: Mapped[str]
    champion: Mapped[str | None]  # the version it was compared with; None: there was none
    go: Mapped[bool]
    report: Mapped[dict[str, Any]] = mapped_column(
        JSON
    )  # data window, comparisons per slice, reasons as codes and values
    at: Mapped[datetime]
    by: Mapped[str]


class Release(Base):
    """The live version changed: by a GO, by a named person against a NO-GO, or back to the one before."""

    __tablename__ = "model_release"
    __table_args__ = (Index("ix_model_release_model", "model", "id"),)

    id: Mapped[int] = mapped_column(primary_key=True)
    model: Mapped[str]
    version: Mapped[str]
    previous: Mapped[str | None]
    kind: Mapped[str]  # gate, override or rollback
    verdict_id: Mapped[int | None]
    at: Mapped[datetime]
    by: Mapped[str]
    why: Mapped[str | None]


class Serving(Base):
    """What the servers of a model do now. They read this row, not the registry: it says where the files of each version are."""

    __tablename__ = "model_serving"

    model: Mapped[str] = mapped_column(primary_key=True)
    champion: Mapped[str | None]
    challenger: Mapped[str | None]
    files: Mapped[dict[str, str]] = mapped_column(JSON)  # by version: the prefix of its objects
    mode: Mapped[str] = mapped_column(
        default="alone"
    )  # alone, shadow (the challenger answers too, nobody sees it) or canary (some people get it)
    share: Mapped[float] = mapped_column(
        default=0.0
    )  # of people who get the challenger's answers in a canary, or of requests that a shadow answers
    bounds: Mapped[dict[str, float]] = mapped_column(
        JSON
    )  # what the challenger must keep within; see watching.Bounds
    serial: Mapped[int] = mapped_column(default=0)  # grows with every change
    at: Mapped[datetime]


class Watched(Base):
    """What one server process counted of one version since the plan's serial: enough to judge it against its bounds."""

    __tablename__ = "model_watched"

    model: Mapped[str] = mapped_column(primary_key=True)
    version: Mapped[str] = mapped_column(primary_key=True)
    serial: Mapped[int] = mapped_column(primary_key=True)
    process: Mapped[str] = mapped_column(primary_key=True)
    counts: Mapped[dict[str, Any]] = mapped_column(
        JSON
    )  # requests, errors, a histogram of milliseconds, sums of quality and how many had one
    at: Mapped[datetime]


class Prediction(Base):
    """One answer of a model, kept (a sample of them is) so that it can be computed again byte for byte."""

    __tablename__ = "model_prediction"
    __table_args__ = (
        Index("ix_model_prediction_model", "model", "id"),
        Index("ix_model_prediction_at", "at"),
    )

    id: Mapped[int] = mapped_column(primary_key=True)
    model: Mapped[str]
    version: Mapped[str]
    served_as: Mapped[str]  # champion, challenger or shadow
    input_hash: Mapped[str]  # SHA-256 of the inputs as they are kept
    inputs: Mapped[bytes] = mapped_column(LargeBinary)  # the protocol's binary request
    outputs: Mapped[bytes] = mapped_column(LargeBinary)  # its binary answer
    milliseconds: Mapped[float]
    at: Mapped[datetime]

"""The records of gates and releases: what was found about a version, and who or what made it live."""

from datetime import datetime
from typing import Any

from sqlalchemy import JSON, Index
from sqlalchemy.orm import Mapped, mapped_column

from tanuki.platform.db import Base


class GateVerdict(Base):
    """What the gate found about one version of a model, beside the live one and the floor, on the same data."""

    __tablename__ = "gate_verdict"
    __table_args__ = (Index("ix_gate_verdict_model", "model", "id"),)

    id: Mapped[int] = mapped_column(primary_key=True)
    model: Mapped[str]  # its name in the registry
    version: Mapped[str]
    champion: Mapped[str | None]  # the version it was compared with; None: there was none
    go: Mapped[bool]
    report: Mapped[dict[str, Any]] = mapped_column(JSON)  # data window, comparisons per slice, reasons as codes and values
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

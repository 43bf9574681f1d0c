"""Model versions that answer without a registry, an evaluation or a release."""

from datetime import datetime

from sqlalchemy.orm import Session

from tanuki.platform.mlops.rollout import change_rollout


def make_champion(db: Session, model: str, version: str, prefix: str, now: datetime) -> None:
    """Let servers answer with the version whose files are below `prefix`."""
    with change_rollout(db, model, now) as rollout:
        rollout.files = {**rollout.files, version: prefix}
        rollout.champion = version

"""The eyes as versions of a model: made and registered once, the first of them checked and released by itself, later ones judged beside the one that is live."""

from dataclasses import asdict
from datetime import datetime
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np

from tanuki import __version__
from tanuki.animals.vision import encoder
from tanuki.animals.vision.encoder import ENCODER_MODEL
from tanuki.animals.vision.onnx_export import EMBEDDING, INPUT
from tanuki.errors import UserError
from tanuki.platform.accounts import SYSTEM
from tanuki.platform.mlops import release, rollout, runtimes
from tanuki.platform.mlops.evaluation import Reason, Verdict
from tanuki.platform.mlops.runtimes import Runner
from tanuki.platform.mlops.tables import GateVerdict
from tanuki.platform.resources import Resources

DRAWN, SEED = 6, 1  # pictures of noise that a version must answer about
ALMOST = 1e-3  # how far the length of an embedding may be from 1


def backbone(res: Resources) -> Path | None:
    """The ONNX file that the settings name; None for the package's network."""
    return Path(res.settings.image_model) if res.settings.image_model else None


def live(res: Resources) -> str | None:
    """The version that answers now, here or on the model server that the settings name; None when none does."""
    with res.db.read() as db:
        plan = rollout.plan(db, ENCODER_MODEL)
    if plan is not None and plan.champion is not None:
        return plan.champion
    if res.settings.models and res.models.ready(ENCODER_MODEL):
        return str(([*res.models.metadata(ENCODER_MODEL).get("versions", ())] or ["1"])[-1])
    return None


def opened(res: Resources, now: datetime) -> str:
    """The version that answers now; when there is none yet, the one of the settings, made, checked and released. Several may do it at once."""
    found = live(res)
    if found is not None:
        return found
    version = registered(res, now)
    with res.db.read() as db:
        known = release.latest(db, ENCODER_MODEL, version)
    verdict = known or first_verdict(res, version, now)
    with res.db.write() as db:
        release.forget_unrecorded(db, res.registry, ENCODER_MODEL)
        answers = rollout.champion(db, res.registry, ENCODER_MODEL)
        if known is None and answers is None:
            release.keep_verdict(db, verdict)
        if verdict.go and answers is None:
            release.release(db, res.registry, SYSTEM, verdict, now)
    if not verdict.go and answers is None:
        raise UserError(
            "Version %(version)s of the eyes sees nothing that can be used.", version=version
        )
    return version if answers is None else answers


def registered(res: Resources, now: datetime) -> str:
    """The version made from the network of the settings, registered unless it is already."""
    file = backbone(res)
    made_from = encoder.fingerprint(file)
    for known in res.registry.versions(ENCODER_MODEL):
        if known.parameters.get("made_from") == made_from:
            return known.version
    with TemporaryDirectory() as folder:
        said = encoder.build(Path(folder), file)
        parameters = {
            "made_from": made_from,
            **{name: said[name] for name in ("name", "dimension", "size")},
        }
        day = now.date().isoformat()
        made = res.registry.save(
            ENCODER_MODEL,
            Path(folder),
            parameters=parameters,
            metrics={},
            data_window=(day, day),
            code_version=__version__,
        )
    return made.version


def first_verdict(res: Resources, version: str, now: datetime) -> GateVerdict:
    """May a version be the first? There is nothing to compare it with, so only what no eyes may do is refused."""
    runner = runtimes.opened(
        res.registry.files, res.registry.prefix(ENCODER_MODEL, version), res.settings.home / "models"
    )
    reasons = faults(runner)
    report: dict[str, Any] = {"drawn": DRAWN, **asdict(Verdict(not reasons, reasons))}
    return GateVerdict(
        model=ENCODER_MODEL,
        version=version,
        champion=None,
        go=not reasons,
        report=report,
        at=now,
        by=SYSTEM.name,
    )


def faults(runner: Runner) -> list[Reason]:
    """Embeddings of drawn pictures that are no numbers, have another length than 1, or are the same for different pictures."""
    shape = [DRAWN if n == -1 else n for n in runner.spec.inputs[0].shape]
    drawn = np.random.default_rng(SEED).integers(0, 256, size=shape, dtype=np.uint8)
    drawn[1::2] //= 4  # dark ones, too
    found = np.concatenate([runner.run({INPUT: drawn[n : n + 1]})[EMBEDDING] for n in range(DRAWN)])
    right = np.isfinite(found).all(axis=1) & (np.abs(np.linalg.norm(found, axis=1) - 1) < ALMOST)
    if right.all() and len(np.unique(found.round(4), axis=0)) == DRAWN:
        return []
    return [{"code": "nan", "rows": int(DRAWN - right.sum()) or DRAWN, "of": DRAWN}]

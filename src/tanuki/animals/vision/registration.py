"""Versions of the image encoder: registered once for each file, the first released at once."""

from datetime import datetime
from pathlib import Path
from tempfile import TemporaryDirectory

from tanuki import __version__
from tanuki.animals.vision import encoder
from tanuki.animals.vision.encoder import ENCODER_MODEL
from tanuki.errors import UserError
from tanuki.platform.accounts import SYSTEM
from tanuki.platform.mlops import rollout
from tanuki.platform.resources import Resources


def configured_backbone(res: Resources) -> Path | None:
    """The ONNX file that the settings name; None for the package's network."""
    return Path(res.settings.image_model) if res.settings.image_model else None


def find_live_version(res: Resources) -> str | None:
    """The version that answers now, in this process or on the model server; None if none does."""
    with res.db.read() as db:
        current = rollout.load_rollout(db, ENCODER_MODEL)
    if current is not None and current.champion is not None:
        return current.champion
    if res.settings.model_server and res.models.ready(ENCODER_MODEL):
        versions = res.models.metadata(ENCODER_MODEL).get("versions", ())
        return str(([*versions] or ["1"])[-1])
    return None


def ensure_live_version(res: Resources, now: datetime) -> str:
    """The version that answers now. If there is none, the configured one is built and released.

    Several processes may call this at the same time: the first release counts. Raises UserError if
    the version is not usable.
    """
    live = find_live_version(res)
    if live is not None:
        return live
    version = register_version(res, now)
    try:
        res.lifecycle.evaluate_and_release(ENCODER_MODEL, version, actor=SYSTEM, now=now)
    except UserError:  # such as Conflict: another process has just released a version
        live = find_live_version(res)
        if live is None:
            raise
        return live
    live = find_live_version(res)
    if live is None:
        raise UserError(
            "Version %(version)s of the image model gives unusable output.", version=version
        )
    return live


def register_version(res: Resources, now: datetime) -> str:
    """The version made from the configured file; it is registered unless it is already."""
    backbone = configured_backbone(res)
    fingerprint = encoder.fingerprint_weights(backbone)
    for version in res.registry.versions(ENCODER_MODEL):
        if version.parameters.get("made_from") == fingerprint:
            return version.version
    with TemporaryDirectory() as folder:
        metadata = encoder.build_encoder(Path(folder), backbone)
        day = now.date().isoformat()
        return res.registry.save(
            ENCODER_MODEL,
            Path(folder),
            parameters={
                "made_from": fingerprint,
                **{name: metadata[name] for name in ("name", "dimension", "size")},
            },
            metrics={},
            data_window=(day, day),
            code_version=__version__,
        ).version

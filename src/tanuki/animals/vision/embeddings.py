"""Image features: computed once for each picture and encoder version, stored, and interpreted."""

import threading
import time
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from math import inf

import numpy as np
from sqlalchemy import select
from sqlalchemy.orm import Session

from tanuki.animals.images import photo_files
from tanuki.animals.tables import ImageFeatures, Photo
from tanuki.animals.taxonomy import BREEDS, CATEGORIES
from tanuki.animals.vision import registration
from tanuki.animals.vision.encoder import ENCODER_MODEL, Arrays, EncoderOutput, encode_jpegs
from tanuki.animals.vision.labels import ANIMAL_CLASSES, imagenet_labels
from tanuki.animals.vision.nearest_neighbours import Vectors
from tanuki.animals.vision.onnx_export import INPUT
from tanuki.platform.database.upsert import insert_or_ignore
from tanuki.platform.resources import Resources

MIN_NAMED_SHARE = 0.5
"""Of a category's probability: what a breed or class needs so that the subject is called by it."""
MIN_CONFIDENCE = 0.3
"""Below this confidence in a category the subject counts as unknown."""
LIVE_VERSION_SECONDS = 1.0
"""How long the live version is remembered before the database is asked again."""


# ---- stored features ---------------------------------------------------------------------------


def save_features(db: Session, digest: str, output: EncoderOutput, now: datetime) -> bool:
    """Store an encoder's output for a picture; False if its version has stored one already."""
    return insert_or_ignore(db, ImageFeatures, **feature_columns(digest, output, now))


def feature_columns(digest: str, output: EncoderOutput, now: datetime) -> dict[str, object]:
    return {
        "digest": digest,
        "encoder_version": output.encoder_version,
        "embedding": output.embedding.astype("<f2").tobytes(),
        "classes": [[number, probability] for number, probability in output.classes],
        "animal_score": output.animal_score,
        "lightness": output.lightness,
        "sharpness": output.sharpness,
        "phash": output.phash,
        "at": now,
    }


def load_features(db: Session, digest: str, encoder_version: str) -> ImageFeatures | None:
    return db.scalar(
        select(ImageFeatures).where(
            ImageFeatures.encoder_version == encoder_version, ImageFeatures.digest == digest
        )
    )


def decode_embedding(features: ImageFeatures) -> Vectors:
    """The embedding of a picture, of length 1."""
    vector: Vectors = decode_embeddings([features.embedding])[0]
    return vector


def decode_embeddings(stored: Sequence[bytes]) -> Vectors:
    """Embeddings as they are stored (float16), one a row, float32, of length 1."""
    if not stored:
        return np.empty((0, 0), dtype=np.float32)
    rows = np.frombuffer(b"".join(stored), dtype="<f2").astype(np.float32)
    vectors: Vectors = rows.reshape(len(stored), -1)
    lengths = np.linalg.norm(vectors, axis=1, keepdims=True)  # not quite 1: float16 rounds
    return np.asarray(vectors / np.where(lengths > 0, lengths, 1), np.float32)


# ---- the subject -------------------------------------------------------------------------------


@dataclass(frozen=True)
class Subject:
    """What is in a picture: keys of CATEGORIES and BREEDS, names, confidence in the category."""

    category: str
    breed: str | None
    ja: str
    en: str
    confidence: float


def identify_subject(features: EncoderOutput | ImageFeatures) -> Subject | None:
    """The subject of a picture.

    None if no category is certain enough, or if the encoder version gives no classes. The
    probabilities of one category, or breed, are summed: an encoder that wavers between two terriers
    is certain of a dog.
    """
    classes = [
        (imagenet_labels()[int(number)], probability)
        for number, probability in features.classes
        if number < ANIMAL_CLASSES
    ]
    total = sum(probability for _, probability in classes)
    if not total:
        return None
    categories: dict[str, float] = defaultdict(float)
    for label, probability in classes:
        categories[label.category] += probability
    category = max(categories, key=lambda name: categories[name])
    # The likeliest classes stand for all classes of animals.
    confidence = max(features.animal_score, total) * categories[category] / total
    if confidence < MIN_CONFIDENCE:
        return None
    shares = [
        (label, probability / categories[category])
        for label, probability in classes
        if label.category == category
    ]
    breeds: dict[str, float] = defaultdict(float)
    for label, share in shares:
        if label.breed is not None:
            breeds[label.breed] += share
    breed = next((name for name in breeds if breeds[name] > MIN_NAMED_SHARE), None)
    label, share = max(shares, key=lambda labelled: labelled[1])
    name = label if share > MIN_NAMED_SHARE else BREEDS[breed] if breed else CATEGORIES[category]
    return Subject(category, breed, name.ja, name.en, min(confidence, 1.0))


# ---- the encoder of this process ---------------------------------------------------------------


@dataclass
class ServedEncoder:
    """A version of the encoder, or the live one, behind `Resources.models`.

    `answered_by` is the version that gave the last answer.
    """

    res: Resources
    version: str | None = None
    answered_by: str = ""

    def infer(self, inputs: Arrays) -> Arrays:
        answer = self.res.models.infer(ENCODER_MODEL, inputs, version=self.version)
        self.answered_by = answer.version
        return answer.outputs


class ImageEncoder:
    """The live encoder, in this process or on a model server. Threads may share it."""

    def __init__(self, res: Resources) -> None:
        self.res = res
        self._first_version_lock = threading.Lock()
        self._input_sides: dict[str, int] = {}
        self._live_version, self._looked_up_at = "", -inf

    def live_version(self) -> str | None:
        """The live version, at most LIVE_VERSION_SECONDS old; None before the first release."""
        if time.monotonic() - self._looked_up_at > LIVE_VERSION_SECONDS:
            self._remember(registration.find_live_version(self.res) or "")
        return self._live_version or None

    @property
    def version(self) -> str:
        """The live version. If there is none, the first one is built and released: seconds."""
        with self._first_version_lock:
            if self.live_version() is None:
                self._remember(registration.ensure_live_version(self.res, datetime.now(UTC)))
            return self._live_version

    def _remember(self, version: str) -> None:
        self._live_version, self._looked_up_at = version, time.monotonic()

    def input_side(self, version: str) -> int:
        """The width in pixels of the square that a version takes."""
        if version not in self._input_sides:
            tensors = self.res.models.metadata(ENCODER_MODEL, version)["inputs"]
            [shape] = [tensor["shape"] for tensor in tensors if tensor["name"] == INPUT]
            self._input_sides[version] = int(shape[1])
        return self._input_sides[version]

    def encode(self, jpegs: Sequence[bytes], version: str | None = None) -> list[EncoderOutput]:
        """The output of the live version, or another one, for JPEGs of the size "page".

        Raises UserError for a JPEG that cannot be read, ModelError if the encoder fails.
        """
        encoder, expected = ServedEncoder(self.res, version), version or self.version
        outputs = encode_jpegs(encoder, jpegs, side=self.input_side(expected))
        return [
            replace(output, encoder_version=encoder.answered_by or expected) for output in outputs
        ]


def image_encoder(res: Resources) -> ImageEncoder:
    """The encoder of these resources, always the same one."""
    return res.process_cache.get(ImageEncoder, lambda: ImageEncoder(res))


def encode_stored_images(
    res: Resources, digests: Sequence[str], version: str | None = None
) -> list[EncoderOutput]:
    """The output of the live version, or another one, for stored pictures."""
    jpegs = [res.objects.get(photo_files.object_key(digest, "page")) for digest in digests]
    return image_encoder(res).encode(jpegs, version)


def embed_images(res: Resources, digests: Sequence[str], version: str | None, now: datetime) -> int:
    """Encode stored pictures and store their features; gives how many are new.

    Raises UserError for a picture that cannot be read. The commit does not wait for the disk: after
    a power failure the backfill finds these pictures without features again.
    """
    outputs = encode_stored_images(res, digests, version)
    with res.db.write() as db:
        existing = set(
            db.scalars(
                select(Photo.digest)
                .where(Photo.digest.in_(digests))
                .with_for_update(read=True, key_share=True)
            )
        )  # a picture may have been deleted meanwhile
        return sum(
            save_features(db, digest, output, now)
            for digest, output in zip(digests, outputs, strict=True)
            if digest in existing
        )


def ensure_embedding(
    res: Resources, digest: str, now: datetime, version: str | None = None
) -> bool:
    """Encode a picture unless it has features of the live version, or of `version`.

    False if no version is live yet. Raises UserError.
    """
    encoder_version = version or image_encoder(res).live_version()
    if encoder_version is None:
        return False
    with res.db.read() as db:
        exists = load_features(db, digest, encoder_version) is not None
    if not exists:
        embed_images(res, [digest], version, now)
    return True

"""Looks: what the eyes saw, kept once for each picture and version; what its subject is called; and the eyes as this process asks them."""

import threading
import time
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from math import inf
from typing import Any

import numpy as np
from numpy.typing import NDArray
from sqlalchemy import select
from sqlalchemy.orm import Session

from tanuki.animals.images import photo_files
from tanuki.animals.tables import ImageFeatures, Photo
from tanuki.animals.taxonomy import BREEDS, CATEGORIES
from tanuki.animals.vision import registration
from tanuki.animals.vision.encoder import ENCODER_MODEL, Arrays, EncoderOutput, encode_jpegs
from tanuki.animals.vision.labels import ANIMALS, labels
from tanuki.animals.vision.onnx_export import INPUT
from tanuki.platform.database.upsert import insert_or_ignore
from tanuki.platform.resources import Resources

HALF = 0.5  # of a category's certainty that a breed or class must have to be named
FEWEST_SURE = 0.3  # how sure of a category, below which the subject is not known
ASKED_AGAIN_AFTER = 1.0  # seconds after which the live version is looked up again


# ---- kept ----------------------------------------------------------------------------------------------------------


def save_features(db: Session, digest: str, eyes_version: str, seen: EncoderOutput, now: datetime) -> bool:
    """Put what a version saw in a picture on record; whether it was not there yet."""
    return insert_or_ignore(db, ImageFeatures, **feature_columns(digest, eyes_version, seen, now))


def feature_columns(digest: str, eyes_version: str, seen: EncoderOutput, now: datetime) -> dict[str, Any]:
    """The columns of a look."""
    return {
        "digest": digest,
        "encoder_version": eyes_version,
        "embedding": seen.embedding.astype("<f2").tobytes(),
        "classes": [[number, share] for number, share in seen.classes],
        "animal_score": seen.animal_score,
        "lightness": seen.lightness,
        "sharpness": seen.sharpness,
        "phash": seen.phash,
        "at": now,
    }


def load_features(db: Session, digest: str, eyes: str) -> ImageFeatures | None:
    """What a version saw in a picture; None when it has not looked yet."""
    return db.scalar(select(ImageFeatures).where(ImageFeatures.encoder_version == eyes, ImageFeatures.digest == digest))


def embedding_of(look: ImageFeatures) -> NDArray[np.float32]:
    """The embedding, of length 1."""
    kept = np.frombuffer(look.embedding, "<f2").astype(np.float32)
    made: NDArray[np.float32] = kept / np.linalg.norm(kept)
    return made


# ---- what it is ----------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Subject:
    """What is in a picture, as far as the eyes can tell: category and breed as the network's codes, its names, how sure of the category."""

    category: str
    breed: str | None
    ja: str
    en: str
    confidence: float


def identify_subject(seen: EncoderOutput | ImageFeatures) -> Subject | None:
    """The subject; None when the eyes are sure of no category, or are of a version that names no classes.

    Shares of the same category, or breed, are summed: eyes that waver between two terriers are sure of a dog. The likeliest classes stand for all.
    """
    found = [(labels()[int(number)], share) for number, share in seen.classes if number < ANIMALS]
    whole = sum(share for _, share in found)
    if not whole:
        return None
    categories: dict[str, float] = defaultdict(float)
    for label, share in found:
        categories[label.category] += share
    category = max(categories, key=lambda each: categories[each])
    sure = max(seen.animal_score, whole) * categories[category] / whole
    if sure < FEWEST_SURE:
        return None
    inside = [
        (label, share / categories[category])
        for label, share in found
        if label.category == category
    ]
    breeds: dict[str, float] = defaultdict(float)
    for label, share in inside:
        if label.breed is not None:
            breeds[label.breed] += share
    breed = next((each for each in breeds if breeds[each] > HALF), None)
    label, share = max(inside, key=lambda each: each[1])
    named = label if share > HALF else BREEDS[breed] if breed else CATEGORIES[category]
    return Subject(category, breed, named.ja, named.en, min(sure, 1.0))


# ---- asked ---------------------------------------------------------------------------------------------------------


@dataclass
class ServedEncoder:
    """A version of the eyes, on a server or in this process; None is the one that is live. `answered` is the one that did answer."""

    res: Resources
    version: str | None = None
    answered: str = ""

    def infer(self, inputs: Arrays) -> Arrays:
        """What it says."""
        answer = self.res.models.infer(ENCODER_MODEL, inputs, version=self.version)
        self.answered = answer.version
        return answer.outputs


class ImageEncoder:
    """The eyes that are live, in this process or on the model server."""

    def __init__(self, res: Resources) -> None:
        self.res = res
        self.opening = threading.Lock()
        self.sizes: dict[str, int] = {}
        self.known, self.known_at = "", -inf

    def live_version(self) -> str | None:
        """The version that is live, at most a second late; None when none is yet."""
        if time.monotonic() - self.known_at > ASKED_AGAIN_AFTER:
            self.known, self.known_at = registration.live(self.res) or "", time.monotonic()
        return self.known or None

    @property
    def version(self) -> str:
        """The version that is live. The very first time there is none, and it is made: that takes some seconds."""
        with self.opening:
            if self.live_version() is None:
                self.known, self.known_at = (
                    registration.opened(self.res, datetime.now(UTC)),
                    time.monotonic(),
                )
            return self.known

    def input_size(self, version: str) -> int:
        """How large the pictures are that a version takes."""
        if version not in self.sizes:
            inputs = self.res.models.metadata(ENCODER_MODEL, version)["inputs"]
            self.sizes[version] = int(
                next(each["shape"][1] for each in inputs if each["name"] == INPUT)
            )
        return self.sizes[version]

    def encode(self, jpegs: Sequence[bytes], version: str | None = None) -> list[EncoderOutput]:
        """What the live version, or another one, sees in JPEGs of the size of a page. Raises UserError for one that cannot be read, ModelError when the eyes fail."""
        asked, expected = ServedEncoder(self.res, version), version or self.version
        seen = encode_jpegs(asked, jpegs, size=self.input_size(expected))
        return [replace(each, encoder_version=asked.answered or expected) for each in seen]


_eyes: list[ImageEncoder] = []
_making = threading.Lock()


def image_encoder(res: Resources) -> ImageEncoder:
    """The eyes of this process, the same as long as its resources are the same."""
    with _making:
        if not _eyes or _eyes[0].res is not res:
            _eyes[:] = [ImageEncoder(res)]
        return _eyes[0]


def encode_stored_images(res: Resources, digests: Sequence[str], version: str | None = None) -> list[EncoderOutput]:
    """What the live version, or another one, sees in pictures that are stored."""
    return image_encoder(res).encode(
        [res.objects.get(photo_files.key(digest, "page")) for digest in digests], version
    )


def embed_images(res: Resources, digests: Sequence[str], version: str | None, now: datetime) -> int:
    """Look at pictures that are stored and keep what is seen; gives how many looks are new. Raises UserError for one that cannot be read."""
    found = encode_stored_images(res, digests, version)
    with (
        res.db.write() as db
    ):  # it need not be on the disk before others go on: what a power cut takes is owed again
        wanted = (
            select(Photo.digest)
            .where(Photo.digest.in_(digests))
            .with_for_update(read=True, key_share=True)
        )
        there = set(db.scalars(wanted))  # one that was forgotten meanwhile keeps no look
        return sum(
            save_features(db, digest, each.encoder_version, each, now)
            for digest, each in zip(digests, found, strict=True)
            if digest in there
        )


def ensure_embedding(res: Resources, digest: str, now: datetime, version: str | None = None) -> bool:
    """Whether a picture has a look of the live version, or another one, which looks if it has not; False when no version is live. Raises UserError."""
    wanted = version or image_encoder(res).live_version()
    if wanted is None:
        return False
    with res.db.read() as db:
        there = load_features(db, digest, wanted) is not None
    if not there:
        embed_images(res, [digest], version, now)
    return True

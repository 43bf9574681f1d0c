"""Pictures with much to recognise, made by code; posts with them, which the real eyes have seen."""

from pathlib import Path
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from tanuki.animals import posts
from tanuki.animals.images import photo_files
from tanuki.animals.tables import Post
from tanuki.animals.vision import embeddings, encoder
from tanuki.platform.accounts import Person
from tanuki.platform.mlops import rollout
from tanuki.platform.resources import Resources
from tests.factories.members_and_posts import NOW, draft

Picture = NDArray[np.uint8]


def built_eyes(folder: Path) -> Path:
    """The files of the real eyes."""
    encoder.build(folder)
    return folder


def open_eyes(res: Resources, folder: Path) -> None:
    """They are live, without a registry."""
    for file in folder.iterdir():
        res.registry.files.put(f"eyes/1/{file.name}", file.read_bytes())
    with res.db.write() as db:
        rollout.put(db, encoder.ENCODER_MODEL, NOW, files={"1": "eyes/1"}, champion="1")


def scene(seed: int = 1, width: int = 320, height: int = 240) -> Picture:
    """A picture with much to recognise; each seed gives another."""
    rng = np.random.default_rng(seed)
    made = np.full((height, width, 3), rng.integers(60, 200, 3), np.uint8)
    for n in range(60):
        colour = tuple(int(integer) for integer in rng.integers(0, 256, 3))
        at = (int(rng.integers(width)), int(rng.integers(height)))
        size = int(rng.integers(6, 40))
        if n % 2:
            cv2.circle(made, at, size // 2, colour, -1)
        else:
            cv2.rectangle(made, at, (at[0] + size, at[1] + size // 2), colour, -1)
    return np.asarray(cv2.GaussianBlur(made, (0, 0), 0.7), np.uint8)


def jpeg(image: Picture, quality: int = 90) -> bytes:
    """A picture as a file."""
    return cv2.imencode(
        ".jpg", cv2.cvtColor(image, cv2.COLOR_RGB2BGR), [cv2.IMWRITE_JPEG_QUALITY, quality]
    )[1].tobytes()


def pet(
    res: Resources, who: Person, image: Picture, *, state: str = "published", **words: Any
) -> Post:
    """A post with a picture, which the eyes have seen."""
    accepted = photo_files.accept(jpeg(image))
    with res.db.write() as db:
        made = posts.create_post(
            db,
            res.objects,
            res.work,
            who,
            draft(**words),
            accepted,
            key=f"k{accepted.digest[:9]}{who.name}",
            now=NOW,
            most=None,
        )
        if state in ("published", "removed", "deleted"):
            posts.publish_post(db, made, now=NOW)
        if state == "held":
            posts.hold_post(db, made, "other", now=NOW)
        if state == "deleted":
            posts.delete_post(db, who, made.id, now=NOW)
    [seen] = embeddings.image_encoder(res).encode([accepted.files["page"]])
    with res.db.write() as db:
        embeddings.save_features(db, accepted.digest, seen.encoder_version, seen, NOW)
    return made

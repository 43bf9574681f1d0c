"""Pictures with much to recognise, made by code; posts with them, which the real image model have seen."""

from pathlib import Path
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from tanuki.animals import post_states, posts
from tanuki.animals.tables import Post
from tanuki.animals.vision import embeddings, encoder
from tanuki.platform.accounts import Person
from tanuki.platform.resources import Resources
from tests.factories.decoding import clean_image
from tests.factories.members_and_posts import NOW, make_draft
from tests.factories.rollouts import make_champion

Picture = NDArray[np.uint8]


def build_encoder_files(folder: Path) -> Path:
    """The files of the real image model."""
    encoder.build_encoder(folder)
    return folder


def make_encoder_live(res: Resources, folder: Path) -> None:
    """They are live, without a registry."""
    for file in folder.iterdir():
        res.registry.files.put(f"encoder/1/{file.name}", file.read_bytes())
    with res.db.write() as db:
        make_champion(db, encoder.ENCODER_MODEL, "1", "encoder/1", NOW)


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
    """A post with a picture that has features."""
    accepted = clean_image(jpeg(image))
    with res.db.write() as db:
        made = posts.create_post(db, res, who, posts.NewPost(make_draft(**words), accepted, f"k{accepted.digest[:9]}{who.name}", limit=None), now=NOW)
        if state in ("published", "removed", "deleted"):
            post_states.publish_post(db, made, now=NOW)
        if state == "held":
            post_states.hold_post(db, made, "other", now=NOW)
        if state == "deleted":
            posts.delete_post(db, who, made.id, now=NOW)
    [seen] = embeddings.image_encoder(res).encode([accepted.files["page"]])
    with res.db.write() as db:
        embeddings.save_features(db, accepted.digest, seen, NOW)
    return made

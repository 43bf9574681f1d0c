"""Generated pictures with many keypoints, and posts with them that have real image features."""

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
    """Make encoder files the live version, without a registry."""
    for file in folder.iterdir():
        res.registry.files.put(f"encoder/1/{file.name}", file.read_bytes())
    with res.db.write() as db:
        make_champion(db, encoder.ENCODER_MODEL, "1", "encoder/1", NOW)


def draw_scene(seed: int = 1, width: int = 320, height: int = 240) -> Picture:
    """A picture with many keypoints, different for each seed."""
    rng = np.random.default_rng(seed)
    image = np.full((height, width, 3), rng.integers(60, 200, 3), np.uint8)
    for n in range(60):
        colour = tuple(int(integer) for integer in rng.integers(0, 256, 3))
        at = (int(rng.integers(width)), int(rng.integers(height)))
        size = int(rng.integers(6, 40))
        if n % 2:
            cv2.circle(image, at, size // 2, colour, -1)
        else:
            cv2.rectangle(image, at, (at[0] + size, at[1] + size // 2), colour, -1)
    return np.asarray(cv2.GaussianBlur(image, (0, 0), 0.7), np.uint8)


def encode_jpeg(image: Picture, quality: int = 90) -> bytes:
    """A picture as a JPEG file."""
    return cv2.imencode(
        ".jpg", cv2.cvtColor(image, cv2.COLOR_RGB2BGR), [cv2.IMWRITE_JPEG_QUALITY, quality]
    )[1].tobytes()


def make_pet_post(
    res: Resources, author: Person, image: Picture, *, state: str = "published", **values: Any
) -> Post:
    """A post in a state, with a photo that has features."""
    clean_photo = clean_image(encode_jpeg(image))
    with res.db.write() as db:
        key = f"k{clean_photo.digest[:9]}{author.name}"
        new_post = posts.NewPost(make_draft(**values), clean_photo, key, limit=None)
        post = posts.create_post(db, res, author, new_post, now=NOW)
        if state in ("published", "removed", "deleted"):
            post_states.publish_post(db, post, now=NOW)
        if state == "held":
            post_states.hold_post(db, post, "other", now=NOW)
        if state == "deleted":
            posts.delete_post(db, author, post.id, now=NOW)
    [output] = embeddings.image_encoder(res).encode([clean_photo.files["page"]])
    with res.db.write() as db:
        embeddings.save_features(db, clean_photo.digest, output, NOW)
    return post

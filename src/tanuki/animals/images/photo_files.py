"""Photos: uploads are cleaned and sized by the decoder, and stored once under their digest."""

import hashlib
from dataclasses import dataclass
from datetime import datetime

from sqlalchemy import ColumnElement, Select, delete, or_, select
from sqlalchemy.orm import InstrumentedAttribute, Session

from tanuki.animals.images import formats
from tanuki.animals.images.decoder import (
    MAX_CPU_SECONDS,
    MAX_MEMORY_MB,
    DecodeJob,
    Decoder,
    Refusal,
)
from tanuki.animals.tables import Member, Photo, Post
from tanuki.errors import UserError
from tanuki.platform.database.upsert import insert_or_ignore
from tanuki.platform.object_store import ObjectStore
from tanuki.platform.resources import Resources

MAX_UPLOAD_MB = 25
"""The largest JPEG of a phone with 50 megapixels has about 20 MB."""
MAX_MEGAPIXELS = 50
"""Phones take 48. A progressive JPEG of 50 megapixels needs 300 MB to decode, a HEIC 270 MB."""
PHOTO_SIDES = {"list": 320, "page": 960, "full": 2048}
"""Longest side in pixels, by size; smaller pictures keep theirs."""
ENHANCED = "enhanced"
"""Beside the sizes of a photo: its enhanced copy, before the owner applies it."""
JPEG_QUALITY = 82
"""SSIM 0.973 at the size "page"; quality 90 reaches 0.984 with half as many bytes again."""


@dataclass(frozen=True)
class CleanPhoto:
    """A photo as the site stores it: JPEGs in sRGB, upright, without metadata.

    digest: SHA-256 of the size "full", which width and height are of. source: the format that was
    sent. colour: the mean, #rrggbb. files: by size.
    """

    digest: str
    source: str
    width: int
    height: int
    colour: str
    files: dict[str, bytes]


def clean_upload(res: Resources, content: bytes) -> CleanPhoto:
    """An uploaded file as a photo, decoded by the decoder of this process; see clean_image."""
    return clean_image(res.process_cache.get(Decoder, Decoder), content)


def clean_image(decoder: Decoder, content: bytes) -> CleanPhoto:
    """A file as a photo; of an animated one, its first frame. Equal pixels give equal digests.

    Costs at most MAX_CPU_SECONDS and MAX_MEMORY_MB, in a child process that may crash. Raises
    UserError with the reason if the file is not accepted, TooMany if the decoder is busy for long.
    """
    source = detect_source(content)
    job = DecodeJob(source, MAX_MEGAPIXELS * 1_000_000, PHOTO_SIDES, JPEG_QUALITY)
    photo = decoder.decode(content, job)
    if isinstance(photo, Refusal):
        raise explain_refusal(photo, source)
    digest = hashlib.sha256(photo.files["full"]).hexdigest()
    return CleanPhoto(digest, source, photo.width, photo.height, photo.colour, photo.files)


def detect_source(content: bytes) -> str:
    """The format of a file. Raises UserError if it is not accepted, or the file is too large."""
    if not content:
        raise UserError("The file is empty; expected a picture (JPEG, PNG, WebP or HEIC).")
    if len(content) > MAX_UPLOAD_MB * 1_000_000:
        raise UserError(
            "The file has %(found)s MB; expected at most %(most)s MB.",
            found=-(-len(content) // 1_000_000),
            most=MAX_UPLOAD_MB,
        )
    source = formats.detect_format(content)
    if source is None:
        raise UserError("The file is not a picture that we know; expected JPEG, PNG, WebP or HEIC.")
    if source not in formats.ACCEPTED_FORMATS:
        raise UserError(
            "The file is %(found)s by its content; expected a picture (JPEG, PNG, WebP or HEIC).",
            found=source,
        )
    return source


def explain_refusal(refusal: Refusal, source: str) -> UserError:
    name = formats.ACCEPTED_FORMATS[source]
    if refusal.reason == "pixels":
        return UserError(
            "The picture has %(width)s × %(height)s pixels; expected at most %(most)s million.",
            width=refusal.width,
            height=refusal.height,
            most=MAX_MEGAPIXELS,
        )
    if refusal.reason == "time":
        return UserError(
            "Reading the %(format)s picture took longer than the %(most)s seconds that one may"
            " take; expected a smaller or simpler one.",
            format=name,
            most=round(MAX_CPU_SECONDS),
        )
    if refusal.reason == "memory":
        return UserError(
            "Reading the %(format)s picture needed more than the %(most)s MB that one may take;"
            " expected a smaller or simpler one.",
            format=name,
            most=MAX_MEMORY_MB,
        )
    return UserError(
        "The %(format)s picture is damaged or incomplete; expected a whole file.", format=name
    )


# ---- storage -----------------------------------------------------------------------------------


def object_key(digest: str, size: str) -> str:
    """The key in the object store of a photo in a size of PHOTO_SIDES, or ENHANCED."""
    return f"animals/pictures/{digest[:2]}/{digest}/{size}.jpg"


def store_files(objects: ObjectStore, photo: CleanPhoto) -> None:
    """Store a photo's files unless they are there.

    Called outside the transaction, it holds no lock; save_photo() then finds the files. "full" is
    the last size to be stored and the first to be deleted, so where it exists all sizes do.
    """
    if not objects.exists(object_key(photo.digest, "full")):
        for size in PHOTO_SIDES:
            objects.put(object_key(photo.digest, size), photo.files[size])


def save_photo(db: Session, objects: ObjectStore, photo: CleanPhoto, *, now: datetime) -> Photo:
    """The record of a photo, with its files; one for each digest, also for concurrent uploads."""
    while (
        record := db.scalar(select_photo(photo.digest).with_for_update(read=True, key_share=True))
    ) is None:
        insert_or_ignore(
            db,
            Photo,
            digest=photo.digest,
            width=photo.width,
            height=photo.height,
            bytes=len(photo.files["full"]),
            colour=photo.colour,
            source=photo.source,
            added_at=now,
        )
    # Before the commit nobody else sees the record, and delete_unused_photo() waits for it.
    store_files(objects, photo)
    return record


def delete_unused_photo(db: Session, objects: ObjectStore, digest: str) -> bool:
    """Delete a photo and its files unless a post or a profile has it; True if it was deleted.

    Call it in a transaction after the one that removed the last use: deleted files do not come back
    when a transaction is rolled back. A record that is left without files is repaired by
    save_photo() and deleted by the next call.
    """
    if db.scalar(select_photo(digest).with_for_update()) is None:
        return False
    if db.scalar(select(is_used(digest))):
        return False
    db.execute(delete(Photo).where(Photo.digest == digest))
    for size in (ENHANCED, *reversed(PHOTO_SIDES)):
        objects.delete(object_key(digest, size))
    return True


def select_photo(digest: str) -> Select[Photo]:
    return select(Photo).where(Photo.digest == digest)


def is_used(digest: str | InstrumentedAttribute[str]) -> ColumnElement[bool]:
    """Whether a post in any state or a profile has a photo; also as the original of another."""
    return or_(
        select(Post.id).where(Post.photo == digest).exists(),
        select(Post.id).where(Post.original == digest).exists(),
        select(Member.id).where(Member.photo == digest).exists(),
    )


def find_unused_photos(db: Session, *, before: datetime, limit: int = 100) -> list[str]:
    """Digests of photos added before a moment that nothing uses, the oldest first."""
    unused = select(Photo.digest).where(Photo.added_at < before, ~is_used(Photo.digest))
    return list(db.scalars(unused.order_by(Photo.added_at, Photo.digest).limit(limit)))

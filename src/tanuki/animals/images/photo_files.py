"""Pictures come in: what they are is decided by their content; they are decoded in a process of its own within limits, cleaned, sized, and stored once under their digest."""

import hashlib
from dataclasses import dataclass
from datetime import datetime

from sqlalchemy import ColumnElement, Select, delete, or_, select
from sqlalchemy.orm import InstrumentedAttribute, Session

from tanuki.animals.images import decoder, formats
from tanuki.animals.images.decoder import CPU_S, MEMORY_MB, Job, Refusal
from tanuki.animals.tables import Member, Photo, Post
from tanuki.errors import UserError
from tanuki.platform.database.upsert import insert_or_ignore
from tanuki.platform.object_store import Objects

UPLOAD_MB = 25  # the largest JPEG that a phone of 50 megapixels makes has about 20
PIXELS_M = 50  # what phones take (48 megapixels) with a little room; a progressive JPEG of so many needs 300 MB, a HEIC 270 MB
SIZES = {
    "list": 320,
    "page": 960,
    "full": 2048,
}  # the longest side, in pixels; smaller pictures stay as they are
BETTER = "better"  # beside the sizes of a picture: the better one that was made of it, before its owner takes it
QUALITY = 82  # likeness 0.973 at the size of a page; 90 has 0.984 and half as many bytes again


@dataclass(frozen=True)
class Accepted:
    """A picture as the network has it: JPEGs in sRGB, upright, without metadata. `digest` is the SHA-256 of the full one."""

    digest: str
    source: str  # what was sent: jpeg, png, webp or heic
    width: int  # of the full one
    height: int
    colour: str  # the mean, #rrggbb
    files: dict[str, bytes]  # by size


def accept(content: bytes) -> Accepted:
    """What somebody sent, as a clean picture; of an animated one, its first frame. Equal pixels have equal digests. Raises UserError with the reason in a sentence.

    It costs at most CPU_S seconds and MEMORY_MB, all of it in a child process that may crash.
    """
    source = readable(content)
    job = Job(source, PIXELS_M * 1_000_000, SIZES, QUALITY)
    done = decoder.shared().clean(content, job)
    if isinstance(done, Refusal):
        raise refused(done, source)
    digest = hashlib.sha256(done.files["full"]).hexdigest()
    return Accepted(digest, source, done.width, done.height, done.colour, done.files)


def readable(content: bytes) -> str:
    """Which of the four formats a file has. Raises UserError when it has none, or too many bytes."""
    if not content:
        raise UserError("The file is empty; expected a picture (JPEG, PNG, WebP or HEIC).")
    if len(content) > UPLOAD_MB * 1_000_000:
        raise UserError(
            "The file has %(found)s MB; expected at most %(most)s MB.",
            found=-(-len(content) // 1_000_000),
            most=UPLOAD_MB,
        )
    found = formats.found(content)
    if found is None:
        raise UserError("The file is not a picture that we know; expected JPEG, PNG, WebP or HEIC.")
    if found not in formats.ACCEPTED:
        raise UserError(
            "The file is %(found)s by its content; expected a picture (JPEG, PNG, WebP or HEIC).",
            found=found,
        )
    return found


def refused(refusal: Refusal, source: str) -> UserError:
    """Why a picture was not read, as a sentence."""
    name = formats.ACCEPTED[source]
    if refusal.why == "pixels":
        size = {"width": refusal.width, "height": refusal.height}
        return UserError(
            "The picture has %(width)s × %(height)s pixels; expected at most %(most)s million.",
            **size,
            most=PIXELS_M,
        )
    if refusal.why == "time":
        return UserError(
            "Reading the %(format)s picture took longer than the %(most)s seconds that one may take; expected a smaller or simpler one.",
            format=name,
            most=round(CPU_S),
        )
    if refusal.why == "memory":
        return UserError(
            "Reading the %(format)s picture needed more than the %(most)s MB that one may take; expected a smaller or simpler one.",
            format=name,
            most=MEMORY_MB,
        )
    return UserError(
        "The %(format)s picture is damaged or incomplete; expected a whole file.", format=name
    )


# ---- stored once ---------------------------------------------------------------------------------------------------


def key(digest: str, size: str) -> str:
    """Where the objects have a picture in one of SIZES, or BETTER."""
    return f"animals/pictures/{digest[:2]}/{digest}/{size}.jpg"


def store(objects: Objects, accepted: Accepted) -> None:
    """Put a picture's files where they are not yet. Outside the transaction it costs others nothing; keep() then finds them there."""
    if not objects.exists(
        key(accepted.digest, "full")
    ):  # the last one to come and the first one to go
        for size in SIZES:
            objects.put(key(accepted.digest, size), accepted.files[size])


def keep(db: Session, objects: Objects, accepted: Accepted, *, now: datetime) -> Photo:
    """The record of a picture whose files are stored; the same picture once, however often and wherever it comes in at the same time."""
    while (
        photo := db.scalar(held(accepted.digest).with_for_update(read=True, key_share=True))
    ) is None:
        insert_or_ignore(
            db,
            Photo,
            digest=accepted.digest,
            width=accepted.width,
            height=accepted.height,
            bytes=len(accepted.files["full"]),
            colour=accepted.colour,
            source=accepted.source,
            added_at=now,
        )
    store(objects, accepted)  # nobody sees the record before the commit, and forget() waits for it
    return photo


def forget(db: Session, objects: Objects, digest: str) -> bool:
    """Take a picture and its files away when no post and no profile has it; whether it is gone.

    Call it in a transaction after the one that took the last use away: files do not come back when a transaction is undone. Left without files,
    a record that nothing uses is healed by keep() and taken away by the next forget().
    """
    if db.scalar(held(digest).with_for_update()) is None or db.scalar(select(used(digest))):
        return False
    db.execute(delete(Photo).where(Photo.digest == digest))
    for size in (BETTER, *reversed(SIZES)):
        objects.delete(key(digest, size))
    return True


def held(digest: str) -> Select[Photo]:
    """The record of a picture."""
    return select(Photo).where(Photo.digest == digest)


def used(digest: str | InstrumentedAttribute[str]) -> ColumnElement[bool]:
    """Whether a post, whatever its state, or a profile has a picture; also one that was sent and is not shown."""
    return or_(
        select(Post.id).where(Post.photo == digest).exists(),
        select(Post.id).where(Post.original == digest).exists(),
        select(Member.id).where(Member.photo == digest).exists(),
    )


def unused(db: Session, *, before: datetime, limit: int = 100) -> list[str]:
    """Digests of pictures taken in before a moment that nothing uses: what forget() is still owed."""
    owed = select(Photo.digest).where(Photo.added_at < before, ~used(Photo.digest))
    return list(db.scalars(owed.order_by(Photo.added_at, Photo.digest).limit(limit)))

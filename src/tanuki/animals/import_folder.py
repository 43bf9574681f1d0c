"""Import of a folder of photos as one member's posts.

A file is one post however often it is imported, so an interrupted import continues where it was.
Files that cannot be posted are reported with the reason.
"""

import csv
from collections import deque
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from datetime import UTC, datetime
from hashlib import sha256
from pathlib import Path

from sqlalchemy import select

from tanuki.animals import members, posts
from tanuki.animals.images import photo_files
from tanuki.animals.posts import MAX_DESCRIPTION_LENGTH, MAX_TITLE_LENGTH, Draft, NewPost
from tanuki.animals.search.tokenize import find_codes
from tanuki.animals.tables import Post
from tanuki.animals.taxonomy import BREEDS, CATEGORIES
from tanuki.errors import UserError
from tanuki.platform.accounts import Person
from tanuki.platform.resources import Resources

PHOTO_SUFFIXES = (".jpg", ".jpeg", ".png", ".webp", ".heic", ".heif")
MANIFEST_COLUMNS = ("file", "title", "description", "tags", "category", "breed", "label")
KEY_PREFIX = "import-"  # of the idempotency keys of imported posts
PHOTOS_PREPARED_AHEAD = 16  # decoded while others are written to the database
DECODING_THREADS = 3
Progress = Callable[[int, int], None]


@dataclass(frozen=True)
class PhotoFile:
    """A file, its name below the folder, and its row of the manifest by column."""

    file: Path
    name: str
    manifest: dict[str, str] = field(default_factory=dict)


@dataclass(frozen=True)
class PreparedPhoto:
    """A file that was read: a post to create, an error, or neither if it has been posted before."""

    photo: PhotoFile
    new_post: NewPost | None = None
    error: UserError | None = None


@dataclass
class ImportResult:
    """The numbers of photos that were posted now and before, and the refused ones with reasons."""

    posted: int = 0
    already_posted: int = 0
    refused: list[tuple[str, UserError]] = field(default_factory=list)


def import_photos(
    res: Resources,
    who: Person,
    folder: Path,
    manifest: Path | None = None,
    *,
    progress: Progress = lambda *_: None,
) -> ImportResult:
    """Post the photos of a folder, or those that a manifest lists.

    `progress` is called with the number of photos that are done and the number of all.
    """
    photos = list_photo_files(folder, manifest)
    with res.db.write() as db:
        member = members.join_community(db, who, now=datetime.now(UTC))
        imported = Post.key.startswith(KEY_PREFIX)
        keys = set(db.scalars(select(Post.key).where(Post.member_id == member.id, imported)))
    result = ImportResult()

    def prepare(photo: PhotoFile) -> PreparedPhoto:
        try:
            content = photo.file.read_bytes()
            key = f"{KEY_PREFIX}{sha256(content).hexdigest()[:40]}"
            if key in keys:
                return PreparedPhoto(photo)
            draft, clean = draft_post(photo), photo_files.clean_upload(res, content)
        except UserError as error:
            return PreparedPhoto(photo, error=error)
        photo_files.store_files(res.objects, clean)
        return PreparedPhoto(photo, NewPost(draft, clean, key, source=photo.name, limit=None))

    with ThreadPoolExecutor(max_workers=DECODING_THREADS) as pool:
        for number, prepared in enumerate(prepare_ahead(pool, prepare, photos), start=1):
            if prepared.error is not None:
                result.refused.append((prepared.photo.name, prepared.error))
            elif prepared.new_post is None or prepared.new_post.key in keys:
                result.already_posted += 1
            else:
                save_post(res, who, prepared.new_post)
                keys.add(prepared.new_post.key)
                result.posted += 1
            progress(number, len(photos))
    return result


def prepare_ahead(
    pool: ThreadPoolExecutor,
    prepare: Callable[[PhotoFile], PreparedPhoto],
    photos: list[PhotoFile],
) -> Iterator[PreparedPhoto]:
    """The prepared photos in order. Only a few are prepared ahead, since a large folder does not
    fit in memory."""
    waiting = deque(pool.submit(prepare, photo) for photo in photos[:PHOTOS_PREPARED_AHEAD])
    for number in range(len(photos)):
        if number + PHOTOS_PREPARED_AHEAD < len(photos):
            waiting.append(pool.submit(prepare, photos[number + PHOTOS_PREPARED_AHEAD]))
        yield waiting.popleft().result()


def save_post(res: Resources, who: Person, new_post: NewPost) -> None:
    now = datetime.now(UTC)
    res.db.write_batched(lambda db: posts.create_post(db, res, who, new_post, now=now).id)


# ---- files and drafts ----------------------------------------------------------------------------


def list_photo_files(folder: Path, manifest: Path | None) -> list[PhotoFile]:
    """The photos that a manifest lists, or all of a folder. Raises UserError if there are none."""
    if manifest is not None:
        return read_manifest(folder, manifest)
    files = [
        file
        for file in sorted(folder.rglob("*"))
        if file.is_file() and file.suffix.lower() in PHOTO_SUFFIXES
    ]
    if not files:
        raise UserError(
            "There are no photos in %(folder)s; expected files that end with %(known)s.",
            folder=folder,
            known=", ".join(PHOTO_SUFFIXES),
        )
    return [PhotoFile(file, str(file.relative_to(folder))) for file in files]


def read_manifest(folder: Path, manifest: Path) -> list[PhotoFile]:
    """The files that a manifest lists.

    Raises UserError if it is not CSV with a column `file`, or lists a file outside the folder.
    """
    try:
        with manifest.open(encoding="utf-8-sig", newline="") as opened:
            rows = list(csv.DictReader(opened))
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        raise UserError(
            "%(file)s cannot be read (%(why)s); expected CSV in UTF-8.", file=manifest, why=error
        ) from None
    if not rows or "file" not in rows[0]:
        raise UserError(
            "%(file)s has no column `file`; expected some of %(known)s.",
            file=manifest,
            known=", ".join(MANIFEST_COLUMNS),
        )
    photos = []
    for number, row in enumerate(rows, start=2):
        name = row["file"] or ""
        file = folder / name
        if not name or not file.resolve().is_relative_to(folder.resolve()) or not file.is_file():
            raise UserError(
                "%(file)s, row %(row)s: there is no %(name)s in %(folder)s.",
                file=manifest,
                row=number,
                name=name or "name",
                folder=folder,
            )
        cells = {name: cell for name, cell in row.items() if name in MANIFEST_COLUMNS and cell}
        photos.append(PhotoFile(file, name, cells))
    return photos


def draft_post(photo: PhotoFile) -> Draft:
    """The text of a photo's post: from the manifest, otherwise from its label or file name."""
    cells = photo.manifest
    label = cells.get("label") or Path(photo.name).stem.replace("_", " ").replace("-", " ")
    category, breed = cells.get("category", ""), cells.get("breed") or None
    if category not in CATEGORIES:
        category, breed = infer_category(" ".join((label, category)))
    title = (cells.get("title") or label).strip()[:MAX_TITLE_LENGTH] or "…"
    tags = cells.get("tags", "").replace("、", ",").split(",")
    return Draft(
        title,
        cells.get("description", "")[:MAX_DESCRIPTION_LENGTH],
        tuple(tag.strip() for tag in tags if tag.strip()),
        category,
        breed,
    )


def infer_category(label: str) -> tuple[str, str | None]:
    """The category and the breed that a label names; `other` if it names none."""
    codes = find_codes(label)
    breed = next((code for code in codes if code in BREEDS), None)
    if breed is not None:
        return BREEDS[breed].category, breed
    return next((code for code in codes if code in CATEGORIES), "other"), None

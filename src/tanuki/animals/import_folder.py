"""A folder of one's own photos becomes posts: one by one, what is no picture set aside with its sentence, and a second run goes on where the first was."""

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
from tanuki.animals.images.photo_files import Accepted
from tanuki.animals.posts import MAX_DESCRIPTION_LENGTH, MAX_TITLE_LENGTH, Draft
from tanuki.animals.search.tokenize import find_codes
from tanuki.animals.tables import Post
from tanuki.animals.taxonomy import BREEDS, CATEGORIES
from tanuki.errors import UserError
from tanuki.platform.accounts import Person
from tanuki.platform.resources import Resources

PHOTO_SUFFIXES = (".jpg", ".jpeg", ".png", ".webp", ".heic", ".heif")
MANIFEST_COLUMNS = ("file", "title", "description", "tags", "category", "breed", "label")
KEY_PREFIX = (
    "import-"  # how the keys of posts begin that a folder brought; `source` of those is the file
)
PHOTOS_PREPARED_AHEAD = 16  # pictures taken in while others are written down
Progress = Callable[[int, int], None]


@dataclass(frozen=True)
class PhotoFile:
    """A file, and what the manifest says about it by column."""

    file: Path
    name: str  # below the folder
    manifest: dict[str, str] = field(default_factory=dict)


@dataclass(frozen=True)
class PreparedPost:
    """A file on its way: its key, what its post says, and its picture; nothing when it is a post already, a sentence when it cannot be one."""

    photo: PhotoFile
    key: str = ""
    draft: Draft | None = None
    accepted: Accepted | None = None
    error: UserError | None = None


@dataclass
class ImportResult:
    """How many became posts now, were posts already, and why others did not."""

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
    """Post every photo of a folder as somebody's. The same file is the same post, however often it is brought."""
    given = list_photo_files(folder, manifest)
    with res.db.write() as db:
        me = members.join_community(db, who, now=datetime.now(UTC))
        known = set(
            db.scalars(
                select(Post.key).where(Post.member_id == me.id, Post.key.startswith(KEY_PREFIX))
            )
        )
    done = ImportResult()

    def take(each: PhotoFile) -> PreparedPost:
        try:
            content = each.file.read_bytes()
            key = f"{KEY_PREFIX}{sha256(content).hexdigest()[:40]}"
            if key in known:
                return PreparedPost(each, key)
            draft, accepted = draft_post(each), photo_files.accept(content)
        except UserError as wrong:
            return PreparedPost(each, error=wrong)
        photo_files.store(res.objects, accepted)
        return PreparedPost(each, key, draft, accepted)

    with ThreadPoolExecutor(max_workers=3) as pool:
        for number, taken in enumerate(prepare_ahead(pool, take, given), start=1):
            if taken.error is not None:
                done.refused.append((taken.photo.name, taken.error))
            elif taken.draft is None or taken.accepted is None or taken.key in known:
                done.already_posted += 1
            else:
                post_photo(res, who, taken, taken.draft, taken.accepted)
                known.add(taken.key)
                done.posted += 1
            progress(number, len(given))
    return done


def prepare_ahead(
    pool: ThreadPoolExecutor, take: Callable[[PhotoFile], PreparedPost], given: list[PhotoFile]
) -> Iterator[PreparedPost]:
    """What `take` gives for each in their order, a few of them worked on beforehand: a large folder does not fit in memory."""
    waiting = deque(pool.submit(take, each) for each in given[:PHOTOS_PREPARED_AHEAD])
    for number in range(len(given)):
        if number + PHOTOS_PREPARED_AHEAD < len(given):
            waiting.append(pool.submit(take, given[number + PHOTOS_PREPARED_AHEAD]))
        yield waiting.popleft().result()


def post_photo(
    res: Resources, who: Person, taken: PreparedPost, draft: Draft, accepted: Accepted
) -> None:
    """One photo."""
    now, source = datetime.now(UTC), taken.photo.name
    res.db.write_batched(
        lambda db: (
            posts.create_post(
                db,
                res.objects,
                res.jobs,
                who,
                draft,
                accepted,
                key=taken.key,
                now=now,
                source=source,
                most=None,
            ).id
        )
    )


# ---- what to post --------------------------------------------------------------------------------------------------


def list_photo_files(folder: Path, manifest: Path | None) -> list[PhotoFile]:
    """The photos to bring: those the manifest names, or all files of the folder that end like pictures. Raises UserError when there are none."""
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
    """The files that a manifest names. Raises UserError for a file that is not CSV with a column `file`, and for names that lead elsewhere."""
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
    made = []
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
        made.append(
            PhotoFile(
                file,
                name,
                {
                    column: value
                    for column, value in row.items()
                    if column in MANIFEST_COLUMNS and value
                },
            )
        )
    return made


def draft_post(each: PhotoFile) -> Draft:
    """What a file's post says: the manifest's words, or what can be read from its label or name."""
    says = each.manifest
    label = says.get("label") or Path(each.name).stem.replace("_", " ").replace("-", " ")
    category, breed = says.get("category", ""), says.get("breed") or None
    if category not in CATEGORIES:
        category, breed = infer_category(" ".join((label, category)))
    title = (says.get("title") or label).strip()[:MAX_TITLE_LENGTH] or "…"
    tags = tuple(
        tag.strip() for tag in says.get("tags", "").replace("、", ",").split(",") if tag.strip()
    )
    return Draft(title, says.get("description", "")[:MAX_DESCRIPTION_LENGTH], tags, category, breed)


def infer_category(label: str) -> tuple[str, str | None]:
    """The category and breed that a label names, or `other`."""
    found = find_codes(label)
    breed = next((code for code in found if code in BREEDS), None)
    if breed is not None:
        return BREEDS[breed].category, breed
    return next((code for code in found if code in CATEGORIES), "other"), None

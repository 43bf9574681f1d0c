"""Posts whose pictures are similar: what the index says and what is newer than it, as far as this viewer may see it at this moment.

The index knows pictures and not posts. Which posts have them, and whether they may be shown, is asked of the database in the same read for every
question: what was hidden, removed, deleted or blocked a moment ago is not found, however long the index has known it.
"""

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime
from heapq import nlargest
from typing import Any

from sqlalchemy import ColumnElement, Integer, and_, bindparam, select
from sqlalchemy.orm import Session

from tanuki.animals import members, pagination, posts
from tanuki.animals.images import photo_files
from tanuki.animals.similarity import dataset, delta_index, index_client
from tanuki.animals.similarity.index import INDEX_MODEL, MOST, Vectors
from tanuki.animals.similarity.index_client import Live
from tanuki.animals.tables import ImageFeatures, Post
from tanuki.animals.taxonomy import CATEGORIES
from tanuki.animals.vision import embeddings
from tanuki.errors import NotFound, UserError
from tanuki.platform.accounts import Person
from tanuki.platform.mlops import rollout
from tanuki.platform.resources import Resources

FIRST = 4  # times as many pictures as posts are asked for, because some may not be shown
LEAST = 60  # pictures at least
AT_ONCE = 4_000  # embeddings compared at once when all that may be shown are
MOST_LEFT_OUT = 1_000


@dataclass(frozen=True)
class Found:
    """A post and how similar its picture is, up to 1."""

    post_id: int
    score: float


@dataclass(frozen=True)
class Asked:
    """Which posts may be found: of a category, not the viewer's own, none of those that were seen already."""

    category: str | None = None
    not_mine: bool = False
    leave_out: frozenset[int] = frozenset()

    def __post_init__(self) -> None:
        if self.category is not None and self.category not in CATEGORIES:
            raise NotFound("There is no such category.")
        if len(self.leave_out) > MOST_LEFT_OUT:
            raise UserError(
                "At most %(most)s posts can be left out; found %(found)s.",
                most=MOST_LEFT_OUT,
                found=len(self.leave_out),
            )


# ---- by post, by picture -------------------------------------------------------------------------------------------


def to_post(
    res: Resources,
    db: Session,
    viewer: Person | None,
    post_id: int,
    *,
    k: int,
    asked: Asked | None = None,
    now: datetime,
) -> list[Found]:
    """Posts similar to one that the viewer may see, without itself; none while nobody has looked at any picture."""
    post, asked = posts.load_visible_post(db, post_id, viewer), asked or Asked()
    index = current(res, db)
    if index is None:
        return []
    look = embeddings.load_features(db, post.photo, index.eyes)
    query = (
        embeddings.embedding_of(look)
        if look is not None
        else seen(res, index.eyes, res.objects.get(photo_files.key(post.photo, "page")))
    )
    without = Asked(asked.category, asked.not_mine, asked.leave_out | {post.id})
    return similar(res, db, viewer, query, k=k, asked=without, index=index, now=now)


def to_picture(
    res: Resources,
    db: Session,
    viewer: Person | None,
    content: bytes,
    *,
    k: int,
    asked: Asked | None = None,
    now: datetime,
) -> list[Found]:
    """Posts similar to a picture that is sent along, and not kept. Raises UserError when it is none."""
    accepted = photo_files.accept(content)
    index = current(res, db)
    if index is None:
        return []
    return similar(
        res,
        db,
        viewer,
        seen(res, index.eyes, accepted.files["page"]),
        k=k,
        asked=asked,
        index=index,
        now=now,
    )


def current(res: Resources, db: Session) -> Live | None:
    """What answers now; None before the eyes have looked at anything."""
    eyes = embeddings.image_encoder(res).live_version()
    return index_client.live(res, db, eyes) if eyes is not None else None


def seen(res: Resources, version: str, jpeg: bytes) -> Vectors:
    """A picture's embedding in the eyes of the index, which may be older than those that look at new posts."""
    return embeddings.image_encoder(res).encode([jpeg], version)[0].embedding


# ---- the search ----------------------------------------------------------------------------------------------------


def similar(
    res: Resources,
    db: Session,
    viewer: Person | None,
    query: Vectors,
    *,
    k: int,
    asked: Asked | None = None,
    index: Live,
    now: datetime,
) -> list[Found]:
    """The posts most similar to an embedding in the eyes of the index (see `current`), the most similar first."""
    asked, k = asked or Asked(), pagination.clamp_page_size(k)
    may = allowed(db, viewer, asked)
    for many, enough in (
        (max(LEAST, FIRST * k), k),
        (MOST, 2 * k),
    ):  # the last of many candidates are found less surely: then twice as many must be left
        likeness, whole = candidates(res, db, index, query, many, viewer, now)
        found = posts_of(db, may, likeness, enough)
        if len(found) >= enough or whole:
            return found[:k]
    return compared(db, may, index.eyes, query, k)


def candidates(
    res: Resources,
    db: Session,
    index: Live,
    query: Vectors,
    many: int,
    viewer: Person | None,
    now: datetime,
) -> tuple[dict[int, float], bool]:
    """Likenesses by look: the nearest of the index together with the nearest of what is newer; and whether these are all that there are."""
    ids, scores, version = index_client.nearest(res, index, query, many, viewer)
    after = index.max_features_id if version == index.version else as_of_other(res, db, version)
    newer = delta_index.newer(res.db.url, index.eyes, after)
    newer.top_up(db, now)
    found = dict(zip(ids.tolist(), scores.tolist(), strict=True))
    found.update(newer.find(query, many))
    return found, index.count <= many and newer.count <= many


def as_of_other(res: Resources, db: Session, version: str | None) -> int:
    """Up to which look a challenger knows, that answers some people."""
    plan = rollout.plan(db, INDEX_MODEL)
    if plan is None or version is None or version not in plan.files:
        return 0
    return int(index_client.description(res.registry.files, plan.files[version])["max_features_id"])


def allowed(db: Session, viewer: Person | None, asked: Asked) -> ColumnElement[bool]:
    """Whether a post may be found."""
    me = members.find_viewer_id(db, viewer)
    shown = posts.select_listed_posts(db, viewer).whereclause
    assert shown is not None
    wanted = [shown]
    if asked.category is not None:
        wanted.append(Post.category == asked.category)
    if asked.not_mine and me is not None:
        wanted.append(Post.member_id != me)
    if asked.leave_out:
        wanted.append(Post.id.not_in(numbers("left_out", asked.leave_out)))
    return and_(*wanted)


def numbers(name: str, values: Iterable[int]) -> Any:
    """Ids as numbers in the text of a query: a thousand parameters cost more than the query."""
    return bindparam(name, sorted(values), Integer, expanding=True, literal_execute=True)


def posts_of(
    db: Session, may: ColumnElement[bool], likeness: dict[int, float], k: int
) -> list[Found]:
    """The best posts among those whose pictures have these looks.

    Whether a post may be found is asked beside it, not as a condition: SQLite would rather read all that is published than look up a few.
    """
    if not likeness:
        return []
    wanted = (
        select(Post.id, ImageFeatures.id, may)
        .join(ImageFeatures, ImageFeatures.digest == Post.photo)
        .where(ImageFeatures.id.in_(numbers("looks", likeness)))
    )
    return best(
        (Found(post_id, likeness[look_id]) for post_id, look_id, yes in db.execute(wanted) if yes),
        k,
    )


def compared(
    db: Session, may: ColumnElement[bool], eyes: str, query: Vectors, k: int
) -> list[Found]:
    """The best of all posts that may be found, by comparing with each: for filters that leave too few of what the index says."""
    wanted = (
        select(Post.id, ImageFeatures.embedding)
        .join(ImageFeatures, ImageFeatures.digest == Post.photo)
        .where(may, ImageFeatures.encoder_version == eyes)
    )
    found: list[Found] = []
    for part in db.execute(wanted, execution_options={"yield_per": AT_ONCE}).partitions():
        scores = (dataset.unit_rows([kept for _, kept in part]) @ query).tolist()
        found = best(
            [
                *found,
                *(Found(post_id, score) for (post_id, _), score in zip(part, scores, strict=True)),
            ],
            k,
        )
    return found


def best(found: Iterable[Found], k: int) -> list[Found]:
    """The k most similar, the most similar first; of equals the newest."""
    return nlargest(k, found, key=lambda each: (round(each.score, 6), each.post_id))

"""Posts with similar photos: index results and newer photos, filtered by what the viewer may see.

The index knows pictures, not posts. Which posts have them, and whether the viewer may see these, is
read from the database for each search: what was hidden, removed, deleted or blocked a moment ago is
not among the results, however long it has been in the index.
"""

from collections.abc import Iterable
from dataclasses import dataclass, replace
from datetime import datetime
from heapq import nlargest

from sqlalchemy import BindParameter, ColumnElement, Integer, and_, bindparam, select
from sqlalchemy.orm import Session

from tanuki.animals import members, pagination, post_queries
from tanuki.animals.images import photo_files
from tanuki.animals.similarity import delta_index, index_client
from tanuki.animals.similarity.index import INDEX_MODEL, MAX_NEIGHBOURS
from tanuki.animals.similarity.index_client import LiveIndex
from tanuki.animals.tables import ImageFeatures, Post
from tanuki.animals.taxonomy import CATEGORIES
from tanuki.animals.vision import embeddings
from tanuki.animals.vision.embeddings import decode_embeddings
from tanuki.animals.vision.nearest_neighbours import Vectors
from tanuki.errors import NotFound, UserError
from tanuki.platform.accounts import Person
from tanuki.platform.mlops import rollout
from tanuki.platform.resources import Resources

CANDIDATES_PER_RESULT = 4
"""More pictures than posts are searched for, because some posts may not be shown."""
MIN_CANDIDATES = 60
MAX_EXCLUDED_POSTS = 1_000
EMBEDDINGS_PER_PRODUCT = 4_000
"""Compared at once in an exhaustive search."""


@dataclass(frozen=True)
class SimilarPost:
    """A post and the cosine of its photo's embedding with the query, up to 1."""

    post_id: int
    score: float


@dataclass(frozen=True)
class SimilarFilter:
    """Which posts may be results: of one category, not the viewer's own, not those excluded.

    Raises NotFound for an unknown category, UserError for too many excluded posts.
    """

    category: str | None = None
    exclude_own: bool = False
    excluded_ids: frozenset[int] = frozenset()

    def __post_init__(self) -> None:
        if self.category is not None and self.category not in CATEGORIES:
            raise NotFound("There is no such category.")
        if len(self.excluded_ids) > MAX_EXCLUDED_POSTS:
            raise UserError(
                "At most %(most)s posts can be left out; found %(found)s.",
                most=MAX_EXCLUDED_POSTS,
                found=len(self.excluded_ids),
            )


def find_current_index(res: Resources, db: Session) -> LiveIndex | None:
    """The index that answers now; None before an image model is live."""
    encoder_version = embeddings.image_encoder(res).live_version()
    if encoder_version is None:
        return None
    return index_client.find_live_index(res, db, encoder_version)


@dataclass(frozen=True)
class SimilaritySearch:
    """Searches in one transaction, for one viewer, at one moment."""

    res: Resources
    db: Session
    viewer: Person | None
    now: datetime

    def similar_to_post(
        self, post_id: int, k: int, filters: SimilarFilter | None = None
    ) -> list[SimilarPost]:
        """Posts similar to one that the viewer may see, without itself. Raises NotFound."""
        post = post_queries.load_visible_post(self.db, post_id, self.viewer)
        index = find_current_index(self.res, self.db)
        if index is None:
            return []
        features = embeddings.load_features(self.db, post.photo, index.encoder_version)
        query = (
            embeddings.decode_embedding(features)
            if features is not None
            else self.embed(index, self.res.objects.get(photo_files.object_key(post.photo, "page")))
        )
        filters = filters or SimilarFilter()
        filters = replace(filters, excluded_ids=filters.excluded_ids | {post.id})
        return self.similar_to_embedding(index, query, k, filters)

    def similar_to_image(
        self, content: bytes, k: int, filters: SimilarFilter | None = None
    ) -> list[SimilarPost]:
        """Posts similar to an uploaded picture, which is not stored. Raises UserError."""
        photo = photo_files.clean_upload(self.res, content)
        index = find_current_index(self.res, self.db)
        if index is None:
            return []
        query = self.embed(index, photo.files["page"])
        return self.similar_to_embedding(index, query, k, filters)

    def embed(self, index: LiveIndex, jpeg: bytes) -> Vectors:
        """A picture's embedding by the encoder of the index, which may not be the live one."""
        encoder = embeddings.image_encoder(self.res)
        return encoder.encode([jpeg], index.encoder_version)[0].embedding

    def similar_to_embedding(
        self, index: LiveIndex, query: Vectors, k: int, filters: SimilarFilter | None = None
    ) -> list[SimilarPost]:
        """The posts nearest to an embedding by the encoder of the index, the nearest first."""
        k = pagination.clamp_page_size(k)
        is_allowed = build_filter(self.db, self.viewer, filters or SimilarFilter())
        # The second time for filters that leave too few. The last of many candidates are less
        # certain to be the nearest, so then twice as many posts must be left.
        for count, enough in (
            (max(MIN_CANDIDATES, CANDIDATES_PER_RESULT * k), k),
            (MAX_NEIGHBOURS, 2 * k),
        ):
            scores, complete = self.find_candidates(index, query, count)
            posts = find_posts(self.db, is_allowed, scores, enough)
            if len(posts) >= enough or complete:
                return posts[:k]
        return search_exhaustively(self.db, is_allowed, index.encoder_version, query, k)

    def find_candidates(
        self, index: LiveIndex, query: Vectors, count: int
    ) -> tuple[dict[int, float], bool]:
        """Scores by id of features, from the index and the delta index; True if these are all."""
        result = index_client.query_index(self.res, index, query, count, self.viewer)
        after = (
            index.max_features_id
            if result.version == index.version
            else find_max_features_id(self.res, self.db, result.version)
        )
        delta = delta_index.get_delta_index(self.res, index.encoder_version, after)
        delta.refresh(self.db, self.now)
        scores = dict(zip(result.ids.tolist(), result.scores.tolist(), strict=True))
        scores.update(delta.search(query, count))
        return scores, index.count <= count and delta.count <= count


def find_max_features_id(res: Resources, db: Session, version: str | None) -> int:
    """The largest id in an index that answers some people as a canary; 0 if it is gone."""
    current = rollout.load_rollout(db, INDEX_MODEL)
    if current is None or version is None or version not in current.files:
        return 0
    description = index_client.load_description(res.registry.files, current.files[version])
    return int(description["max_features_id"])


def build_filter(db: Session, viewer: Person | None, filters: SimilarFilter) -> ColumnElement[bool]:
    """The SQL condition for posts that may be results."""
    viewer_id = members.find_viewer_id(db, viewer)
    is_listed = post_queries.select_listed_posts(db, viewer).whereclause
    assert is_listed is not None
    conditions = [is_listed]
    if filters.category is not None:
        conditions.append(Post.category == filters.category)
    if filters.exclude_own and viewer_id is not None:
        conditions.append(Post.member_id != viewer_id)
    if filters.excluded_ids:
        conditions.append(Post.id.not_in(bind_ids("excluded", filters.excluded_ids)))
    return and_(*conditions)


def bind_ids(name: str, ids: Iterable[int]) -> BindParameter[int]:
    """Ids written into the SQL text: a thousand bound parameters cost more than the query."""
    return bindparam(name, sorted(ids), Integer, expanding=True, literal_execute=True)


def find_posts(
    db: Session, is_allowed: ColumnElement[bool], scores: dict[int, float], k: int
) -> list[SimilarPost]:
    """The k best posts whose pictures have these features.

    `is_allowed` is selected and not part of the WHERE clause: with it there, SQLite reads all
    published posts instead of looking up a few.
    """
    if not scores:
        return []
    rows = db.execute(
        select(Post.id, ImageFeatures.id, is_allowed)
        .join(ImageFeatures, ImageFeatures.digest == Post.photo)
        .where(ImageFeatures.id.in_(bind_ids("features", scores)))
    )
    return keep_best(
        (
            SimilarPost(post_id, scores[features_id])
            for post_id, features_id, allowed in rows
            if allowed
        ),
        k,
    )


def search_exhaustively(
    db: Session,
    is_allowed: ColumnElement[bool],
    encoder_version: str,
    query: Vectors,
    k: int,
) -> list[SimilarPost]:
    """The k best of all allowed posts, each compared: for filters that leave few candidates."""
    rows = db.execute(
        select(Post.id, ImageFeatures.embedding)
        .join(ImageFeatures, ImageFeatures.digest == Post.photo)
        .where(is_allowed, ImageFeatures.encoder_version == encoder_version),
        execution_options={"yield_per": EMBEDDINGS_PER_PRODUCT},
    )
    best: list[SimilarPost] = []
    for batch in rows.partitions():
        scores = (decode_embeddings([embedding for _, embedding in batch]) @ query).tolist()
        posts = [
            SimilarPost(post_id, score) for (post_id, _), score in zip(batch, scores, strict=True)
        ]
        best = keep_best([*best, *posts], k)
    return best


def keep_best(posts: Iterable[SimilarPost], k: int) -> list[SimilarPost]:
    """The k most similar, the most similar first; of equals the newest."""
    return nlargest(k, posts, key=lambda post: (round(post.score, 6), post.post_id))

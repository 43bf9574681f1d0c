"""Suggestions for a photo that a member is about to post. None of them is stored.

They hold nothing that the member may not see.
"""

import secrets
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Literal

import cv2
import numpy as np
import structlog
from numpy.typing import NDArray
from sqlalchemy import or_, select
from sqlalchemy.orm import Session

from tanuki.animals import members, post_queries
from tanuki.animals.assist import captions, near_duplicates
from tanuki.animals.assist.captions import Lang, SuggestedText
from tanuki.animals.assist.near_duplicates import COMPARED_SIDE, Keypoints
from tanuki.animals.enhance.advice import (
    MIN_CRISPNESS,
    SMALL_BELOW_SIDE,
    decode_own_jpeg,
    measure_crispness,
)
from tanuki.animals.enhance.exposure import measure_lightness
from tanuki.animals.images.photo_files import CleanPhoto, object_key
from tanuki.animals.similarity.search import SimilaritySearch, find_current_index
from tanuki.animals.tables import ImageFeatures, Post, PostState
from tanuki.animals.taxonomy import CATEGORIES
from tanuki.animals.vision import embeddings
from tanuki.animals.vision.embeddings import Subject
from tanuki.animals.vision.encoder import EncoderOutput
from tanuki.errors import NotFound, UserError
from tanuki.platform import rate_limit
from tanuki.platform.accounts import Person
from tanuki.platform.rate_limit import RateLimit
from tanuki.platform.resources import Resources

log = structlog.get_logger()

SUGGESTIONS_PER_MEMBER = RateLimit("photo suggestions", 120, 3600)
UPRIGHT_NEIGHBOURS, TURNED_NEIGHBOURS = 24, 4
"""Similar posts that are searched for the photo, and for each turned copy of it."""
MIN_CAPTION_SIMILARITY = 0.6
"""From this similarity on, the words of a post may suit."""
MIN_CATEGORY_SHARE, MIN_CATEGORY_NEIGHBOURS = 0.6, 3
"""Where the image model does not know the subject, so much of the neighbours' similarity must
agree on a category, of at least so many neighbours."""
MIN_DUPLICATE_SIMILARITY = 0.45
"""540 changed copies of pictures had a similarity of 0.59 or more to the original."""
MAX_VERIFIED_DUPLICATES = 12
"""Pictures whose keypoints are compared; each takes 8 ms."""
MAX_OWN_POSTS = 2_000
"""The newest posts of the member, compared by hash."""
MAX_HASH_DISTANCE = 12
"""Of 64 bits."""
ENCODER_JPEG_SIDE = 320
"""The shorter side in pixels; the encoder takes 224 of the middle seven eighths."""
OWN_VISIBLE_STATES = (PostState.CHECKING, PostState.PUBLISHED, PostState.HELD)
Hint = Literal["dark", "blurred", "small"]


@dataclass(frozen=True)
class NearDuplicate:
    """A post that shows this picture already; `mine` if it is the member's own."""

    post: Post
    mine: bool


@dataclass(frozen=True)
class Suggestions:
    """request: names these suggestions in the event about what was accepted."""

    request: str
    subject: Subject | None
    titles: list[SuggestedText]
    tags: list[SuggestedText]
    near_duplicates: list[NearDuplicate]
    hints: list[Hint]


@dataclass(frozen=True)
class PhotoAnalysis:
    """A photo with what is known of it.

    image: RGB, of the size "page". outputs: the encoder's, for the picture and its turned copies,
    upright first; empty if the encoder does not answer. neighbours: for each of them the similarity
    of posts by id; empty if there is no index of this encoder.
    """

    photo: CleanPhoto
    image: NDArray[np.uint8]
    outputs: list[EncoderOutput]
    neighbours: list[dict[int, float]]


def count_request(db: Session, who: Person, *, now: datetime) -> None:
    """Count a request of suggestions. Raises TooMany beyond SUGGESTIONS_PER_MEMBER."""
    members.require_active_member(db, who)
    rate_limit.count_use(db, who.name, SUGGESTIONS_PER_MEMBER, now)


def suggest_for_photo(
    res: Resources, db: Session, who: Person, photo: CleanPhoto, *, now: datetime
) -> Suggestions:
    """Suggestions for an upload. Without an image model: those that are possible without it."""
    analysis = analyse_photo(SimilaritySearch(res, db, who, now), photo)
    member_id = members.find_viewer_id(db, who)
    similar_posts = load_similar_posts(db, who, analysis)
    subject = identify_subject(analysis, similar_posts)
    names: dict[Lang, str] = {}
    if subject is not None:
        names = {"ja": subject.ja.replace("・", ""), "en": subject.en}
    words = captions.find_common_words(similar_posts, member_id)
    category = subject.category if subject is not None else None
    return Suggestions(
        secrets.token_hex(8),
        subject,
        captions.suggest_titles(names, words),
        captions.suggest_tags(names, category, words),
        find_near_duplicates(res, db, who, analysis),
        find_hints(analysis),
    )


# ---- the image model ---------------------------------------------------------------------------


def analyse_photo(search: SimilaritySearch, photo: CleanPhoto) -> PhotoAnalysis:
    """Encode a photo and its turned copies, and search posts with similar photos."""
    image = decode_own_jpeg(photo.files["page"])
    encoder = embeddings.image_encoder(search.res)
    # The first backfill builds the first version; nobody waits for that here.
    if encoder.live_version() is None:
        return PhotoAnalysis(photo, image, [], [])
    jpegs = [encode_jpeg(shrink_for_encoder(copy)) for copy in turn_image(image)]
    try:
        outputs = encoder.encode(jpegs)
        index = find_current_index(search.res, search.db)
        # Not equal while an index for a new encoder version is being built.
        if index is None or index.encoder_version != outputs[0].encoder_version:
            return PhotoAnalysis(photo, image, outputs, [])
        results = [
            search.similar_to_embedding(
                index, output.embedding, TURNED_NEIGHBOURS if number else UPRIGHT_NEIGHBOURS
            )
            for number, output in enumerate(outputs)
        ]
    except UserError as error:
        log.warning("no image model for suggestions", reason=str(error))
        return PhotoAnalysis(photo, image, [], [])
    neighbours = [{post.post_id: post.score for post in posts} for posts in results]
    return PhotoAnalysis(photo, image, outputs, neighbours)


def turn_image(image: NDArray[np.uint8]) -> list[NDArray[np.uint8]]:
    """A picture upright, turned by each quarter, and mirrored."""
    return [
        image,
        *(np.ascontiguousarray(np.rot90(image, quarters)) for quarters in (1, 2, 3)),
        near_duplicates.mirror(image),
    ]


def encode_jpeg(image: NDArray[np.uint8]) -> bytes:
    bgr = cv2.cvtColor(image, cv2.COLOR_RGB2BGR)
    return cv2.imencode(".jpg", bgr)[1].tobytes()


def shrink_for_encoder(image: NDArray[np.uint8]) -> NDArray[np.uint8]:
    return shrink_image(image, ENCODER_JPEG_SIDE / min(image.shape[:2]))


def shrink_for_keypoints(image: NDArray[np.uint8]) -> NDArray[np.uint8]:
    return shrink_image(image, COMPARED_SIDE / max(image.shape[:2]))


def shrink_image(image: NDArray[np.uint8], scale: float) -> NDArray[np.uint8]:
    """A picture scaled down; a scale above 1 leaves it."""
    if scale >= 1:
        return image
    size = (max(1, round(image.shape[1] * scale)), max(1, round(image.shape[0] * scale)))
    return np.asarray(cv2.resize(image, size, interpolation=cv2.INTER_AREA), np.uint8)


def load_similar_posts(
    db: Session, who: Person, analysis: PhotoAnalysis
) -> list[tuple[Post, float]]:
    """Posts with photos similar to the upright one, with their similarity."""
    upright = analysis.neighbours[0] if analysis.neighbours else {}
    scores = {id_: score for id_, score in upright.items() if score >= MIN_CAPTION_SIMILARITY}
    posts = post_queries.load_listed_posts(db, who, list(scores))
    return [(post, scores[post.id]) for post in posts]


def identify_subject(
    analysis: PhotoAnalysis, similar_posts: Sequence[tuple[Post, float]]
) -> Subject | None:
    """The subject by the image model, otherwise the category of most similar posts, or None."""
    subject = embeddings.identify_subject(analysis.outputs[0]) if analysis.outputs else None
    if subject is not None or len(similar_posts) < MIN_CATEGORY_NEIGHBOURS:
        return subject
    weights: dict[str, float] = defaultdict(float)
    for post, similarity in similar_posts:
        weights[post.category] += similarity
    category = max(weights, key=lambda name: weights[name])
    share = weights[category] / sum(weights.values())
    if share < MIN_CATEGORY_SHARE:
        return None
    name = CATEGORIES[category]
    return Subject(category, None, name.ja, name.en, share)


# ---- near-duplicates ---------------------------------------------------------------------------


def find_near_duplicates(
    res: Resources, db: Session, who: Person, analysis: PhotoAnalysis
) -> list[NearDuplicate]:
    """Posts that show this picture: the member's own, and others' that the member may see.

    Candidates come from digest, similarity and perceptual hash. Those with another digest are
    verified by their keypoints.
    """
    member_id = members.find_viewer_id(db, who)
    same_file = find_by_digest(db, who, member_id, analysis.photo.digest)
    scores: dict[int, float] = {}
    for neighbours in analysis.neighbours:
        for post_id, score in neighbours.items():
            if score >= MIN_DUPLICATE_SIMILARITY:
                scores[post_id] = max(score, scores.get(post_id, score))
    ids = [
        *find_own_by_hash(db, member_id, analysis.outputs),
        *sorted(scores, key=lambda id_: (-scores[id_], id_)),
    ]
    known = {post.id for post in same_file}
    candidates = [
        post
        for post in load_visible_posts(db, who, member_id, list(dict.fromkeys(ids)))
        if post.id not in known
    ][:MAX_VERIFIED_DUPLICATES]
    image = shrink_for_keypoints(analysis.image)
    keypoints = [
        near_duplicates.extract_keypoints(copy) for copy in (image, near_duplicates.mirror(image))
    ]
    verified = [post for post in candidates if shows_same_picture(res, keypoints, post)]
    return [NearDuplicate(post, post.member_id == member_id) for post in [*same_file, *verified]]


def find_by_digest(db: Session, who: Person, member_id: int | None, digest: str) -> list[Post]:
    """Posts with exactly this picture, the member's own first."""
    own = select(Post.id).where(
        Post.member_id == member_id, or_(Post.photo == digest, Post.original == digest)
    )
    others = select(Post.id).where(Post.photo == digest, Post.member_id != member_id)
    ids = [
        *db.scalars(own.order_by(Post.id.desc()).limit(MAX_VERIFIED_DUPLICATES)),
        *db.scalars(others.order_by(Post.id).limit(MAX_VERIFIED_DUPLICATES)),
    ]
    return load_visible_posts(db, who, member_id, ids)


def find_own_by_hash(
    db: Session, member_id: int | None, outputs: Sequence[EncoderOutput]
) -> list[int]:
    """Ids of the member's own posts with nearly the hash of this picture, or of a turned copy."""
    if member_id is None or not outputs:
        return []
    rows = db.execute(
        select(Post.id, ImageFeatures.phash)
        .join(ImageFeatures, ImageFeatures.digest == Post.photo)
        .where(Post.member_id == member_id)
        .order_by(Post.id.desc())
        .limit(MAX_OWN_POSTS)
    )
    hashes = [int(output.phash, 16) for output in outputs]
    ids = [
        post_id
        for post_id, phash in rows
        if min((int(phash, 16) ^ value).bit_count() for value in hashes) <= MAX_HASH_DISTANCE
    ]
    return list(dict.fromkeys(ids))


def load_visible_posts(
    db: Session, who: Person, member_id: int | None, ids: Sequence[int]
) -> list[Post]:
    """The posts that this member may hear of, in the order of `ids`.

    Posts that were removed or deleted are left out, also for their owner.
    """
    own = select(Post).where(
        Post.id.in_(ids), Post.member_id == member_id, Post.state.in_(OWN_VISIBLE_STATES)
    )
    posts = (*post_queries.load_listed_posts(db, who, ids), *db.scalars(own))
    by_id = {post.id: post for post in posts}
    return [by_id[id_] for id_ in ids if id_ in by_id]


def shows_same_picture(res: Resources, keypoints: Sequence[Keypoints], post: Post) -> bool:
    """False, too, for a post whose picture was deleted meanwhile."""
    try:
        image = decode_own_jpeg(res.objects.get(object_key(post.photo, "list")))
    except NotFound:
        return False
    other = near_duplicates.extract_keypoints(image)
    return any(near_duplicates.is_same_picture(copy, other) for copy in keypoints)


# ---- quality -----------------------------------------------------------------------------------


def find_hints(analysis: PhotoAnalysis) -> list[Hint]:
    """What the owner may want to know before others see the photo."""
    photo = analysis.photo
    hints: dict[Hint, bool] = {
        "dark": measure_lightness(analysis.image).is_dark,
        "blurred": measure_crispness(analysis.image) < MIN_CRISPNESS,
        "small": max(photo.width, photo.height) < SMALL_BELOW_SIDE,
    }
    return [hint for hint, applies in hints.items() if applies]

"""Everything that is suggested for a photo that somebody is about to post. What they may not see is not among it, and nothing of it is kept."""

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

from tanuki.animals import members, posts
from tanuki.animals.assist import captions, near_duplicates
from tanuki.animals.assist.captions import Lang, Word
from tanuki.animals.enhance.advice import CRISP, SMALL, crispness, decoded
from tanuki.animals.enhance.exposure import lightness
from tanuki.animals.images import photo_files
from tanuki.animals.similarity import search
from tanuki.animals.tables import ImageFeatures, Post
from tanuki.animals.taxonomy import CATEGORIES
from tanuki.animals.vision import embeddings
from tanuki.animals.vision.embeddings import Subject
from tanuki.animals.vision.encoder import EncoderOutput
from tanuki.errors import NotFound, UserError
from tanuki.platform import rate_limit
from tanuki.platform.accounts import Person
from tanuki.platform.resources import Resources

log = structlog.get_logger()

AN_HOUR = 120  # photos that one member has looked at
NEIGHBOURS, TURNED = 24, 4  # posts asked for, and for each of the turned pictures
SIMILAR = 0.6  # likeness from which a post's words may suit
AGREE, FEWEST = (
    0.6,
    3,
)  # share of the neighbours' likeness that one category has, and how many there are, where the eyes do not know it
NEAR = 0.45  # likeness that a changed picture has to what it was: at least 0.59 in 540 copies
CANDIDATES = 12  # pictures that are compared point by point, 8 ms each
MY_LOOKS = 2_000  # of one's own posts, by their hashes
HASH_NEAR = 12  # of 64 bits
EYES_SIDE = 320  # the shorter side, in pixels; they take 224 of the middle seven eighths
Hint = Literal["dark", "blurred", "small"]


@dataclass(frozen=True)
class NearDuplicate:
    """A post that has this picture already."""

    post: Post
    mine: bool


@dataclass(frozen=True)
class Suggestions:
    """What is suggested. `request` names it in the event about what was taken."""

    request: str
    subject: Subject | None
    titles: list[Word]
    tags: list[Word]
    near_duplicates: list[NearDuplicate]
    hints: list[Hint]


def allow(db: Session, who: Person, *, now: datetime) -> None:
    """Count a photo that somebody lets look at. Raises TooMany after AN_HOUR."""
    members.require_active_member(db, who)
    rate_limit.use(db, who.name, "look", now=now, most=AN_HOUR, seconds=3600)


def suggest(
    res: Resources, db: Session, who: Person, accepted: photo_files.Accepted, *, now: datetime
) -> Suggestions:
    """What to say about a photo that images.accept() has taken in. Where the eyes do not answer, what can be said without them."""
    image = decoded(accepted.files["page"])
    me = members.find_viewer_id(db, who)
    seen, near = encode_turned(res, db, who, image, now)
    found = alike(db, who, near)
    subject = subject_of(seen[0] if seen else None, found)
    called: dict[Lang, str] = (
        {"ja": subject.ja.replace("・", ""), "en": subject.en} if subject is not None else {}
    )
    words = captions.common(found, me)
    return Suggestions(
        secrets.token_hex(8),
        subject,
        captions.titles(called, words),
        captions.tags(called, subject.category if subject is not None else None, words),
        find_near_duplicates(res, db, who, me, accepted, image, seen, near),
        hints(image, accepted),
    )


# ---- the eyes ------------------------------------------------------------------------------------------------------


def turned(image: NDArray[np.uint8]) -> list[NDArray[np.uint8]]:
    """A picture upright, on its three other sides, and as in a mirror."""
    return [
        image,
        *(np.ascontiguousarray(np.rot90(image, quarter)) for quarter in (1, 2, 3)),
        near_duplicates.mirrored(image),
    ]


def encode_turned(
    res: Resources, db: Session, who: Person, image: NDArray[np.uint8], now: datetime
) -> tuple[list[EncoderOutput], list[dict[int, float]]]:
    """What the eyes see in the picture and in its turned ones, and the posts near each. Nothing where they are away."""
    if (
        embeddings.image_encoder(res).live_version() is None
    ):  # the first batch opens them; nobody waits for that here
        return [], []
    sent = [
        cv2.imencode(".jpg", cv2.cvtColor(for_eyes(each), cv2.COLOR_RGB2BGR))[1].tobytes()
        for each in turned(image)
    ]
    try:
        seen = embeddings.image_encoder(res).encode(sent)
        index = search.current(res, db)
        if (
            index is None or index.eyes != seen[0].encoder_version
        ):  # nothing was looked at yet, or a new version of the eyes is being taught to it
            return seen, []
        near = [
            search.similar(
                res,
                db,
                who,
                each.embedding,
                k=NEIGHBOURS if n == 0 else TURNED,
                index=index,
                now=now,
            )
            for n, each in enumerate(seen)
        ]
    except UserError as error:
        log.warning("no eyes for a suggestion", why=str(error))
        return [], []
    return seen, [{each.post_id: each.score for each in found} for found in near]


def for_eyes(image: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """As large as the eyes need it."""
    return smaller(image, EYES_SIDE / min(image.shape[:2]))


def small(image: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """As large as the points need it."""
    return smaller(image, near_duplicates.SIDE / max(image.shape[:2]))


def smaller(image: NDArray[np.uint8], scale: float) -> NDArray[np.uint8]:
    """A picture scaled down, never up."""
    if scale >= 1:
        return image
    size = (max(1, round(image.shape[1] * scale)), max(1, round(image.shape[0] * scale)))
    return np.asarray(cv2.resize(image, size, interpolation=cv2.INTER_AREA), np.uint8)


def alike(db: Session, who: Person, near: Sequence[dict[int, float]]) -> list[tuple[Post, float]]:
    """Posts with photos like the upright one."""
    scores = {id_: score for id_, score in near[0].items() if score >= SIMILAR} if near else {}
    return [(post, scores[post.id]) for post in posts.load_listed_posts(db, who, list(scores))]


def subject_of(seen: EncoderOutput | None, found: Sequence[tuple[Post, float]]) -> Subject | None:
    """What the eyes know it to be; otherwise what most of the similar posts are. None where neither says so."""
    known = embeddings.identify_subject(seen) if seen is not None else None
    if known is not None or len(found) < FEWEST:
        return known
    shares: dict[str, float] = defaultdict(float)
    for post, likeness in found:
        shares[post.category] += likeness
    category = max(shares, key=lambda each: shares[each])
    share = shares[category] / sum(shares.values())
    return (
        Subject(category, None, CATEGORIES[category].ja, CATEGORIES[category].en, share)
        if share >= AGREE
        else None
    )


# ---- posted already ------------------------------------------------------------------------------------------------


def find_near_duplicates(
    res: Resources,
    db: Session,
    who: Person,
    me: int | None,
    accepted: photo_files.Accepted,
    image: NDArray[np.uint8],
    seen: Sequence[EncoderOutput],
    near: Sequence[dict[int, float]],
) -> list[NearDuplicate]:
    """Posts that have this picture: one's own that are not gone, others' that lists show. Candidates by digest, nearness and hash; verified by their points."""
    exact = same_digest(db, who, me, accepted.digest)
    scores: dict[int, float] = {}
    for each in near:
        scores.update(
            {
                id_: max(score, scores.get(id_, score))
                for id_, score in each.items()
                if score >= NEAR
            }
        )
    ids = [*own_by_hash(db, me, seen), *sorted(scores, key=lambda id_: (-scores[id_], id_))]
    known = {post.id for post in exact}
    candidates = [
        post for post in may_be_told(db, who, me, list(dict.fromkeys(ids))) if post.id not in known
    ][:CANDIDATES]
    ours = [
        near_duplicates.points(small(image)),
        near_duplicates.points(near_duplicates.mirrored(small(image))),
    ]
    verified = [post for post in candidates if is_same(res, ours, post)]
    return [NearDuplicate(post, post.member_id == me) for post in [*exact, *verified]]


def same_digest(db: Session, who: Person, me: int | None, digest: str) -> list[Post]:
    """Posts with exactly this picture."""
    mine = select(Post.id).where(
        Post.member_id == me, or_(Post.photo == digest, Post.original == digest)
    )
    others = select(Post.id).where(Post.photo == digest, Post.member_id != me)
    ids = [
        *db.scalars(mine.order_by(Post.id.desc()).limit(CANDIDATES)),
        *db.scalars(others.order_by(Post.id).limit(CANDIDATES)),
    ]
    return may_be_told(db, who, me, ids)


def own_by_hash(db: Session, me: int | None, seen: Sequence[EncoderOutput]) -> list[int]:
    """One's own posts, published or not, whose pictures have nearly the hash of this one or of it turned."""
    if me is None or not seen:
        return []
    theirs = (
        select(Post.id, ImageFeatures.phash)
        .join(ImageFeatures, ImageFeatures.digest == Post.photo)
        .where(Post.member_id == me)
    )
    rows = db.execute(theirs.order_by(Post.id.desc()).limit(MY_LOOKS)).all()
    ours = [int(each.phash, 16) for each in seen]
    return list(
        dict.fromkeys(
            id_
            for id_, phash in rows
            if min((int(phash, 16) ^ mine).bit_count() for mine in ours) <= HASH_NEAR
        )
    )


def may_be_told(db: Session, who: Person, me: int | None, ids: Sequence[int]) -> list[Post]:
    """Those of the posts that this member may hear of, in their order. What moderators removed and what was deleted is not told, not even to its owner."""
    mine = select(Post).where(
        Post.id.in_(ids), Post.member_id == me, Post.state.in_(("checking", "published", "held"))
    )
    found = {post.id: post for post in (*posts.load_listed_posts(db, who, ids), *db.scalars(mine))}
    return [found[id_] for id_ in ids if id_ in found]


def is_same(res: Resources, ours: Sequence[near_duplicates.Points], post: Post) -> bool:
    """Whether a post's picture is this one. One that was taken away meanwhile is not."""
    try:
        theirs = near_duplicates.points(
            decoded(res.objects.get(photo_files.key(post.photo, "list")))
        )
    except NotFound:
        return False
    return any(near_duplicates.same(mine, theirs) for mine in ours)


# ---- how good it is ------------------------------------------------------------------------------------------------


def hints(image: NDArray[np.uint8], accepted: photo_files.Accepted) -> list[Hint]:
    """What its owner may want to know before others see it."""
    told: dict[Hint, bool] = {
        "dark": lightness(image).dark,
        "blurred": crispness(image) < CRISP,
        "small": max(accepted.width, accepted.height) < SMALL,
    }
    return [name for name, holds in told.items() if holds]

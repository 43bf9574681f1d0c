"""Members, posts and small generated pictures for the tests of AI Animals."""

import io
import random
from datetime import UTC, datetime
from functools import cache, partial
from typing import Any

from argon2 import PasswordHasher
from PIL import Image, ImageDraw
from sqlalchemy import insert

from tanuki.animals import members, post_states, posts
from tanuki.animals.images import photo_files
from tanuki.animals.tables import Post
from tanuki.platform import accounts
from tanuki.platform.accounts import Account, AccountGrant, Person
from tanuki.platform.resources import Resources
from tests.factories.decoding import clean_image
from tests.factories.http_clients import PASSWORD

NOW = datetime(2026, 5, 1, 9, 0, tzinfo=UTC)


def make_member(
    resources: Resources, name: str, *, roles: tuple[str, ...] = ("member",), now: datetime = NOW
) -> Person:
    """A member with the tests' password; the same name again gives the same member."""
    with resources.db.write() as db:
        person = accounts.find_person(db, name)
        if person is None:
            make_account(db, name, roles, now)
            person = accounts.find_person(db, name)
        assert person is not None
        members.join_community(db, person, now=now)
        return person


def make_staff(resources: Resources, name: str, *roles: str, now: datetime = NOW) -> Person:
    """A person with an account who is not a member, such as a moderator."""
    with resources.db.write() as db:
        make_account(db, name, roles or ("moderator",), now)
        person = accounts.find_person(db, name)
        assert person is not None
        return person


def make_account(db: Any, name: str, roles: tuple[str, ...], now: datetime) -> None:
    """Insert an account. All tests share one password hash, as hashing is slow on purpose."""
    values = {
        "password_hash": password_hash(),
        "password_changed_at": now,
        "created_at": now,
        "created_by": "tests",
    }
    db.execute(insert(Account).values(name=name, display_name=name.title(), **values))
    db.execute(
        insert(AccountGrant),
        [
            {"name": name, "role": role, "scope": "", "granted_at": now, "granted_by": "tests"}
            for role in roles
        ],
    )


@cache
def password_hash() -> str:
    """The hash of the password for tests."""
    return PasswordHasher().hash(PASSWORD)


def make_picture(seed: int = 0, width: int = 96, height: int = 72) -> bytes:
    """A small JPEG, different for each seed."""
    rng = random.Random(seed)
    image = Image.new("RGB", (width, height), tuple(rng.randrange(256) for _ in range(3)))
    pen = ImageDraw.Draw(image)
    for _ in range(6):
        x, y, size = rng.randrange(width), rng.randrange(height), rng.randrange(8, 40)
        pen.ellipse((x, y, x + size, y + size), fill=tuple(rng.randrange(256) for _ in range(3)))
    stream = io.BytesIO()
    image.save(stream, "JPEG", quality=85)
    return stream.getvalue()


@cache
def make_photo(seed: int = 0) -> photo_files.CleanPhoto:
    """The picture of a seed as a cleaned upload."""
    return clean_image(make_picture(seed))


def make_draft(title: str = "A cat", **values: Any) -> posts.Draft:
    """The text of a post."""
    return posts.Draft(
        **{
            "title": title,
            "description": "",
            "tags": (),
            "category": "cat",
            "breed": None,
            **values,
        }
    )


def make_post(
    resources: Resources,
    author: Person,
    *,
    title: str = "A cat",
    state: str = "published",
    seed: int | None = None,
    key: str | None = None,
    now: datetime = NOW,
    why: str = "other",
    **values: Any,
) -> Post:
    """A post in a state, with a picture of its own unless a seed is given."""
    with resources.db.write() as db:
        number = next_number(resources)
        post = posts.create_post(
            db,
            resources,
            author,
            posts.NewPost(
                make_draft(title, **values),
                make_photo(number if seed is None else seed),
                key or f"post-{number}",
                limit=None,
            ),
            now=now,
        )
        set_state(db, resources, author, post, state, why, now)
        return post


def set_state(
    db: Any, resources: Resources, author: Person, post: Post, state: str, why: str, now: datetime
) -> None:
    """Change a new post's state."""
    if state in ("published", "removed", "deleted"):
        post_states.publish_post(db, post, now=now)
    if state == "held":
        post_states.hold_post(db, post, why, now=now)
    if state == "removed":
        post_states.remove_post(db, post, why, now=now)
    if state == "deleted":
        posts.delete_post(db, author, post.id, now=now)
    assert post.state == state


_counts: dict[str, int] = {}


def next_number(resources: Resources) -> int:
    """1, 2, 3 … for each database."""
    _counts[resources.db.url] = _counts.get(resources.db.url, 0) + 1
    return _counts[resources.db.url]


def embed_all_photos(resources: Resources, now: datetime) -> int:
    """Compute the missing embeddings with the live image model; gives how many."""
    from tanuki.animals.vision import backfill, embeddings

    part = backfill.BackfillPart(embeddings.image_encoder(resources).version, "")
    return backfill.run_batches(partial(backfill.embed_images, resources, now), part)

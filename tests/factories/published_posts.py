"""Published posts for the tests of search. Only their texts matter."""

from datetime import UTC, datetime, timedelta
from typing import Any

from sqlalchemy.orm import Session

from tanuki.animals.search import index
from tanuki.animals.search.search import SearchOptions, search_posts
from tanuki.animals.tables import Member, Photo, Post
from tanuki.platform.accounts import Account

NOW = datetime(2026, 5, 1, 9, 0, tzinfo=UTC)


def make_member(db: Session, id: int = 1) -> None:
    """A member; all posts show the same picture."""
    if db.get(Member, id) is None:
        name = f"member-{id}"
        db.add(
            Account(
                name=name,
                display_name=name,
                password_hash="-",
                password_changed_at=NOW,
                created_at=NOW,
                created_by="tests",
            )
        )
        if db.get(Photo, "picture") is None:
            db.add(
                Photo(
                    digest="picture",
                    width=1,
                    height=1,
                    bytes=1,
                    colour="#000000",
                    source="jpeg",
                    added_at=NOW,
                )
            )
        db.flush()
        db.add(Member(id=id, name=name, display=name, pseudonym=name, joined_at=NOW))
        db.flush()


def make_unindexed_post(db: Session, title: str, description: str = "", **values: Any) -> Post:
    """A post that is not in the search index, published a minute after the former post."""
    fields: dict[str, Any] = {
        "member_id": 1,
        "tags": [],
        "category": "other",
        "state": "published",
        **values,
    }
    make_member(db, fields["member_id"])
    post = Post(
        title=title, description=description, photo="picture", posted_at=NOW, key="-", **fields
    )
    db.add(post)
    post.key = f"{id(post)}"
    db.flush()
    post.key = f"{post.id}"
    if post.published_at is None:
        post.published_at = NOW + timedelta(minutes=post.id)
    db.flush()
    return post


def make_indexed_post(db: Session, title: str, description: str = "", **values: Any) -> Post:
    """A published post that can be found."""
    post = make_unindexed_post(db, title, description, **values)
    index.index_post(db, post)
    return post


def search_titles(db: Session, query: str, **values: Any) -> list[str]:
    """The titles that a search finds, in order."""
    return [
        "".join(part for part, _ in hit.title)
        for hit in search_posts(db, query, SearchOptions(**values)).posts
    ]

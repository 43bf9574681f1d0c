"""Pages and API of AI Animals beside a bare application: requests per second, p99, processor time.

    python -m bench.animals_pages

The newest photos and one photo, as a page and as JSON, for a visitor and for a member. The bare
application (FastAPI, SQLAlchemy, Jinja) makes the same queries: session, posts with their photos
and members, likes, follows, comments, notifications. It logs no impressions, translates nothing
and protects no form.
"""

import secrets
import tempfile
from collections.abc import Iterator, Sequence
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Annotated, Any

from fastapi import Depends, FastAPI, HTTPException, Request
from fastapi.responses import HTMLResponse
from jinja2 import Environment
from pydantic import BaseModel
from sqlalchemy import Select, func, select
from sqlalchemy.orm import Session

from bench.lib.http_comparison import VISITOR, compare_servers, start_servers
from bench.lib.reporting import format_figures, print_target, write_results
from tanuki.animals import members
from tanuki.animals.tables import (
    Block,
    BlockKind,
    Comment,
    CommentState,
    Follow,
    Like,
    Member,
    Notification,
    Photo,
    Post,
    PostState,
)
from tanuki.app import bootstrap
from tanuki.platform import accounts
from tanuki.platform.accounts import (
    Account,
    AccountGrant,
    AccountSession,
    NewUser,
    digest_token,
)
from tanuki.platform.database.engine import create_database_engine
from tanuki.settings import Settings

TARGET_SHARE = 0.60
FIRST_PORT = 8473
MEMBERS, POSTS, POSTS_PER_PAGE, COMMENTS_PER_PAGE = 40, 1_000, 24, 25
PATHS = ("/animals/newest", "/animals/posts/500", "/api/animals/posts", "/api/animals/posts/500")
BARE_PAGE = """<!doctype html><html lang=en><head><title>Photos</title></head><body>
<p>{{ member.display if member else "" }} {{ unseen }}</p><ul>
{% for post in posts %}<li><a href="/animals/posts/{{ post.id }}"><img
  src="{{ post.picture.urls.list }}"
  srcset="{{ post.picture.urls.list }} 320w, {{ post.picture.urls.page }} 800w"
  width="{{ post.picture.width }}" height="{{ post.picture.height }}" alt="" loading="lazy"></a>
<h2><a href="/animals/posts/{{ post.id }}">{{ post.title }}</a></h2>
<p><a href="/animals/members/{{ post.member }}">{{ post.display }}</a> {{ post.published_at }}</p>
<p>{{ post.description }}</p><p>{{ post.tags | join(" ") }}</p>
<form method=post action="/like/{{ post.id }}">
<button aria-pressed="{{ post.liked }}">{{ post.likes }}</button></form></li>{% endfor %}</ul>
<ul>{% for comment in comments %}<li>{{ comment.text }}</li>{% endfor %}</ul></body></html>"""


class PictureOut(BaseModel):
    digest: str
    width: int
    height: int
    colour: str
    urls: dict[str, str]


class PostOut(BaseModel):
    id: int
    title: str
    description: str
    tags: list[str]
    category: str
    breed: str | None
    state: str
    likes: int
    comments: int
    posted_at: datetime
    published_at: datetime | None
    edited_at: datetime | None
    version: int
    member: str
    display: str
    picture: PictureOut
    liked: bool
    followed: bool
    url: str


class PostsOut(BaseModel):
    items: list[PostOut]


COPIED_FIELDS = tuple(
    name
    for name in PostOut.model_fields
    if name in Post.__table__.columns.keys()  # noqa: SIM118
)


# ---- the bare application ------------------------------------------------------------------------


def select_visible(member: Member | None) -> Select[tuple[Post, Photo, Member]]:
    """Posts that a viewer may see, with their photos and members."""
    query = (
        select(Post, Photo, Member)
        .join(Photo, Photo.digest == Post.photo)
        .join(Member, Member.id == Post.member_id)
        .where(Post.state == PostState.PUBLISHED, Member.left_at.is_(None))
    )
    if member is None:
        return query
    hidden = select(Block.target_id).where(Block.member_id == member.id)
    hiding = select(Block.member_id).where(
        Block.target_id == member.id, Block.kind == BlockKind.BLOCK
    )
    return query.where(Post.member_id.not_in(hidden), Post.member_id.not_in(hiding))


def describe_posts(
    db: Session, member: Member | None, rows: Sequence[tuple[Post, Photo, Member]]
) -> list[PostOut]:
    """Posts as JSON, with what the viewer liked and whom they follow."""
    liked: set[int] = set()
    followed: set[int] = set()
    if member is not None:
        post_ids = [post.id for post, _, _ in rows]
        owner_ids = [owner.id for _, _, owner in rows]
        likes = select(Like.post_id).where(Like.member_id == member.id)
        liked = set(db.scalars(likes.where(Like.post_id.in_(post_ids))))
        follows = select(Follow.followed_id).where(Follow.follower_id == member.id)
        followed = set(db.scalars(follows.where(Follow.followed_id.in_(owner_ids))))
    return [
        PostOut(
            **{name: getattr(post, name) for name in COPIED_FIELDS},
            member=owner.name,
            display=owner.display,
            picture=PictureOut(
                digest=photo.digest,
                width=photo.width,
                height=photo.height,
                colour=photo.colour,
                urls={
                    size: f"/animals/pictures/{photo.digest}/{size}.jpg"
                    for size in ("list", "page", "full")
                },
            ),
            liked=post.id in liked,
            followed=owner.id in followed,
            url=f"/animals/posts/{post.id}",
        )
        for post, photo, owner in rows
    ]


def load_newest(db: Session, member: Member | None) -> list[PostOut]:
    newest = select_visible(member).order_by(Post.published_at.desc(), Post.id.desc())
    rows = [tuple(row) for row in db.execute(newest.limit(POSTS_PER_PAGE + 1))]
    return describe_posts(db, member, rows[:POSTS_PER_PAGE])


def load_post(db: Session, member: Member | None, post_id: int) -> list[PostOut]:
    query = select_visible(member).where(Post.id == post_id)
    posts = describe_posts(db, member, [tuple(row) for row in db.execute(query)])
    if not posts:
        raise HTTPException(404)
    return posts


def load_comments(db: Session, post_id: int) -> Sequence[Comment]:
    comments = select(Comment).where(
        Comment.post_id == post_id, Comment.state == CommentState.SHOWN
    )
    return db.scalars(comments.order_by(Comment.id).limit(COMMENTS_PER_PAGE)).all()


def create_bare(home: Path) -> FastAPI:
    """The least code that does the same."""
    engine = create_database_engine(f"sqlite:///{home}/tanuki.db")
    app, template = FastAPI(), Environment(autoescape=True).from_string(BARE_PAGE)

    def open_session() -> Iterator[Session]:
        with Session(engine.execution_options(tanuki_write=False)) as db:
            yield db

    Db = Annotated[Session, Depends(open_session)]  # noqa: N806

    def find_member(request: Request, db: Db) -> Member | None:
        token = request.cookies.get("tanuki-session")
        session = db.get(AccountSession, digest_token(token)) if token else None
        if session is None or session.expires_at <= datetime.now(UTC):
            return None
        account = db.get_one(Account, session.name)
        db.scalars(select(AccountGrant).where(AccountGrant.name == account.name)).all()
        return db.scalar(select(Member).where(Member.name == account.name))

    Viewer = Annotated[Member | None, Depends(find_member)]  # noqa: N806

    def render(
        db: Session, member: Member | None, posts: list[PostOut], comments: Any = ()
    ) -> HTMLResponse:
        unseen = 0
        if member is not None:
            notifications = select(func.count()).select_from(Notification)
            own = notifications.where(Notification.member_id == member.id)
            unseen = db.scalar(own.where(Notification.seen_at.is_(None))) or 0
        return HTMLResponse(
            template.render(posts=posts, member=member, unseen=unseen, comments=comments)
        )

    @app.get("/animals/newest", response_class=HTMLResponse)
    def newest_page(db: Db, viewer: Viewer) -> HTMLResponse:
        return render(db, viewer, load_newest(db, viewer))

    @app.get("/animals/posts/{post_id}", response_class=HTMLResponse)
    def photo_page(db: Db, viewer: Viewer, post_id: int) -> HTMLResponse:
        comments = load_comments(db, post_id)
        return render(db, viewer, load_post(db, viewer, post_id), comments)

    @app.get("/api/animals/posts")
    def newest_json(db: Db, viewer: Viewer) -> PostsOut:
        return PostsOut(items=load_newest(db, viewer))

    @app.get("/api/animals/posts/{post_id}")
    def photo_json(db: Db, viewer: Viewer, post_id: int) -> PostOut:
        return load_post(db, viewer, post_id)[0]

    return app


def create_ours(home: Path) -> FastAPI:
    """AI Animals as it is."""
    from tanuki.animals import web
    from tanuki.platform import log
    from tanuki.platform.web import app

    settings = Settings(home=home, log="json")
    log.set_up_logging(settings)
    return app.create_app(bootstrap.create_resources(settings, upgrade=False), [web.SYSTEM])


# ---- the example site ----------------------------------------------------------------------------


def fill_database(home: Path) -> str:
    """A site of some size in the database of both; gives a member's cookies."""
    res = bootstrap.create_resources(Settings(home=home), upgrade=True)
    now, token = datetime.now(UTC), secrets.token_urlsafe(32)
    with res.db.write() as db:
        member_ids = []
        for number in range(MEMBERS):
            name = f"member{number}"
            accounts.add_user(db, NewUser(name, grants=[("member", None)]), now)
            person = accounts.find_person(db, name)
            assert person is not None
            member_ids.append(members.join_community(db, person, now=now).id)
        for number in range(POSTS):
            add_post(db, member_ids[number % MEMBERS], number, now)
        db.add_all(
            Like(post_id=number + 1, member_id=member_ids[number * 7 % MEMBERS], at=now)
            for number in range(POSTS)
        )
        db.add_all(
            Follow(follower_id=member_ids[0], followed_id=member_id, at=now)
            for member_id in member_ids[1:20]
        )
        db.add_all(
            Comment(
                post_id=number + 1,
                member_id=member_ids[author],
                key=f"{number}-{author}",
                text="かわいい！ So sweet.",
                at=now,
            )
            for number in range(POSTS)
            for author in (3, 5)
        )
        db.add(
            AccountSession(
                digest=digest_token(token),
                name="member0",
                created_at=now,
                expires_at=now + timedelta(days=1),
            )
        )
    bootstrap.close_resources(res)
    return f"Cookie: tanuki-session={token}; tanuki-visitor=x\r\n"


def add_post(db: Session, member_id: int, number: int, now: datetime) -> None:
    digest, at = f"{number:064x}", now - timedelta(minutes=POSTS - number)
    db.add(
        Photo(
            digest=digest,
            width=1600,
            height=1200,
            bytes=1,
            colour="#888888",
            source="jpeg",
            added_at=at,
        )
    )
    db.flush()
    db.add(
        Post(
            member_id=member_id,
            key=f"k{number}",
            photo=digest,
            title=f"昼寝する柴犬 {number}",
            description="Asleep in the sun. " * 4,
            tags=["犬", "nap"],
            category="dog",
            breed="shiba",
            posted_at=at,
            published_at=at,
            state=PostState.PUBLISHED,
            likes=1,
            comments=2,
        )
    )
    db.flush()


def main() -> None:
    rows = {}
    with tempfile.TemporaryDirectory() as home:
        viewers = {"visitor": VISITOR, "member": fill_database(Path(home))}
        with start_servers(__spec__.name, home, FIRST_PORT) as servers:
            for path in PATHS:
                for viewer, headers in viewers.items():
                    row = rows[f"{path}, {viewer}"] = compare_servers(servers, path, headers)
                    met = max(row["of_bare"], row["of_bare_by_cpu"]) >= TARGET_SHARE
                    print_target(met, f"{path + ', ' + viewer:<34} {format_figures(row)}")
    write_results("animals_pages", rows)


if __name__ == "__main__":
    main()

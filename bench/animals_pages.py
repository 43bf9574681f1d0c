"""The network's own pages and API beside a bare FastAPI and SQLAlchemy app that does the same queries: requests a second, p99, processor time.

    python bench/animals_pages.py

The newest photos and one photo, as a page and as JSON, for a stranger and for a member. The bare app asks the database for the same (session, posts with their pictures and members, likes, follows, comments, notifications),
builds the same JSON and a page of the same photos in a plain template; it logs no impressions, translates nothing and protects no form.
"""

import asyncio
import json
import secrets
import sys
import tempfile
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Annotated, Any

from fastapi import Depends, FastAPI, HTTPException, Request
from fastapi.responses import HTMLResponse
from jinja2 import Environment
from pydantic import BaseModel
from sqlalchemy import func, select
from sqlalchemy.orm import Session

from bench.web_speed import measured, running, wait_for
from tanuki.animals import members
from tanuki.animals.tables import Comment, Follow, Like, Member, Notification, Photo, Post, Shut
from tanuki.app import bootstrap
from tanuki.platform import accounts
from tanuki.platform.accounts import Account, AccountGrant, AccountSession
from tanuki.platform.database.engine import engine
from tanuki.settings import Settings

RESULTS = Path(__file__).parent / "results" / "animals_pages.json"
LEAST = 0.60
POSTS, ON_A_PAGE = 1_000, 24
WHOLE = """<!doctype html><html lang=en><head><title>Photos</title></head><body><p>{{ who.display if who else "" }} {{ unseen }}</p><ul>
{% for each in photos %}<li><a href="/animals/posts/{{ each.id }}"><img src="{{ each.picture.urls.list }}" srcset="{{ each.picture.urls.list }} 320w, {{ each.picture.urls.page }} 800w" width="{{ each.picture.width }}" height="{{ each.picture.height }}" alt="" loading="lazy"></a>
<h2><a href="/animals/posts/{{ each.id }}">{{ each.title }}</a></h2><p><a href="/animals/members/{{ each.member }}">{{ each.display }}</a> {{ each.published_at }}</p><p>{{ each.description }}</p><p>{{ each.tags | join(" ") }}</p>
<form method=post action="/like/{{ each.id }}"><button aria-pressed="{{ each.liked }}">{{ each.likes }}</button></form></li>{% endfor %}</ul>
<ul>{% for each in talk %}<li>{{ each.words }}</li>{% endfor %}</ul></body></html>"""


class Picture(BaseModel):
    digest: str
    width: int
    height: int
    colour: str
    urls: dict[str, str]


class Shown(BaseModel):
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
    picture: Picture
    liked: bool
    followed: bool
    url: str


class Listed(BaseModel):
    items: list[Shown]


def bare(home: Path) -> FastAPI:
    """The least that anybody would write."""
    made = engine(f"sqlite:///{home}/tanuki.db")
    app, template = FastAPI(), Environment(autoescape=True).from_string(WHOLE)

    def session() -> Iterator[Session]:
        with Session(made.execution_options(tanuki_write=False)) as db:
            yield db

    Db = Annotated[Session, Depends(session)]  # noqa: N806

    def person(request: Request, db: Db) -> Member | None:
        token = request.cookies.get("tanuki-session")
        found = db.get(AccountSession, accounts.digest(token)) if token else None
        if found is None or found.expires_at <= datetime.now(UTC):
            return None
        account = db.get_one(Account, found.name)
        db.scalars(select(AccountGrant).where(AccountGrant.name == account.name)).all()
        return db.scalar(select(Member).where(Member.name == account.name))

    Who = Annotated[Member | None, Depends(person)]  # noqa: N806

    def allowed(who: Member | None) -> Any:
        wanted = (
            select(Post, Photo, Member)
            .join(Photo, Photo.digest == Post.photo)
            .join(Member, Member.id == Post.member_id)
        )
        wanted = wanted.where(Post.state == "published", Member.left_at.is_(None))
        if who is None:
            return wanted
        shut = select(Shut.other_id).where(Shut.member_id == who.id)
        shutting = select(Shut.member_id).where(Shut.other_id == who.id, Shut.kind == "block")
        return wanted.where(Post.member_id.not_in(shut), Post.member_id.not_in(shutting))

    def shaped(db: Session, who: Member | None, rows: Any) -> list[Shown]:
        found = [tuple(row) for row in rows]
        ids, owners = [post.id for post, _, _ in found], [member.id for _, _, member in found]
        mine: set[int] = set()
        followed: set[int] = set()
        if who is not None:
            mine = set(
                db.scalars(
                    select(Like.post_id).where(Like.member_id == who.id, Like.post_id.in_(ids))
                )
            )
            followed = set(
                db.scalars(
                    select(Follow.followed_id).where(
                        Follow.follower_id == who.id, Follow.followed_id.in_(owners)
                    )
                )
            )
        copied = (
            "id",
            "title",
            "description",
            "tags",
            "category",
            "breed",
            "state",
            "likes",
            "comments",
            "posted_at",
            "published_at",
            "edited_at",
            "version",
        )
        return [
            Shown(
                **{name: getattr(post, name) for name in copied},
                member=member.name,
                display=member.display,
                picture=Picture(
                    digest=photo.digest,
                    width=photo.width,
                    height=photo.height,
                    colour=photo.colour,
                    urls={
                        size: f"/animals/pictures/{photo.digest}/{size}.jpg"
                        for size in ("list", "page", "full")
                    },
                ),
                liked=post.id in mine,
                followed=member.id in followed,
                url=f"/animals/posts/{post.id}",
            )
            for post, photo, member in found
        ]

    def newest(db: Session, who: Member | None) -> list[Shown]:
        rows = db.execute(
            allowed(who).order_by(Post.published_at.desc(), Post.id.desc()).limit(ON_A_PAGE + 1)
        ).all()
        return shaped(db, who, rows[:ON_A_PAGE])

    def one(db: Session, who: Member | None, post_id: int) -> list[Shown]:
        found = shaped(db, who, db.execute(allowed(who).where(Post.id == post_id)))
        if not found:
            raise HTTPException(404)
        return found

    def page(db: Session, who: Member | None, photos: list[Shown], talk: Any = ()) -> HTMLResponse:
        unseen = 0
        if who is not None:
            wanted = select(func.count()).select_from(Notification)
            unseen = (
                db.scalar(
                    wanted.where(Notification.member_id == who.id, Notification.seen_at.is_(None))
                )
                or 0
            )
        return HTMLResponse(template.render(photos=photos, who=who, unseen=unseen, talk=talk))

    @app.get("/animals/newest", response_class=HTMLResponse)
    def newest_page(db: Db, who: Who) -> HTMLResponse:
        return page(db, who, newest(db, who))

    @app.get("/animals/posts/{post_id}", response_class=HTMLResponse)
    def photo_page(db: Db, who: Who, post_id: int) -> HTMLResponse:
        talk = db.scalars(
            select(Comment)
            .where(Comment.post_id == post_id, Comment.state == "shown")
            .order_by(Comment.id)
            .limit(25)
        ).all()
        return page(db, who, one(db, who, post_id), talk)

    @app.get("/api/animals/posts")
    def newest_json(db: Db, who: Who) -> Listed:
        return Listed(items=newest(db, who))

    @app.get("/api/animals/posts/{post_id}")
    def photo_json(db: Db, who: Who, post_id: int) -> Shown:
        return one(db, who, post_id)[0]

    return app


def ours(home: Path) -> FastAPI:
    """The network as it is."""
    from tanuki.animals import web
    from tanuki.platform import log
    from tanuki.platform.web import app

    settings = Settings(home=home, log="json")
    log.set_up(settings)
    return app.create(bootstrap.resources(settings, upgrade=False), [web.SYSTEM])


def serve(which: str, home: str, port: str) -> None:
    """One server process."""
    import uvicorn

    uvicorn.run(
        {"ours": ours, "bare": bare}[which](Path(home)),
        host="127.0.0.1",
        port=int(port),
        log_config=None,
        access_log=False,
    )


def fill(home: Path) -> str:
    """A network of some size in the database of both; gives the cookies of a member."""
    res = bootstrap.resources(Settings(home=home), upgrade=True)
    now = datetime.now(UTC)
    with res.db.write() as db:
        joined = []
        for n in range(40):
            accounts.add_user(db, f"member{n}", grants=[("member", None)], now=now)
            person = accounts.person(db, f"member{n}")
            assert person is not None
            joined.append(members.join(db, person, now=now).id)
        for n in range(POSTS):
            digest, at = f"{n:064x}", now - timedelta(minutes=POSTS - n)
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
            words = {
                "title": f"昼寝する柴犬 {n}",
                "description": "Asleep in the sun. " * 4,
                "tags": ["犬", "nap"],
                "category": "dog",
                "breed": "shiba",
            }
            db.add(
                Post(
                    member_id=joined[n % 40],
                    key=f"k{n}",
                    photo=digest,
                    posted_at=at,
                    published_at=at,
                    state="published",
                    likes=1,
                    comments=2,
                    **words,
                )
            )
            db.flush()
        db.add_all(Like(post_id=n + 1, member_id=joined[n * 7 % 40], at=now) for n in range(POSTS))
        db.add_all(Follow(follower_id=joined[0], followed_id=each, at=now) for each in joined[1:20])
        db.add_all(
            Comment(
                post_id=n + 1,
                member_id=joined[k],
                key=f"{n}-{k}",
                words="かわいい！ So sweet.",
                at=now,
            )
            for n in range(POSTS)
            for k in (3, 5)
        )
        token = secrets.token_urlsafe(32)
        db.add(
            AccountSession(
                digest=accounts.digest(token),
                name="member0",
                created_at=now,
                expires_at=now + timedelta(days=1),
            )
        )
    bootstrap.close(res)
    return f"Cookie: tanuki-session={token}; tanuki-visitor=x\r\n"


def main() -> None:
    ports = {"ours": 8473, "bare": 8474}
    with tempfile.TemporaryDirectory() as home:
        member = fill(Path(home))
        stranger = "Cookie: tanuki-visitor=x\r\n"
        with (
            running("ours", home, ports["ours"], __file__) as one,
            running("bare", home, ports["bare"], __file__) as two,
        ):
            for port in ports.values():
                asyncio.run(wait_for(port))
            pids, rows = {"ours": one, "bare": two}, {}
            for path in (
                "/animals/newest",
                "/animals/posts/500",
                "/api/animals/posts",
                "/api/animals/posts/500",
            ):
                for who, cookie in (("stranger", stranger), ("member", member)):
                    row = rows[f"{path}, {who}"] = measured(ports, pids, path, cookie)
                    good = max(row["of_bare"], row["of_bare_by_cpu"]) >= LEAST
                    print(
                        f"{'ok  ' if good else 'MISS'} {path + ', ' + who:<34} "
                        + "  ".join(f"{key} {value}" for key, value in row.items()),
                        flush=True,
                    )
    RESULTS.write_text(json.dumps(rows, indent=1) + "\n", encoding="utf-8")


if __name__ == "__main__":
    if sys.argv[1:2] == ["serve"]:
        serve(*sys.argv[2:])
    else:
        main()

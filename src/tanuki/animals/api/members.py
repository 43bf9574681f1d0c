"""Members for programs: profiles, posts, follows."""

from typing import Literal

from fastapi import APIRouter, Request, Response

from tanuki.animals import engagement, members, posts
from tanuki.animals.api import schemas
from tanuki.animals.api.schemas import MemberOut, PostOut
from tanuki.animals.http.deps import Acting, After, Limit, Name, now, reads, write, writes
from tanuki.platform.web.pages import Db, Res, Viewer
from tanuki.platform.web.rest import Page

router = APIRouter(tags=["members"])


@reads(router, "/members/{name}")
def profile(db: Db, viewer: Viewer, name: Name) -> MemberOut:
    """A member."""
    return schemas.member(members.profile(db, viewer, name))


@reads(router, "/members/{name}/posts")
def posts_of(
    db: Db, viewer: Viewer, name: Name, after: After = None, limit: Limit = 24
) -> Page[PostOut]:
    """A member's posts, newest first; one's own in every state."""
    page = posts.of_member(db, viewer, name, after=after, limit=limit)
    return Page(items=schemas.posts_out(db, viewer, page.items), next=page.next)


@reads(router, "/members/{name}/{which}")
def around(
    db: Db,
    viewer: Viewer,
    name: Name,
    which: Literal["followers", "following"],
    after: After = None,
    limit: Limit = 24,
) -> Page[MemberOut]:
    """Who follows a member, or whom they follow, the latest first."""
    listed = engagement.followers if which == "followers" else engagement.following
    return schemas.items(listed(db, viewer, name, after=after, limit=limit), schemas.member)


@writes(router, "PUT", "/members/{name}/follow")
def follow(request: Request, response: Response, res: Res, who: Acting, name: Name) -> MemberOut:
    """Want to see a member's posts; following again changes nothing."""
    return schemas.member(
        write(request, response, res, lambda db: engagement.follow(db, who, name, now=now()))
    )


@writes(router, "DELETE", "/members/{name}/follow")
def unfollow(request: Request, response: Response, res: Res, who: Acting, name: Name) -> MemberOut:
    """Follow a member no longer."""
    return schemas.member(
        write(request, response, res, lambda db: engagement.unfollow(db, who, name, now=now()))
    )

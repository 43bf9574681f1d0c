"""Members for programs: profiles, posts, follows."""

from typing import Literal

from fastapi import APIRouter, Request, Response

from tanuki.animals import members, posts, social
from tanuki.animals.api import shapes
from tanuki.animals.api.calls import Acting, After, Limit, Name, now, reads, write, writes
from tanuki.animals.api.shapes import MemberOut, PostOut
from tanuki.platform.web.kit import Db, Res, Viewer
from tanuki.platform.web.rest import Page

router = APIRouter(tags=["members"])


@reads(router, "/members/{name}")
def profile(db: Db, viewer: Viewer, name: Name) -> MemberOut:
    """A member."""
    return shapes.member(members.profile(db, viewer, name))


@reads(router, "/members/{name}/posts")
def posts_of(db: Db, viewer: Viewer, name: Name, after: After = None, limit: Limit = 24) -> Page[PostOut]:
    """A member's posts, newest first; one's own in every state."""
    page = posts.of_member(db, viewer, name, after=after, limit=limit)
    return Page(items=shapes.posts_out(db, viewer, page.items), next=page.next)


@reads(router, "/members/{name}/{which}")
def around(
    db: Db, viewer: Viewer, name: Name, which: Literal["followers", "following"], after: After = None, limit: Limit = 24
) -> Page[MemberOut]:
    """Who follows a member, or whom they follow, the latest first."""
    listed = social.followers if which == "followers" else social.following
    return shapes.items(listed(db, viewer, name, after=after, limit=limit), shapes.member)


@writes(router, "PUT", "/members/{name}/follow")
def follow(request: Request, response: Response, res: Res, who: Acting, name: Name) -> MemberOut:
    """Want to see a member's posts; following again changes nothing."""
    return shapes.member(write(request, response, res, lambda db: social.follow(db, who, name, now=now())))


@writes(router, "DELETE", "/members/{name}/follow")
def unfollow(request: Request, response: Response, res: Res, who: Acting, name: Name) -> MemberOut:
    """Follow a member no longer."""
    return shapes.member(write(request, response, res, lambda db: social.unfollow(db, who, name, now=now())))

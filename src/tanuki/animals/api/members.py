"""Members for programs: profiles, posts, follows."""

from typing import Literal

from fastapi import APIRouter

from tanuki.animals import engagement, members, post_queries
from tanuki.animals.api.schemas import (
    API,
    MemberOut,
    PostOut,
    build_posts_out,
    member_out,
    page_out,
)
from tanuki.animals.http.deps import MemberName, MemberWrite, PageRequest, Read
from tanuki.platform.web.openapi import Page
from tanuki.platform.web.pages import read_route, write_route

router = APIRouter(tags=["members"])


@read_route(router, f"{API}/members/{{name}}", public=True)
def get_member(context: Read, name: MemberName) -> MemberOut:
    return member_out(members.load_profile(context.db, context.viewer, name))


@read_route(router, f"{API}/members/{{name}}/posts", public=True)
def list_member_posts(context: Read, name: MemberName, page: PageRequest) -> Page[PostOut]:
    """A member's posts, newest first; one's own in every state."""
    db, viewer = context.db, context.viewer
    posts = post_queries.list_member_posts(db, viewer, name, after=page.after, limit=page.limit)
    return Page(items=build_posts_out(db, viewer, posts.items), next=posts.next)


@read_route(router, f"{API}/members/{{name}}/{{relation}}", public=True)
def list_related_members(
    context: Read,
    name: MemberName,
    relation: Literal["followers", "following"],
    page: PageRequest,
) -> Page[MemberOut]:
    """The followers of a member, or whom they follow, the latest first."""
    load = engagement.list_followers if relation == "followers" else engagement.list_following
    related = load(context.db, context.viewer, name, after=page.after, limit=page.limit)
    return page_out(related, member_out)


@write_route(router, f"{API}/members/{{name}}/follow", method="PUT")
def follow_member(context: MemberWrite, name: MemberName) -> MemberOut:
    """Follow a member; following again changes nothing."""
    member = context.commit(
        lambda db: engagement.follow_member(db, context.person, name, now=context.now)
    )
    return member_out(member)


@write_route(router, f"{API}/members/{{name}}/follow", method="DELETE")
def unfollow_member(context: MemberWrite, name: MemberName) -> MemberOut:
    """Stop following a member."""
    member = context.commit(
        lambda db: engagement.unfollow_member(db, context.person, name, now=context.now)
    )
    return member_out(member)

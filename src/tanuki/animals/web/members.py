"""Members' pages: joining, profiles, following, blocking and muting, one's own profile."""

from collections.abc import Callable
from dataclasses import dataclass
from types import EllipsisType
from typing import Annotated

from fastapi import APIRouter, Depends, Form, UploadFile
from fastapi.responses import RedirectResponse, Response
from sqlalchemy.orm import Session

from tanuki.animals import engagement, members, post_queries
from tanuki.animals.http import impressions
from tanuki.animals.http.deps import (
    PHOTO_FORM_BYTES,
    MemberWrite,
    Read,
    ReadContext,
    Write,
    from_fields,
    now,
)
from tanuki.animals.images import photo_files
from tanuki.animals.members import ProfileChange
from tanuki.animals.pagination import Page
from tanuki.animals.tables import Block, BlockKind, Follow, Member, Photo
from tanuki.animals.web.layout import (
    CARD_SIZES,
    POSTS_PER_PAGE,
    Text,
    answer_toggle,
    find_own_member,
    go_to,
    render_site_page,
    say_error,
)
from tanuki.animals.web.reasons import reason_labels
from tanuki.errors import UserError
from tanuki.i18n import msgid
from tanuki.platform.accounts import Person
from tanuki.platform.web.pages import read_route, write_route
from tanuki.platform.web.site import build_url, sanitize_path

router = APIRouter()


# ---- joining -------------------------------------------------------------------------------------


@read_route(router, "/animals/me")
def open_own_profile(context: Read) -> Response:
    """Redirect to one's own profile, or to the page that makes one."""
    me = find_own_member(context.db, context.person)
    return RedirectResponse("/animals/join" if me is None else f"/animals/members/{me.name}", 303)


@read_route(router, "/animals/join")
def show_join_page(context: Read, next: str = "/animals/me") -> Response:
    """For somebody who has an account and is not a member yet."""
    if find_own_member(context.db, context.person) is not None:
        return RedirectResponse(sanitize_path(next), 303)
    return render_site_page(context, "join.html", section="me", return_path=sanitize_path(next))


@write_route(router, "/animals/join")
def submit_join(context: Write, next: Text = "/animals/me") -> Response:
    with context.res.db.write() as db:
        members.join_community(db, context.person, now=context.now)
    return go_to(context.request, next, msgid("Welcome! This is your profile."))


def join_on_sign_up(db: Session, person: Person) -> None:
    """Make a person who signs up a member at once."""
    members.join_community(db, person, now=now())


# ---- profiles ------------------------------------------------------------------------------------


@read_route(router, "/animals/members/{name}", public=True)
def show_member(context: Read, name: str, after: str | None = None) -> Response:
    """A member and their photos; their own page also shows photos that nobody else sees."""
    db, viewer = context.db, context.viewer
    member = members.load_profile(db, viewer, name)
    member_posts = post_queries.list_member_posts(
        db, viewer, name, after=after, limit=POSTS_PER_PAGE
    )
    is_own = viewer is not None and viewer.name == member.name
    cards = post_queries.build_cards(db, viewer, member_posts.items)
    listing = impressions.log_listing(
        context, "member", [] if is_own else [card.post.id for card in cards]
    )
    return render_site_page(
        context,
        "member.html",
        section="me" if is_own else "",
        member=member,
        block_kind=None if viewer is None or is_own else find_block_kind(db, viewer, member),
        followed=is_following(db, viewer, member),
        after=after,
        cards=cards,
        positions=listing.positions,
        request_id=listing.request_id,
        next_url=member_posts.next
        and build_url(f"/animals/members/{member.name}", after=member_posts.next),
        sizes=CARD_SIZES,
        say_reason=reason_labels(context.say),
    )


def is_following(db: Session, viewer: Person | None, member: Member) -> bool:
    me = find_own_member(db, viewer)
    return me is not None and db.get(Follow, (me.id, member.id)) is not None


def find_block_kind(db: Session, viewer: Person, member: Member) -> BlockKind | None:
    """Whether the viewer blocks or mutes a member, and which of the two."""
    me = find_own_member(db, viewer)
    block = db.get(Block, (me.id, member.id)) if me is not None else None
    return block.kind if block is not None else None


@dataclass(frozen=True)
class Relation:
    """One of a member's two lists of members: its part of the path, its title, its query."""

    path: str
    title: str
    load: Callable[..., Page[Member]]


FOLLOWERS = Relation("followers", msgid("Followers"), engagement.list_followers)
FOLLOWING = Relation("following", msgid("Following"), engagement.list_following)


@read_route(router, "/animals/members/{name}/followers", public=True)
def show_followers(context: Read, name: str, after: str | None = None) -> Response:
    return show_member_list(context, name, FOLLOWERS, after)


@read_route(router, "/animals/members/{name}/following", public=True)
def show_following(context: Read, name: str, after: str | None = None) -> Response:
    return show_member_list(context, name, FOLLOWING, after)


def show_member_list(
    context: ReadContext, name: str, relation: Relation, after: str | None
) -> Response:
    member = members.load_profile(context.db, context.viewer, name)
    listed = relation.load(context.db, context.viewer, name, after=after, limit=POSTS_PER_PAGE)
    path = f"/animals/members/{member.name}/{relation.path}"
    return render_site_page(
        context,
        "member_list.html",
        title=context.say(relation.title),
        member=member,
        members=listed.items,
        next_url=listed.next and build_url(path, after=listed.next),
    )


@write_route(router, "/animals/members/{name}/follow")
def submit_follow(context: MemberWrite, name: str, next: Text = "") -> Response:
    context.commit(lambda db: engagement.follow_member(db, context.person, name, now=context.now))
    path = f"/animals/members/{name}"
    return answer_toggle(
        context.request, next or path, pressed=True, next_action=f"{path}/unfollow"
    )


@write_route(router, "/animals/members/{name}/unfollow")
def submit_unfollow(context: MemberWrite, name: str, next: Text = "") -> Response:
    context.commit(lambda db: engagement.unfollow_member(db, context.person, name, now=context.now))
    path = f"/animals/members/{name}"
    return answer_toggle(context.request, next or path, pressed=False, next_action=f"{path}/follow")


# ---- blocking and muting -------------------------------------------------------------------------


@read_route(router, "/animals/blocks")
def show_blocks(context: Read) -> Response:
    return render_site_page(
        context, "blocks.html", blocks=members.list_blocks(context.db, context.person)
    )


@write_route(router, "/animals/members/{name}/mute")
def submit_mute(context: MemberWrite, name: str) -> Response:
    with context.res.db.write() as db:
        members.block_member(db, context.person, name, BlockKind.MUTE, now=context.now)
    return go_to(context.request, "/animals/blocks", msgid("%(name)s is muted."), name=name)


@write_route(router, "/animals/members/{name}/block")
def submit_block(context: MemberWrite, name: str) -> Response:
    with context.res.db.write() as db:
        members.block_member(db, context.person, name, BlockKind.BLOCK, now=context.now)
    return go_to(context.request, "/animals/blocks", msgid("%(name)s is blocked."), name=name)


@write_route(router, "/animals/members/{name}/unblock")
def submit_unblock(context: MemberWrite, name: str) -> Response:
    """End a block or a mute."""
    with context.res.db.write() as db:
        members.unblock_member(db, context.person, name)
    return go_to(
        context.request, "/animals/blocks", msgid("You can see %(name)s again."), name=name
    )


# ---- one's own profile ---------------------------------------------------------------------------


@dataclass(frozen=True)
class ProfileFields:
    """The form for one's own profile, as it was sent."""

    display: Text
    about: Text = ""
    events: Annotated[bool, Form()] = False
    remove_photo: Annotated[bool, Form()] = False


@read_route(router, "/animals/settings")
def show_settings(context: Read) -> Response:
    me = members.require_member(context.db, context.person)
    return render_settings(context, ProfileFields(me.display, me.about, me.events))


def render_settings(
    context: ReadContext, profile: ProfileFields, error: UserError | None = None
) -> Response:
    """The form for one's own profile, as it is or as it was sent, with what is wrong."""
    return render_site_page(
        context,
        "settings.html",
        status=error.status if error else 200,
        section="me",
        profile=profile,
        error=say_error(context.request, error),
    )


@write_route(router, "/animals/settings", max_bytes=PHOTO_FORM_BYTES)
def submit_settings(
    context: MemberWrite,
    profile: Annotated[ProfileFields, Depends(from_fields(ProfileFields))],
    photo: UploadFile | None = None,
) -> Response:
    """Change one's profile. Its picture stays unless another one was sent or none is wanted."""
    objects = context.res.objects
    try:
        accepted = (
            photo_files.clean_upload(context.res, photo.file.read())
            if photo is not None and photo.size
            else None
        )
        if accepted is not None:
            photo_files.store_files(objects, accepted)
        with context.res.db.write() as db:
            picture: Photo | EllipsisType | None = None if profile.remove_photo else ...
            if accepted is not None:
                picture = photo_files.save_photo(db, objects, accepted, now=context.now)
            change = ProfileChange(profile.display, profile.about, picture, profile.events)
            members.update_profile(db, context.person, change, now=context.now)
    except UserError as error:
        if error.status != 400:
            raise
        with context.reading() as reading:
            return render_settings(reading, profile, error)
    return go_to(context.request, "/animals/me", msgid("Your profile is changed."))

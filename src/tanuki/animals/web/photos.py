"""A post's page with its comments and likes, liking and commenting, and the picture files."""

import secrets
from typing import Annotated

from fastapi import APIRouter, Form
from fastapi.responses import Response
from sqlalchemy.orm import Session

from tanuki.animals import engagement, pagination, post_queries, posts
from tanuki.animals.http import impressions
from tanuki.animals.http.deps import MemberWrite, Read, ReadContext, now
from tanuki.animals.images import photo_files
from tanuki.animals.images.photo_files import PHOTO_SIDES
from tanuki.animals.post_queries import Card
from tanuki.animals.similarity import search
from tanuki.animals.tables import Comment, PostState
from tanuki.animals.web.layout import (
    CARD_SIZES,
    POSTS_PER_PAGE,
    Text,
    answer_toggle,
    go_to,
    render_site_page,
    taxonomy_names,
)
from tanuki.animals.web.reasons import reason_labels
from tanuki.animals.web.reports import find_current_decision
from tanuki.errors import NotFound
from tanuki.i18n import msgid
from tanuki.platform.mlops.runtimes import ModelError
from tanuki.platform.web.cookies import YEAR_SECONDS
from tanuki.platform.web.pages import read_route, write_route
from tanuki.platform.web.site import build_url

router = APIRouter()
SIMILAR_PHOTOS_PER_POST = 8


@read_route(router, "/animals/posts/{post_id}", public=True)
def show_post(context: Read, post_id: int, after: str | None = None) -> Response:
    """One post; its owner also sees its state."""
    db, viewer = context.db, context.viewer
    card = post_queries.build_cards(
        db, viewer, [post_queries.load_visible_post(db, post_id, viewer)]
    )[0]
    comments = engagement.list_comments(db, viewer, post_id, after=after, limit=POSTS_PER_PAGE)
    path = f"/animals/posts/{post_id}"
    similar_cards = build_similar_cards(context, card)
    listing = impressions.log_listing(
        context, "similar", [similar.post.id for similar in similar_cards]
    )
    return render_site_page(
        context,
        "post_page.html",
        card=card,
        alt=describe_photo(card, context.lang),
        comments=comments.items,
        earlier_url=path if after else None,
        later_url=comments.next and build_url(path, after=comments.next),
        idempotency_key=secrets.token_urlsafe(12),
        undo_until=card.post.deleted_at and card.post.deleted_at + posts.UNDO_PERIOD,
        decision=find_current_decision(context, card.post),
        say_reason=reason_labels(context.say),
        similar_cards=similar_cards,
        request_id=listing.request_id,
        positions=listing.positions,
        sizes=CARD_SIZES,
    )


def describe_photo(card: Card, lang: str) -> str:
    """The alternative text of a photo: its title, and its breed or else its category."""
    names, post = taxonomy_names(lang), card.post
    kind = names["breed_name"](post.breed) if post.breed else names["category_name"](post.category)
    return f"{post.title} ({kind})"


def build_similar_cards(context: ReadContext, card: Card) -> list[Card]:
    """Cards of similar published photos; none while the model server does not answer."""
    if card.post.state != PostState.PUBLISHED:
        return []
    db, viewer = context.db, context.viewer
    try:
        similar = search.SimilaritySearch(context.res, db, viewer, now()).similar_to_post(
            card.post.id, SIMILAR_PHOTOS_PER_POST
        )
    except ModelError:
        return []
    visible = post_queries.load_listed_posts(db, viewer, [post.post_id for post in similar])
    return post_queries.build_cards(db, viewer, visible)


@read_route(router, "/animals/posts/{post_id}/likes", public=True)
def show_likers(context: Read, post_id: int, after: str | None = None) -> Response:
    db, viewer = context.db, context.viewer
    likers = engagement.list_likers(db, viewer, post_id, after=after, limit=POSTS_PER_PAGE)
    return render_site_page(
        context,
        "post_likes.html",
        post=post_queries.load_visible_post(db, post_id, viewer),
        members=likers.items,
        next_url=likers.next and build_url(f"/animals/posts/{post_id}/likes", after=likers.next),
    )


@write_route(router, "/animals/posts/{post_id}/like")
def submit_like(context: MemberWrite, post_id: int, next: Text = "") -> Response:
    count = context.commit(
        lambda db: engagement.like_post(db, context.person, post_id, now=context.now)
    )
    path = f"/animals/posts/{post_id}"
    return answer_toggle(
        context.request, next or path, pressed=True, next_action=f"{path}/unlike", count=count
    )


@write_route(router, "/animals/posts/{post_id}/unlike")
def submit_unlike(context: MemberWrite, post_id: int, next: Text = "") -> Response:
    count = context.commit(
        lambda db: engagement.unlike_post(db, context.person, post_id, now=context.now)
    )
    path = f"/animals/posts/{post_id}"
    return answer_toggle(
        context.request, next or path, pressed=False, next_action=f"{path}/like", count=count
    )


@write_route(router, "/animals/posts/{post_id}/comments")
def submit_comment(
    context: MemberWrite,
    post_id: int,
    text: Text,
    key: Annotated[str, Form(max_length=100)],
) -> Response:
    """Add a comment, and go to the place on the page where it stands."""

    def add_and_count(db: Session) -> tuple[Comment, int]:
        comment = engagement.add_comment(
            db, context.person, post_id, text, key=key, now=context.now
        )
        return comment, post_queries.load_visible_post(db, post_id, context.person).comments

    comment, count = context.commit(add_and_count)
    after = pagination.id_cursor(comment.id - 1) if count > POSTS_PER_PAGE else None
    path = build_url(f"/animals/posts/{post_id}", after=after)
    return go_to(context.request, f"{path}#comment-{comment.id}")


@write_route(router, "/animals/comments/{comment_id}/delete")
def submit_comment_deletion(context: MemberWrite, comment_id: int) -> Response:
    comment = context.commit(
        lambda db: engagement.delete_comment(db, context.person, comment_id, now=context.now)
    )
    path = f"/animals/posts/{comment.post_id}#comments"
    return go_to(context.request, path, msgid("Your comment is deleted."))


# ---- picture files -------------------------------------------------------------------------------


@read_route(router, "/animals/pictures/{digest}/{size}.jpg", public=True)
def get_picture(context: Read, digest: str, size: str) -> Response:
    """A picture in one of its sizes, for those who may see it.

    Caches keep a public picture for good, because its content never changes.
    """
    if size not in PHOTO_SIDES:
        raise NotFound("There is no such picture.")
    is_public = is_public_picture(context, digest)
    if not is_public:
        post_queries.load_visible_photo(context.db, context.viewer, digest)
    etag = f'"{digest}-{size}"'
    caching = f"public, max-age={YEAR_SECONDS}, immutable" if is_public else "private, no-store"
    headers = {"Cache-Control": caching, "ETag": etag}
    if etag in context.request.headers.get("if-none-match", ""):
        return Response(status_code=304, headers=headers)
    return Response(
        context.res.objects.get(photo_files.object_key(digest, size)),
        media_type="image/jpeg",
        headers=headers,
    )


def is_public_picture(context: ReadContext, digest: str) -> bool:
    """Whether everybody may see a picture."""
    try:
        post_queries.load_visible_photo(context.db, None, digest)
    except NotFound:
        return False
    return True

"""A photo's page with what is said under it, who likes it, liking and commenting; and the pictures themselves."""

import secrets
from typing import Annotated

from fastapi import APIRouter, Form, Request
from fastapi.responses import HTMLResponse, Response

from tanuki.animals import engagement, posts
from tanuki.animals.http import impressions
from tanuki.animals.http.deps import Acting, now
from tanuki.animals.images import photo_files
from tanuki.animals.images.photo_files import SIZES
from tanuki.animals.posts import Card
from tanuki.animals.similarity import search
from tanuki.animals.tables import Photo
from tanuki.animals.web.layout import CARD, LIMIT, Text, form, names, onward, show, toggled
from tanuki.animals.web.reasons import reason_words
from tanuki.animals.web.reports import standing
from tanuki.errors import NotFound
from tanuki.i18n import msgid
from tanuki.platform.mlops.runtimes import ModelError
from tanuki.platform.web.pages import YEAR_SECONDS, Db, Lang, Res, Viewer, url

router = APIRouter()
ALIKE = 8  # similar photos below one


@router.get("/animals/posts/{post_id}", include_in_schema=False, response_class=HTMLResponse)
def photo_page(
    request: Request,
    res: Res,
    db: Db,
    viewer: Viewer,
    lang: Lang,
    post_id: int,
    after: str | None = None,
) -> Response:
    """One photo; its owner also sees where it stands."""
    card = posts.cards(db, viewer, [posts.visible(db, post_id, viewer)])[0]
    talk = engagement.comments(db, viewer, post_id, after=after, limit=LIMIT)
    path = f"/animals/posts/{post_id}"
    called = names(lang)
    alike = similar_cards(res, db, viewer, card)
    request_id, places = impressions.in_order(
        request, db, viewer, "similar", [each.post.id for each in alike]
    )
    kind = (
        called["breed_name"](card.post.breed)
        if card.post.breed
        else called["category_name"](card.post.category)
    )
    return show(
        request,
        db,
        "photo.html",
        card=card,
        alt=f"{card.post.title} ({kind})",
        talk=talk.items,
        older=path if after else None,
        newer=talk.next and url(path, after=talk.next),
        key=secrets.token_urlsafe(12),
        undo_until=card.post.deleted_at and card.post.deleted_at + posts.UNDO,
        decision=standing(request, db, viewer, lang, card.post),
        reason_words=reason_words(request),
        alike=alike,
        request_id=request_id,
        places=places,
        sizes=CARD,
    )


def similar_cards(res: Res, db: Db, viewer: Viewer, card: Card) -> list[Card]:
    """Photos similar to one that is published; none while the models do not answer, which stops no page."""
    if card.post.state != "published":
        return []
    try:
        found = search.to_post(res, db, viewer, card.post.id, k=ALIKE, now=now())
    except ModelError:
        return []
    return posts.cards(db, viewer, posts.many(db, viewer, [each.post_id for each in found]))


@router.get("/animals/posts/{post_id}/likes", include_in_schema=False, response_class=HTMLResponse)
def likes_page(
    request: Request, db: Db, viewer: Viewer, post_id: int, after: str | None = None
) -> Response:
    """Who likes a photo."""
    page = engagement.likers(db, viewer, post_id, after=after, limit=LIMIT)
    more = page.next and url(f"/animals/posts/{post_id}/likes", after=page.next)
    return show(
        request,
        db,
        "likes.html",
        post=posts.visible(db, post_id, viewer),
        people=page.items,
        next=more,
    )


@form(router, "/animals/posts/{post_id}/like")
def like(request: Request, res: Res, who: Acting, post_id: int, next: Text = "") -> Response:
    """Like a photo."""
    count = res.db.together(lambda db: engagement.like(db, who, post_id, now=now()))
    path = f"/animals/posts/{post_id}"
    return toggled(request, next or path, on=True, again=f"{path}/unlike", count=count)


@form(router, "/animals/posts/{post_id}/unlike")
def unlike(request: Request, res: Res, who: Acting, post_id: int, next: Text = "") -> Response:
    """Like a photo no longer."""
    count = res.db.together(lambda db: engagement.unlike(db, who, post_id, now=now()))
    path = f"/animals/posts/{post_id}"
    return toggled(request, next or path, on=False, again=f"{path}/like", count=count)


@form(router, "/animals/posts/{post_id}/comments")
def comment(
    request: Request,
    res: Res,
    who: Acting,
    post_id: int,
    words: Text,
    key: Annotated[str, Form(max_length=100)],
) -> Response:
    """Say something under a photo, and go to where it stands."""
    made, count = res.db.together(
        lambda db: (
            engagement.comment(db, who, post_id, words, key=key, now=now()),
            posts.visible(db, post_id, who).comments,
        )
    )
    after = str(made.id - 1) if count > LIMIT else None
    return onward(request, f"{url(f'/animals/posts/{post_id}', after=after)}#comment-{made.id}")


@form(router, "/animals/comments/{comment_id}/delete")
def delete_comment(request: Request, res: Res, who: Acting, comment_id: int) -> Response:
    """Take back what one said."""
    gone = res.db.together(lambda db: engagement.delete_comment(db, who, comment_id, now=now()))
    return onward(request, f"/animals/posts/{gone.post_id}#talk", msgid("Your comment is deleted."))


# ---- pictures ------------------------------------------------------------------------------------------------------


@router.get("/animals/pictures/{digest}/{size}.jpg", include_in_schema=False)
def picture(request: Request, res: Res, db: Db, viewer: Viewer, digest: str, size: str) -> Response:
    """A picture in one of its sizes, for those who may see it. What everybody may see is kept for as long as anybody likes: its content never changes."""
    if size not in SIZES:
        raise NotFound("There is no such picture.")
    public = in_public(db, digest)
    if not public:
        posts.picture(db, viewer, digest)
    etag = f'"{digest}-{size}"'
    headers = {
        "Cache-Control": f"public, max-age={YEAR_SECONDS}, immutable"
        if public
        else "private, no-store",
        "ETag": etag,
    }
    if etag in request.headers.get("if-none-match", ""):
        return Response(status_code=304, headers=headers)
    return Response(
        res.objects.get(photo_files.key(digest, size)), media_type="image/jpeg", headers=headers
    )


def in_public(db: Db, digest: str) -> Photo | None:
    """The picture, if everybody may see it."""
    try:
        return posts.picture(db, None, digest)
    except NotFound:
        return None

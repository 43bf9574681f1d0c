"""Posting a photo, with help; changing its words, deleting it and taking that back."""

import re
import secrets
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Annotated, Any

from fastapi import APIRouter, Form, Request, UploadFile
from fastapi.responses import HTMLResponse, Response
from sqlalchemy.orm import Session

from tanuki.animals import events, members, posts
from tanuki.animals.http.deps import PICTURE_BYTES, Acting, now
from tanuki.animals.images import photo_files
from tanuki.animals.posts import Draft
from tanuki.animals.tables import Photo, Post
from tanuki.animals.web import suggestions
from tanuki.animals.web.layout import Text, form, onward, sentence, show, version_seen
from tanuki.errors import NotFound, UserError
from tanuki.i18n import msgid
from tanuki.platform.web.pages import Db, Lang, Res, Who

router = APIRouter()
BETWEEN_TAGS = re.compile(r"[\s,、，;；#＃]+")


@dataclass(frozen=True)
class Filled:
    """The form as somebody filled it in, so that nothing is typed twice."""

    title: str = ""
    description: str = ""
    tags: str = ""
    category: str = ""
    breed: str = ""

    def draft(self) -> Draft:
        """What it says, checked."""
        if not self.category:
            raise UserError("Please choose a category.")
        return Draft(
            self.title,
            self.description,
            tuple(filter(None, BETWEEN_TAGS.split(self.tags))),
            self.category,
            self.breed or None,
        )


@router.get("/animals/post", include_in_schema=False, response_class=HTMLResponse)
def post_page(request: Request, db: Db, who: Who) -> Response:
    """The form for a new post."""
    return form_page(request, db, Filled())


def form_page(
    request: Request,
    db: Session,
    filled: Filled,
    *,
    wrong: UserError | None = None,
    key: str = "",
    looked: Mapping[str, Any] | None = None,
) -> Response:
    """The form, empty or as it was sent, with what is wrong and what is suggested. It has a key of its own, so that sending it twice posts once."""
    status = wrong.status if wrong else 200
    key = key or secrets.token_urlsafe(16)
    return show(
        request,
        db,
        "post.html",
        status=status,
        on="post",
        post=None,
        draft=filled,
        wrong=sentence(request, wrong),
        key=key,
        most_megabytes=photo_files.UPLOAD_MB,
        **(looked or {}),
    )


@form(router, "/animals/post", max_bytes=PICTURE_BYTES)
def post(
    request: Request,
    res: Res,
    who: Acting,
    lang: Lang,
    key: Text,
    title: Text = "",
    description: Text = "",
    tags: Text = "",
    category: Text = "",
    breed: Text = "",
    step: Text = "",
    kept: Text = "",
    seal: Text = "",
    suggested: Text = "",
    take: Annotated[list[str] | None, Form()] = None,
    photo: UploadFile | None = None,
    camera: UploadFile | None = None,
) -> Response:
    """A new post, which its owner sees at once; or, for who has no scripts, the form again with suggestions for the photo.

    What is wrong is said on the form; the photo has to be chosen again, browsers want it so, unless it was looked at before.
    """
    filled = Filled(title, description, tags, category, breed)
    sent = next((each for each in (photo, camera) if each is not None and each.size), None)
    looked: Mapping[str, Any] | None = None
    try:
        if step == "look":
            looked = suggestions.looked_at(res, who, lang, key, suggestions.chosen(sent))
            with res.db.read() as db:
                return form_page(request, db, filled, key=key, looked=looked)
        known = suggestions.again(res, who, key, kept, seal) if kept and sent is None else None
        if kept and sent is not None:
            suggested, take = (
                "",
                None,
            )  # another photo: nothing that was suggested for the first one is taken along
        offered, taken = suggestions.told(suggested, take or [])
        looked = (
            suggestions.as_before(known, seal, suggested, offered, taken, lang)
            if known is not None
            else None
        )
        draft = with_taken(filled, [offered[place] for place in sorted(taken)]).draft()
        accepted = known or photo_files.accept(suggestions.chosen(sent))
        photo_files.store(res.objects, accepted)
        moment = now()

        def do(db: Session) -> Post:
            made = posts.accept(
                db, res.objects, res.work, who, draft, accepted, key=key, now=moment
            )
            if offered and made.posted_at == moment:
                events.suggested(db, members.of(db, who), made.id, suggested, taken, now=moment)
            return made

        made = res.db.together(do)
    except UserError as error:
        with res.db.read() as db:
            return form_page(request, db, filled, wrong=error, key=key, looked=looked)
    return onward(request, f"/animals/posts/{made.id}")


def with_taken(filled: Filled, taken: list[suggestions.Offer]) -> Filled:
    """The form with what was taken; what somebody wrote or chose stays. With scripts it is all there already."""
    for each in taken:
        what, value = each["what"], str(each["value"])
        if what == "title" and not filled.title.strip():
            filled = replace(filled, title=value)
        elif what == "tag" and value not in BETWEEN_TAGS.split(filled.tags):
            filled = replace(filled, tags=f"{filled.tags} {value}".strip())
        elif what == "kind" and not filled.category:
            category, _, breed = value.partition("|")
            filled = replace(filled, category=category, breed=breed)
    return filled


# ---- later ---------------------------------------------------------------------------------------------------------


@router.get("/animals/posts/{post_id}/edit", include_in_schema=False, response_class=HTMLResponse)
def edit_page(request: Request, db: Db, who: Who, post_id: int) -> Response:
    """The form with a post's words, for its owner."""
    post, photo = owned(db, who, post_id)
    return edit_form(
        request,
        db,
        post,
        photo,
        Filled(post.title, post.description, " ".join(post.tags), post.category, post.breed or ""),
    )


def owned(db: Db, who: Who, post_id: int) -> tuple[Post, Photo]:
    """One of somebody's own posts, with its photo."""
    card = posts.cards(db, who, [posts.visible(db, post_id, who)])[0]
    if card.member.name != who.name:
        raise NotFound("There is no such post.")
    return card.post, card.photo


def edit_form(
    request: Request,
    db: Db,
    post: Post,
    photo: Photo,
    filled: Filled,
    wrong: UserError | None = None,
) -> Response:
    """The form for a post's words, with what is wrong."""
    status = wrong.status if wrong else 200
    return show(
        request,
        db,
        "post.html",
        status=status,
        post=post,
        photo=photo,
        draft=filled,
        wrong=sentence(request, wrong),
    )


@form(router, "/animals/posts/{post_id}/edit")
def edit(
    request: Request,
    res: Res,
    who: Acting,
    post_id: int,
    version: Text,
    title: Text = "",
    description: Text = "",
    tags: Text = "",
    category: Text = "",
    breed: Text = "",
) -> Response:
    """Change what a post says."""
    filled = Filled(title, description, tags, category, breed)
    try:
        draft = filled.draft()
        res.db.together(
            lambda db: posts.edit(
                db, res.work, who, post_id, draft, version=version_seen(version), now=now()
            )
        )
    except UserError as error:
        if error.status != 400:
            raise
        with res.db.read() as db:
            return edit_form(request, db, *owned(db, who, post_id), filled, error)
    return onward(request, f"/animals/posts/{post_id}", msgid("Your post is changed."))


@form(router, "/animals/posts/{post_id}/delete")
def delete(request: Request, res: Res, who: Acting, post_id: int) -> Response:
    """Take a post out of sight; the page that follows offers to take it back."""
    res.db.together(lambda db: posts.delete(db, who, post_id, now=now()))
    return onward(request, f"/animals/posts/{post_id}")


@form(router, "/animals/posts/{post_id}/undo")
def undo(request: Request, res: Res, who: Acting, post_id: int) -> Response:
    """Bring a post back."""
    res.db.together(lambda db: posts.undo(db, who, post_id, now=now()))
    return onward(request, f"/animals/posts/{post_id}", msgid("Your post is back."))

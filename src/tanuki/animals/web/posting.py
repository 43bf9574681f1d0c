"""The form for a post, with suggestions; editing a post, deleting it and undoing that."""

import re
import secrets
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Annotated, Any

from fastapi import APIRouter, Depends
from fastapi.responses import Response
from sqlalchemy.orm import Session

from tanuki.animals import events, members, post_queries, posts
from tanuki.animals.http.deps import (
    PHOTO_FORM_BYTES,
    MemberWrite,
    Read,
    ReadContext,
    WriteContext,
    from_fields,
)
from tanuki.animals.images import photo_files
from tanuki.animals.post_queries import Card
from tanuki.animals.posts import Draft
from tanuki.animals.tables import Post
from tanuki.animals.web import suggestions
from tanuki.animals.web.layout import Text, go_to, parse_version, render_site_page, say_error
from tanuki.animals.web.photo_fields import SentPhoto
from tanuki.animals.web.suggestions import SuggestionFields, SuggestionValues
from tanuki.errors import NotFound, UserError
from tanuki.i18n import msgid
from tanuki.platform.web.pages import read_route, write_route

router = APIRouter()
TAG_SEPARATORS = re.compile(r"[\s,、，;；#＃]+")


@dataclass(frozen=True)
class PostFields:
    """The text fields of the form for a post, as they were sent."""

    title: Text = ""
    description: Text = ""
    tags: Text = ""
    category: Text = ""
    breed: Text = ""

    def parse_draft(self) -> Draft:
        """The draft that the fields describe. Raises UserError for what cannot be posted."""
        if not self.category:
            raise UserError("Please choose a category.")
        return Draft(
            self.title,
            self.description,
            tuple(filter(None, TAG_SEPARATORS.split(self.tags))),
            self.category,
            self.breed or None,
        )

    def with_suggestions(self, accepted: list[SuggestionValues]) -> "PostFields":
        """The fields with accepted suggestions filled in where the member wrote nothing.

        With scripts the fields hold them already.
        """
        fields = self
        for suggestion in accepted:
            what, value = suggestion["what"], str(suggestion["value"])
            if what == "title" and not fields.title.strip():
                fields = replace(fields, title=value)
            elif what == "tag" and value not in TAG_SEPARATORS.split(fields.tags):
                fields = replace(fields, tags=f"{fields.tags} {value}".strip())
            elif what == "kind" and not fields.category:
                category, _, breed = value.partition("|")
                fields = replace(fields, category=category, breed=breed)
        return fields


SentPost = Annotated[PostFields, Depends(from_fields(PostFields))]


@dataclass(frozen=True)
class NewPostForm:
    """The form for a new post, as it was sent. The same `key` again is the same post."""

    key: Text
    post: SentPost
    photos: SentPhoto
    suggestion: Annotated[SuggestionFields, Depends(from_fields(SuggestionFields))]


SentNewPost = Annotated[NewPostForm, Depends(from_fields(NewPostForm))]


@read_route(router, "/animals/post")
def show_post_form(context: Read) -> Response:
    return render_post_form(context, PostFields(), secrets.token_urlsafe(16))


def render_post_form(
    context: ReadContext,
    fields: PostFields,
    key: str,
    *,
    error: UserError | None = None,
    suggested: Mapping[str, Any] | None = None,
) -> Response:
    """The form, empty or as it was sent, with what is wrong and what is suggested.

    Each form has its own idempotency key, so that sending it twice posts once.
    """
    return render_site_page(
        context,
        "post_form.html",
        status=error.status if error else 200,
        section="post",
        post=None,
        draft=fields,
        error=say_error(context.request, error),
        idempotency_key=key,
        max_upload_mb=photo_files.MAX_UPLOAD_MB,
        **(suggested or {}),
    )


@write_route(router, "/animals/post", max_bytes=PHOTO_FORM_BYTES)
def submit_post(context: MemberWrite, sent: SentNewPost) -> Response:
    """Post a photo, which its owner sees at once; without scripts also: suggest first.

    What is wrong is shown on the form. The photo has to be chosen again, as browsers require,
    unless it was stored before.
    """
    suggested: Mapping[str, Any] | None = None
    try:
        if sent.suggestion.step == "suggest":
            suggested = suggestions.store_and_suggest(context, sent.key, sent.photos.read_photo())
            with context.reading() as reading:
                return render_post_form(reading, sent.post, sent.key, suggested=suggested)
        stored = None
        if sent.suggestion.stored_digest and sent.photos.sent is not None:
            # Another photo: suggestions for the first one do not apply to it.
            sent = replace(sent, suggestion=SuggestionFields())
        elif sent.suggestion.stored_digest:
            stored = suggestions.load_stored_photo(context, sent.key, sent.suggestion)
            suggested = suggestions.repeat_suggestions(stored, sent.suggestion, context.visit.lang)
        post = create_post(context, sent, stored)
    except UserError as error:
        with context.reading() as reading:
            return render_post_form(reading, sent.post, sent.key, error=error, suggested=suggested)
    return go_to(context.request, f"/animals/posts/{post.id}")


def create_post(
    context: WriteContext, sent: NewPostForm, stored: photo_files.CleanPhoto | None
) -> Post:
    suggested, accepted = sent.suggestion.parse_suggested()
    accepted_values = [suggested[position] for position in sorted(accepted)]
    draft = sent.post.with_suggestions(accepted_values).parse_draft()
    photo = stored or photo_files.clean_upload(context.res, sent.photos.read_photo())
    res, person = context.res, context.person
    photo_files.store_files(res.objects, photo)

    def create_and_record(db: Session) -> Post:
        post = posts.create_post(
            db, res, person, posts.NewPost(draft, photo, sent.key), now=context.now
        )
        if suggested and post.posted_at == context.now:
            member = members.require_member(db, person)
            events.record_suggestions(
                db, member, post.id, sent.suggestion.suggested, accepted, now=context.now
            )
        return post

    return context.commit(create_and_record)


# ---- later ---------------------------------------------------------------------------------------


@read_route(router, "/animals/posts/{post_id}/edit")
def show_edit_form(context: Read, post_id: int) -> Response:
    """The form with a post's text, for its owner."""
    card = load_own_card(context, post_id)
    post = card.post
    fields = PostFields(
        post.title, post.description, " ".join(post.tags), post.category, post.breed or ""
    )
    return render_edit_form(context, card, fields)


def load_own_card(context: ReadContext, post_id: int) -> Card:
    """The card of one of the viewer's own posts. Raises NotFound for any other."""
    db, person = context.db, context.person
    card = post_queries.build_cards(
        db, person, [post_queries.load_visible_post(db, post_id, person)]
    )[0]
    if card.member.name != person.name:
        raise NotFound("There is no such post.")
    return card


def render_edit_form(
    context: ReadContext, card: Card, fields: PostFields, error: UserError | None = None
) -> Response:
    return render_site_page(
        context,
        "post_form.html",
        status=error.status if error else 200,
        post=card.post,
        photo=card.photo,
        draft=fields,
        error=say_error(context.request, error),
    )


@write_route(router, "/animals/posts/{post_id}/edit")
def submit_edit(context: MemberWrite, post_id: int, version: Text, fields: SentPost) -> Response:
    try:
        draft = fields.parse_draft()
        context.commit(
            lambda db: posts.edit_post(
                db,
                context.res.jobs,
                context.person,
                posts.PostVersion(post_id, parse_version(version)),
                draft,
                now=context.now,
            )
        )
    except UserError as error:
        if error.status != 400:
            raise
        with context.reading() as reading:
            return render_edit_form(reading, load_own_card(reading, post_id), fields, error)
    return go_to(context.request, f"/animals/posts/{post_id}", msgid("Your post is changed."))


@write_route(router, "/animals/posts/{post_id}/delete")
def submit_post_deletion(context: MemberWrite, post_id: int) -> Response:
    """Delete a post; the page that follows offers to undo it."""
    context.commit(lambda db: posts.delete_post(db, context.person, post_id, now=context.now))
    return go_to(context.request, f"/animals/posts/{post_id}")


@write_route(router, "/animals/posts/{post_id}/undo")
def submit_undo(context: MemberWrite, post_id: int) -> Response:
    context.commit(lambda db: posts.undo_delete(db, context.person, post_id, now=context.now))
    return go_to(context.request, f"/animals/posts/{post_id}", msgid("Your post is back."))

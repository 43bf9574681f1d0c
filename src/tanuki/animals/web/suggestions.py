"""Suggestions on the form for a post: loaded by a script, or in the form itself without scripts."""

import hmac
import json
from base64 import b64encode
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Annotated, Any

from fastapi import APIRouter, Form, UploadFile
from fastapi.responses import Response
from sqlalchemy.orm import Session

from tanuki.animals import events, members, post_queries
from tanuki.animals.assist import suggestions
from tanuki.animals.assist.suggestions import Suggestions
from tanuki.animals.http.deps import PHOTO_FORM_BYTES, MemberWrite, ReadContext, WriteContext
from tanuki.animals.images import photo_files
from tanuki.animals.tables import Photo
from tanuki.animals.web.layout import Text, render_site_page, taxonomy_names
from tanuki.errors import UserError
from tanuki.platform.accounts import Person
from tanuki.platform.web.pages import write_route

router = APIRouter()
SuggestionValues = dict[str, Any]
"""A suggestion in the form's hidden field: what (kind, title or tag), value, lang, source."""


@dataclass(frozen=True)
class Chip:
    """A suggestion as the form shows it; `value` is what it fills into `field`."""

    field: str
    value: str
    text: str
    lang: str | None
    confidence: float | None = None
    accepted: bool = False


@dataclass(frozen=True)
class StoredPhoto:
    """A photo that is stored before its post is sent, for forms without scripts.

    The signature proves that this member sent the photo with this form.
    """

    digest: str
    signature: str
    data_uri: str


@dataclass(frozen=True)
class SuggestionFields:
    """What the form for a post sends back of its suggestions.

    `step` is "suggest" when the form asks for suggestions and is not to be posted yet.
    `stored_digest` and `signature` name a stored photo. `suggested` holds the suggestions as JSON,
    `accepted` the positions of those that the member accepted.
    """

    step: Text = ""
    stored_digest: Text = ""
    signature: Text = ""
    suggested: Text = ""
    accepted: Annotated[list[str] | None, Form()] = None

    def parse_suggested(self) -> tuple[list[SuggestionValues], set[int]]:
        """The suggestions, and the positions of the accepted ones."""
        if not self.suggested:
            return [], set()
        suggested = events.parse_suggestions(self.suggested)
        return suggested, {
            int(position)
            for position in self.accepted or ()
            if position.isdecimal() and len(position) < 4 and int(position) < len(suggested)
        }


@write_route(router, "/animals/post/suggestions", max_bytes=PHOTO_FORM_BYTES)
def render_suggestions(context: MemberWrite, photo: UploadFile | None = None) -> Response:
    """Suggestions for a photo as a part of the for its script. The photo is not stored."""
    if photo is None:
        raise UserError("Please take or choose a photo.")
    content = photo.file.read()
    context.commit(lambda db: suggestions.count_request(db, context.person, now=context.now))
    accepted = photo_files.clean_upload(context.res, content)
    with context.reading() as reading:
        suggested = suggestions.suggest_for_photo(
            context.res, reading.db, context.person, accepted, now=context.now
        )
        return render_site_page(
            reading, "_suggestions.html", **suggestion_values(reading, suggested)
        )


# ---- without scripts -----------------------------------------------------------------------------


def store_and_suggest(context: WriteContext, key: str, content: bytes) -> Mapping[str, Any]:
    """Store a photo for an hour, and give what the form needs to show suggestions for it."""
    context.commit(lambda db: suggestions.count_request(db, context.person, now=context.now))
    accepted = photo_files.clean_upload(context.res, content)
    objects = context.res.objects
    photo_files.store_files(objects, accepted)
    with context.res.db.write() as db:
        photo_files.save_photo(db, objects, accepted, now=context.now)
    with context.reading() as reading:
        suggested = suggestions.suggest_for_photo(
            context.res, reading.db, context.person, accepted, now=context.now
        )
        signature = sign_photo(reading.db, context.person, key, accepted.digest)
        return {
            "stored_photo": describe_stored_photo(accepted, signature),
            **suggestion_values(reading, suggested),
        }


def describe_stored_photo(accepted: photo_files.CleanPhoto, signature: str) -> StoredPhoto:
    image = b64encode(accepted.files["list"]).decode()
    return StoredPhoto(accepted.digest, signature, f"data:image/jpeg;base64,{image}")


def sign_photo(db: Session, person: Person, key: str, digest: str) -> str:
    """The signature of a photo that a member sent with the form of this idempotency key."""
    secret = members.require_member(db, person).pseudonym.encode()
    return hmac.new(secret, f"{key}\0{digest}".encode(), "sha256").hexdigest()


def load_stored_photo(
    context: WriteContext, key: str, fields: SuggestionFields
) -> photo_files.CleanPhoto:
    """The photo that was stored before. Raises UserError when it is gone or not signed."""
    digest = fields.stored_digest
    with context.res.db.read() as db:
        photo = db.get(Photo, digest)
        if photo is None or not hmac.compare_digest(
            sign_photo(db, context.person, key, digest).encode(), fields.signature.encode()
        ):
            raise UserError("Please take or choose a photo.")
        files = {
            size: context.res.objects.get(photo_files.object_key(digest, size))
            for size in photo_files.PHOTO_SIDES
        }
        return photo_files.CleanPhoto(
            digest, photo.source, photo.width, photo.height, photo.colour, files
        )


def repeat_suggestions(
    stored: photo_files.CleanPhoto, fields: SuggestionFields, lang: str
) -> Mapping[str, Any]:
    """What the form needs to show the same suggestions again, when another field was wrong."""
    suggested, accepted = fields.parse_suggested()
    return {
        "stored_photo": describe_stored_photo(stored, fields.signature),
        "chips": [
            build_chip(values, lang, accepted=position in accepted)
            for position, values in enumerate(suggested)
        ],
        "suggested": fields.suggested,
        "near_duplicates": [],
        "hints": [],
    }


# ---- on the form ---------------------------------------------------------------------------------


def suggestion_values(context: ReadContext, suggested: Suggestions) -> dict[str, Any]:
    """What the part of the form with suggestions shows; the reader's language comes first."""
    values = list(list_suggestions(suggested, context.lang))
    confidence = suggested.subject.confidence if suggested.subject is not None else None
    cards = post_queries.build_cards(
        context.db, context.viewer, [duplicate.post for duplicate in suggested.near_duplicates]
    )
    own_ids = {duplicate.post.id for duplicate in suggested.near_duplicates if duplicate.mine}
    return {
        "chips": [
            build_chip(
                suggestion,
                context.lang,
                confidence=confidence if suggestion["what"] == "kind" else None,
            )
            for suggestion in values
        ],
        "suggested": json.dumps(
            {"request": suggested.request, "offered": values}, ensure_ascii=False
        ),
        "near_duplicates": [(card, card.post.id in own_ids) for card in cards],
        "hints": suggested.hints,
    }


def list_suggestions(suggested: Suggestions, lang: str) -> Iterable[SuggestionValues]:
    if suggested.subject is not None:
        subject = suggested.subject
        kind = f"{subject.category}|{subject.breed or ''}"
        yield {"what": "kind", "value": kind, "lang": None, "source": "image_model"}
    for what, words in (("title", suggested.titles), ("tag", suggested.tags)):
        for word in sorted(words, key=lambda word: word.lang != lang):
            yield {"what": what, "value": word.text, "lang": word.lang, "source": word.source}


def build_chip(
    values: SuggestionValues,
    lang: str,
    *,
    confidence: float | None = None,
    accepted: bool = False,
) -> Chip:
    what, value = values["what"], values["value"]
    text = translate_suggestion(what, value, lang)
    return Chip(what, value, text, values["lang"], confidence, accepted)


def translate_suggestion(what: str, value: str, lang: str) -> str:
    """A suggested category and breed in the reader's language; titles and tags as they are."""
    if what != "kind":
        return value
    category, _, breed = value.partition("|")
    names = taxonomy_names(lang)
    return str(names["category_name"](category)) + (
        f" · {names['breed_name'](breed)}" if breed else ""
    )

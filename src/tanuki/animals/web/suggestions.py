"""Suggestions on the form for a post: as a piece that a script shows, or in the form itself for who has no scripts."""

import hmac
import json
from base64 import b64encode
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from fastapi import APIRouter, Request, UploadFile
from fastapi.responses import Response
from sqlalchemy.orm import Session

from tanuki.animals import events, members, posts
from tanuki.animals.assist import suggestions
from tanuki.animals.assist.suggestions import Suggestions
from tanuki.animals.http.deps import PICTURE_BYTES, Acting, now
from tanuki.animals.images import photo_files
from tanuki.animals.tables import Photo
from tanuki.animals.web.layout import form, names, show
from tanuki.errors import UserError
from tanuki.platform.accounts import Person
from tanuki.platform.resources import Resources
from tanuki.platform.web.pages import Lang, Res

router = APIRouter()
Offer = dict[str, Any]  # as the form says it: what (kind, title or tag), value, lang, source


@dataclass(frozen=True)
class Chip:
    """One suggestion as it is shown. `value` is what it fills in."""

    what: str
    value: str
    text: str
    lang: str | None
    confidence: float | None = None
    taken: bool = False


@dataclass(frozen=True)
class Kept:
    """A photo that was looked at and not posted yet, for who has no scripts. The seal says that this member sent it with this form."""

    digest: str
    seal: str
    shown: str  # as a data: URI


@form(router, "/animals/post/suggestions", max_bytes=PICTURE_BYTES)
def suggest_for_photo(
    request: Request, res: Res, who: Acting, lang: Lang, photo: UploadFile | None = None
) -> Response:
    """What to say about a photo, as a piece of the form, for the script that shows it there. The photo is not kept."""
    content = chosen(photo)
    res.db.write_batched(lambda db: suggestions.allow(db, who, now=now()))
    accepted = photo_files.accept(content)
    with res.db.read() as db:
        return show(
            request,
            db,
            "_suggestions.html",
            **shown(db, who, suggestions.suggest(res, db, who, accepted, now=now()), lang),
        )


def chosen(sent: UploadFile | None) -> bytes:
    """The photo that was sent along."""
    if sent is None:
        raise UserError("Please take or choose a photo.")
    return sent.file.read()


# ---- without scripts -----------------------------------------------------------------------------------------------


def looked_at(
    res: Resources, who: Person, lang: str, key: str, content: bytes
) -> Mapping[str, Any]:
    """What the form needs to show suggestions. The photo is kept for an hour, so that they are about no other."""
    res.db.write_batched(lambda db: suggestions.allow(db, who, now=now()))
    accepted = photo_files.accept(content)
    photo_files.store(res.objects, accepted)
    with res.db.write() as db:
        photo_files.keep(db, res.objects, accepted, now=now())
    with res.db.read() as db:
        found = suggestions.suggest(res, db, who, accepted, now=now())
        return {
            "kept": kept_as(accepted, sealed(db, who, key, accepted.digest)),
            **shown(db, who, found, lang),
        }


def kept_as(accepted: photo_files.Accepted, seal: str) -> Kept:
    """A kept photo for the form."""
    return Kept(
        accepted.digest,
        seal,
        f"data:image/jpeg;base64,{b64encode(accepted.files['list']).decode()}",
    )


def sealed(db: Session, who: Person, key: str, digest: str) -> str:
    """What only we can say of a photo that this member sent with this form."""
    return hmac.new(
        members.require_member(db, who).pseudonym.encode(), f"{key}\0{digest}".encode(), "sha256"
    ).hexdigest()


def again(res: Resources, who: Person, key: str, digest: str, seal: str) -> photo_files.Accepted:
    """The photo that was looked at before, while it is kept."""
    with res.db.read() as db:
        photo = db.get(Photo, digest)
        if photo is None or not hmac.compare_digest(
            sealed(db, who, key, digest).encode(), seal.encode()
        ):
            raise UserError("Please take or choose a photo.")
        files = {size: res.objects.get(photo_files.key(digest, size)) for size in photo_files.SIZES}
        return photo_files.Accepted(
            digest, photo.source, photo.width, photo.height, photo.colour, files
        )


def as_before(
    accepted: photo_files.Accepted,
    seal: str,
    suggested: str,
    offered: Sequence[Offer],
    taken: set[int],
    lang: str,
) -> Mapping[str, Any]:
    """What the form needs to show the same suggestions again, when something else was wrong."""
    chips = [
        Chip(
            each["what"],
            each["value"],
            text_of(each["what"], each["value"], lang),
            each["lang"],
            taken=place in taken,
        )
        for place, each in enumerate(offered)
    ]
    return {
        "kept": kept_as(accepted, seal),
        "chips": chips,
        "suggested": suggested,
        "near_duplicates": [],
        "hints": [],
    }


# ---- on the form ---------------------------------------------------------------------------------------------------


def shown(db: Session, who: Person, found: Suggestions, lang: str) -> dict[str, Any]:
    """What the piece of the form with suggestions needs; those in the reader's language come first."""
    offered: list[Offer] = []
    sure: list[float | None] = []
    if found.subject is not None:
        offered.append(
            {
                "what": "kind",
                "value": f"{found.subject.category}|{found.subject.breed or ''}",
                "lang": None,
                "source": "image_model",
            }
        )
        sure.append(found.subject.confidence)
    for what, words in (("title", found.titles), ("tag", found.tags)):
        for word in sorted(words, key=lambda each: each.lang != lang):
            offered.append(
                {"what": what, "value": word.text, "lang": word.lang, "source": word.source}
            )
            sure.append(None)
    chips = [
        Chip(
            each["what"],
            each["value"],
            text_of(each["what"], each["value"], lang),
            each["lang"],
            certain,
        )
        for each, certain in zip(offered, sure, strict=True)
    ]
    cards = posts.build_cards(db, who, [duplicate.post for duplicate in found.near_duplicates])
    mine = {duplicate.post.id for duplicate in found.near_duplicates if duplicate.mine}
    said = json.dumps({"request": found.request, "offered": offered}, ensure_ascii=False)
    return {
        "chips": chips,
        "suggested": said,
        "near_duplicates": [(card, card.post.id in mine) for card in cards],
        "hints": found.hints,
    }


def text_of(what: str, value: str, lang: str) -> str:
    """A suggestion in the reader's language; words as they are."""
    if what != "kind":
        return value
    category, _, breed = value.partition("|")
    called = names(lang)
    return str(called["category_name"](category)) + (
        f" · {called['breed_name'](breed)}" if breed else ""
    )


def told(suggested: str, take: Sequence[str]) -> tuple[list[Offer], set[int]]:
    """What the form says was suggested, and the places of what was taken."""
    if not suggested:
        return [], set()
    offered = events.parse_suggestions(suggested)
    return offered, {
        int(each)
        for each in take
        if each.isdecimal() and len(each) < 4 and int(each) < len(offered)
    }

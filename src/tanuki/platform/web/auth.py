"""Who sends a request: session cookie, API token or nobody; sign-in checks and CSRF protection."""

import secrets
from dataclasses import dataclass
from datetime import UTC, datetime
from enum import StrEnum
from functools import cached_property
from hashlib import sha256
from typing import Annotated

from fastapi import Depends, Request
from fastapi.concurrency import run_in_threadpool
from itsdangerous import Signer

from tanuki import i18n
from tanuki.errors import NotAllowed, SignInNeeded
from tanuki.i18n import LANGS, Translate
from tanuki.platform import rate_limit, sessions, tokens
from tanuki.platform.accounts import Person
from tanuki.platform.resources import Resources
from tanuki.platform.web.site import Res, Site, get_site

FORM_FIELDS = 20_000  # the page that checks a proposal has a few fields for each store and item
THEMES = ("auto", "light", "dark")
SAFE_METHODS = ("GET", "HEAD", "OPTIONS")  # an API token with the scope `read` may use these
PASSWORD_CHECKS_PER_HOUR = 10
VISIT = "tanuki_visit"  # in a request's scope


class SignInMethod(StrEnum):
    SESSION = "session"
    TOKEN = "token"  # noqa: S105 no secret
    NONE = "none"


@dataclass(frozen=True)
class Preferences:
    """The language and theme that somebody reads in."""

    lang: str
    theme: str


@dataclass(frozen=True)
class Visit:
    """Who sends a request, how we know, and how they like to read.

    `secret` is the session's or the visitor's: forms and flash messages are signed with it.
    `is_new` says that the visitor's cookie is not set yet.
    """

    person: Person | None
    method: SignInMethod
    secret: str
    lang: str
    theme: str
    is_new: bool = False

    @cached_property
    def csrf_token(self) -> str:
        """What every form of this visit must send along. It does not reveal the secret."""
        return csrf_signer(self.secret).get_signature(b"form").decode()


def csrf_signer(secret: str) -> Signer:
    return Signer(secret, salt="csrf", digest_method=sha256)


# ---- the visit -----------------------------------------------------------------------------------


def get_visit(request: Request) -> Visit:
    """The visit of a request, worked out once and kept in its scope for error pages, too.

    Raises SignInNeeded for an API token that is not valid, and NotAllowed for one that may only
    read when the request changes something.
    """
    visit = request.scope.get(VISIT)
    if isinstance(visit, Visit):
        return visit
    site, now = get_site(request), datetime.now(UTC)
    scheme, _, bearer = request.headers.get("authorization", "").partition(" ")
    preferences = read_preferences(request)
    if scheme.lower() == "bearer":
        is_safe = request.method in SAFE_METHODS
        visit = identify_token(site.resources, bearer.strip(), now, preferences, is_safe=is_safe)
    else:
        visit = identify_session(site, request, now, preferences)
    request.scope[VISIT] = visit
    return visit


def read_preferences(request: Request) -> Preferences:
    """Language and theme from this browser's cookies, else the language that it asks for."""
    cookies = get_site(request).cookies
    lang, theme = cookies.get(request, "lang"), cookies.get(request, "theme")
    if lang not in LANGS:
        lang = i18n.negotiate_language(request.headers.get("accept-language", "")[:200])
    return Preferences(lang, theme if theme in THEMES else "auto")


def identify_token(
    res: Resources, token: str, now: datetime, preferences: Preferences, *, is_safe: bool
) -> Visit:
    """The visit of a program with an API token."""
    with res.db.read() as db:
        bearer = tokens.authenticate_token(db, token, now)
    if bearer is None:
        raise SignInNeeded("The API token is not valid; make a new one on the account page.")
    person, use_is_due = bearer
    if not is_safe and not person.may_use("write"):
        raise NotAllowed(
            "This API token may only read; make one that may write on the account page."
        )
    if use_is_due:
        with res.db.write() as db:
            tokens.save_token_use(db, token, now)
    return Visit(person, SignInMethod.TOKEN, token, preferences.lang, preferences.theme)


def identify_session(
    site: Site, request: Request, now: datetime, preferences: Preferences
) -> Visit:
    """The visit of a browser, signed in or not."""
    secret = site.cookies.get(request, "session")
    if secret:
        with site.resources.db.read() as db:
            session = sessions.load_session_person(db, secret, now)
        if session is not None:
            person, lang, theme = session
            return Visit(
                person,
                SignInMethod.SESSION,
                secret,
                lang or preferences.lang,
                theme or preferences.theme,
            )
    return anonymous_visit(preferences, site.cookies.get(request, "visitor"))


def anonymous_visit(preferences: Preferences, secret: str = "") -> Visit:
    """The visit of somebody who is not signed in; without a cookie's secret, a new one."""
    return Visit(
        None,
        SignInMethod.NONE,
        secret or secrets.token_urlsafe(24),
        preferences.lang,
        preferences.theme,
        is_new=not secret,
    )


# ---- what routes ask for -------------------------------------------------------------------------


async def resolve_visit(request: Request) -> Visit:
    """The visit; in a thread when the database must be asked for it."""
    has_credentials = "authorization" in request.headers or get_site(request).cookies.get(
        request, "session"
    )
    return await run_in_threadpool(get_visit, request) if has_credentials else get_visit(request)


CurrentVisit = Annotated[Visit, Depends(resolve_visit)]


async def require_person(visit: CurrentVisit) -> Person:
    """The person who is signed in; raises SignInNeeded when nobody is."""
    if visit.person is None:
        raise SignInNeeded("Please sign in.")
    return visit.person


CurrentPerson = Annotated[Person, Depends(require_person)]


async def get_viewer(visit: CurrentVisit) -> Person | None:
    """The person who is signed in, or None: for pages that visitors may see."""
    return visit.person


Viewer = Annotated[Person | None, Depends(get_viewer)]


async def get_lang(visit: CurrentVisit) -> str:
    return visit.lang


Lang = Annotated[str, Depends(get_lang)]


async def get_translator(request: Request, visit: CurrentVisit) -> Translate:
    return get_site(request).texts.translator(visit.lang)


Say = Annotated[Translate, Depends(get_translator)]
"""`say(text, **values)` in the reader's language."""


@dataclass(frozen=True)
class Reader:
    """A person who is signed in, and the language that they read."""

    person: Person
    lang: str
    say: Translate


async def get_reader(person: CurrentPerson, lang: Lang, say: Say) -> Reader:
    return Reader(person, lang, say)


CurrentReader = Annotated[Reader, Depends(get_reader)]


async def require_csrf(request: Request, visit: CurrentVisit) -> None:
    """Refuse a request that another site made a signed-in browser send.

    A page sends the token in its form, a script in the header `X-CSRF-Token`. A bearer's token
    cannot be sent by another site, so it needs no other.
    """
    if visit.method == SignInMethod.TOKEN:
        return
    token: object = request.headers.get("x-csrf-token")
    if token is None and not request.url.path.startswith("/api/"):
        token = (await request.form(max_fields=FORM_FIELDS)).get("csrf")
    if not isinstance(token, str) or not csrf_signer(visit.secret).verify_signature(
        b"form", token.encode()
    ):
        raise NotAllowed(
            "This form is too old or was not made by this page; "
            "open the page again and send it once more."
        )


CsrfProtected = Depends(require_csrf)


def count_password_check(
    res: Res, person: CurrentPerson, _: Annotated[None, CsrfProtected]
) -> None:
    """Limit how often somebody who is signed in may be asked for their password, right or wrong.

    It counts before the page does anything, so that nobody guesses the password at a browser that
    its owner left open.
    """
    with res.db.write() as db:
        rate_limit.count_use(
            db,
            person.name,
            rate_limit.RateLimit("password", PASSWORD_CHECKS_PER_HOUR, 3600),
            datetime.now(UTC),
        )


PasswordCheck = Depends(count_password_check)  # on every route that takes the current password

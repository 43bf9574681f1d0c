"""How a typed function becomes a page: HTML, JSON and CSV from one view, forms and JSON from one action, and who is asking.

Closed by default: a page or action is for people who are signed in, unless it says `public=True`.
"""

import hmac
import inspect
import json
import secrets
from base64 import urlsafe_b64decode, urlsafe_b64encode
from binascii import Error as Base64Error
from collections.abc import AsyncIterator, Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from functools import cached_property
from hashlib import sha256
from pathlib import Path
from typing import Annotated, Any
from urllib.parse import urlencode

from anyio import CancelScope, CapacityLimiter, to_thread
from fastapi import APIRouter, Depends, Request
from fastapi.concurrency import run_in_threadpool
from fastapi.responses import HTMLResponse, RedirectResponse, Response
from jinja2 import Environment
from markupsafe import Markup
from pydantic import BaseModel
from sqlalchemy.orm import Session

from tanuki import i18n
from tanuki.errors import NotAllowed, SignInNeeded
from tanuki.i18n import LANGS, Texts
from tanuki.platform import accounts, tokens
from tanuki.platform.accounts import Person
from tanuki.platform.metrics import Metrics
from tanuki.platform.resources import Resources
from tanuki.platform.web import assets, spreadsheet
from tanuki.platform.web.assets import StaticFile
from tanuki.platform.web.signatures import answering, from_json

HERE = Path(__file__).parent
FORM_BYTES = 1_000_000
UPLOAD_BYTES = 200_000_000
FORM_FIELDS = 20_000  # a check page has a few fields for each store and item
THEMES = ("auto", "light", "dark")
YEAR_SECONDS = 365 * 24 * 3600
LOOKING = ("GET", "HEAD", "OPTIONS")  # an API token needs no more than reading for these
MAX_BYTES = "tanuki_max_bytes"  # the attribute by which an endpoint says how large a body it takes
ANYBODY = "anybody"  # as a menu entry's role: seen without signing in, too


@dataclass(frozen=True)
class System:
    """What a system adds to the site. Its router has no prefix: paths are whole, `/shop/…`.

    A menu entry is (path, title as msgid, roles that see it; none: everybody who is signed in). Templates extend `base.html`.
    The files in `static` get URLs that change with their content; templates ask `static('name')` for them.
    """

    key: str
    title: str
    router: APIRouter
    menu: Sequence[tuple[str, str, tuple[str, ...]]]
    templates: Path
    locale: Path
    static: Path | None = None
    leave: str | None = None  # the page where people leave for good; the account page leads there
    signed_up: Callable[[Session, Person], None] | None = (
        None  # what it does when somebody made themselves an account, in that transaction
    )
    frame: str = "base.html"  # the template that its pages extend, and the platform's own (errors, the account) where they belong to it
    helpers: Mapping[str, Callable[..., Any]] = field(
        default_factory=dict
    )  # functions that templates know by these names


@dataclass(frozen=True)
class Site:
    """What all pages share; made once."""

    resources: Resources
    systems: tuple[System, ...]
    texts: Texts
    metrics: Metrics
    pages: dict[str, Environment]
    static: dict[str, StaticFile]

    def cookie(self, name: str) -> str:
        """A cookie's name; over HTTPS the browser lets no other host set it."""
        return f"__Host-tanuki-{name}" if self.resources.settings.https else f"tanuki-{name}"

    def set_cookie(
        self, response: Response, name: str, value: str, *, seconds: int | None = None
    ) -> None:
        """Set one of our cookies: never read by scripts, not sent by other sites' forms."""
        secure = self.resources.settings.https
        response.set_cookie(
            self.cookie(name),
            value,
            max_age=seconds,
            path="/",
            httponly=True,
            samesite="lax",
            secure=secure,
        )

    def drop_cookie(self, response: Response, name: str) -> None:
        """Take one of our cookies back."""
        response.delete_cookie(
            self.cookie(name),
            path="/",
            httponly=True,
            samesite="lax",
            secure=self.resources.settings.https,
        )


@dataclass(frozen=True)
class Visit:
    """Who is asking, how we know, and how they like to read."""

    person: Person | None
    via: str  # session, token or nobody
    token: str  # the session's or visitor's secret: forms and flashed messages are bound to it
    lang: str
    theme: str
    new: bool = False  # the visitor's cookie is not set yet

    @cached_property
    def csrf(self) -> str:
        """What a form must bring back; made from the secret, which it does not betray."""
        return hmac.new(self.token.encode(), b"csrf", sha256).hexdigest()


@dataclass(frozen=True)
class Done:
    """What an action did: where to go on, and a message (a msgid, with its values) shown there."""

    to: str
    message: str = ""
    values: Mapping[str, object] = field(default_factory=dict)


def site(systems: Sequence[System], resources: Resources, metrics: Metrics) -> Site:
    """Read templates, texts and static files once."""
    texts = Texts([HERE / "locale", *(system.locale for system in systems)])
    static = assets.static_files(
        [HERE / "static", *(system.static for system in systems if system.static is not None)]
    )
    folders = [HERE / "templates", *(system.templates for system in systems)]
    helpers = {name: helper for system in systems for name, helper in system.helpers.items()}
    pages = {
        lang: assets.environment(lang, folders, texts, static, url=url, **helpers) for lang in LANGS
    }
    return Site(resources, tuple(systems), texts, metrics, pages, static)


def url(path: str, **query: object) -> str:
    """A path with a query; what is None or empty is left out."""
    given = {name: value for name, value in query.items() if value not in (None, "")}
    return f"{path}?{urlencode(given, doseq=True)}" if given else path


# ---- who is asking -------------------------------------------------------------------------------------------------


def site_of(request: Request) -> Site:
    """The site that a request came to."""
    found = request.app.state.site
    assert isinstance(found, Site)
    return found


async def resources_of(
    request: Request,
) -> Resources:  # async: what waits for nothing needs no thread
    return site_of(request).resources


Res = Annotated[Resources, Depends(resources_of)]


def visit_of(request: Request) -> Visit:
    """Who is asking: the bearer of an API token, a signed-in browser, or nobody we know. Remembered for error pages."""
    found = request.scope.get("tanuki_visit")
    if isinstance(found, Visit):
        return found
    here, now = site_of(request), datetime.now(UTC)
    scheme, _, bearer = request.headers.get("authorization", "").partition(" ")
    if scheme.lower() == "bearer":
        made = visit_by_token(
            here.resources, bearer.strip(), now, reader(request), request.method in LOOKING
        )
    else:
        made = visit_by_session(here, request, now)
    request.scope["tanuki_visit"] = made
    return made


def reader(request: Request) -> tuple[str, str]:
    """Language and theme as this browser remembers them, or as it asks for."""
    here = site_of(request)
    lang = request.cookies.get(here.cookie("lang"), "")
    theme = request.cookies.get(here.cookie("theme"), "")
    return lang if lang in LANGS else i18n.from_header(
        request.headers.get("accept-language", "")[:200]
    ), theme if theme in THEMES else "auto"


def visit_by_token(
    res: Resources, token: str, now: datetime, liked: tuple[str, str], looks: bool
) -> Visit:
    """A program with an API token; a token that is not good, or only for looking, is refused at once."""
    with res.db.read() as db:
        found = tokens.bearer(db, token, now)
    if found is None:
        raise SignInNeeded("The API token is not valid; make a new one on the account page.")
    person, due = found
    if not looks and not person.may("write"):
        raise NotAllowed(
            "This API token may only read; make one that may write on the account page."
        )
    if due:
        with res.db.write() as db:
            tokens.note_token_use(db, token, now)
    return Visit(person, "token", token, *liked)


def visit_by_session(here: Site, request: Request, now: datetime) -> Visit:
    """A browser, signed in or not."""
    liked = reader(request)
    token = request.cookies.get(here.cookie("session"), "")
    if token:
        with here.resources.db.read() as db:
            found = accounts.signed_in(db, token, now)
        if found is not None:
            person, lang, theme = found
            return Visit(person, "session", token, lang or liked[0], theme or liked[1])
    visitor = request.cookies.get(here.cookie("visitor"), "")
    return Visit(None, "nobody", visitor or secrets.token_urlsafe(24), *liked, new=not visitor)


async def visiting(request: Request) -> Visit:
    """The visit, for what a route asks for: found in a thread when it has to be looked up."""
    shown = "authorization" in request.headers or request.cookies.get(
        site_of(request).cookie("session")
    )
    return await run_in_threadpool(visit_of, request) if shown else visit_of(request)


Visiting = Annotated[Visit, Depends(visiting)]


async def person_of(visit: Visiting) -> Person:
    """The person who is asking; nobody is sent to sign in."""
    if visit.person is None:
        raise SignInNeeded("Please sign in.")
    return visit.person


Who = Annotated[Person, Depends(person_of)]


async def viewer_of(visit: Visiting) -> Person | None:
    """The person who is looking, or None: this may be looked at without signing in."""
    return visit.person


Viewer = Annotated[Person | None, Depends(viewer_of)]


async def lang_of(visit: Visiting) -> str:
    return visit.lang


Lang = Annotated[str, Depends(lang_of)]


async def read_session(request: Request) -> AsyncIterator[Session]:
    """It takes a connection in the thread that first uses it, and waits for nothing when it gives it back to SQLite."""
    database = site_of(request).resources.db
    db = database.reader()
    try:
        yield db
    finally:
        if database.embedded or not db.in_transaction():
            db.close()
        else:
            with CancelScope(
                shield=True
            ):  # in a thread of its own: those of the pool may be waiting for this connection
                await to_thread.run_sync(db.close, limiter=CapacityLimiter(1))


def write_session(res: Res, visit: Visiting) -> Iterator[Session]:
    """One transaction. It begins after the visit is known: noting a token's use writes, too."""
    with res.db.write() as db:
        yield db


Db = Annotated[Session, Depends(read_session, scope="function")]
WriteDb = Annotated[Session, Depends(write_session, scope="function")]


async def from_our_form(request: Request, visit: Visiting) -> None:
    """Refuse what another site made a signed-in browser send. A bearer's token cannot be sent that way."""
    if visit.via == "token":
        return
    given: object = request.headers.get("x-csrf-token")
    if given is None and not request.url.path.startswith("/api/"):
        given = (await request.form(max_fields=FORM_FIELDS)).get("csrf")
    if not isinstance(given, str) or not hmac.compare_digest(given.encode(), visit.csrf.encode()):
        raise NotAllowed(
            "This form is too old or was not made by this page; open the page again and send it once more."
        )


FromOurForm = Depends(from_our_form)


# ---- pages and actions ---------------------------------------------------------------------------------------------


def page(
    router: APIRouter,
    path: str,
    view: Callable[..., BaseModel],
    template: str,
    *,
    csv: Callable[[Any], Any] | None = None,
    public: bool = False,
) -> None:
    """Register what a view gives as HTML at `path`, as JSON at `/api` + path and, with `csv`, its rows at path + `.csv`.

    `csv` gives rows from what the view gave: models, mappings or a polars frame. The template gets it as `view`.
    """
    closed = [] if public else [Depends(person_of)]

    def as_html(request: Request, made: BaseModel) -> Response:
        return render(
            request,
            template,
            view=made,
            url_csv=f"{request.url.path}.csv{query(request)}" if csv else None,
        )

    def as_csv(request: Request, made: BaseModel) -> Response:
        assert csv is not None
        name = request.url.path.strip("/").replace("/", "-")
        return Response(
            spreadsheet.table(csv(made)),
            media_type="text/csv; charset=utf-8",
            headers={"Content-Disposition": f'attachment; filename="{name}"'},
        )

    if csv is not None:
        router.add_api_route(
            f"{path}.csv",
            answering(view, as_csv),
            include_in_schema=False,
            response_class=Response,
            dependencies=closed,
        )
    router.add_api_route(
        path,
        answering(view, as_html),
        include_in_schema=False,
        response_class=HTMLResponse,
        dependencies=[Depends(visiting), *closed],
    )
    shape = inspect.signature(view, eval_str=True).return_annotation
    router.add_api_route(f"/api{path}", view, response_model=shape, dependencies=closed)


def action(
    router: APIRouter,
    path: str,
    do: Callable[..., Done],
    *,
    max_bytes: int = FORM_BYTES,
    public: bool = False,
) -> None:
    """Register what a form does at POST `path`, and the same with a JSON object at `/api` + path (a form still, when it takes files).

    The form is answered with 303 to `Done.to`, where the message is shown; JSON with the message and where the result is.
    """
    dependencies = [Depends(visiting), *([] if public else [Depends(person_of)]), FromOurForm]
    limits: Any = {"max_fields": FORM_FIELDS, "max_part_size": FORM_BYTES}
    common: dict[str, Any] = {
        "methods": ["POST"],
        "dependencies": dependencies,
        "form_limits": limits,
    }
    form, program = answering(do, redirect), answering(from_json(do), outcome)
    for endpoint in (form, program):
        setattr(endpoint, MAX_BYTES, max_bytes)
    router.add_api_route(
        path,
        form,
        include_in_schema=False,
        status_code=303,
        response_class=RedirectResponse,
        **common,
    )
    router.add_api_route(f"/api{path}", program, response_model=Outcome, **common)


class Outcome(BaseModel):
    """What an action did, for programs."""

    message: str
    to: str


def redirect(request: Request, done: Done) -> Response:
    """On to the next page, which shows the message."""
    here, visit = site_of(request), visit_of(request)
    response = RedirectResponse(done.to, 303)
    if done.message:
        here.set_cookie(
            response,
            "flash",
            sealed(visit.token, here.texts.fill(visit.lang, done.message, done.values)),
            seconds=60,
        )
    return response


def outcome(request: Request, done: Done) -> Outcome:
    """What an action did, in the reader's language."""
    return Outcome(
        message=site_of(request).texts.fill(visit_of(request).lang, done.message, done.values),
        to=done.to,
    )


def query(request: Request) -> str:
    """The query as it was asked, with its question mark."""
    asked: str = request.scope["query_string"].decode("latin-1")
    return f"?{asked}" if asked else ""


# ---- HTML ----------------------------------------------------------------------------------------------------------


def render(request: Request, template: str, *, status: int = 200, **values: Any) -> HTMLResponse:
    """A page in the reader's language, with menu, message and the forms' secret."""
    here, visit = site_of(request), visit_of(request)
    message = unsealed(visit.token, request.cookies.get(here.cookie("flash"), ""))
    path: str = request.scope["path"]
    entries = menus(here.systems, visit.person, path)
    csrf = Markup(f'<input type="hidden" name="csrf" value="{visit.csrf}">')  # noqa: S704 hexadecimal digits only
    context: dict[str, Any] = {
        "who": visit.person,
        "theme": visit.theme,
        "here": f"{path}{query(request)}" if request.method == "GET" else path,
        "menus": entries,
        "frame": frame_of(here.systems, {title for title, _ in entries}, path),
        "flash": message,
        "csrf": lambda: csrf,
        "request_id": request.scope.get("tanuki_request_id", ""),
        "url_csv": None,
    }
    response = HTMLResponse(
        here.pages[visit.lang].get_template(template).render({**context, **values}), status
    )
    if here.cookie("flash") in request.cookies:
        here.drop_cookie(response, "flash")
    if visit.new:
        here.set_cookie(response, "visitor", visit.token)
    return response


@dataclass(frozen=True)
class MenuEntry:
    """A line of the menu as one person sees it on one page."""

    path: str
    title: str
    here: bool


def menus(
    systems: Iterable[System], person: Person | None, path: str
) -> list[tuple[str, list[MenuEntry]]]:
    """Each system's title and the entries that this person (or a visitor) may see, with the one they are on marked."""
    found = []
    for system in systems:
        seen = [
            (to, title)
            for to, title, roles in system.menu
            if ANYBODY in roles or (person and (not roles or person.has(*roles)))
        ]
        on = max(
            (to for to, _ in seen if path == to or path.startswith(f"{to}/")), key=len, default=None
        )
        if seen:
            found.append((system.title, [MenuEntry(to, title, to == on) for to, title in seen]))
    return found


def frame_of(systems: Iterable[System], seen: set[str], path: str) -> str:
    """The frame of the system that a path belongs to; else of the only system that this person sees; else the platform's."""
    under = [
        system
        for system in systems
        if path == f"/{system.key}" or path.startswith(f"/{system.key}/")
    ]
    only = under or [system for system in systems if system.title in seen]
    return only[0].frame if len(only) == 1 else "base.html"


def sealed(secret: str, text: str) -> str:
    """A text that only this browser's own session could have put into a cookie."""
    body = urlsafe_b64encode(json.dumps(text).encode()).decode()
    return f"{body}.{hmac.new(secret.encode(), f'flash:{body}'.encode(), sha256).hexdigest()}"


def unsealed(secret: str, cookie: str) -> str | None:
    """The text of a sealed cookie, or None when it is absent or not ours."""
    body, _, mark = cookie.partition(".")
    if not body or not hmac.compare_digest(
        mark.encode(),
        hmac.new(secret.encode(), f"flash:{body}".encode(), sha256).hexdigest().encode(),
    ):
        return None
    try:
        return str(json.loads(urlsafe_b64decode(body)))
    except (ValueError, Base64Error):
        return None


def safe_path(path: str) -> str:
    """A path of our own to go on to, or the front page when it leads elsewhere."""
    inside = (
        path.startswith("/")
        and not path.startswith(("//", "/\\"))
        and path.isprintable()
        and "\\" not in path
    )
    return path if inside else "/"

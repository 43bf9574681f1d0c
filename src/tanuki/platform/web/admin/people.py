"""Pages of people: signing up, in and out, their account, their language and theme, the front page, the API's list."""

from datetime import UTC, datetime
from typing import Annotated, Any

from fastapi import APIRouter, Depends, Form, Request
from fastapi.responses import HTMLResponse, JSONResponse, RedirectResponse, Response

from tanuki.errors import NotAllowed, NotFound, UserError
from tanuki.i18n import LANGS
from tanuki.platform import accounts, rate_limit, tokens
from tanuki.platform.web import rest
from tanuki.platform.web.pages import (
    THEMES,
    YEAR_SECONDS,
    Db,
    Done,
    FromOurForm,
    Res,
    Viewer,
    Visiting,
    Who,
    WriteDb,
    action,
    menus,
    render,
    safe_path,
    site_of,
    visiting,
)

router = APIRouter(dependencies=[Depends(visiting)])
Text = Annotated[str, Form()]
PASSWORDS = 10  # an hour: how often somebody may give their password again


@router.get("/", include_in_schema=False)
def front(request: Request, viewer: Viewer) -> Response:
    """On to the first page that this person, or a visitor, may see."""
    first = next(
        (entries[0].path for _, entries in menus(site_of(request).systems, viewer, "/")),
        "/account" if viewer else "/sign-in",
    )
    return RedirectResponse(first, 303)


# ---- signing in and out --------------------------------------------------------------------------------------------


@router.get("/sign-in", include_in_schema=False, response_class=HTMLResponse)
def sign_in_page(request: Request, visit: Visiting, res: Res, next: str = "/") -> Response:
    """The form, or straight on for somebody who is signed in already."""
    if visit.person is not None:
        return RedirectResponse(safe_path(next), 303)
    return render(
        request,
        "sign_in.html",
        next=safe_path(next),
        name="",
        wrong=False,
        sign_up=res.settings.sign_up,
    )


@router.post("/sign-in", include_in_schema=False, dependencies=[FromOurForm])
def sign_in(
    request: Request, db: WriteDb, res: Res, name: Text = "", password: Text = "", next: Text = "/"
) -> Response:
    """A session and on to where they wanted to go, or the form once more. A try that failed is committed, too: it counts."""
    token = accounts.sign_in(
        db,
        name,
        password,
        address=address_of(request),
        now=datetime.now(UTC),
        days=res.settings.session_days,
    )
    if token is None:
        shown = {
            "next": safe_path(next),
            "name": name,
            "wrong": True,
            "sign_up": res.settings.sign_up,
        }
        return render(request, "sign_in.html", status=400, **shown)
    return signed_in(request, token, next)


@router.get("/sign-up", include_in_schema=False, response_class=HTMLResponse)
def sign_up_page(request: Request, visit: Visiting, res: Res, next: str = "/") -> Response:
    """The form, or straight on for somebody who is signed in already."""
    if visit.person is not None:
        return RedirectResponse(safe_path(next), 303)
    must_be_open(res)
    return render(request, "sign_up.html", next=safe_path(next), name="", display="", wrong=None)


@router.post("/sign-up", include_in_schema=False, dependencies=[FromOurForm])
def sign_up(
    request: Request,
    db: WriteDb,
    visit: Visiting,
    res: Res,
    name: Text = "",
    display: Text = "",
    password: Text = "",
    again: Text = "",
    next: Text = "/",
) -> Response:
    """An account, a session, and on to where they wanted to go; or the form once more with what is wrong. A try that failed is committed, too."""
    if visit.person is not None:
        return RedirectResponse(safe_path(next), 303)
    must_be_open(res)
    try:
        if password != again:
            raise UserError("The two passwords are not the same.")
        days = res.settings.session_days
        token = accounts.sign_up(
            db,
            name,
            password,
            display=display,
            address=address_of(request),
            now=datetime.now(UTC),
            days=days,
        )
        welcome(request, db, accounts.as_name(name))
    except UserError as wrong:
        shown = {"next": safe_path(next), "name": name, "display": display, "wrong": wrong}
        return render(request, "sign_up.html", status=wrong.status, **shown)
    return signed_in(request, token, next)


def welcome(request: Request, db: WriteDb, name: str) -> None:
    """Let the systems make what a new person needs."""
    person = accounts.person(db, name)
    assert person is not None
    for system in site_of(request).systems:
        if system.signed_up is not None:
            system.signed_up(db, person)


def must_be_open(res: Res) -> None:
    """Raises NotFound where strangers cannot sign up."""
    if not res.settings.sign_up:
        raise NotFound("Here nobody signs up by themselves; an administrator makes accounts.")


def address_of(request: Request) -> str:
    """Where a request comes from; a proxy that we believe says it for the browser."""
    return request.client.host if request.client else ""


def signed_in(request: Request, token: str, onward: str) -> Response:
    """On to where they wanted to go, with the cookie of their new session."""
    response = RedirectResponse(safe_path(onward), 303)
    here = site_of(request)
    here.set_cookie(
        response, "session", token, seconds=here.resources.settings.session_days * 24 * 3600
    )
    here.drop_cookie(response, "visitor")
    return response


@router.post("/sign-out", include_in_schema=False, dependencies=[FromOurForm])
def sign_out(request: Request, db: WriteDb, visit: Visiting, everywhere: Text = "") -> Response:
    """End this session, or all of this person's."""
    if visit.via == "session" and visit.person is not None:
        accounts.sign_out(db, visit.token)
        if everywhere:
            accounts.sign_out_everywhere(db, visit.person.name)
    response = RedirectResponse("/sign-in", 303)
    site_of(request).drop_cookie(response, "session")
    return response


# ---- the account ---------------------------------------------------------------------------------------------------


def by_hand(visit: Visiting) -> None:
    """Refuse an API token: otherwise one that leaked could make itself another that lasts longer and does more."""
    if visit.via == "token":
        raise NotAllowed("Only somebody who is signed in does this; an API token cannot.")


def seldom(res: Res, who: Who, _: Annotated[None, FromOurForm]) -> None:
    """Count that somebody is asked for their password again, before anything is done and whether or not it is right: who sits down at another's open browser does not guess it."""
    with res.db.write() as db:
        rate_limit.use(
            db, who.name, "password", now=datetime.now(UTC), most=PASSWORDS, seconds=3600
        )


PasswordAsked = Depends(
    seldom
)  # for every page that asks somebody who is signed in for their password
own = APIRouter(dependencies=[Depends(by_hand)])
with_password = APIRouter(dependencies=[Depends(by_hand), PasswordAsked])


@router.get("/account", include_in_schema=False, response_class=HTMLResponse)
def account_page(request: Request, db: Db, who: Who, visit: Visiting) -> Response:
    """Who they are, their password, sessions and API tokens."""
    return render(request, "account.html", **account_of(request, db, who, visit), made=None)


def account_of(request: Request, db: Db, who: Who, visit: Visiting) -> dict[str, Any]:
    """What the account page shows."""
    return {
        "grants": sorted(who.grants, key=str),
        "sessions": accounts.sessions(db, who, datetime.now(UTC)),
        "this": accounts.digest(visit.token),
        "tokens": tokens.tokens_of(db, who),
        "scopes": tokens.scopes_for(who),
        "now": datetime.now(UTC),
        "leave": next(
            (
                system.leave
                for system in site_of(request).systems
                if system.leave and ("member", None) in who.grants
            ),
            None,
        ),
    }


def change_password(
    db: WriteDb, who: Who, visit: Visiting, old: Text, new: Text, again: Text
) -> Done:
    """A new password; it ends the other sessions."""
    if new != again:
        raise UserError("The two new passwords are not the same.")
    accounts.change_password(db, who, old, new, now=datetime.now(UTC), keep=visit.token)
    return Done("/account", "Your password is changed; your other sessions are signed out.")


def revoke_token(db: WriteDb, who: Who, token: Text) -> Done:
    """End one of their API tokens."""
    tokens.revoke_token(db, who, token)
    return Done("/account", "The token no longer works.")


action(with_password, "/account/password", change_password)
action(own, "/account/tokens/revoke", revoke_token)


@own.post(
    "/account/tokens",
    include_in_schema=False,
    response_class=HTMLResponse,
    dependencies=[FromOurForm],
)
def add_token(
    request: Request,
    db: WriteDb,
    who: Who,
    visit: Visiting,
    scope: Annotated[list[str], Form(default_factory=list)],
    label: Text = "",
    days: Annotated[int, Form()] = 365,
) -> Response:
    """A new API token, shown on this page and never again; so there is no going on."""
    made = tokens.add_token(db, who.name, label, scopes=scope, now=datetime.now(UTC), days=days)
    return render(request, "account.html", **account_of(request, db, who, visit), made=made)


router.include_router(own)
router.include_router(with_password)


# ---- how they like to read -----------------------------------------------------------------------------------------


@router.post("/language", include_in_schema=False, dependencies=[FromOurForm])
def language(
    request: Request, db: WriteDb, visit: Visiting, lang: Text, next: Text = "/"
) -> Response:
    """Remember the language, in this browser and for this person."""
    if lang not in LANGS:
        raise UserError(
            "%(lang)s is not a language of these pages; expected one of %(known)s.",
            lang=lang,
            known=", ".join(LANGS),
        )
    if visit.person is not None:
        accounts.prefer(db, visit.person, lang=lang)
    return remembered(request, "lang", lang, next)


@router.post("/theme", include_in_schema=False, dependencies=[FromOurForm])
def theme(
    request: Request, db: WriteDb, visit: Visiting, theme: Text, next: Text = "/"
) -> Response:
    """Remember light, dark, or what the device says, in this browser and for this person."""
    if theme not in THEMES:
        raise UserError(
            "%(theme)s is not a theme of these pages; expected one of %(known)s.",
            theme=theme,
            known=", ".join(THEMES),
        )
    if visit.person is not None:
        accounts.prefer(db, visit.person, theme=theme)
    return remembered(request, "theme", theme, next)


def remembered(request: Request, name: str, value: str, onward: str) -> Response:
    """Back to the page, with a cookie that lasts a year."""
    response = RedirectResponse(safe_path(onward), 303)
    site_of(request).set_cookie(response, name, value, seconds=YEAR_SECONDS)
    return response


# ---- the API's list ------------------------------------------------------------------------------------------------


@router.get("/api/openapi.json", include_in_schema=False)
def openapi(request: Request) -> Response:
    """The API for programs that read OpenAPI."""
    return JSONResponse(rest.description(request.app))


@router.get("/api", include_in_schema=False, response_class=HTMLResponse)
def api_page(request: Request) -> Response:
    """The API for people: each operation with what it takes."""
    operations = [
        {"method": method.upper(), "path": path, **operation}
        for path, methods in rest.description(request.app)["paths"].items()
        for method, operation in methods.items()
    ]
    return render(request, "api.html", operations=operations)

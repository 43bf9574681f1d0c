"""Pages of people: signing in and out, their account, their language and theme, the front page, static files, the API's list."""

from datetime import UTC, datetime
from typing import Annotated, Any

from fastapi import APIRouter, Depends, Form, Request
from fastapi.openapi.utils import get_openapi
from fastapi.responses import HTMLResponse, JSONResponse, RedirectResponse, Response

from tanuki.errors import NotFound, UserError
from tanuki.platform import accounts
from tanuki.platform.web.i18n import LANGS
from tanuki.platform.web.kit import (
    THEMES,
    YEAR_SECONDS,
    Db,
    Done,
    FromOurForm,
    Res,
    Visiting,
    Who,
    WriteDb,
    action,
    menus,
    render,
    safe_path,
    site_of,
    visit_of,
)

router = APIRouter(dependencies=[Depends(visit_of)])
Text = Annotated[str, Form()]


@router.get("/", include_in_schema=False)
def front(request: Request, who: Who) -> Response:
    """On to the first page that this person may see."""
    first = next((entries[0].path for _, entries in menus(site_of(request).systems, who, "/")), "/account")
    return RedirectResponse(first, 303)


@router.get("/static/{mark}/{name}", include_in_schema=False)
def static(request: Request, mark: str, name: str) -> Response:
    """A static file; its URL changes with its content, so it may be kept for ever."""
    found = site_of(request).static.get(name)
    if found is None or found.url != f"/static/{mark}/{name}":
        raise NotFound("There is no such file.")
    return Response(found.content, media_type=found.type, headers={"Cache-Control": f"public, max-age={YEAR_SECONDS}, immutable"})


# ---- signing in and out --------------------------------------------------------------------------------------------


@router.get("/sign-in", include_in_schema=False, response_class=HTMLResponse)
def sign_in_page(request: Request, visit: Visiting, next: str = "/") -> Response:
    """The form, or straight on for somebody who is signed in already."""
    if visit.person is not None:
        return RedirectResponse(safe_path(next), 303)
    return render(request, "sign_in.html", next=safe_path(next), name="", wrong=False)


@router.post("/sign-in", include_in_schema=False, dependencies=[FromOurForm])
def sign_in(request: Request, db: WriteDb, res: Res, name: Text = "", password: Text = "", next: Text = "/") -> Response:
    """A session and on to where they wanted to go, or the form once more. A try that failed is committed, too: it counts."""
    address = request.client.host if request.client else ""
    token = accounts.sign_in(db, name, password, address=address, now=datetime.now(UTC), days=res.settings.session_days)
    if token is None:
        return render(request, "sign_in.html", status=400, next=safe_path(next), name=name, wrong=True)
    response = RedirectResponse(safe_path(next), 303)
    site_of(request).set_cookie(response, "session", token, seconds=res.settings.session_days * 24 * 3600)
    site_of(request).drop_cookie(response, "visitor")
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


@router.get("/account", include_in_schema=False, response_class=HTMLResponse)
def account_page(request: Request, db: Db, who: Who, visit: Visiting) -> Response:
    """Who they are, their password, sessions and API tokens."""
    return render(request, "account.html", **account_of(db, who, visit), made=None)


def account_of(db: Db, who: Who, visit: Visiting) -> dict[str, Any]:
    """What the account page shows."""
    return {
        "grants": sorted(who.grants, key=str),
        "sessions": accounts.sessions(db, who, datetime.now(UTC)),
        "this": accounts.digest(visit.token),
        "tokens": accounts.tokens(db, who),
    }


def change_password(db: WriteDb, who: Who, visit: Visiting, old: Text, new: Text, again: Text) -> Done:
    """A new password; it ends the other sessions."""
    if new != again:
        raise UserError("The two new passwords are not the same.")
    accounts.change_password(db, who, old, new, now=datetime.now(UTC), keep=visit.token)
    return Done("/account", "Your password is changed; your other sessions are signed out.")


def revoke_token(db: WriteDb, who: Who, token: Text) -> Done:
    """End one of their API tokens."""
    accounts.revoke_token(db, who, token)
    return Done("/account", "The token no longer works.")


action(router, "/account/password", change_password)
action(router, "/account/tokens/revoke", revoke_token)


@router.post("/account/tokens", include_in_schema=False, response_class=HTMLResponse, dependencies=[FromOurForm])
def add_token(request: Request, db: WriteDb, who: Who, visit: Visiting, label: Text = "", days: Annotated[int, Form()] = 365) -> Response:
    """A new API token, shown on this page and never again; so there is no going on."""
    made = accounts.add_token(db, who.name, label, now=datetime.now(UTC), days=days)
    return render(request, "account.html", **account_of(db, who, visit), made=made)


# ---- how they like to read -----------------------------------------------------------------------------------------


@router.post("/language", include_in_schema=False, dependencies=[FromOurForm])
def language(request: Request, db: WriteDb, visit: Visiting, lang: Text, next: Text = "/") -> Response:
    """Remember the language, in this browser and for this person."""
    if lang not in LANGS:
        raise UserError("%(lang)s is not a language of these pages; expected one of %(known)s.", lang=lang, known=", ".join(LANGS))
    if visit.person is not None:
        accounts.prefer(db, visit.person, lang=lang)
    return remembered(request, "lang", lang, next)


@router.post("/theme", include_in_schema=False, dependencies=[FromOurForm])
def theme(request: Request, db: WriteDb, visit: Visiting, theme: Text, next: Text = "/") -> Response:
    """Remember light, dark, or what the device says, in this browser and for this person."""
    if theme not in THEMES:
        raise UserError("%(theme)s is not a theme of these pages; expected one of %(known)s.", theme=theme, known=", ".join(THEMES))
    if visit.person is not None:
        accounts.prefer(db, visit.person, theme=theme)
    return remembered(request, "theme", theme, next)


def remembered(request: Request, name: str, value: str, onward: str) -> Response:
    """Back to the page, with a cookie that lasts a year."""
    response = RedirectResponse(safe_path(onward), 303)
    site_of(request).set_cookie(response, name, value, seconds=YEAR_SECONDS)
    return response


# ---- the API's list ------------------------------------------------------------------------------------------------


def schema_of(request: Request) -> dict[str, Any]:
    """The API described in OpenAPI, made once."""
    app = request.app
    if app.openapi_schema is None:
        made = get_openapi(title=app.title, version=app.version, routes=app.routes)
        made.setdefault("components", {})["securitySchemes"] = {"token": {"type": "http", "scheme": "bearer"}}
        made["security"] = [{"token": []}]
        app.openapi_schema = made
    schema: dict[str, Any] = app.openapi_schema
    return schema


@router.get("/api/openapi.json", include_in_schema=False)
def openapi(request: Request, who: Who) -> Response:
    """The API for programs that read OpenAPI."""
    return JSONResponse(schema_of(request))


@router.get("/api", include_in_schema=False, response_class=HTMLResponse)
def api_page(request: Request, who: Who) -> Response:
    """The API for people: each operation with what it takes."""
    operations = [
        {"method": method.upper(), "path": path, **operation}
        for path, methods in schema_of(request)["paths"].items()
        for method, operation in methods.items()
    ]
    return render(request, "api.html", operations=operations)

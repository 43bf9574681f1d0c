"""The account page (password, sessions, API tokens), and the choice of language and theme."""

from datetime import UTC, datetime
from typing import Annotated

from fastapi import APIRouter, Depends, Form, Request
from fastapi.responses import RedirectResponse, Response
from pydantic import BaseModel, Field
from sqlalchemy.orm import Session

from tanuki.errors import NotAllowed, UserError
from tanuki.i18n import LANGS, msgid
from tanuki.platform import accounts, sessions, tokens
from tanuki.platform.web.auth import (
    THEMES,
    CurrentPerson,
    CurrentVisit,
    PasswordCheck,
    SignInMethod,
    Visit,
)
from tanuki.platform.web.cookies import YEAR_SECONDS
from tanuki.platform.web.pages import ActionResult, read_route, render_page, write_route
from tanuki.platform.web.site import get_site, sanitize_path
from tanuki.platform.web.transactions import Db, WriteDb

Text = Annotated[str, Form()]


def refuse_token(visit: CurrentVisit) -> None:
    """Raises NotAllowed for an API token: one that leaked could make itself a stronger one."""
    if visit.method == SignInMethod.TOKEN:
        raise NotAllowed("Only somebody who is signed in may do this; an API token may not.")


router = APIRouter()
session_only = [Depends(refuse_token)]


@read_route(router, "/account")
def show_account_page(
    request: Request, db: Db, person: CurrentPerson, visit: CurrentVisit
) -> Response:
    return render_account_page(request, db, visit)


def render_account_page(
    request: Request, db: Session, visit: Visit, new_token: str | None = None
) -> Response:
    person, now = visit.person, datetime.now(UTC)
    assert person is not None
    leave_paths = [system.leave_path for system in get_site(request).systems if system.leave_path]
    is_member = ("member", None) in person.grants
    return render_page(
        request,
        "account.html",
        grants=sorted(person.grants, key=str),
        sessions=sessions.load_sessions(db, person, now),
        this_session=accounts.digest_token(visit.secret),
        tokens=tokens.load_tokens(db, person),
        scopes=tokens.allowed_token_scopes(person),
        now=now,
        leave_path=leave_paths[0] if leave_paths and is_member else None,
        new_token=new_token,
    )


class PasswordForm(BaseModel):
    old: str
    new: str
    again: str


@write_route(router, "/account/password", dependencies=[*session_only, PasswordCheck])
def change_password(
    db: WriteDb, person: CurrentPerson, visit: CurrentVisit, form: Annotated[PasswordForm, Form()]
) -> ActionResult:
    """Set a new password; it ends the other sessions."""
    if form.new != form.again:
        raise UserError("The two new passwords are not the same.")
    accounts.change_password(
        db, person, form.old, form.new, now=datetime.now(UTC), keep=visit.secret
    )
    return ActionResult(
        "/account", msgid("Your password is changed; your other sessions are signed out.")
    )


@write_route(router, "/account/tokens/revoke", dependencies=session_only)
def revoke_token(db: WriteDb, person: CurrentPerson, token: Text) -> ActionResult:
    """End one of your API tokens."""
    tokens.revoke_token(db, person, token)
    return ActionResult("/account", msgid("The token no longer works."))


class TokenForm(BaseModel):
    scope: list[str] = Field(default_factory=list)
    label: str = ""
    days: int = 365


@write_route(router, "/account/tokens", dependencies=session_only)
def add_token(
    request: Request, db: WriteDb, visit: CurrentVisit, form: Annotated[TokenForm, Form()]
) -> Response:
    """A new API token. The answer is the page itself, because the token is never shown again."""
    assert visit.person is not None
    new_token = tokens.NewToken(form.label, scopes=form.scope, days=form.days)
    token = tokens.create_token(db, visit.person.name, new_token, datetime.now(UTC))
    return render_account_page(request, db, visit, new_token=token)


# ---- language and theme --------------------------------------------------------------------------


@write_route(router, "/language", public=True)
def choose_language(
    request: Request, db: WriteDb, visit: CurrentVisit, lang: Text, next: Text = "/"
) -> Response:
    """Remember the language, in this browser and for this person."""
    if lang not in LANGS:
        raise UserError(
            "%(lang)s is not a language of these pages; expected one of %(known)s.",
            lang=lang,
            known=", ".join(LANGS),
        )
    if visit.person is not None:
        accounts.save_preferences(db, visit.person, lang=lang)
    return redirect_with_preference(request, "lang", lang, next)


@write_route(router, "/theme", public=True)
def choose_theme(
    request: Request, db: WriteDb, visit: CurrentVisit, theme: Text, next: Text = "/"
) -> Response:
    """Remember light, dark or the device's own theme, in this browser and for this person."""
    if theme not in THEMES:
        raise UserError(
            "%(theme)s is not a theme of these pages; expected one of %(known)s.",
            theme=theme,
            known=", ".join(THEMES),
        )
    if visit.person is not None:
        accounts.save_preferences(db, visit.person, theme=theme)
    return redirect_with_preference(request, "theme", theme, next)


def redirect_with_preference(request: Request, key: str, value: str, next_path: str) -> Response:
    response = RedirectResponse(sanitize_path(next_path), 303)
    get_site(request).cookies.set(response, key, value, max_age_seconds=YEAR_SECONDS)
    return response

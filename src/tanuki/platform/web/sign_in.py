"""Pages for signing up, in and out."""

from datetime import UTC, datetime
from typing import Annotated

from fastapi import APIRouter, Form, Request
from fastapi.responses import RedirectResponse, Response
from pydantic import BaseModel
from sqlalchemy.orm import Session

from tanuki.errors import NotFound, UserError
from tanuki.platform import accounts, sessions
from tanuki.platform.resources import Resources
from tanuki.platform.web.auth import CurrentVisit, SignInMethod
from tanuki.platform.web.pages import read_route, render_page, write_route
from tanuki.platform.web.site import Res, get_site, sanitize_path
from tanuki.platform.web.transactions import WriteDb

router = APIRouter()
Text = Annotated[str, Form()]


class SignUpForm(BaseModel):
    name: str = ""
    display: str = ""
    password: str = ""
    again: str = ""
    next: str = "/"


@read_route(router, "/sign-in", public=True)
def show_sign_in_page(request: Request, visit: CurrentVisit, res: Res, next: str = "/") -> Response:
    if visit.person is not None:
        return RedirectResponse(sanitize_path(next), 303)
    return render_sign_in_form(request, res, next, name="")


@write_route(router, "/sign-in", public=True)
def sign_in(
    request: Request, db: WriteDb, res: Res, name: Text = "", password: Text = "", next: Text = "/"
) -> Response:
    """A session, or the form once more. A failed attempt is committed, too: it counts."""
    token = sessions.sign_in(
        db,
        sessions.Credentials(name, password, client_address(request)),
        datetime.now(UTC),
        days=res.settings.session_days,
    )
    if token is None:
        return render_sign_in_form(request, res, next, name=name, wrong=True)
    return start_session(request, token, next)


def render_sign_in_form(
    request: Request, res: Resources, next_path: str, *, name: str, wrong: bool = False
) -> Response:
    return render_page(
        request,
        "sign_in.html",
        status=400 if wrong else 200,
        next=sanitize_path(next_path),
        name=name,
        wrong=wrong,
        sign_up=res.settings.sign_up,
    )


@read_route(router, "/sign-up", public=True)
def show_sign_up_page(request: Request, visit: CurrentVisit, res: Res, next: str = "/") -> Response:
    if visit.person is not None:
        return RedirectResponse(sanitize_path(next), 303)
    require_open_sign_up(res)
    return render_sign_up_form(request, SignUpForm(next=next))


@write_route(router, "/sign-up", public=True)
def sign_up(
    request: Request,
    db: WriteDb,
    visit: CurrentVisit,
    res: Res,
    form: Annotated[SignUpForm, Form()],
) -> Response:
    """An account and its session, or the form once more with what is wrong.

    A failed attempt is committed, too: it counts.
    """
    if visit.person is not None:
        return RedirectResponse(sanitize_path(form.next), 303)
    require_open_sign_up(res)
    try:
        if form.password != form.again:
            raise UserError("The two passwords are not the same.")
        token = sessions.sign_up(
            db,
            sessions.Credentials(form.name, form.password, client_address(request)),
            datetime.now(UTC),
            display_name=form.display,
            days=res.settings.session_days,
        )
        notify_systems_of_sign_up(request, db, accounts.normalize_name(form.name))
    except UserError as error:
        return render_sign_up_form(request, form, error)
    return start_session(request, token, form.next)


def render_sign_up_form(
    request: Request, form: SignUpForm, error: UserError | None = None
) -> Response:
    return render_page(
        request,
        "sign_up.html",
        status=error.status if error else 200,
        next=sanitize_path(form.next),
        name=form.name,
        display=form.display,
        error=error,
    )


def notify_systems_of_sign_up(request: Request, db: Session, name: str) -> None:
    """Let the systems make what a new person needs, in the same transaction."""
    person = accounts.find_person(db, name)
    assert person is not None
    for system in get_site(request).systems:
        if system.on_sign_up is not None:
            system.on_sign_up(db, person)


def require_open_sign_up(res: Resources) -> None:
    """Raises NotFound where only administrators make accounts."""
    if not res.settings.sign_up:
        raise NotFound("You cannot sign up here by yourself; an administrator makes the accounts.")


def client_address(request: Request) -> str:
    """The address that a request comes from; a trusted proxy sets it for the browser."""
    return request.client.host if request.client else ""


def start_session(request: Request, token: str, next_path: str) -> Response:
    """On to where they wanted to go, with the cookie of their new session."""
    response = RedirectResponse(sanitize_path(next_path), 303)
    site = get_site(request)
    seconds = site.resources.settings.session_days * 24 * 3600
    site.cookies.set(response, "session", token, max_age_seconds=seconds)
    site.cookies.delete(response, "visitor")
    return response


@write_route(router, "/sign-out", public=True)
def sign_out(request: Request, db: WriteDb, visit: CurrentVisit, everywhere: Text = "") -> Response:
    """End this session, or all of this person's."""
    if visit.method == SignInMethod.SESSION and visit.person is not None:
        sessions.sign_out(db, visit.secret)
        if everywhere:
            accounts.delete_sessions(db, visit.person.name)
    response = RedirectResponse("/sign-in", 303)
    get_site(request).cookies.delete(response, "session")
    return response

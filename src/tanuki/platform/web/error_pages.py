"""Answers to errors: a page that says what to do, or problem details for programs."""

from collections.abc import Mapping
from contextlib import suppress
from http import HTTPStatus
from urllib.parse import urlencode, urlsplit

from fastapi import FastAPI, Request
from fastapi.exceptions import RequestValidationError
from fastapi.responses import RedirectResponse, Response
from starlette.exceptions import HTTPException

from tanuki.errors import SignInNeeded, TooMany, UserError
from tanuki.i18n import Texts, msgid
from tanuki.platform.rate_limit import RateLimitExceeded
from tanuki.platform.web.auth import (
    VISIT,
    Visit,
    anonymous_visit,
    get_visit,
    read_preferences,
)
from tanuki.platform.web.etag import NotModified
from tanuki.platform.web.headers import rate_limit_headers
from tanuki.platform.web.pages import render_page
from tanuki.platform.web.problem import Problem, answer_problem
from tanuki.platform.web.site import get_site, sanitize_path

MAX_VALUE_LENGTH = 80  # of what was sent, as an error repeats it
TITLES = {
    400: msgid("That did not work"),
    401: msgid("Please sign in"),
    403: msgid("Not allowed"),
    404: msgid("Not found"),
    405: msgid("That did not work"),
    409: msgid("Changed in the meantime"),
    412: msgid("Changed in the meantime"),
    413: msgid("Too large"),
    422: msgid("Something is missing or wrong"),
    429: msgid("Too many tries"),
    500: msgid("Something went wrong"),
}
SENTENCES = {
    404: msgid("This page does not exist, or you may not see it."),
    405: msgid("This page cannot be used in that way."),
    413: msgid("What you sent is too large."),
    500: msgid("The error is on our side and was logged. Nothing that you just did was saved."),
}
ADVICE = {
    400: msgid("Go back, correct it, and send it again."),
    403: msgid(
        "Go back and open the page again. "
        "If you need this often, ask an administrator for the role."
    ),
    404: msgid("Check the address, or start from the menu."),
    405: msgid("Start from the menu."),
    409: msgid("Open the page again to see the current state, then decide again."),
    412: msgid("Open the page again to see the current state, then decide again."),
    413: msgid("Send a smaller file, or several."),
    422: msgid("Go back, correct it, and send it again."),
    429: msgid("Wait a little, then try again."),
    500: msgid("Try again. If it happens again, tell the operator the number below."),
}
EXPECTED_VALUES = {
    "int": msgid("a whole number"),
    "float": msgid("a number"),
    "decimal": msgid("a number"),
    "bool": msgid("yes or no"),
    "date": msgid("a day such as 2021-01-31"),
    "datetime": msgid("a moment such as 2021-01-31T10:00:00+09:00"),
    "timezone": msgid("a moment such as 2021-01-31T10:00:00+09:00"),
    "json": msgid("JSON"),
}


def add_error_handlers(app: FastAPI) -> None:
    app.add_exception_handler(UserError, answer_user_error)
    app.add_exception_handler(NotModified, answer_not_modified)
    app.add_exception_handler(HTTPException, answer_http_error)
    app.add_exception_handler(RequestValidationError, answer_invalid_request)


def answer_user_error(request: Request, error: Exception) -> Response:
    """What a person can act on, in their language. A page sends visitors to the sign-in form."""
    assert isinstance(error, UserError)
    if isinstance(error, SignInNeeded) and not is_for_program(request):
        return redirect_to_sign_in(request)
    identify_if_possible(request)
    sentence = get_site(request).texts.render_error(visit_or_anonymous(request).lang, error)
    answer = answer_error(request, error.status, sentence)
    if isinstance(error, TooMany):
        states = [error.state] if isinstance(error, RateLimitExceeded) else []
        answer.headers.update({"Retry-After": str(error.seconds), **rate_limit_headers(states)})
    return answer


def redirect_to_sign_in(request: Request) -> Response:
    """To the sign-in form, which leads on to the page that was asked for."""
    query = f"?{request.url.query}" if request.url.query else ""
    next_path = request.url.path + query if request.method == "GET" else "/"
    fields = f"?{urlencode({'next': next_path})}" if next_path != "/" else ""
    return RedirectResponse(f"/sign-in{fields}", 303)


async def answer_not_modified(request: Request, error: Exception) -> Response:
    assert isinstance(error, NotModified)
    return Response(status_code=304, headers={"ETag": error.etag})


def answer_http_error(request: Request, error: Exception) -> Response:
    """What the framework refuses: an unknown path, a wrong method, a body that is too large."""
    assert isinstance(error, HTTPException)
    identify_if_possible(request)
    sentence = SENTENCES.get(error.status_code, str(error.detail))
    lang = visit_or_anonymous(request).lang
    answer = answer_error(
        request, error.status_code, get_site(request).texts.translate(lang, sentence)
    )
    answer.headers.update(error.headers or {})
    return answer


def answer_invalid_request(request: Request, error: Exception) -> Response:
    """Fields that are missing or of the wrong type, each in a sentence."""
    assert isinstance(error, RequestValidationError)
    texts, lang = get_site(request).texts, visit_or_anonymous(request).lang
    sentences = [
        texts.translate_with_values(lang, *describe_invalid_field(texts, lang, fault))
        for fault in error.errors()
    ]
    return answer_error(request, 422, " ".join(sentences))


def describe_invalid_field(
    texts: Texts, lang: str, fault: Mapping[str, object]
) -> tuple[str, dict[str, object]]:
    """What is wrong with one field, from pydantic's error: a msgid and its values."""
    location = fault["loc"]
    assert isinstance(location, tuple)
    name = next((part for part in reversed(location) if isinstance(part, str)), "")
    if fault["type"] == "missing":
        return msgid("%(field)s is missing."), {"field": name}
    kind = str(fault["type"]).split("_")[0]
    expected = texts.translate(lang, EXPECTED_VALUES.get(kind, str(fault["msg"])))
    return msgid("%(field)s is “%(value)s”; expected %(expected)s."), {
        "field": name,
        "value": str(fault.get("input", ""))[:MAX_VALUE_LENGTH],
        "expected": expected,
    }


def answer_failure(request: Request) -> Response:
    """The answer to a bug: nothing about it but the number under which it is logged."""
    texts, lang = get_site(request).texts, visit_or_anonymous(request).lang
    return answer_error(request, 500, texts.translate(lang, SENTENCES[500]))


def answer_error(request: Request, status: int, sentence: str) -> Response:
    visit_or_anonymous(request)
    if is_for_program(request):
        return answer_problem(
            Problem(
                type="about:blank",
                title=HTTPStatus(status).phrase,
                status=status,
                detail=sentence,
                instance=request.url.path,
                request_id=request.scope["tanuki_request_id"],
            )
        )
    return render_page(
        request,
        "error.html",
        status=status,
        title=TITLES.get(status, TITLES[400]),
        sentence=sentence,
        advice=ADVICE.get(status, ADVICE[400]),
        back_path=find_back_path(request),
        code=status,
    )


def is_for_program(request: Request) -> bool:
    """Whether a program asks: under /api, with a token, or wanting JSON."""
    path = request.url.path
    return (
        path == "/api"
        or path.startswith("/api/")
        or "authorization" in request.headers
        or "json" in request.headers.get("accept", "")
    )


def identify_if_possible(request: Request) -> None:
    """Work out the visit for an error that came before any route asked for it."""
    with suppress(UserError):
        get_visit(request)


def visit_or_anonymous(request: Request) -> Visit:
    """The visit as far as it is known; the error may come from identifying it."""
    visit = request.scope.get(VISIT)
    if not isinstance(visit, Visit):
        secret = get_site(request).cookies.get(request, "visitor")
        visit = request.scope[VISIT] = anonymous_visit(read_preferences(request), secret)
    return visit


def find_back_path(request: Request) -> str | None:
    """The page of this site that they came from."""
    referer = urlsplit(request.headers.get("referer", ""))
    if referer.netloc != request.headers.get("host"):
        return None
    path = sanitize_path(referer.path or "/")
    return f"{path}?{referer.query}" if referer.query else path

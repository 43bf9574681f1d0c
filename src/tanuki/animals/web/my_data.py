"""Taking one's data along, and leaving for good."""

from typing import Annotated

from fastapi import APIRouter, Form, Request
from fastapi.responses import HTMLResponse, RedirectResponse, Response, StreamingResponse

from tanuki.animals import account_deletion, data_export, members
from tanuki.animals.http.deps import now
from tanuki.animals.web.layout import Text, form, show
from tanuki.errors import UserError
from tanuki.platform.web.admin.people import PasswordAsked
from tanuki.platform.web.pages import Db, Res, Who, site_of, visit_of

router = APIRouter()
asking = APIRouter(dependencies=[PasswordAsked])


@router.get("/animals/data", include_in_schema=False, response_class=HTMLResponse)
def data_page(request: Request, db: Db, who: Who) -> Response:
    """What the archive holds, and what leaving means."""
    members.of(db, who)
    return show(request, db, "data.html", wrong=None)


@form(router, "/animals/data/archive.zip")
def take_along(res: Res, who: Who) -> Response:
    """One's data as an archive, sent while it is made."""
    with res.db.read() as db:
        name = members.of(db, who).name
    headers = {
        "Content-Disposition": f'attachment; filename="ai-animals-{name}.zip"',
        "Cache-Control": "private, no-store",
    }
    return StreamingResponse(
        data_export.streamed(res.db, res.objects, who, now=now()),
        media_type="application/zip",
        headers=headers,
    )


@form(asking, "/animals/leave")
def leave_for_good(
    request: Request, res: Res, who: Who, password: Text = "", sure: Annotated[bool, Form()] = False
) -> Response:
    """Leave, with the password, or the page once more with what is wrong."""
    try:
        if not sure:
            raise UserError("Please tick that you want to delete everything and leave.")
        with res.db.write() as db:
            account_deletion.leave(db, res.work, who, password, now=now())
    except UserError as wrong:
        with res.db.read() as db:
            return show(
                request,
                db,
                "data.html",
                status=wrong.status,
                wrong=site_of(request).texts.error(visit_of(request).lang, wrong),
            )
    response = RedirectResponse("/animals/left", 303)
    site_of(request).drop_cookie(response, "session")
    return response


@router.get("/animals/left", include_in_schema=False, response_class=HTMLResponse)
def left(request: Request, db: Db) -> Response:
    """Goodbye."""
    return show(request, db, "left.html")


router.include_router(asking)

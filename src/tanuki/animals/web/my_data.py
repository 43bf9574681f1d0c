"""Downloading one's own data, and deleting one's account."""

from typing import Annotated

from fastapi import APIRouter, Form
from fastapi.responses import RedirectResponse, Response, StreamingResponse

from tanuki.animals import account_deletion, data_export, members
from tanuki.animals.http.deps import Read, Write
from tanuki.animals.web.layout import Text, render_site_page, say_error
from tanuki.errors import UserError
from tanuki.platform.web.auth import PasswordCheck
from tanuki.platform.web.pages import read_route, write_route
from tanuki.platform.web.site import get_site

router = APIRouter()


@read_route(router, "/animals/data")
def show_my_data(context: Read) -> Response:
    members.require_member(context.db, context.person)
    return render_site_page(context, "my_data.html", error=None, confirmed=False)


@write_route(router, "/animals/data/export.zip")
def download_export(context: Write) -> Response:
    """One's data as a ZIP file, sent while it is written."""
    with context.reading() as reading:
        name = members.require_member(reading.db, context.person).name
    headers = {
        "Content-Disposition": f'attachment; filename="ai-animals-{name}.zip"',
        "Cache-Control": "private, no-store",
    }
    return StreamingResponse(
        data_export.stream_own_archive(
            context.res.db, context.res.objects, context.person, now=context.now
        ),
        media_type="application/zip",
        headers=headers,
    )


@write_route(router, "/animals/delete-account", dependencies=[PasswordCheck])
def submit_account_deletion(
    context: Write, password: Text = "", confirmed: Annotated[bool, Form()] = False
) -> Response:
    """Delete one's account, with the password; or show the page again with what is wrong."""
    try:
        if not confirmed:
            raise UserError("Please tick the box to confirm that your account is to be deleted.")
        with context.res.db.write() as db:
            account_deletion.delete_account(
                db, context.res.jobs, context.person, password, now=context.now
            )
    except UserError as error:
        with context.reading() as reading:
            return render_site_page(
                reading,
                "my_data.html",
                status=error.status,
                error=say_error(context.request, error),
                confirmed=confirmed,
            )
    response = RedirectResponse("/animals/account-deleted", 303)
    get_site(context.request).cookies.delete(response, "session")
    return response


@read_route(router, "/animals/account-deleted", public=True)
def show_account_deleted(context: Read) -> Response:
    return render_site_page(context, "account_deleted.html")

"""A better picture for a post of one's own: both beside each other, taken with one tap, given back with another."""

from fastapi import APIRouter, Request
from fastapi.responses import HTMLResponse, RedirectResponse, Response

from tanuki.animals.enhance import apply
from tanuki.animals.http.deps import Acting, now
from tanuki.animals.web.layout import Text, form, onward, show, version_seen
from tanuki.errors import NotFound
from tanuki.i18n import msgid
from tanuki.platform.web.pages import Db, Res, Who, site_of, visit_of

router = APIRouter()


@router.get("/animals/posts/{post_id}/better", include_in_schema=False, response_class=HTMLResponse)
def better_page(request: Request, res: Res, db: Db, who: Who, post_id: int) -> Response:
    """What would make the picture better, or why nothing does; the better picture beside the one that was sent, once it is made."""
    offer = apply.offer(db, res.objects, who, post_id)
    why_not = offer.advice.why_not and site_of(request).texts.text(
        visit_of(request).lang, offer.advice.why_not
    )
    return show(request, db, "better.html", offer=offer, why_not=why_not)


@router.get("/animals/posts/{post_id}/better.jpg", include_in_schema=False)
def picture(res: Res, db: Db, who: Who, post_id: int) -> Response:
    """The better picture that was made and is not shown yet; where there is none, on to the page that makes one."""
    apply.offer(db, res.objects, who, post_id)
    try:
        content = apply.waiting(db, res.objects, who, post_id)
    except NotFound:
        return RedirectResponse(f"/animals/posts/{post_id}/better", 303)
    return Response(
        content, media_type="image/jpeg", headers={"Cache-Control": "private, no-store"}
    )


@form(router, "/animals/posts/{post_id}/better")
def make(request: Request, res: Res, who: Acting, post_id: int) -> Response:
    """Make the better picture, and show it beside the other."""
    apply.make(res, who, post_id, now=now())
    return onward(request, f"/animals/posts/{post_id}/better")


@form(router, "/animals/posts/{post_id}/better/choose")
def choose(
    request: Request, res: Res, who: Acting, post_id: int, version: Text, picture: Text
) -> Response:
    """Show the better picture from now on, or the one that was sent."""
    seen = version_seen(version)
    if picture == "better":
        accepted = apply.accepted(res, who, post_id)
        res.db.together(
            lambda db: apply.take(
                db, res.objects, res.work, who, post_id, accepted, version=seen, now=now()
            )
        )
        return onward(
            request, f"/animals/posts/{post_id}", msgid("Your post shows the better picture.")
        )
    res.db.together(lambda db: apply.put_back(db, res.work, who, post_id, version=seen, now=now()))
    return onward(
        request, f"/animals/posts/{post_id}", msgid("Your post shows the picture that you sent.")
    )

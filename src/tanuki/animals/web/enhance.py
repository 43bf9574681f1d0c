"""An improved photo for one's own post: shown beside the original, applied or reverted."""

from fastapi import APIRouter
from fastapi.responses import RedirectResponse, Response

from tanuki.animals.enhance import apply
from tanuki.animals.http.deps import MemberWrite, Read
from tanuki.animals.posts import PostVersion
from tanuki.animals.web.layout import Text, go_to, parse_version, render_site_page
from tanuki.errors import NotFound
from tanuki.i18n import msgid
from tanuki.platform.web.pages import read_route, write_route

router = APIRouter()


@read_route(router, "/animals/posts/{post_id}/enhancement")
def show_enhancement(context: Read, post_id: int) -> Response:
    """What would improve the photo, or why nothing would; once made, both beside each other."""
    offer = apply.load_offer(context.db, context.res.objects, context.person, post_id)
    why_not = offer.advice.why_not and context.say(offer.advice.why_not)
    return render_site_page(context, "enhancement.html", offer=offer, why_not=why_not)


@read_route(router, "/animals/posts/{post_id}/enhancement.jpg")
def get_enhanced_picture(context: Read, post_id: int) -> Response:
    """The improved photo that is not applied yet; without one, redirect to the page for it."""
    apply.load_offer(context.db, context.res.objects, context.person, post_id)
    try:
        content = apply.read_enhancement(context.db, context.res.objects, context.person, post_id)
    except NotFound:
        return RedirectResponse(f"/animals/posts/{post_id}/enhancement", 303)
    return Response(
        content, media_type="image/jpeg", headers={"Cache-Control": "private, no-store"}
    )


@write_route(router, "/animals/posts/{post_id}/enhancement")
def submit_enhancement(context: MemberWrite, post_id: int) -> Response:
    """Make the improved photo, and show it beside the original."""
    apply.make_enhancement(context.res, context.person, post_id, now=context.now)
    return go_to(context.request, f"/animals/posts/{post_id}/enhancement")


@write_route(router, "/animals/posts/{post_id}/enhancement/apply")
def submit_picture_choice(
    context: MemberWrite, post_id: int, version: Text, picture: Text
) -> Response:
    """Show the improved photo from now on, or the original one again."""
    res, person, base = context.res, context.person, PostVersion(post_id, parse_version(version))
    if picture == "enhanced":
        accepted = apply.store_enhancement(res, person, post_id)
        context.commit(
            lambda db: apply.apply_enhancement(db, res, person, base, accepted, now=context.now)
        )
        message = msgid("Your post now shows the improved photo.")
    else:
        context.commit(
            lambda db: apply.restore_original(db, res.jobs, person, base, now=context.now)
        )
        message = msgid("Your post now shows the original photo.")
    return go_to(context.request, f"/animals/posts/{post_id}", message)

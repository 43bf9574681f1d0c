"""The network's pages: in Japanese and English, for a phone first, with and without scripts."""

from pathlib import Path

from fastapi import APIRouter

from tanuki.animals.api import routes
from tanuki.animals.web import better, data, desk, feed, frame, helping, notes, people, photos, posting, reports, search, seen, site
from tanuki.platform.web.i18n import msgid
from tanuki.platform.web.kit import ANYBODY, System

HERE = Path(__file__).parent

router = APIRouter()
router.include_router(routes.router)
for subject in (feed, search, photos, posting, helping, better, people, notes, reports, data, desk, seen, site):
    router.include_router(subject.router)

SYSTEM = System(
    key="animals",
    title=msgid("AI Animals"),
    router=router,
    menu=[
        ("/animals", msgid("Home"), (ANYBODY,)),
        ("/animals/newest", msgid("Newest"), (ANYBODY,)),
        ("/animals/search", msgid("Search"), (ANYBODY,)),
        ("/animals/desk", msgid("Moderators’ desk"), ("moderator",)),
    ],
    templates=HERE / "templates",
    locale=HERE / "locale",
    static=HERE / "static",
    leave="/animals/data",
    signed_up=people.join_now,
    frame="animals/frame.html",
    helpers=frame.HELPERS,
)

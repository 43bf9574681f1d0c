"""The network's pages: in Japanese and English, for a phone first, with and without scripts."""

from pathlib import Path

from fastapi import APIRouter

from tanuki.animals.api import routes
from tanuki.animals.web import (
    enhance,
    feed,
    impressions,
    layout,
    members,
    moderation_queue,
    my_data,
    notifications,
    photos,
    posting,
    reports,
    search,
    site,
    suggestions,
)
from tanuki.i18n import msgid
from tanuki.platform.web.pages import ANYBODY, System

HERE = Path(__file__).parent

router = APIRouter()
router.include_router(routes.router)
for subject in (
    feed,
    search,
    photos,
    posting,
    suggestions,
    enhance,
    members,
    notifications,
    reports,
    my_data,
    moderation_queue,
    impressions,
    site,
):
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
    signed_up=members.join_now,
    frame="animals/frame.html",
    helpers=layout.HELPERS,
)

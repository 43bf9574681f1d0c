"""The pages of AI Animals, in Japanese and English, for phones first, with and without scripts."""

from pathlib import Path

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
from tanuki.platform.web.navigation import VISITOR, Menu, MenuEntry
from tanuki.platform.web.site import System

HERE = Path(__file__).parent

PAGES = (
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
)

SYSTEM = System(
    key="animals",
    menu=Menu(
        msgid("AI Animals"),
        (
            MenuEntry("/animals", msgid("Home"), (VISITOR,)),
            MenuEntry("/animals/newest", msgid("Newest"), (VISITOR,)),
            MenuEntry("/animals/search", msgid("Search"), (VISITOR,)),
            MenuEntry("/animals/moderation", msgid("Moderation"), ("moderator",)),
        ),
    ),
    routers=[*routes.routers, *(page.router for page in PAGES)],
    templates=HERE / "templates",
    locale=HERE / "locale",
    static=HERE / "static",
    leave_path="/animals/data",
    on_sign_up=members.join_on_sign_up,
    layout="animals/layout.html",
    template_globals=layout.TEMPLATE_GLOBALS,
)

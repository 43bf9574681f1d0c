"""The shop's pages, each with its JSON and CSV."""

from pathlib import Path

from fastapi import APIRouter

from tanuki.platform.web.i18n import msgid
from tanuki.platform.web.kit import System
from tanuki.shop.web import added_value, check, data, good, models, orders, rules, sales, store, watch, week

HERE = Path(__file__).parent
CHAIN = ("analyst", "operator")
EVERYBODY = ("analyst", "operator", "manager")

router = APIRouter()
for subject in (week, check, store, orders, good, added_value, watch, sales, data, models, rules):
    router.include_router(subject.router)

SYSTEM = System(
    key="shop",
    title=msgid("Shop"),
    router=router,
    menu=[
        ("/shop/store", msgid("My store"), ("manager",)),
        ("/shop/week", msgid("This week"), EVERYBODY),
        ("/shop/check", msgid("Check"), CHAIN),
        ("/shop/orders", msgid("Orders"), EVERYBODY),
        ("/shop/good", msgid("How good was it"), EVERYBODY),
        ("/shop/added-value", msgid("What changes were worth"), EVERYBODY),
        ("/shop/watch", msgid("Watching"), CHAIN),
        ("/shop/sales", msgid("Sales"), EVERYBODY),
        ("/shop/data", msgid("Data"), CHAIN),
        ("/shop/models", msgid("Models"), CHAIN),
        ("/shop/rules", msgid("Rules"), CHAIN),
        ("/runs", msgid("Runs"), CHAIN),
        ("/models", msgid("Model releases"), CHAIN),
    ],
    templates=HERE / "templates",
    locale=HERE / "locale",
)

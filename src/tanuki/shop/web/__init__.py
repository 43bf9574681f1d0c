"""The shop's pages, each with its JSON and CSV."""

from pathlib import Path

from fastapi import APIRouter

from tanuki.i18n import msgid
from tanuki.platform.web.pages import System
from tanuki.shop.web import (
    alerts,
    check,
    data,
    evaluation,
    forecast_value_added,
    models,
    orders,
    rules,
    sales,
    store,
    week,
)

HERE = Path(__file__).parent
CHAIN = ("analyst", "operator")
EVERYBODY = ("analyst", "operator", "manager")

router = APIRouter()
for subject in (
    week,
    check,
    store,
    orders,
    evaluation,
    forecast_value_added,
    alerts,
    sales,
    data,
    models,
    rules,
):
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

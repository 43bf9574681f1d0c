"""The shop's pages, each with its JSON and CSV."""

from pathlib import Path

from tanuki.i18n import msgid
from tanuki.platform.web.navigation import Menu, MenuEntry, MenuGroup
from tanuki.platform.web.site import System
from tanuki.shop.web import (
    alerts,
    check,
    data,
    evaluation,
    forecast_value_added,
    models,
    order_line,
    purchase_orders,
    rules,
    sales,
    store,
    week,
)

HERE = Path(__file__).parent
CHAIN = ("analyst", "operator")
EVERYBODY = ("analyst", "operator", "manager")

SUBJECTS = (
    week,
    check,
    order_line,
    store,
    purchase_orders,
    evaluation,
    forecast_value_added,
    alerts,
    sales,
    data,
    models,
    rules,
)

RUN_TITLES = {
    "weekly": msgid("Weekly order cycle"),
    "forecast-part": msgid("Forecast of some stores"),
    "start-week": msgid("Start of the weekly cycle by the clock"),
    "evaluate-due": msgid("Evaluation of complete weeks"),
    "watch": msgid("Scan for alerts"),
    "retrain": msgid("Retraining after an alert"),
    "retrain-monthly": msgid("Monthly retraining"),
    "aggregate_sales": msgid("Add up the sales"),
    "forecast_stores": msgid("Forecast the stores"),
    "record_forecast": msgid("Record the forecast"),
    "propose_orders": msgid("Propose orders"),
    "release_to_stores": msgid("Release to the stores"),
    "order_confirmed_stores": msgid("Send the purchase orders"),
    "finish_week": msgid("Finish the week"),
}

SYSTEM = System(
    key="shop",
    menu=Menu(
        msgid("Shop"),
        (
            MenuEntry("/shop/store", msgid("My store"), ("manager",)),
            MenuEntry("/shop/week", msgid("This week"), EVERYBODY),
            MenuEntry("/shop/check", msgid("Check"), CHAIN),
            MenuEntry("/shop/orders", msgid("Orders"), EVERYBODY),
            MenuEntry("/shop/sales", msgid("Sales"), EVERYBODY),
        ),
        (
            MenuGroup(
                msgid("Results"),
                (
                    MenuEntry("/shop/evaluation", msgid("Forecast accuracy"), EVERYBODY),
                    MenuEntry(
                        "/shop/forecast-value-added", msgid("Value of manual changes"), EVERYBODY
                    ),
                ),
            ),
            MenuGroup(
                msgid("Operations"),
                (
                    MenuEntry("/shop/alerts", msgid("Alerts"), CHAIN),
                    MenuEntry("/shop/data", msgid("Data"), CHAIN),
                    MenuEntry("/runs", msgid("Runs"), CHAIN),
                ),
            ),
            MenuGroup(
                msgid("Administration"),
                (
                    MenuEntry("/shop/models", msgid("Forecast models"), CHAIN),
                    MenuEntry("/models", msgid("Model releases"), CHAIN),
                    MenuEntry("/shop/rules", msgid("Ordering rules"), CHAIN),
                ),
            ),
        ),
    ),
    routers=[subject.router for subject in SUBJECTS],
    templates=HERE / "templates",
    locale=HERE / "locale",
    run_titles=RUN_TITLES,
)

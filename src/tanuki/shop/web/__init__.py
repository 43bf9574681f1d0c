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
    "scan-alerts": msgid("Scan for alerts"),
    "retrain": msgid("Retraining after an alert"),
    "retrain-monthly": msgid("Monthly retraining"),
    "weekly_aggregate_sales": msgid("Add up the sales"),
    "weekly_seconds_until_forecast": msgid("Time until the forecast"),
    "weekly_list_parts": msgid("Divide the stores into parts"),
    "weekly_forecast_stores": msgid("Forecast the stores"),
    "weekly_record_forecast": msgid("Record the forecast"),
    "weekly_propose_orders": msgid("Propose orders"),
    "weekly_seconds_until_checked": msgid("Time until the check is due"),
    "weekly_seconds_until_release": msgid("Time until the release"),
    "weekly_release_to_stores": msgid("Release to the stores"),
    "weekly_seconds_until_confirmed": msgid("Time until the confirmation is due"),
    "weekly_order_confirmed_stores": msgid("Send the purchase orders"),
    "weekly_finish_week": msgid("Finish the week"),
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
                    MenuEntry("/models", msgid("Models"), CHAIN),
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

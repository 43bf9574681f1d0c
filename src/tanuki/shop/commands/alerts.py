"""Monitoring on the command line: scan and list alerts, close one, forecast value added."""

from dataclasses import asdict
from datetime import UTC, datetime

import click
from sqlalchemy import select
from sqlalchemy.orm import Session

from tanuki.cli.context import echo
from tanuki.cli.output import emit, json_option
from tanuki.platform.accounts import COMMAND_LINE
from tanuki.platform.commands.context import open_resources
from tanuki.shop import forecast_value_added
from tanuki.shop.commands.language import lang_option, load_translator
from tanuki.shop.monitoring import alerts as shop_alerts
from tanuki.shop.monitoring import messages
from tanuki.shop.tables import Item, Store

ALERT_COLUMNS = ["id", "code", "subject", "week", "observation", "action"]
FVA_COLUMNS = [
    "key",
    "changes",
    "weeks",
    "saved_yen",
    "per_change_yen",
    "low_yen",
    "high_yen",
    "advice",
]


@click.command(help="Scan now, open and close alerts, and list the open ones with what to do.")
@lang_option
@json_option
def alerts(lang: str, as_json: bool) -> None:
    say = load_translator(lang)
    with open_resources() as res, res.db.write() as db:
        shop_alerts.update_alerts(db, res.warehouse, res.jobs, datetime.now(UTC))
        names = load_subject_names(db, lang)
        open_alerts, _ = shop_alerts.list_alerts(db, COMMAND_LINE)
        rows = [
            {
                "id": alert.id,
                "code": alert.code,
                "subject": alert.subject,
                "week": alert.week,
                "opened_at": alert.opened_at,
                "observation": messages.render_observation(alert, say, names),
                "action": messages.render_action(alert.code, alert.values, say),
                **({"values": alert.values} if as_json else {}),
            }
            for alert in open_alerts
        ]
    emit(rows, as_json, None if as_json else ALERT_COLUMNS)


def load_subject_names(db: Session, lang: str) -> dict[str, str]:
    """Names of stores and items in a language, by code."""
    masters: list[Item | Store] = [*db.scalars(select(Item)), *db.scalars(select(Store))]
    return {master.code: master.name_ja if lang == "ja" else master.name_en for master in masters}


@click.command(
    help="Close an alert that needs nothing more; "
    "it opens again only when a later week shows it again."
)
@click.argument("alert_id", metavar="ID", type=int)
@click.option("--why", required=True)
def close_alert(alert_id: int, why: str) -> None:
    with open_resources() as res, res.db.write() as db:
        shop_alerts.close_alert(db, COMMAND_LINE, alert_id, why=why, now=datetime.now(UTC))
        echo("Alert %(alert)s is closed.", alert=alert_id)


@click.command(
    help="Forecast value added of people's changes: yen saved (below zero: cost), "
    "with a 90 % interval and an advice."
)
@click.option(
    "--by",
    type=click.Choice(list(forecast_value_added.GROUP_KEYS)),
    default="person",
    show_default=True,
)
@json_option
def fva(by: str, as_json: bool) -> None:
    with open_resources() as res, res.db.read() as db:
        effects = forecast_value_added.list_override_effects(db, COMMAND_LINE)
        rows = [asdict(row) for row in forecast_value_added.summarise_overrides(effects, by)]
    emit(rows, as_json, None if as_json else FVA_COLUMNS)

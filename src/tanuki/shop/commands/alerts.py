"""Watching from the command line: look now, close an alarm; what people's changes were worth."""

from datetime import UTC, datetime

import click

from tanuki.cli.output import emit, json_option
from tanuki.platform.commands.context import open_resources


@click.command(help="Look now, raise and end alarms, and list those that are open with what to do.")
@click.option(
    "--lang",
    type=click.Choice(["en", "ja"]),
    default="en",
    show_default=True,
    help="Language of the words.",
)
@json_option
def watch(lang: str, as_json: bool) -> None:
    from tanuki.platform.accounts import COMMAND_LINE
    from tanuki.shop.monitoring import alerts as alarm_file
    from tanuki.shop.monitoring import messages
    from tanuki.shop.web.formatting import names

    with open_resources() as res, res.db.write() as db:
        alarm_file.update_alerts(db, res.warehouse, res.jobs, datetime.now(UTC))
        called = names(db, lang)
        known = {**called.items, **called.stores}
        rows = [
            {
                "id": alarm.id,
                "code": alarm.code,
                "subject": alarm.subject,
                "week": alarm.week,
                "opened_at": alarm.opened_at,
                "seen": messages.render_observation(alarm.code, alarm.subject, alarm.values, lang, known),
                "do": messages.render_action(alarm.code, alarm.values, lang),
                **({"values": alarm.values} if as_json else {}),
            }
            for alarm in alarm_file.list_alerts(db, COMMAND_LINE)[0]
        ]
    emit(rows, as_json, None if as_json else ["id", "code", "subject", "week", "seen", "do"])


@click.group(help="Alarms: close one.")
def alarms() -> None: ...


@alarms.command(
    help="Close an alarm that needs nothing more; it comes back only when a later week shows it again."
)
@click.argument("alarm_id", metavar="ID", type=int)
@click.option("--why", required=True)
def close(alarm_id: int, why: str) -> None:
    from tanuki.platform.accounts import COMMAND_LINE
    from tanuki.shop.monitoring import alerts as alarm_file

    with open_resources() as res, res.db.write() as db:
        alarm_file.close_alert(db, COMMAND_LINE, alarm_id, why=why, now=datetime.now(UTC))
        click.echo(f"Alarm {alarm_id} is closed.")


@click.command(
    help="What people's changes were worth: yen saved (below zero: cost), with a 90 % interval and what follows from it."
)
@click.option(
    "--by",
    type=click.Choice(["person", "item", "store", "stage"]),
    default="person",
    show_default=True,
)
@json_option
def added_value(by: str, as_json: bool) -> None:
    from dataclasses import asdict

    from tanuki.platform.accounts import COMMAND_LINE
    from tanuki.shop import forecast_value_added as worth

    with open_resources() as res, res.db.read() as db:
        rows = [asdict(each) for each in worth.summarise_overrides(worth.list_override_effects(db, COMMAND_LINE), by)]
    emit(
        rows,
        as_json,
        None
        if as_json
        else [
            "key",
            "changes",
            "weeks",
            "saved_yen",
            "per_change_yen",
            "low_yen",
            "high_yen",
            "advice",
        ],
    )

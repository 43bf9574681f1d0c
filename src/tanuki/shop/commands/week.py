"""The week on the command line: run it, show its lines, change, release, confirm, evaluate."""

from collections.abc import Sequence
from dataclasses import asdict
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import click

from tanuki.cli.context import echo, say
from tanuki.cli.output import emit, json_option
from tanuki.cli.values import parse_moment
from tanuki.errors import UserError
from tanuki.i18n import msgid
from tanuki.platform.accounts import COMMAND_LINE
from tanuki.platform.commands.context import open_resources
from tanuki.platform.commands.inline_worker import inline_worker
from tanuki.platform.resources import Resources
from tanuki.shop import evaluation, explanation, purchase_orders, weekly
from tanuki.shop import forecasts as week_forecasts
from tanuki.shop import orders as order_lines
from tanuki.shop.calendar import Week, parse_week
from tanuki.shop.commands.language import lang_option, load_translator
from tanuki.shop.orders import LineChange
from tanuki.shop.tables import Cycle, CycleState
from tanuki.shop.weekly import CycleStart

NEXT_STEPS = {
    CycleState.PROPOSED: msgid("It waits for the analyst's check until %(check_due)s."),
    CycleState.HELD: msgid("%(alert)s"),
    CycleState.CHECKED: msgid("The check is done; the stores see it at %(release_at)s."),
    CycleState.RELEASED: msgid("It waits for the stores' confirmation until %(confirm_due)s."),
    CycleState.ORDERED: msgid("Once its sales have arrived it is evaluated."),
}
WAITING_STATES = (  # for people
    CycleState.PROPOSED,
    CycleState.HELD,
    CycleState.CHECKED,
    CycleState.RELEASED,
)
MAX_WAIT_SECONDS = 3600.0


class ListUnlessNamed(click.Group):
    """A group whose first word may be left out: `orders 2021-W03` is `orders list 2021-W03`."""

    def resolve_command(
        self, ctx: click.Context, args: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        return super().resolve_command(ctx, args if args[0] in self.commands else ["list", *args])


@click.command(
    help="Run the weekly cycle for WEEK (2021-W03) until it waits for people; "
    "without WEEK, show the weeks that were started."
)
@click.argument("week", required=False)
@click.option("--as-of", help="Use only facts recorded until this moment; now, unless given.")
@click.option("--auto", is_flag=True, help="Wait for nobody: check and confirm by rule, at once.")
@click.option(
    "--hours",
    type=click.FloatRange(min=0),
    help="Give people so many hours for each turn, instead of the clock's deadlines.",
)
@json_option
def week(
    week: str | None, as_of: str | None, auto: bool, hours: float | None, as_json: bool
) -> None:
    with open_resources() as res:
        if week is None:
            with res.db.read() as db:
                emit([make_cycle_row(cycle) for cycle in weekly.list_cycles(db)], as_json)
            return
        start = CycleStart(
            "command line", datetime.now(UTC), parse_moment(as_of), auto=auto, hours=hours
        )
        cycle = run_week(res, parse_week(week), start)
        row = make_cycle_row(cycle)
        if as_json:
            emit([row], as_json)
        else:
            row["alert"] = order_lines.render_cycle_alert(cycle, say)
            next_step = NEXT_STEPS.get(cycle.state)
            sentences = [say("%(week)s is %(state)s.", **row)]
            sentences += [say(next_step, **row)] if next_step else []
            click.echo(explanation.join_sentences(sentences, say))


def run_week(res: Resources, week: Week, start: CycleStart) -> Cycle:
    """Start a week and run it until it is ordered or waits for people.

    While no worker is alive, this process is one.
    """
    with inline_worker(res):
        with res.db.write() as db:
            weekly.start_cycle(db, res.jobs, week, start)

        def waits_for_people() -> bool:
            with res.db.read() as db:
                return not start.auto and order_lines.get_cycle(db, week).state in WAITING_STATES

        run = res.jobs.wait_for_run(
            order_lines.weekly_run_id(week), seconds=MAX_WAIT_SECONDS, until=waits_for_people
        )
    with res.db.read() as db:
        cycle = order_lines.get_cycle(db, week)
    if run.status in ("failed", "cancelled", "given up"):
        raise UserError(
            "%(week)s stopped (%(status)s): %(why)s Then `tanuki jobs resume %(run)s`.",
            week=week,
            status=run.status,
            why=order_lines.render_cycle_alert(cycle, say) or run.error or "",
            run=run.id,
        )
    return cycle


def make_cycle_row(cycle: Cycle) -> dict[str, Any]:
    columns = (
        "week",
        "state",
        "cutoff",
        "as_of",
        "auto",
        "model",
        "model_version",
        "sales_rows",
        "check_due",
        "release_at",
        "confirm_due",
        "proposed_at",
        "checked_at",
        "checked_by",
        "released_at",
        "ordered_at",
        "evaluated_at",
    )
    return {
        **{column: getattr(cycle, column) for column in columns},
        "alert": order_lines.render_cycle_alert(cycle),
    }


@click.command(help="The forecast and the orders of WEEK, one row a store and item.")
@click.argument("week")
@click.option("--store", help="One store only.")
@lang_option
@json_option
def forecasts(week: str, store: str | None, lang: str, as_json: bool) -> None:
    target, translate = parse_week(week), load_translator(lang)
    with open_resources() as res, res.db.read() as db:
        lines = {
            (line.store, line.item): line
            for line in order_lines.list_order_lines(db, COMMAND_LINE, target, store)
        }
        rows = [
            {
                "store": forecast.store,
                "item": forecast.item,
                "week": forecast.week,
                "as_of": forecast.as_of,
                "model": forecast.model,
                **{
                    name: round(getattr(forecast, name), 3)
                    for name in ("q05", "q10", "q25", "q50", "q75", "q90", "q95", "mean")
                },
                "order_units": line.cases * line.case_units,
                "order_cases": line.cases,
                "reason": explanation.render_reasons(line.reasons, translate),
            }
            for forecast in week_forecasts.list_target_forecasts(db, target)
            if (line := lines.get((forecast.store, forecast.item))) is not None
        ]
    columns = ["store", "item", "q10", "q50", "q90", "mean", "order_cases", "order_units"]
    emit(rows, as_json, None if as_json else columns)


@click.group(
    cls=ListUnlessNamed,
    help="Order lines and purchase orders. `orders 2021-W03` lists the week's lines.",
)
def orders() -> None: ...


@orders.command("list", help="The week's order lines, most unusual first.")
@click.argument("week")
@click.option("--store", help="One store only.")
@json_option
def list_lines(week: str, store: str | None, as_json: bool) -> None:
    with open_resources() as res, res.db.read() as db:
        rows = [
            {
                "store": line.store,
                "item": line.item,
                "proposed_cases": line.proposed_cases,
                "cases": line.cases,
                "units": line.cases * line.case_units,
                "recent_units": round(line.recent_units, 1),
                "unusual": explanation.render_reasons(line.unusual_reasons),
                "because": explanation.render_summary(line.reasons),
            }
            for line in order_lines.list_order_lines(db, COMMAND_LINE, parse_week(week), store)
        ]
    emit(rows, as_json)


@orders.command("change", help="Set the cases of one line.")
@click.argument("week")
@click.argument("store")
@click.argument("item")
@click.argument("cases", type=int)
@click.option("--why", default="", help="The reason; the analyst's check needs one.")
def change_line(week: str, store: str, item: str, cases: int, why: str) -> None:
    target = parse_week(week)
    with open_resources() as res, res.db.write() as db:
        lines = order_lines.list_order_lines(db, COMMAND_LINE, target, store)
        versions = {line.item: line.version for line in lines}
        change = LineChange(store, item, cases, versions.get(item, 0), why)
        line = order_lines.change_order_line(db, COMMAND_LINE, target, change, datetime.now(UTC))
        echo(
            "%(store)s %(item)s: %(cases)s cases (%(units)s units), proposed %(proposed)s.",
            store=line.store,
            item=line.item,
            cases=line.cases,
            units=line.cases * line.case_units,
            proposed=line.proposed_cases,
        )


@orders.command("release", help="The check is done: the stores may see the week.")
@click.argument("week")
def release_week(week: str) -> None:
    with open_resources() as res, res.db.write() as db:
        order_lines.release_week(db, COMMAND_LINE, res.jobs, parse_week(week), datetime.now(UTC))
        echo("%(week)s is checked.", week=week)


@orders.command("hold", help="Keep the week from the stores until it is released.")
@click.argument("week")
@click.option("--why", required=True)
def hold_week(week: str, why: str) -> None:
    with open_resources() as res, res.db.write() as db:
        order_lines.hold_week(db, COMMAND_LINE, res.jobs, parse_week(week), why=why)
        echo("%(week)s is held.", week=week)


@orders.command(
    "purchase", help="The week's purchase orders; with --out, their documents as they were sent."
)
@click.argument("week")
@click.option(
    "--out",
    type=click.Path(file_okay=False, path_type=Path),
    help="Folder to write the documents into.",
)
@json_option
def list_purchase_orders(week: str, out: Path | None, as_json: bool) -> None:
    with open_resources() as res, res.db.read() as db:
        issued = purchase_orders.list_purchase_orders(db, COMMAND_LINE, parse_week(week))
        rows = []
        for order in issued:
            lines = purchase_orders.list_purchase_order_lines(db, order.number)
            rows.append(
                {
                    "number": order.number,
                    "maker": order.supplier,
                    "store": order.store,
                    "status": order.status,
                    "lines": len(lines),
                    "cases": sum(line.cases for line in lines),
                    "units": sum(line.units for line in lines),
                }
            )
            if out is not None:
                out.mkdir(parents=True, exist_ok=True)
                document = purchase_orders.load_document(res.objects, order)
                (out / f"{order.number}.csv").write_bytes(document)
    emit(rows, as_json)


@orders.command("cancel", help="Cancel a purchase order; it stays on record.")
@click.argument("number")
@click.option("--why", required=True)
def cancel_order(number: str, why: str) -> None:
    with open_resources() as res, res.db.write() as db:
        purchase_orders.cancel_purchase_order(
            db, COMMAND_LINE, number, why=why, now=datetime.now(UTC)
        )
        echo("%(number)s is cancelled.", number=number)


@orders.command(
    "reissue",
    help="A new issue of a cancelled purchase order: `--cases coffee=12` for each item.",
)
@click.argument("number")
@click.option("--cases", multiple=True, required=True, help="item=cases; once for each item.")
def reissue_order(number: str, cases: tuple[str, ...]) -> None:
    with open_resources() as res, res.db.write() as db:
        order = purchase_orders.reissue_purchase_order(
            db,
            COMMAND_LINE,
            res.objects,
            number,
            cases=parse_cases(cases),
            now=datetime.now(UTC),
        )
        echo("%(number)s replaces %(cancelled)s.", number=order.number, cancelled=number)


def parse_cases(texts: Sequence[str]) -> dict[str, int]:
    """Cases by item, each given as item=cases."""
    cases = {}
    for text in texts:
        item, _, count = text.partition("=")
        if not count.isdigit():
            raise UserError(
                "%(text)s is not item=cases; expected one such as coffee=12.", text=text
            )
        cases[item] = int(count)
    return cases


@click.command(help="Confirm a store's orders for WEEK, or those of all stores that have not.")
@click.argument("week")
@click.option("--store", "stores", multiple=True, help="A store; may be given more than once.")
@click.option("--all", "every", is_flag=True, help="Every store that has not confirmed.")
def confirm(week: str, stores: tuple[str, ...], every: bool) -> None:
    if bool(stores) == every:
        raise UserError("Name the stores with --store, or say --all.")
    target = parse_week(week)
    with open_resources() as res, res.db.write() as db:
        for store in stores or order_lines.list_unconfirmed_stores(db, target):
            order_lines.confirm_store(db, COMMAND_LINE, res.jobs, target, store, datetime.now(UTC))
            echo("%(store)s has confirmed %(week)s.", store=store, week=target)


@click.command(help="The outcome of WEEK's orders, now that its sales are known.")
@click.argument("week")
@click.option("--by", type=click.Choice(["all", "store", "item"]), default="all", show_default=True)
@json_option
def evaluate(week: str, by: str, as_json: bool) -> None:
    with open_resources() as res, res.db.write() as db:
        evaluations = evaluation.evaluate_week(
            db, res.warehouse, parse_week(week), datetime.now(UTC)
        )
        summaries = evaluation.summarise_evaluations(evaluations, by)
        emit([asdict(summary) for summary in summaries], as_json)

"""The week from the command line: run it, look at it, change, release, confirm, order, evaluate."""

from dataclasses import asdict
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from tanuki.cli.output import emit, json_option
from tanuki.cli.values import parse_moment
from tanuki.errors import UserError
from tanuki.platform.commands.context import open_resources
from tanuki.platform.commands.inline_worker import inline_worker

if TYPE_CHECKING:
    from tanuki.platform.resources import Resources
    from tanuki.shop.calendar import Week
    from tanuki.shop.tables import Cycle

WAITS_FOR = {
    "proposed": "It waits for the analyst's check until {check_due}.",
    "held": "{alert}",
    "checked": "The check is done; the stores see it at {release_at}.",
    "released": "It waits for the stores' confirmation until {confirm_due}.",
    "ordered": "Once its sales have arrived it is evaluated.",
}
PEOPLES_TURN = ("proposed", "held", "checked", "released")
LONGEST = 3600.0


class ListUnlessNamed(click.Group):
    """A group whose first word may be left out: `orders 2021-W03` is `orders list 2021-W03`."""

    def resolve_command(
        self, ctx: click.Context, args: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        return super().resolve_command(ctx, args if args[0] in self.commands else ["list", *args])


@click.command(
    help="Run the weekly cycle for WEEK (2021-W03) as far as people let it; without WEEK, show the weeks that were started."
)
@click.argument("week", required=False)
@click.option("--as-of", help="See only facts recorded until this moment; now, unless given.")
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
    from tanuki.shop import weekly
    from tanuki.shop.calendar import parse_week

    with open_resources() as res:
        if week is None:
            with res.db.read() as db:
                emit([row(cycle) for cycle in weekly.list_cycles(db)], as_json)
            return
        cycle = run_week(res, parse_week(week), as_of=parse_moment(as_of), auto=auto, hours=hours)
        if as_json:
            emit([row(cycle)], as_json)
        else:
            click.echo(
                f"{cycle.week} is {cycle.state}. "
                + WAITS_FOR.get(cycle.state, "").format(**row(cycle))
            )


def run_week(
    res: "Resources", target: "Week", *, as_of: datetime | None, auto: bool, hours: float | None
) -> "Cycle":
    """Start a week and run it until it is ordered or waits for people. When no worker is alive, this process is one meanwhile."""
    from tanuki.shop import orders, weekly

    now = datetime.now(UTC)
    with inline_worker(res):
        with res.db.write() as db:
            weekly.start_cycle(
                db,
                res.jobs,
                target,
                by="command line",
                now=now,
                as_of=as_of,
                auto=auto,
                hours=hours,
            )

        def peoples_turn() -> bool:
            with res.db.read() as db:
                return not auto and orders.get_cycle(db, target).state in PEOPLES_TURN

        run = res.jobs.wait_for_run(orders.weekly_run_id(target), seconds=LONGEST, until=peoples_turn)
    with res.db.read() as db:
        cycle = orders.get_cycle(db, target)
    if run.status in ("failed", "cancelled", "given up"):
        raise UserError(
            "%(week)s stopped (%(status)s): %(why)s Then `tanuki work resume %(run)s`.",
            week=target,
            status=run.status,
            why=orders.render_cycle_alert(cycle, "en") or run.error or "",
            run=run.id,
        )
    return cycle


def row(cycle: "Cycle") -> dict[str, Any]:
    """A cycle as one flat row."""
    names = ("week", "state", "cutoff", "as_of", "auto", "model", "model_version", "sales_rows")
    times = (
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
    from tanuki.shop import orders

    return {
        **{name: getattr(cycle, name) for name in (*names, *times)},
        "alert": orders.render_cycle_alert(cycle, "en"),
    }


@click.command(help="What was forecast and proposed for WEEK, one row a store and item.")
@click.argument("week")
@click.option("--store", help="One store only.")
@click.option(
    "--lang",
    type=click.Choice(["en", "ja"]),
    default="en",
    show_default=True,
    help="Language of the reasons.",
)
@json_option
def forecasts(week: str, store: str | None, lang: str, as_json: bool) -> None:
    from tanuki.platform.accounts import COMMAND_LINE
    from tanuki.shop import explanation, orders
    from tanuki.shop import forecasts as kept
    from tanuki.shop.calendar import parse_week

    target = parse_week(week)
    with open_resources() as res, res.db.read() as db:
        lines = {
            (line.store, line.item): line
            for line in orders.list_order_lines(db, COMMAND_LINE, target, store)
        }
        rows = [
            {
                "store": each.store,
                "item": each.item,
                "week": each.week,
                "as_of": each.as_of,
                "model": each.model,
                **{
                    name: round(getattr(each, name), 3)
                    for name in ("q05", "q10", "q25", "q50", "q75", "q90", "q95", "mean")
                },
                "order_units": line.cases * line.case_units,
                "order_cases": line.cases,
                "reason": explanation.render_reasons(line.reasons, lang),
            }
            for each in kept.of_week(db, target)
            if (line := lines.get((each.store, each.item))) is not None
        ]
    emit(
        rows,
        as_json,
        None
        if as_json
        else ["store", "item", "q10", "q50", "q90", "mean", "order_cases", "order_units"],
    )


@click.group(
    cls=ListUnlessNamed,
    help="Order lines and purchase orders. `orders 2021-W03` lists the week's lines.",
)
def orders() -> None: ...


@orders.command("list", help="The week's order lines, most unusual first.")
@click.argument("week")
@click.option("--store", help="One store only.")
@json_option
def list_(week: str, store: str | None, as_json: bool) -> None:
    from tanuki.platform.accounts import COMMAND_LINE
    from tanuki.shop import explanation
    from tanuki.shop import orders as lines
    from tanuki.shop.calendar import parse_week

    with open_resources() as res, res.db.read() as db:
        rows = [
            {
                "store": line.store,
                "item": line.item,
                "proposed_cases": line.proposed_cases,
                "cases": line.cases,
                "units": line.cases * line.case_units,
                "recent_units": round(line.recent_units, 1),
                "unusual": explanation.render_reasons(line.unusual_reasons, "en"),
                "because": explanation.render_summary(line.reasons, "en"),
            }
            for line in lines.list_order_lines(db, COMMAND_LINE, parse_week(week), store)
        ]
    emit(rows, as_json)


@orders.command(help="Set the cases of one line.")
@click.argument("week")
@click.argument("store")
@click.argument("item")
@click.argument("cases", type=int)
@click.option("--why", default="", help="The reason; the analyst's check needs one.")
def change(week: str, store: str, item: str, cases: int, why: str) -> None:
    from tanuki.platform.accounts import COMMAND_LINE
    from tanuki.shop import orders as lines
    from tanuki.shop.calendar import parse_week

    target = parse_week(week)
    with open_resources() as res, res.db.write() as db:
        seen = {line.item: line.version for line in lines.list_order_lines(db, COMMAND_LINE, target, store)}
        line = lines.change_order_line(
            db,
            COMMAND_LINE,
            target,
            store,
            item,
            cases=cases,
            reason=why,
            version=seen.get(item, 0),
            now=datetime.now(UTC),
        )
        click.echo(
            f"{line.store} {line.item}: {line.cases} cases ({line.cases * line.case_units} units), proposed {line.proposed_cases}."
        )


@orders.command(help="The check is done: the stores may see the week.")
@click.argument("week")
def release(week: str) -> None:
    from tanuki.platform.accounts import COMMAND_LINE
    from tanuki.shop import orders as lines
    from tanuki.shop.calendar import parse_week

    with open_resources() as res, res.db.write() as db:
        lines.release_week(db, COMMAND_LINE, res.jobs, parse_week(week), datetime.now(UTC))
        click.echo(f"{week} is checked.")


@orders.command(help="Keep the week from the stores until it is released.")
@click.argument("week")
@click.option("--why", required=True)
def hold(week: str, why: str) -> None:
    from tanuki.platform.accounts import COMMAND_LINE
    from tanuki.shop import orders as lines
    from tanuki.shop.calendar import parse_week

    with open_resources() as res, res.db.write() as db:
        lines.hold_week(db, COMMAND_LINE, res.jobs, parse_week(week), why=why, now=datetime.now(UTC))
        click.echo(f"{week} is held.")


@orders.command(help="The week's purchase orders; with --out, their documents as they were sent.")
@click.argument("week")
@click.option(
    "--out",
    type=click.Path(file_okay=False, path_type=Path),
    help="Folder to write the documents into.",
)
@json_option
def purchase(week: str, out: Path | None, as_json: bool) -> None:
    from tanuki.platform.accounts import COMMAND_LINE
    from tanuki.shop import purchase_orders
    from tanuki.shop.calendar import parse_week

    with open_resources() as res, res.db.read() as db:
        found = purchase_orders.list_purchase_orders(db, COMMAND_LINE, parse_week(week))
        rows = []
        for order in found:
            held = purchase_orders.list_purchase_order_lines(db, order.number)
            rows.append(
                {
                    "number": order.number,
                    "maker": order.supplier,
                    "store": order.store,
                    "status": order.status,
                    "lines": len(held),
                    "cases": sum(line.cases for line in held),
                    "units": sum(line.units for line in held),
                }
            )
            if out is not None:
                out.mkdir(parents=True, exist_ok=True)
                (out / f"{order.number}.csv").write_bytes(
                    purchase_orders.load_document(res.objects, order)
                )
    emit(rows, as_json)


@orders.command(help="Cancel a purchase order; it stays on record.")
@click.argument("number")
@click.option("--why", required=True)
def cancel(number: str, why: str) -> None:
    from tanuki.platform.accounts import COMMAND_LINE
    from tanuki.shop import purchase_orders

    with open_resources() as res, res.db.write() as db:
        purchase_orders.cancel_purchase_order(db, COMMAND_LINE, number, why=why, now=datetime.now(UTC))
        click.echo(f"{number} is cancelled.")


@orders.command(
    help="A new issue of a cancelled purchase order: `--cases coffee=12` for each item."
)
@click.argument("number")
@click.option(
    "--cases", "cases", multiple=True, required=True, help="item=cases; once for each item."
)
def reissue(number: str, cases: tuple[str, ...]) -> None:
    from tanuki.platform.accounts import COMMAND_LINE
    from tanuki.shop import purchase_orders

    wanted: dict[str, int] = {}
    for case in cases:
        item, _, count = case.partition("=")
        if not count.isdigit():
            raise UserError(
                "%(each)s is not item=cases; expected one such as coffee=12.", each=case
            )
        wanted[item] = int(count)
    with open_resources() as res, res.db.write() as db:
        order = purchase_orders.reissue_purchase_order(
            db, COMMAND_LINE, res.objects, number, cases=wanted, now=datetime.now(UTC)
        )
        click.echo(f"{order.number} replaces {number}.")


@click.command(help="Confirm a store's orders for WEEK, or those of all stores that have not.")
@click.argument("week")
@click.option("--store", "stores", multiple=True, help="A store; may be given more than once.")
@click.option("--all", "every", is_flag=True, help="Every store that has not confirmed.")
def confirm(week: str, stores: tuple[str, ...], every: bool) -> None:
    from tanuki.platform.accounts import COMMAND_LINE
    from tanuki.shop import orders as lines
    from tanuki.shop.calendar import parse_week

    if bool(stores) == every:
        raise UserError("Name the stores with --store, or say --all.")
    target = parse_week(week)
    with open_resources() as res, res.db.write() as db:
        for store in stores or lines.list_unconfirmed_stores(db, target):
            lines.confirm_store(db, COMMAND_LINE, res.jobs, target, store, datetime.now(UTC))
            click.echo(f"{store} has confirmed {target}.")


@click.command(help="What WEEK's orders were worth, now that its sales are known.")
@click.argument("week")
@click.option("--by", type=click.Choice(["all", "store", "item"]), default="all", show_default=True)
@json_option
def evaluate(week: str, by: str, as_json: bool) -> None:
    from tanuki.shop import evaluation
    from tanuki.shop.calendar import parse_week

    with open_resources() as res, res.db.write() as db:
        made = evaluation.evaluate_week(db, res.warehouse, parse_week(week), datetime.now(UTC))
        emit([asdict(each) for each in evaluation.summarise_evaluations(made, by)], as_json)

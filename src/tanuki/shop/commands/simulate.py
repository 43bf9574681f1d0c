"""Closed-loop simulation from the command line: what policies would have cost, and why."""

from datetime import date, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from tanuki.cli.output import emit, json_option
from tanuki.errors import UserError
from tanuki.platform.commands.context import open_resources

if TYPE_CHECKING:
    from tanuki.shop.simulation.scenarios import Scene

LAST_DAY = date(2021, 6, 27)  # not today's week: the same seed gives the same result on any day
MARGIN = "<style>svg{max-width:100%;height:auto}body{margin:2rem}</style>"


@click.command(
    help="Live week after week with each policy's orders against true demand: the example world's (no database needed), or a chain's "
    "recorded sales as if nothing had ever run out. A week costs lost units × shortage cost, units thrown away × leftover cost, "
    "and units left that can still be sold × holding × leftover cost."
)
@click.option(
    "--weeks",
    type=click.IntRange(1, 520),
    default=52,
    show_default=True,
    help="How many weeks count.",
)
@click.option(
    "--policy",
    "names",
    multiple=True,
    help="managers, published, ours, oracle or clairvoyant; all, unless given. May be repeated.",
)
@click.option(
    "--seed",
    type=click.IntRange(min=0),
    default=1,
    show_default=True,
    help="Of the example world and its dice.",
)
@click.option(
    "--last-day",
    type=click.DateTime(["%Y-%m-%d"]),
    default=str(LAST_DAY),
    show_default=True,
    help="Last day of the managers' past.",
)
@click.option("--model", help="Which model `ours` forecasts with; the usual one, unless given.")
@click.option(
    "--from-history",
    is_flag=True,
    help="Take the sales on record as demand; there is no oracle then.",
)
@click.option("--first", help="With --from-history: the first week that counts, such as 2021-W01.")
@click.option(
    "--by",
    type=click.Choice(["policy", "item", "store", "week"]),
    default="policy",
    show_default=True,
    help="Rows of the table.",
)
@click.option(
    "--plot",
    type=click.Path(path_type=Path, dir_okay=False),
    help="Draw stock, lost sales, waste and yen into this .svg or .html.",
)
@json_option
def simulate(
    weeks: int, names: tuple[str, ...], seed: int, last_day: datetime, model: str | None, from_history: bool, first: str | None,
    by: str, plot: Path | None, as_json: bool,
) -> None:  # fmt: skip
    import polars as pl

    from tanuki.shop.forecasting.forecaster import check_forecaster_name
    from tanuki.shop.simulation import closed_loop as simulation
    from tanuki.shop.simulation import scenarios
    from tanuki.shop.simulation.policies import POLICIES

    if plot is not None and plot.suffix not in (".svg", ".html"):
        raise UserError(
            "%(file)s cannot be drawn; expected a name that ends in .svg or .html.", file=str(plot)
        )
    unknown = [name for name in names if name not in POLICIES]
    if unknown:
        raise UserError(
            "There is no policy %(name)s; expected one of %(known)s.",
            name=unknown[0],
            known=", ".join(POLICIES),
        )
    if model is not None:
        check_forecaster_name(model)
    if from_history != (first is not None):
        raise UserError(
            "--from-history and --first WEEK go together: which of the recorded weeks counts first?"
        )
    scene = (
        scenarios.example(seed, last_day.date(), weeks) if first is None else recorded(first, weeks)
    )
    chosen = list(dict.fromkeys(names)) or [
        name for name in POLICIES if name != "oracle" or scene.expected is not None
    ]
    if not names and scene.expected is None:
        click.echo(
            "The oracle is left out: nobody knows what a real chain's expected demand was.",
            err=True,
        )
    ledgers = pl.concat(
        simulation.run(
            scene,
            name,
            model=model,
            progress=lambda line: click.echo(f"\r\033[K{line}", err=True, nl=False),
        )
        for name in chosen
    )
    click.echo("\r\033[K", err=True, nl=False)
    rows = (
        simulation.compared(ledgers)
        if by == "policy"
        else simulation.totals(ledgers, ("policy", by)).to_dicts()
    )
    emit(rows if as_json else [worded(row) for row in rows], as_json)
    if plot is not None:
        draw(simulation.chart(ledgers, f"{scene.name}, {weeks} weeks"), plot)


def recorded(first: str, weeks: int) -> "Scene":
    """The chain on record, with its items' masters and the rules in force."""
    from datetime import UTC

    from sqlalchemy import select

    from tanuki.shop import panel, rules
    from tanuki.shop.calendar import parse_week
    from tanuki.shop.proposals import make_item_rules
    from tanuki.shop.simulation import scenarios
    from tanuki.shop.tables import Item

    with open_resources() as res, res.db.read() as db:
        history = panel.load_history(db, res.warehouse, as_of=datetime.now(UTC))
        chain = rules.load_rules(db)
        items = {item.code: make_item_rules(item, chain) for item in db.scalars(select(Item))}
    return scenarios.of_history(history, items, parse_week(first), weeks)


def worded(row: dict[str, Any]) -> dict[str, Any]:
    """A row as people read it: shares in percent, whole units and yen."""
    exact = {"cover_days", "to_managers", "to_oracle"}
    return {
        name: f"{value:.2%}"
        if name == "fill_rate" and value is not None
        else round(value)
        if isinstance(value, float) and name not in exact
        else value
        for name, value in row.items()
    }


def draw(spec: dict[str, Any], file: Path) -> None:
    """Write a chart with its colours, to be looked at without the web server."""
    import re

    from tanuki.platform.web import charts

    style = f"<style>{(Path(charts.__file__).parent / 'static' / 'tanuki.css').read_text('utf-8')}svg{{font-family:sans-serif}}</style>"
    svg = re.sub(r"^<div[^>]*>|</div>$", "", str(charts.chart(spec, "en")))
    if file.suffix == ".svg":
        text = svg.replace(">", f">{style}", 1)
    else:
        text = f'<!doctype html><html lang="en"><meta charset="utf-8"><title>{spec["title"]}</title>{style}{MARGIN}<body>{svg}</body></html>'
    try:
        file.write_text(text, encoding="utf-8")
    except OSError as why:
        raise UserError(
            "%(file)s cannot be written: %(why)s.",
            file=str(file),
            why=why.strerror or why.__class__.__name__,
        ) from why

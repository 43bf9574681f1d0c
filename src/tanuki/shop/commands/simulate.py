"""Closed-loop simulation from the command line: what each policy would have cost."""

from dataclasses import dataclass
from datetime import UTC, date, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from tanuki.cli.context import echo
from tanuki.cli.output import emit, json_option
from tanuki.errors import UserError
from tanuki.platform.commands.context import open_resources

if TYPE_CHECKING:
    from tanuki.shop.simulation.scenarios import Scenario

DEFAULT_LAST_DAY = date(2021, 6, 27)  # fixed, so that a seed gives the same result on any day
CHART_FILES = (".svg", ".html")
CHART_PAGE_STYLE = "<style>svg{max-width:100%;height:auto}body{margin:2rem}</style>"
UNROUNDED_COLUMNS = {"cover_days", "to_managers", "to_oracle"}
CLEAR_LINE = "\r\033[K"  # the cursor to the line's start, and the line erased


@dataclass(frozen=True)
class SimulateOptions:
    weeks: int
    policies: tuple[str, ...]
    seed: int
    last_day: datetime
    model: str | None
    from_history: bool
    first: str | None
    by: str
    plot: Path | None
    as_json: bool


@click.command(
    help="Simulate weeks of ordering by each policy against true demand: the example world's (no"
    " database needed), or a chain's recorded sales as if nothing had ever sold out. A week costs"
    " lost units × shortage cost, units thrown away × leftover cost, and units left that can still"
    " be sold × holding × leftover cost."
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
    "policies",
    multiple=True,
    help="managers, published, tanuki, oracle or perfect_information; all, unless given. May be"
    " repeated.",
)
@click.option(
    "--seed",
    type=click.IntRange(min=0),
    default=1,
    show_default=True,
    help="Of the example world.",
)
@click.option(
    "--last-day",
    type=click.DateTime(["%Y-%m-%d"]),
    default=str(DEFAULT_LAST_DAY),
    show_default=True,
    help="Last day of the managers' own orders.",
)
@click.option(
    "--model", help="The forecaster of the policy `tanuki`; the default one, unless given."
)
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
    help="Draw stock, lost sales, waste and yen into this .svg or .html file.",
)
@json_option
def simulate(**values: Any) -> None:  # noqa: ANN401 click's options
    import polars as pl

    from tanuki.shop.forecasting.forecaster import check_forecaster_name
    from tanuki.shop.simulation import closed_loop
    from tanuki.shop.simulation.policies import POLICIES, make_policy
    from tanuki.shop.simulation.scenarios import example_scenario

    options = SimulateOptions(**values)
    if options.plot is not None and options.plot.suffix not in CHART_FILES:
        raise UserError(
            "%(file)s cannot be drawn; expected a name that ends in .svg or .html.",
            file=str(options.plot),
        )
    unknown = [name for name in options.policies if name not in POLICIES]
    if unknown:
        raise UserError(
            "There is no policy %(name)s; expected one of %(known)s.",
            name=unknown[0],
            known=", ".join(POLICIES),
        )
    if options.model is not None:
        check_forecaster_name(options.model)
    if options.from_history != (options.first is not None):
        raise UserError(
            "--from-history and --first WEEK go together: which of the recorded weeks counts first?"
        )
    if options.first is None:
        scenario = example_scenario(options.seed, options.last_day.date(), options.weeks)
    else:
        scenario = load_recorded_scenario(options.first, options.weeks)
    chosen = list(dict.fromkeys(options.policies)) or list(POLICIES)
    if not options.policies and scenario.expected is None:
        chosen.remove("oracle")
        echo(
            "The oracle is left out: nobody knows what a real chain's expected demand was.",
            err=True,
        )
    ledgers = pl.concat(
        closed_loop.simulate_policy(
            scenario, name, make_policy(scenario, name, options.model), print_progress
        )
        for name in chosen
    )
    click.echo(CLEAR_LINE, err=True, nl=False)
    if options.by == "policy":
        rows = closed_loop.compare_policies(ledgers)
    else:
        rows = closed_loop.sum_ledgers(ledgers, ("policy", options.by)).to_dicts()
    emit(rows if options.as_json else [format_row(row) for row in rows], options.as_json)
    if options.plot is not None:
        title = f"{scenario.name}, {options.weeks} weeks"
        write_chart(closed_loop.build_cost_chart(ledgers, title), options.plot)


def load_recorded_scenario(first: str, weeks: int) -> "Scenario":
    """The chain on record, with its items' masters and the rules in force."""
    from sqlalchemy import select

    from tanuki.shop import panel, rules
    from tanuki.shop.calendar import parse_week
    from tanuki.shop.proposals import make_item_rules
    from tanuki.shop.simulation.scenarios import scenario_from_history
    from tanuki.shop.tables import Item

    with open_resources() as res, res.db.read() as db:
        history = panel.load_history(db, res.warehouse, as_of=datetime.now(UTC))
        chain = rules.load_rules(db)
        items = {item.code: make_item_rules(item, chain) for item in db.scalars(select(Item))}
    return scenario_from_history(history, items, parse_week(first), weeks)


def print_progress(line: str) -> None:
    click.echo(f"{CLEAR_LINE}{line}", err=True, nl=False)


def format_row(row: dict[str, Any]) -> dict[str, Any]:
    """A row for people: the fill rate in percent, whole units and yen."""
    formatted = dict(row)
    for name, value in row.items():
        if name == "fill_rate" and value is not None:
            formatted[name] = f"{value:.2%}"
        elif isinstance(value, float) and name not in UNROUNDED_COLUMNS:
            formatted[name] = round(value)
    return formatted


def write_chart(spec: dict[str, Any], file: Path) -> None:
    """Write a chart with the site's colours into it, so that it needs no web server."""
    from tanuki.platform.web import charts

    sheet = (Path(charts.__file__).parent / "static" / "tanuki.css").read_text("utf-8")
    style = f"<style>{sheet}svg{{font-family:sans-serif}}</style>"
    svg = charts.render_svg(spec, "en")
    if file.suffix == ".svg":
        text = svg.replace(">", f">{style}", 1)
    else:
        text = (
            f'<!doctype html><html lang="en"><meta charset="utf-8"><title>{spec["title"]}</title>'
            f"{style}{CHART_PAGE_STYLE}<body>{svg}</body></html>"
        )
    try:
        file.write_text(text, encoding="utf-8")
    except OSError as error:
        raise UserError(
            "%(file)s cannot be written: %(why)s.",
            file=str(file),
            why=error.strerror or error.__class__.__name__,
        ) from error

"""Models from the command line: forecast past weeks again, train, compare with published forecasts."""

from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from tanuki.terminal import emit, json_option, resources

if TYPE_CHECKING:
    from tanuki.platform.resources import Resources
    from tanuki.shop.panel import History

SHARES = ("wape", "bias", "coverage_80", "fill_rate", "under_forecast_share")
UNITS = ("shortage_units", "leftover_units")


@click.command(
    help="Forecast past weeks with only what was known when each was ordered, and score every model: as a forecast and as an order."
)
@click.option("--from", "first", required=True, help="The first target week, such as 2020-W40.")
@click.option("--to", "last", required=True, help="The last target week, such as 2021-W24.")
@click.option("--models", help="Which models, with commas between; all, unless given.")
@click.option("--shortage", type=click.FloatRange(min=0, min_open=True), default=3.0, show_default=True, help="What a unit short costs.")
@click.option("--leftover", type=click.FloatRange(min=0, min_open=True), default=1.0, show_default=True, help="What a unit left costs.")
@json_option
def backtest(first: str, last: str, models: str | None, shortage: float, leftover: float, as_json: bool) -> None:
    import polars as pl

    from tanuki.shop import backtest as past
    from tanuki.shop import forecasters
    from tanuki.shop.weeks import parse_week, weeks_between

    names = [name.strip() for name in models.split(",")] if models else list(forecasters.FORECASTERS)
    for name in names:
        forecasters.known(name)
    chosen = {name: forecasters.FORECASTERS[name] for name in names}
    start, end = parse_week(first), parse_week(last)
    with resources() as res:
        history = known_now(res)
    past.covered(history, start, end)
    rows = []
    for number, week in enumerate(asked := weeks_between(start, end), start=1):
        if not as_json:
            click.echo(f"{week} ({number} of {len(asked)})", err=True)
        rows.append(past.run(history, [week], chosen, shortage=shortage, leftover=leftover))
    show(past.summary(pl.concat(rows), shortage=shortage, leftover=leftover), as_json)


@click.command(
    help="Fit a model on what is known, score it on the last eight weeks, register it and make it the champion that the weekly cycle uses."
)
@click.option("--model", "name", required=True, help="Which model, such as pooled.")
@click.option("--week", "text", help="Learn as if to order this week; the next one to order, unless given.")
@json_option
def train(name: str, text: str | None, as_json: bool) -> None:
    from tanuki.platform.models.registry import CHAMPION
    from tanuki.shop import forecasters, forecasts
    from tanuki.shop.weeks import parse_week

    forecasters.known(name)
    with resources() as res:
        history = known_now(res)
        week = parse_week(text) if text else forecasts.next_week(history)
        version = forecasts.train(history, res.registry, name, week)
    begin, end = version.data_window
    row = {"name": version.name, "version": version.version, "model": name, "alias": CHAMPION, "data_from": begin, "data_to": end}
    show(
        [{**row, **{key: version.metrics[key] for key in ("wape", "bias", "coverage_80", "cost", "fill_rate") if key in version.metrics}}],
        as_json,
    )


@click.command(help="Published forecasts (CSV: year,week_of_year,store,item,item_price,prediction) beside ours: same rows, same cut-off.")
@click.argument("files", nargs=-1, required=True, type=click.Path(exists=True, dir_okay=False, path_type=Path))
@click.option("--model", "name", help="Which model of ours; the champion, unless given.")
@json_option
def published(files: tuple[Path, ...], name: str | None, as_json: bool) -> None:
    import polars as pl

    from tanuki.shop import backtest as past
    from tanuki.shop import forecasters, forecasts

    theirs = [past.read_published(file) for file in files]
    with resources() as res:
        history = known_now(res)
        model = forecasters.make(name) if name else forecasts.champion(res.registry)[0]
    rows, found = [], []
    for week, frame in theirs:
        joined = past.beside_published(history, week, frame, model)
        found.append(joined)
        rows += [{"week": str(week), **line} for line in past.compared(joined, model.name)]
    if len(theirs) > 1:
        rows += [{"week": "all", **line} for line in past.compared(pl.concat(found), model.name)]
    show(rows, as_json)


def known_now(res: "Resources") -> "History":
    """All that is recorded by now."""
    from tanuki.shop import panel

    with res.db.read() as db:
        return panel.load(db, res.warehouse, as_of=datetime.now(UTC))


def show(rows: Sequence[Mapping[str, Any]], as_json: bool) -> None:
    """Rows as they are for machines; for people shares in percent and whole units."""
    emit(rows if as_json else [{key: worded(key, value) for key, value in row.items()} for row in rows], as_json)


def worded(key: str, value: Any) -> Any:
    """A score as people read it."""
    if value is None or key not in (*SHARES, *UNITS):
        return value
    return f"{value:.1%}" if key in SHARES else round(value)

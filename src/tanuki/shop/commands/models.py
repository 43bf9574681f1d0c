"""Forecast models on the command line: backtest, train, compare with published forecasts."""

from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING

import click
import polars as pl

from tanuki.cli.output import emit, json_option
from tanuki.platform.commands.context import open_resources
from tanuki.platform.commands.models import (
    evaluate_model,
    exit_on_no_go,
    print_verdict,
    verdict_json,
)
from tanuki.platform.mlops.registry import CHALLENGER, CHAMPION, Version
from tanuki.shop import backtest as backtests
from tanuki.shop import forecasts, panel
from tanuki.shop.calendar import parse_week, weeks_between
from tanuki.shop.forecasting import forecaster
from tanuki.shop.gate import GATE_WEEKS
from tanuki.shop.panel import History
from tanuki.shop.tables import DEFAULT_LEFTOVER_COST_YEN, DEFAULT_SHORTAGE_COST_YEN

if TYPE_CHECKING:
    from tanuki.platform.resources import Resources

SHARES = ("wape", "bias", "coverage_80", "fill_rate", "under_forecast_share")
UNITS = ("shortage_units", "leftover_units")
TRAINING_SCORES = ("wape", "bias", "coverage_80", "cost", "fill_rate")


@click.command(
    help="Forecast past weeks with only what was known when each was ordered, and score every "
    "model: as a forecast and as an order."
)
@click.option("--from", "first", required=True, help="The first target week, such as 2020-W40.")
@click.option("--to", "last", required=True, help="The last target week, such as 2021-W24.")
@click.option("--models", help="Which models, with commas between; all, unless given.")
@click.option(
    "--shortage",
    type=click.FloatRange(min=0, min_open=True),
    default=DEFAULT_SHORTAGE_COST_YEN,
    show_default=True,
    help="What a unit short costs.",
)
@click.option(
    "--leftover",
    type=click.FloatRange(min=0, min_open=True),
    default=DEFAULT_LEFTOVER_COST_YEN,
    show_default=True,
    help="What a unit left over costs.",
)
@json_option
def backtest(
    first: str, last: str, models: str | None, shortage: float, leftover: float, as_json: bool
) -> None:
    names = [name.strip() for name in models.split(",")] if models else list(forecaster.FORECASTERS)
    for name in names:
        forecaster.check_forecaster_name(name)
    factories = {name: forecaster.FORECASTERS[name] for name in names}
    start, end = parse_week(first), parse_week(last)
    with open_resources() as res:
        history = load_history_now(res)
    backtests.check_week_range(history, start, end)
    weeks = weeks_between(start, end)
    rows = []
    for number, week in enumerate(weeks, start=1):
        if not as_json:
            click.echo(f"{week} ({number} / {len(weeks)})", err=True)
        rows.append(
            backtests.run_backtest(history, [week], factories, shortage=shortage, leftover=leftover)
        )
    scores = backtests.summarize_backtest(pl.concat(rows), shortage=shortage, leftover=leftover)
    print_scores(scores, as_json)


@click.command(
    help="Fit a model on what is known, score it on the last eight weeks, register it as the "
    "challenger, and evaluate it. On GO it becomes the champion that the weekly cycle uses. "
    "On NO-GO nothing changes and the exit code is 1."
)
@click.option("--model", "name", required=True, help="Which model, such as poisson_regression.")
@click.option(
    "--week", "text", help="Train as if to order this week; the next one to order, unless given."
)
@click.option("--no-gate", is_flag=True, help="Only register it as the challenger.")
@click.option(
    "--weeks",
    type=click.IntRange(min=1),
    default=GATE_WEEKS,
    show_default=True,
    help="Past weeks that the gate forecasts again.",
)
@json_option
@click.pass_context
def train(
    ctx: click.Context, name: str, text: str | None, no_gate: bool, weeks: int, as_json: bool
) -> None:
    forecaster.check_forecaster_name(name)
    with open_resources() as res:
        history = load_history_now(res)
        week = parse_week(text) if text else forecasts.next_order_week(history)
        version = forecasts.train_challenger(history, res.registry, name, week)
        if no_gate:
            print_scores([training_row(version, name, released=False)], as_json)
            return
        verdict, released = evaluate_model(
            res, version.name, version.version, options={"weeks": weeks}, release_on_go=True
        )
        row = training_row(version, name, released=released)
        if as_json:
            details = verdict_json(res, verdict, released=released)
            print_scores([{**row, **details}], as_json)
        else:
            print_scores([row], as_json)
            print_verdict(res, verdict, released=released, as_json=as_json)
        exit_on_no_go(ctx, verdict)


def training_row(version: Version, model: str, *, released: bool) -> dict[str, object]:
    first, last = version.data_window
    scores = {name: version.metrics[name] for name in TRAINING_SCORES if name in version.metrics}
    return {
        "name": version.name,
        "version": version.version,
        "model": model,
        "alias": CHAMPION if released else CHALLENGER,
        "data_from": first,
        "data_to": last,
        **scores,
    }


@click.command(
    help="Compare published forecasts (CSV: "
    "year,week_of_year,store,item,item_price,prediction) with ours: same rows, same cut-off."
)
@click.argument(
    "files", nargs=-1, required=True, type=click.Path(exists=True, dir_okay=False, path_type=Path)
)
@click.option("--model", "name", help="Which model of ours; the champion, unless given.")
@json_option
def compare_published(files: tuple[Path, ...], name: str | None, as_json: bool) -> None:
    published = [backtests.read_published_forecast(file) for file in files]
    with open_resources() as res:
        history = load_history_now(res)
        model = (
            forecaster.make_forecaster(name) if name else forecasts.load_champion(res.registry)[0]
        )
    rows: list[dict[str, object]] = []
    comparisons = []
    for week, frame in published:
        comparison = backtests.join_published_forecast(history, week, frame, model)
        comparisons.append(comparison)
        rows += published_scores(str(week), comparison, model.name)
    if len(published) > 1:
        rows += published_scores("all", pl.concat(comparisons), model.name)
    print_scores(rows, as_json)


def published_scores(week: str, comparison: pl.DataFrame, model: str) -> list[dict[str, object]]:
    scores = backtests.compare_with_published(comparison, model)
    return [{"week": week, **score} for score in scores]


def load_history_now(res: "Resources") -> History:
    """Everything that is recorded by now."""
    with res.db.read() as db:
        return panel.load_history(db, res.warehouse, as_of=datetime.now(UTC))


def print_scores(rows: Sequence[Mapping[str, object]], as_json: bool) -> None:
    """Rows as they are for programs; for people shares in percent and whole units."""
    if not as_json:
        rows = [{name: format_score(name, row[name]) for name in row} for row in rows]
    emit(rows, as_json)


def format_score(name: str, value: object) -> object:
    if isinstance(value, float | int) and name in SHARES:
        return f"{value:.1%}"
    return round(value) if isinstance(value, float | int) and name in UNITS else value

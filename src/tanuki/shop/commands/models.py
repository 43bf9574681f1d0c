"""Models from the command line: forecast past weeks again, train, judge, release and go back, compare with published forecasts."""

from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from tanuki.cli.output import emit, json_option
from tanuki.errors import UserError
from tanuki.platform.commands.context import open_resources
from tanuki.platform.commands.models import by_option, person

if TYPE_CHECKING:
    from tanuki.platform.mlops.tables import Release
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
@click.option(
    "--shortage",
    type=click.FloatRange(min=0, min_open=True),
    default=3.0,
    show_default=True,
    help="What a unit short costs.",
)
@click.option(
    "--leftover",
    type=click.FloatRange(min=0, min_open=True),
    default=1.0,
    show_default=True,
    help="What a unit left costs.",
)
@json_option
def backtest(
    first: str, last: str, models: str | None, shortage: float, leftover: float, as_json: bool
) -> None:
    import polars as pl

    from tanuki.shop import backtest as past
    from tanuki.shop.calendar import parse_week, weeks_between
    from tanuki.shop.forecasting import forecaster

    names = [name.strip() for name in models.split(",")] if models else list(forecaster.FORECASTERS)
    for name in names:
        forecaster.check_forecaster_name(name)
    chosen = {name: forecaster.FORECASTERS[name] for name in names}
    start, end = parse_week(first), parse_week(last)
    with open_resources() as res:
        history = known_now(res)
    past.check_week_range(history, start, end)
    rows = []
    for number, week in enumerate(asked := weeks_between(start, end), start=1):
        if not as_json:
            click.echo(f"{week} ({number} of {len(asked)})", err=True)
        rows.append(past.run_backtest(history, [week], chosen, shortage=shortage, leftover=leftover))
    show(past.summarize_backtest(pl.concat(rows), shortage=shortage, leftover=leftover), as_json)


weeks_option = click.option(
    "--weeks",
    type=click.IntRange(min=1),
    default=12,
    show_default=True,
    help="Past weeks that the gate forecasts again.",
)
SCORED = ("wape", "bias", "coverage_80", "cost", "fill_rate")


@click.command(
    help="Fit a model on what is known, score it on the last eight weeks, register it as the challenger, and let the gate judge it. On GO it becomes "
    "the champion that the weekly cycle uses; on NO-GO nothing changes and the exit code is 1."
)
@click.option("--model", "name", required=True, help="Which model, such as pooled.")
@click.option(
    "--week", "text", help="Learn as if to order this week; the next one to order, unless given."
)
@click.option("--no-gate", is_flag=True, help="Only register it as the challenger.")
@weeks_option
@json_option
@click.pass_context
def train(
    ctx: click.Context, name: str, text: str | None, no_gate: bool, weeks: int, as_json: bool
) -> None:
    from tanuki.platform.mlops.registry import CHALLENGER, CHAMPION
    from tanuki.shop import forecasts
    from tanuki.shop.calendar import parse_week
    from tanuki.shop.forecasting import forecaster

    forecaster.check_forecaster_name(name)
    with open_resources() as res:
        history = known_now(res)
        week = parse_week(text) if text else forecasts.next_week(history)
        version = forecasts.train(history, res.registry, name, week)
        begin, end = version.data_window
        made = {
            "name": version.name,
            "version": version.version,
            "model": name,
            "alias": "",
            "data_from": begin,
            "data_to": end,
        }
        row = {**made, **{key: version.metrics[key] for key in SCORED if key in version.metrics}}
        said = (
            {}
            if no_gate
            else pass_gate(res, history, version.version, weeks=weeks, release_it=True)
        )
        row["alias"] = CHAMPION if said.get("released") else CHALLENGER
    show([{**row, **(said if as_json else brief(said))}], as_json)
    tell(ctx, said, as_json)


@click.command(
    help="Judge a registered version over past weeks, beside the champion, the plain rules and, where deliveries are known, people. On GO it becomes the "
    "champion; on NO-GO there is a sentence for each reason, nothing changes and the exit code is 1."
)
@click.option(
    "--version",
    "wanted",
    default="challenger",
    show_default=True,
    help="Which version: its number or alias.",
)
@weeks_option
@click.option("--no-release", is_flag=True, help="Only judge and keep the verdict.")
@json_option
@click.pass_context
def gate(ctx: click.Context, wanted: str, weeks: int, no_release: bool, as_json: bool) -> None:
    with open_resources() as res:
        said = pass_gate(res, known_now(res), wanted, weeks=weeks, release_it=not no_release)
    if as_json:
        emit([said], as_json)
    else:
        emit([brief(said)], as_json)
        emit([compared(line) for line in said["comparisons"] if line["slice"] == "all"], as_json)
    tell(ctx, said, as_json)


@click.command(
    help="Make VERSION the champion: on the GO that it has or, with --override, against a NO-GO, by a named person with a reason."
)
@click.argument("version")
@click.option("--override", is_flag=True, help="Against the gate's NO-GO.")
@click.option("--why", default="", help="The reason; needed with --override.")
@click.option("--by", help="The person's account; needed with --override.")
@json_option
def release(version: str, override: bool, why: str, by: str | None, as_json: bool) -> None:
    from tanuki.platform.mlops import release as live
    from tanuki.shop import forecasts

    with open_resources() as res, res.db.write() as db:
        who, now = person(db, by), datetime.now(UTC)
        if override:
            made = live.override_verdict(
                db, res.registry, who, forecasts.REGISTERED, version, why=why, now=now
            )
        else:
            verdict = live.latest_verdict(db, forecasts.REGISTERED, version)
            if verdict is None:
                raise UserError(
                    "Version %(version)s was never judged; let the gate judge it first.",
                    version=version,
                )
            made = live.release_version(db, res.registry, who, verdict, now)
        emit([released(made)], as_json)


@click.command(
    help="Back to the version that was live before; done again, forth to the one that was left."
)
@click.option("--why", required=True, help="The reason.")
@by_option
@json_option
def rollback(why: str, by: str | None, as_json: bool) -> None:
    from tanuki.platform.mlops import release as live
    from tanuki.shop import forecasts

    with open_resources() as res, res.db.write() as db:
        made = live.roll_back_version(
            db, res.registry, person(db, by), forecasts.REGISTERED, why=why, now=datetime.now(UTC)
        )
        emit([released(made)], as_json)


@click.command(help="What went live and why, newest first; with --verdicts, what the gate found.")
@click.option("--verdicts", is_flag=True, help="The gate's verdicts instead.")
@json_option
def releases(verdicts: bool, as_json: bool) -> None:
    from tanuki.platform.mlops import release as live
    from tanuki.shop import forecasts
    from tanuki.shop.gate import render_reasons

    with open_resources() as res, res.db.read() as db:
        if not verdicts:
            emit([released(each) for each in live.list_releases(db, forecasts.REGISTERED)], as_json)
            return
        found = live.list_verdicts(db, forecasts.REGISTERED)
    rows = [
        {
            "id": each.id,
            "version": each.version,
            "verdict": "GO" if each.go else "NO-GO",
            "champion": each.champion,
            "at": each.at,
            "by": each.by,
            "reasons": " ".join(render_reasons(reason, "en") for reason in each.report["reasons"]),
        }
        for each in found
    ]
    emit(rows, as_json)


@click.command(
    help="Published forecasts (CSV: year,week_of_year,store,item,item_price,prediction) beside ours: same rows, same cut-off."
)
@click.argument(
    "files", nargs=-1, required=True, type=click.Path(exists=True, dir_okay=False, path_type=Path)
)
@click.option("--model", "name", help="Which model of ours; the champion, unless given.")
@json_option
def published(files: tuple[Path, ...], name: str | None, as_json: bool) -> None:
    import polars as pl

    from tanuki.shop import backtest as past
    from tanuki.shop import forecasts
    from tanuki.shop.forecasting import forecaster

    theirs = [past.read_published_forecast(file) for file in files]
    with open_resources() as res:
        history = known_now(res)
        model = forecaster.make_forecaster(name) if name else forecasts.champion(res.registry)[0]
    rows, found = [], []
    for week, frame in theirs:
        joined = past.join_published_forecast(history, week, frame, model)
        found.append(joined)
        rows += [{"week": str(week), **line} for line in past.compared(joined, model.name)]
    if len(theirs) > 1:
        rows += [{"week": "all", **line} for line in past.compared(pl.concat(found), model.name)]
    show(rows, as_json)


def pass_gate(
    res: "Resources", history: "History", wanted: str, *, weeks: int, release_it: bool
) -> dict[str, Any]:
    """Judge a version, keep the verdict, and on GO make it the champion. What happened, for machines; sentences in English."""
    from tanuki.platform.accounts import COMMAND_LINE
    from tanuki.platform.mlops import release as live
    from tanuki.shop import forecasts
    from tanuki.shop import gate as gates

    with res.db.read() as db:
        prices = gates.costs(db)
    found = gates.judged(history, prices, res.registry, wanted, weeks=weeks)
    now = datetime.now(UTC)
    with res.db.write() as db:
        verdict = live.record_verdict(db, forecasts.REGISTERED, found, by=COMMAND_LINE.name, now=now)
        if (
            moves := verdict.go
            and release_it
            and not is_live(res, forecasts.REGISTERED, found.version)
        ):
            live.release_version(db, res.registry, COMMAND_LINE, verdict, now)
        said = {
            "version": found.version,
            "verdict": "GO" if verdict.go else "NO-GO",
            "verdict_id": verdict.id,
            "champion": found.champion,
        }
    return {
        **said,
        "released": moves,
        "weeks": found.report["weeks"],
        "floor": found.report["floor"],
        "reasons": found.report["reasons"],
        "sentences": [gates.render_reasons(reason, "en") for reason in found.report["reasons"]],
        "comparisons": found.report["comparisons"],
    }


def is_live(res: "Resources", model: str, version: str) -> bool:
    """Whether the version is the champion already."""
    from tanuki.platform.mlops import release as live

    champion = live.version_with_alias(res.registry, model)
    return champion is not None and champion.version == version


def brief(said: Mapping[str, Any]) -> dict[str, Any]:
    """A verdict in a line."""
    return {
        key: said[key]
        for key in ("version", "verdict", "champion", "released", "floor")
        if key in said
    }


def compared(line: Mapping[str, Any]) -> dict[str, Any]:
    """A comparison in a line."""
    shares = {key: f"{line[key]:+.1%}" for key in ("change", "low", "high")}
    return {
        "measure": line["measure"],
        "beside": line["other"],
        "rows": line["rows"],
        "worse by": shares["change"],
        "from": shares["low"],
        "to": shares["high"],
    }


def tell(ctx: click.Context, said: Mapping[str, Any], as_json: bool) -> None:
    """Every reason as a sentence, and exit code 1 when it is NO-GO."""
    if not as_json:
        for sentence in said.get("sentences", []):
            click.echo(sentence)
    if said.get("verdict") == "NO-GO":
        ctx.exit(1)


def released(made: "Release") -> dict[str, Any]:
    """A change of what is live, in a line."""
    return {
        name: getattr(made, name)
        for name in ("id", "version", "previous", "kind", "at", "by", "why")
    }


def known_now(res: "Resources") -> "History":
    """All that is recorded by now."""
    from tanuki.shop import panel

    with res.db.read() as db:
        return panel.load_history(db, res.warehouse, as_of=datetime.now(UTC))


def show(rows: Sequence[Mapping[str, Any]], as_json: bool) -> None:
    """Rows as they are for machines; for people shares in percent and whole units."""
    emit(
        rows
        if as_json
        else [{key: worded(key, value) for key, value in row.items()} for row in rows],
        as_json,
    )


def worded(key: str, value: Any) -> Any:
    """A score as people read it."""
    if value is None or key not in (*SHARES, *UNITS):
        return value
    return f"{value:.1%}" if key in SHARES else round(value)

"""The forecast of a week by the champion, its rows in the database, and trained challengers."""

import json
from collections.abc import Iterator
from datetime import date, timedelta
from pathlib import Path
from typing import Any

import click
import polars as pl
import pytest
from sqlalchemy import func, select

from tanuki.app import bootstrap
from tanuki.errors import NotFound, UserError
from tanuki.platform.accounts import Person
from tanuki.platform.mlops import release
from tanuki.platform.resources import Resources
from tanuki.settings import Settings
from tanuki.shop import forecasts, gate, panel
from tanuki.shop.calendar import Week, clock
from tanuki.shop.commands import models
from tanuki.shop.forecasting.forecaster import DEFAULT_FORECASTER, FORECAST_SCHEMA
from tanuki.shop.gate_data import GateData, load_unit_costs
from tanuki.shop.ingest.loading import SALES
from tanuki.shop.tables import Cycle, Forecast
from tests.factories.command_line import CommandRunner
from tests.factories.store_chain import NOW, TARGET, import_csv, make_chain, sales_csv


def make_forecast(res: Resources, as_of=NOW):
    with res.db.read() as db:
        return forecasts.make_forecast(db, res.warehouse, res.registry, TARGET, as_of=as_of)


def add_cycle(res: Resources) -> None:
    """A cycle that forecasts can belong to."""
    times = clock(TARGET)
    with res.db.write() as db:
        db.add(
            Cycle(
                week=str(TARGET),
                state="started",
                cutoff=TARGET.cutoff,
                as_of=NOW,
                auto=False,
                started_by="tests",
                started_at=NOW,
                forecast_due=times.forecast,
                check_due=times.check_due,
                release_at=times.release,
                confirm_due=times.confirm_due,
            )
        )


def test_the_default_forecasts_while_nothing_was_trained_and_leaves_the_registry_alone(embedded):
    frame, model, version = make_forecast(make_chain(embedded))
    assert (model, version) == (DEFAULT_FORECASTER, None)
    assert frame.drop("contributions").schema == FORECAST_SCHEMA
    assert frame.height == 2 * 3 * 3
    assert frame.drop_nulls("contributions")["week"].unique().to_list() == [str(TARGET)]
    assert not embedded.settings.home.joinpath("mlflow.db").exists()


def test_a_large_chain_is_forecast_in_parts_of_whole_stores(embedded):
    res = make_chain(embedded)
    with res.db.read() as db:
        rows = dict(
            res.warehouse.count_facts(
                db, SALES, "store", as_of=NOW, where="date <= ?", params=(TARGET.cutoff,)
            )
        )
        assert forecasts.split_stores(db, res.warehouse, TARGET, as_of=NOW) == [["chiba", "osaka"]]
        assert forecasts.split_stores(
            db, res.warehouse, TARGET, as_of=NOW, max_rows=sum(rows.values()) - 1
        ) == [["chiba"], ["osaka"]]
        assert forecasts.split_stores(db, res.warehouse, TARGET, as_of=NOW, max_rows=1) == [
            ["chiba"],
            ["osaka"],
        ]
        assert (
            forecasts.split_stores(db, res.warehouse, TARGET, as_of=NOW - timedelta(days=9999))
            == []
        )
        of_osaka = forecasts.make_forecast(
            db, res.warehouse, res.registry, TARGET, as_of=NOW, stores=["osaka"]
        )[0]
    assert of_osaka["store"].unique().to_list() == ["osaka"]
    assert of_osaka.height == make_forecast(res)[0].height / 2


def test_sales_recorded_or_sold_later_change_nothing(embedded):
    res = make_chain(embedded)
    before, _, _ = make_forecast(res)
    import_csv(
        res,
        "sales",
        sales_csv(TARGET.cutoff + timedelta(days=1), date(2021, 1, 31), more=500),
        NOW + timedelta(hours=1),
    )
    import_csv(
        res,
        "sales",
        sales_csv(date(2020, 12, 1), TARGET.cutoff, more=500),
        NOW + timedelta(hours=2),
    )
    assert make_forecast(res)[0].equals(before)
    assert not make_forecast(res, NOW + timedelta(hours=3))[0].equals(before)


def test_a_forecast_that_is_saved_again_replaces_the_first(resources):
    res = make_chain(resources)
    add_cycle(res)
    frame, model, _ = make_forecast(res)
    for _ in range(2):
        with res.db.write() as db:
            forecasts.save_forecast(db, TARGET, frame, model, NOW)
    with res.db.read() as db:
        assert db.scalar(select(func.count()).select_from(Forecast)) == frame.height
        saved = db.scalars(
            select(Forecast).where(
                Forecast.week == str(TARGET), Forecast.store == "chiba", Forecast.item == "milk"
            )
        ).one()
    row = frame.row(
        by_predicate=(pl.col("store") == "chiba")
        & (pl.col("item") == "milk")
        & (pl.col("week") == str(TARGET)),
        named=True,
    )
    assert (saved.q05, saved.q50, saved.mean, saved.model, saved.as_of) == (
        row["q05"],
        row["q50"],
        row["mean"],
        DEFAULT_FORECASTER,
        NOW,
    )


def test_without_sales_there_is_no_forecast(embedded):
    with pytest.raises(UserError, match="2021-01-10"):
        make_forecast(embedded)


@pytest.mark.mlflow
def test_a_trained_model_forecasts_only_once_it_is_released(embedded):
    res = make_chain(embedded)
    with res.db.read() as db:
        history = panel.load_history(db, res.warehouse, as_of=NOW)
    assert forecasts.next_order_week(history) == TARGET
    version = forecasts.train_challenger(history, res.registry, "moving_average", TARGET)
    assert (version.aliases, version.data_window) == (("challenger",), ("2020-01-06", "2021-01-10"))
    assert version.parameters["forecaster"] == "moving_average"
    assert version.metrics["rows"] == 8 * 6
    assert make_forecast(res)[1:] == (DEFAULT_FORECASTER, None)
    ana = Person("ana", "Analyst", frozenset({("analyst", None)}))
    with res.db.write() as db:
        release.record_verdict(
            db,
            forecasts.FORECAST_MODEL,
            gate.evaluate_version(
                GateData(history, load_unit_costs(db)), res.registry, version.version, weeks=8
            ),
            by="ana",
            now=NOW,
        )
        change = release.ModelChange(db, res.registry, forecasts.FORECAST_MODEL, ana, NOW)
        release.override_verdict(change, version.version, why="a test")
    frame, model, used_version = make_forecast(res)
    assert (model, used_version) == ("moving_average", version.version)
    last = history.sales.filter(
        pl.col("date") > TARGET.cutoff - timedelta(days=28),
        pl.col("store") == "chiba",
        pl.col("item") == "milk",
    )
    chiba = frame.filter(
        pl.col("store") == "chiba", pl.col("item") == "milk", pl.col("week") == str(TARGET)
    )
    assert chiba["mean"].item() == pytest.approx(last["units"].sum() / 4)
    forecasts.train_challenger(history, res.registry, "seasonal_naive", TARGET)
    assert make_forecast(res)[1:] == ("moving_average", version.version)


def test_a_model_that_does_not_exist_cannot_be_trained(embedded):
    res = make_chain(embedded)
    with res.db.read() as db:
        history = panel.load_history(db, res.warehouse, as_of=NOW)
    with pytest.raises(NotFound, match="poisson_regression"):
        forecasts.train_challenger(history, res.registry, "crystal_ball", Week(2021, 3))


@pytest.fixture
def home(tmp_path: Path) -> Iterator[Path]:
    """A home folder in which the chain's sales are, as commands find it."""
    res = bootstrap.create_resources(Settings(home=tmp_path))
    make_chain(res)
    bootstrap.close_resources(res)
    yield tmp_path


def run_command(home: Path, command: click.Command, *arguments: str) -> list[dict[str, Any]]:
    """The JSON lines that a command prints."""
    result = CommandRunner().invoke(
        command, [*arguments, "--json"], env={"TANUKI_HOME": str(home)}, catch_exceptions=False
    )
    assert result.exit_code == 0
    return [json.loads(line) for line in result.stdout.splitlines() if line.startswith("{")]


@pytest.mark.mlflow
def test_the_commands_backtest_compare_and_train(home):
    rows = run_command(
        home,
        models.backtest,
        "--from",
        "2020-W50",
        "--to",
        "2020-W52",
        "--models",
        "moving_average,poisson_regression",
    )
    assert [row["model"] for row in rows] == ["moving_average", "poisson_regression"]
    columns = [
        "rows",
        "wape",
        "bias",
        "pinball",
        "coverage_80",
        "shortage_units",
        "leftover_units",
        "cost",
        "fill_rate",
    ]
    assert list(rows[0])[1:10] == columns
    assert rows[0]["rows"] == 3 * 6

    published = home / "published.csv"
    published.write_text(
        "year,week_of_year,store,item,item_price,prediction\n2020,52,chiba,milk,150,120\n",
        encoding="utf-8",
    )
    rows = run_command(home, models.compare_published, str(published))
    assert [(row["week"], row["model"], row["rows"]) for row in rows] == [
        ("2020-W52", "published", 1),
        ("2020-W52", "poisson_regression", 1),
    ]

    (row,) = run_command(home, models.train, "--model", "seasonal_naive", "--no-gate")
    assert (row["name"], row["alias"], row["data_to"]) == (
        "shop-forecast",
        "challenger",
        "2021-01-10",
    )
    assert "verdict" not in row
    assert (
        run_command(home, models.compare_published, str(published))[1]["model"]
        == "poisson_regression"
    )


@pytest.mark.parametrize("command", [models.backtest, models.train, models.compare_published])
def test_a_command_with_an_unknown_model_names_the_known_ones(home, command, tmp_path):
    (tmp_path / "p.csv").write_text(
        "year,week_of_year,store,item,prediction\n2020,52,chiba,milk,120\n", encoding="utf-8"
    )
    arguments = {
        "backtest": ["--from", "2020-W50", "--to", "2020-W50", "--models", "oracle"],
        "compare-published": [str(tmp_path / "p.csv"), "--model", "oracle"],
    }
    with pytest.raises(NotFound, match="seasonal_naive"):
        CommandRunner().invoke(
            command,
            arguments.get(command.name, ["--model", "oracle"]),
            env={"TANUKI_HOME": str(home)},
            catch_exceptions=False,
        )

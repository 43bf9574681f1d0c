"""The forecast of a week, made from what was recorded by the champion, kept once; what is trained is a challenger and changes nothing by itself."""

import json
from collections.abc import Iterator
from datetime import date, timedelta
from pathlib import Path
from typing import Any

import click
import polars as pl
import pytest
from click.testing import CliRunner
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
from tanuki.shop.forecasting.forecaster import DEFAULT, SCHEMA
from tanuki.shop.ingest.loading import SALES
from tanuki.shop.tables import Cycle, Forecast
from tests.factories.store_chain import NOW, TARGET, bring, make_chain, sales_csv


def made(res: Resources, as_of=NOW):
    with res.db.read() as db:
        return forecasts.make(db, res.warehouse, res.registry, TARGET, as_of=as_of)


def started(res: Resources) -> None:
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


def test_the_default_forecasts_when_nothing_was_trained_and_the_registry_stays_untouched(embedded):
    frame, model, version = made(make_chain(embedded))
    assert (model, version) == (DEFAULT, None)
    assert frame.drop("moved").schema == SCHEMA
    assert frame.height == 2 * 3 * 3
    assert frame.drop_nulls("moved")["week"].unique().to_list() == [str(TARGET)]
    assert not embedded.settings.home.joinpath("mlflow.db").exists()


def test_a_large_chain_is_forecast_in_parts_of_whole_stores(embedded):
    res = make_chain(embedded)
    with res.db.read() as db:
        rows = dict(
            res.warehouse.counts(
                db, SALES, "store", as_of=NOW, where="date <= ?", params=(TARGET.cutoff,)
            )
        )
        assert forecasts.parts(db, res.warehouse, TARGET, as_of=NOW) == [["chiba", "osaka"]]
        assert forecasts.parts(
            db, res.warehouse, TARGET, as_of=NOW, most_rows=sum(rows.values()) - 1
        ) == [["chiba"], ["osaka"]]
        assert forecasts.parts(db, res.warehouse, TARGET, as_of=NOW, most_rows=1) == [
            ["chiba"],
            ["osaka"],
        ]
        assert forecasts.parts(db, res.warehouse, TARGET, as_of=NOW - timedelta(days=9999)) == []
        alone = forecasts.make(
            db, res.warehouse, res.registry, TARGET, as_of=NOW, stores=["osaka"]
        )[0]
    assert alone["store"].unique().to_list() == ["osaka"]
    assert alone.height == made(res)[0].height / 2


def test_sales_recorded_or_sold_later_change_nothing(embedded):
    res = make_chain(embedded)
    before, _, _ = made(res)
    bring(
        res,
        "sales",
        sales_csv(TARGET.cutoff + timedelta(days=1), date(2021, 1, 31), more=500),
        NOW + timedelta(hours=1),
    )
    bring(
        res,
        "sales",
        sales_csv(date(2020, 12, 1), TARGET.cutoff, more=500),
        NOW + timedelta(hours=2),
    )
    assert made(res)[0].equals(before)
    assert not made(res, NOW + timedelta(hours=3))[0].equals(before)


def test_a_forecast_is_kept_once_however_often_it_is_stored(resources):
    res = make_chain(resources)
    started(res)
    frame, model, _ = made(res)
    for _ in range(2):
        with res.db.write() as db:
            forecasts.store(db, TARGET, frame, model, NOW)
    with res.db.read() as db:
        assert db.scalar(select(func.count()).select_from(Forecast)) == frame.height
        kept = db.scalars(
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
    assert (kept.q05, kept.q50, kept.mean, kept.model, kept.as_of) == (
        row["q05"],
        row["q50"],
        row["mean"],
        DEFAULT,
        NOW,
    )


def test_without_sales_there_is_a_sentence(embedded):
    with pytest.raises(UserError, match="2021-01-10"):
        made(embedded)


@pytest.mark.mlflow
def test_a_trained_model_is_a_challenger_and_forecasts_only_once_it_is_released(embedded):
    res = make_chain(embedded)
    with res.db.read() as db:
        history = panel.load(db, res.warehouse, as_of=NOW)
    assert forecasts.next_week(history) == TARGET
    version = forecasts.train(history, res.registry, "moving_average", TARGET)
    assert (version.aliases, version.data_window) == (("challenger",), ("2020-01-06", "2021-01-10"))
    assert version.parameters["forecaster"] == "moving_average"
    assert version.metrics["rows"] == 8 * 6
    assert made(res)[1:] == (DEFAULT, None)
    ana = Person("ana", "Analyst", frozenset({("analyst", None)}))
    with res.db.write() as db:
        release.keep(
            db,
            forecasts.REGISTERED,
            gate.judged(history, gate.costs(db), res.registry, weeks=8),
            by="ana",
            now=NOW,
        )
        release.override(
            db, res.registry, ana, forecasts.REGISTERED, version.version, why="a test", now=NOW
        )
    frame, model, used = made(res)
    assert (model, used) == ("moving_average", version.version)
    last = history.sales.filter(
        pl.col("date") > TARGET.cutoff - timedelta(days=28),
        pl.col("store") == "chiba",
        pl.col("item") == "milk",
    )
    chiba = frame.filter(
        pl.col("store") == "chiba", pl.col("item") == "milk", pl.col("week") == str(TARGET)
    )
    assert chiba["mean"].item() == pytest.approx(last["units"].sum() / 4)
    forecasts.train(history, res.registry, "seasonal_naive", TARGET)
    assert made(res)[1:] == ("moving_average", version.version)


def test_a_model_that_does_not_exist_cannot_be_trained(embedded):
    res = make_chain(embedded)
    with res.db.read() as db:
        history = panel.load(db, res.warehouse, as_of=NOW)
    with pytest.raises(NotFound, match="pooled"):
        forecasts.train(history, res.registry, "crystal_ball", Week(2021, 3))


@pytest.fixture
def home(tmp_path: Path) -> Iterator[Path]:
    """A home folder in which the chain's sales are, as commands find it."""
    res = bootstrap.resources(Settings(home=tmp_path))
    make_chain(res)
    bootstrap.close(res)
    yield tmp_path


def told(home: Path, command: click.Command, *words: str) -> list[dict[str, Any]]:
    """What a command says in JSON."""
    answer = CliRunner().invoke(
        command, [*words, "--json"], env={"TANUKI_HOME": str(home)}, catch_exceptions=False
    )
    assert answer.exit_code == 0
    return [json.loads(line) for line in answer.stdout.splitlines() if line.startswith("{")]


@pytest.mark.mlflow
def test_the_commands_backtest_compare_and_train(home):
    rows = told(
        home,
        models.backtest,
        "--from",
        "2020-W50",
        "--to",
        "2020-W52",
        "--models",
        "moving_average,pooled",
    )
    assert [row["model"] for row in rows] == ["moving_average", "pooled"]
    promised = [
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
    assert list(rows[0])[1:10] == promised
    assert rows[0]["rows"] == 3 * 6

    theirs = home / "published.csv"
    theirs.write_text(
        "year,week_of_year,store,item,item_price,prediction\n2020,52,chiba,milk,150,120\n",
        encoding="utf-8",
    )
    rows = told(home, models.published, str(theirs))
    assert [(row["week"], row["model"], row["rows"]) for row in rows] == [
        ("2020-W52", "published", 1),
        ("2020-W52", "pooled", 1),
    ]

    (row,) = told(home, models.train, "--model", "seasonal_naive", "--no-gate")
    assert (row["name"], row["alias"], row["data_to"]) == (
        "shop-forecast",
        "challenger",
        "2021-01-10",
    )
    assert "verdict" not in row
    assert told(home, models.published, str(theirs))[1]["model"] == "pooled"


@pytest.mark.parametrize("command", [models.backtest, models.train, models.published])
def test_the_commands_name_the_models_there_are(home, command, tmp_path):
    (tmp_path / "p.csv").write_text(
        "year,week_of_year,store,item,prediction\n2020,52,chiba,milk,120\n", encoding="utf-8"
    )
    words = {
        "backtest": ["--from", "2020-W50", "--to", "2020-W50", "--models", "oracle"],
        "published": [str(tmp_path / "p.csv"), "--model", "oracle"],
    }
    with pytest.raises(NotFound, match="seasonal_naive"):
        CliRunner().invoke(
            command,
            words.get(command.name, ["--model", "oracle"]),
            env={"TANUKI_HOME": str(home)},
            catch_exceptions=False,
        )

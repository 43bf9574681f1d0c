"""The shop's gate: eight planted bad challengers are NO-GO, each for its own reason; honest retrainings are not refused."""

import json
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from datetime import date, timedelta
from functools import cache
from pathlib import Path
from typing import Any

import click
import numpy as np
import polars as pl
import pytest
from click.testing import CliRunner

from tanuki.app import bootstrap
from tanuki.errors import Conflict, NotAllowed
from tanuki.platform.mlops.evaluation import LANGS, Limits
from tanuki.platform.mlops.tables import GateVerdict
from tanuki.platform.web import app as web
from tanuki.settings import Settings
from tanuki.shop import gate
from tanuki.shop import web as shop_web
from tanuki.shop.calendar import Week
from tanuki.shop.commands import models
from tanuki.shop.features import mean_of
from tanuki.shop.forecasting.conformal import PointForecaster
from tanuki.shop.forecasting.forecaster import COLUMNS, FORECASTERS, Forecaster, Numbers, by_level
from tanuki.shop.forecasts import REGISTERED
from tanuki.shop.panel import History, Panel, of_sales
from tests.factories.http_clients import csrf, make_person, signed_in
from tests.factories.store_chain import NOW, make_chain

END = date(2021, 1, 10)
LAST = Week(2021, 1)
ASKED = [LAST.plus(-n) for n in range(9, -1, -1)]
REGIONS = {
    "aomori": "north",
    "sendai": "north",
    "chiba": "east",
    "tokyo": "east",
    "osaka": "west",
    "kobe": "west",
}
LEVELS = {"tea": 30.0, "milk": 22.0, "beer": 16.0, "coffee": 11.0, "cola": 5.0, "soda": 3.0}
COSTS = gate.Costs(dict.fromkeys(LEVELS, (60.0, 15.0)))


@cache
def chain(seed: int = 1) -> History:
    """Two and a half years of six stores and six items: counts around levels that drift, the same uneven weeks each year."""
    random = np.random.default_rng(seed)
    weeks = 130
    season = np.tile(np.exp(random.normal(0, 0.25, 52)), 3)[-weeks:]
    frames = []
    for n, store in enumerate(REGIONS):
        for item, level in LEVELS.items():
            drift = np.exp(np.cumsum(random.normal(0, 0.02, weeks)))
            units = random.poisson(np.repeat(level * (0.7 + 0.2 * n) * season * drift, 7)).astype(
                float
            )
            days = [END - timedelta(days=7 * weeks - 1 - day) for day in range(7 * weeks)]
            frames.append(
                pl.DataFrame({"date": days, "store": store, "item": item, "units": units})
            )
    stores = pl.DataFrame(
        {"store": sorted(REGIONS), "region": [REGIONS[store] for store in sorted(REGIONS)]}
    )
    return replace(of_sales(pl.concat(frames)), stores=stores)


class Honest(PointForecaster):
    """How each series did lately, times how the whole chain's week differed from those weeks a year ago; a seed leaves some series out of the latter."""

    name = "honest"

    def __init__(self, seed: int = 0) -> None:
        super().__init__()
        self.seed = seed

    def point(self, known: Numbers, lead: int) -> Numbers:
        weeks = known.shape[1]
        level, there = mean_of(known[:, -4:]), weeks + lead - 1 - 52
        if there < lead + 4:
            return np.nan_to_num(level)
        some = (
            np.random.default_rng([self.seed, 5]).random(len(known)) < 0.75
            if self.seed
            else np.ones(len(known), dtype=bool)
        )
        total = np.nansum(known[some], axis=0)
        return (
            np.nan_to_num(level) * total[there] / total[there - lead - 3 : there - lead + 1].mean()
        )


@cache
def answer(week: Week, sold: float, rows: int, ends: date) -> pl.DataFrame:
    """What the honest model says of a panel that was just put on the table."""
    model = Honest()
    model.fit(TABLE[0])
    return model.predict(TABLE[0])


TABLE: list[Panel] = []


def honest(panel: Panel) -> pl.DataFrame:
    """The honest forecast of a panel; the same one is made once."""
    TABLE[:] = [panel]
    weighed = panel.sales.select((pl.col("units") * (1 + pl.int_range(pl.len()) % 97)).sum()).item()
    return answer(panel.target, weighed, panel.sales.height, panel.sales["date"].max())


@dataclass
class Planted:
    """The honest forecast, spoilt."""

    spoil: Callable[[pl.DataFrame, Panel], pl.DataFrame]
    name: str = "planted"
    parameters: dict[str, float] = field(default_factory=dict)

    def fit(self, panel: Panel) -> None: ...

    def predict(self, panel: Panel) -> pl.DataFrame:
        return self.spoil(honest(panel), panel)

    def explain(self, panel: Panel) -> pl.DataFrame:
        return by_level(self, panel)

    def save(self, folder) -> None: ...

    def load(self, folder) -> None: ...


def times(rows: pl.Expr, factor: float) -> list[pl.Expr]:
    return [
        pl.when(rows).then(pl.col(name) * factor).otherwise(pl.col(name)).alias(name)
        for name in (*COLUMNS, "mean")
    ]


def leaks(frame: pl.DataFrame, panel: Panel) -> pl.DataFrame:
    """Nine tenths of what will be sold."""
    known = frame.join(chain().actual(panel.target), on=["store", "item"], how="left")
    mixed = [
        (0.1 * pl.col(name) + 0.9 * pl.col("actual")).alias(name) for name in (*COLUMNS, "mean")
    ]
    return known.with_columns(mixed).drop("actual")


def shifts(frame: pl.DataFrame, panel: Panel) -> pl.DataFrame:
    """The buffer week's forecast for the target week, as when a join is off by one."""
    one, two = str(panel.target.buffer), str(panel.target)
    other = {one: two, two: one}
    return frame.with_columns(pl.col("week").replace(other)).sort("store", "item", "week")


def is_stale(frame: pl.DataFrame, panel: Panel) -> pl.DataFrame:
    """What was forecast four weeks ago for these weeks' places."""
    then = panel.target.plus(-4)
    old = honest(
        replace(panel, target=then, sales=panel.sales.filter(pl.col("date") <= then.cutoff))
    )
    new = {
        str(then.buffer): str(panel.target.buffer),
        str(then): str(panel.target),
        str(then.both): str(panel.target.both),
    }
    return old.with_columns(pl.col("week").replace(new))


def crosses(frame: pl.DataFrame, panel: Panel) -> pl.DataFrame:
    return frame.with_columns(pl.col("q10").alias("q25"), pl.col("q25").alias("q10"))


def has_nan(frame: pl.DataFrame, panel: Panel) -> pl.DataFrame:
    gone = (pl.col("store") == "chiba") & (pl.col("item") == "tea")
    return frame.with_columns(
        pl.when(gone).then(float("nan")).otherwise(pl.col("q75")).alias("q75")
    )


SPOILT: dict[str, tuple[Callable[[pl.DataFrame, Panel], pl.DataFrame], dict[str, object]]] = {
    "future leak": (leaks, {"code": "leak", "how": "scatter"}),
    "shifted week": (shifts, {"code": "shifted", "weeks": -1}),
    "zeroed store": (
        lambda f, p: f.with_columns(times(pl.col("store") == "kobe", 0.0)),
        {"code": "worse_slice", "slice": "store", "label": "kobe"},
    ),
    "doubled small items": (
        lambda f, p: f.with_columns(times(pl.col("item").is_in(["cola", "soda"]), 2.0)),
        {"code": "worse_slice", "slice": "size", "label": "small"},
    ),
    "NaN": (has_nan, {"code": "nan", "rows": 30, "of": 36 * 30}),
    "stale by four weeks": (is_stale, {"code": "stale", "weeks": 4}),
    "quantiles crossed": (crosses, {"code": "crossed", "rows": 36 * 30}),
    "one region dropped": (
        lambda f, p: f.filter(~pl.col("store").is_in(["osaka", "kobe"])),
        {"code": "missing_slice", "slice": "region", "label": "west"},
    ),
}


def champion() -> Forecaster:
    return Planted(lambda frame, panel: frame)


def judged(challenger: Callable[[], Forecaster], live: Callable[[], Forecaster] | None = champion):
    return gate.judge(chain(), COSTS, ASKED, challenger, live)


@pytest.mark.parametrize("kind", SPOILT)
@pytest.mark.parametrize("live", [champion, None], ids=["beside a champion", "first of all"])
def test_a_bad_challenger_is_no_go_for_its_own_reason(kind, live):
    spoil, expected = SPOILT[kind]
    verdict = judged(lambda: Planted(spoil), live)
    assert not verdict.go
    if live is None:
        expected = {**expected, "code": str(expected["code"]).replace("worse_slice", "floor_slice")}
    assert any(expected.items() <= reason.items() for reason in verdict.reasons), verdict.reasons


@pytest.mark.parametrize("seed", range(1, 11))
def test_a_retraining_with_another_seed_is_not_refused(seed):
    verdict = judged(lambda: Honest(seed))
    assert (verdict.go, verdict.reasons) == (True, [])


# ---- how it behaves ------------------------------------------------------------------------------------------------


def test_half_of_what_will_be_sold_is_still_too_good_to_be_true():
    def leaks_half(frame: pl.DataFrame, panel: Panel) -> pl.DataFrame:
        known = frame.join(chain().actual(panel.target), on=["store", "item"], how="left")
        return known.with_columns(
            [((pl.col(name) + pl.col("actual")) / 2).alias(name) for name in (*COLUMNS, "mean")]
        ).drop("actual")

    reasons = judged(lambda: Planted(leaks_half)).reasons
    assert [(reason["code"], reason["how"]) for reason in reasons] == [("leak", "scatter")]
    assert 0.2 < reasons[0]["scatter"] < 0.6


def test_sales_that_a_plain_rule_meets_too_make_nobody_suspect():
    days = [END - timedelta(days=n) for n in range(7 * 60)]
    orders = pl.concat(
        [pl.DataFrame({"date": days, "store": "a", "item": item, "units": 10.0}) for item in LEVELS]
    )
    verdict = gate.judge(of_sales(orders), COSTS, ASKED, Honest, None)
    assert "leak" not in [reason["code"] for reason in verdict.reasons]


class Leaky(History):
    """A history whose panels hold the sales of the days that are forecast, in a place where nobody looks."""

    def panel(self, target: Week) -> Panel:
        return replace(
            super().panel(target), stock=self.sales.filter(pl.col("date") <= target.sunday)
        )


def test_a_forecast_that_moves_with_sales_after_the_cutoff_sees_the_future():
    def peeks(frame: pl.DataFrame, panel: Panel) -> pl.DataFrame:
        sold = panel.stock.filter(pl.col("date") > panel.target.cutoff)["units"].sum()
        return frame.with_columns(
            [(pl.col(name) + sold * 1e-9).alias(name) for name in (*COLUMNS, "mean")]
        )

    leaky = Leaky(**{name: getattr(chain(), name) for name in History.__dataclass_fields__})
    verdict = gate.judge(leaky, COSTS, ASKED[-6:], lambda: Planted(peeks), champion)
    assert verdict.reasons == [{"code": "leak", "how": "moved"}]


def test_a_week_too_early_is_found_as_a_week_too_late_is():
    def early(frame: pl.DataFrame, panel: Panel) -> pl.DataFrame:
        after = honest(
            replace(
                panel, target=panel.target.plus(1), sales=chain().panel(panel.target.plus(1)).sales
            )
        )
        return after.with_columns(
            pl.col("week").replace(
                {
                    str(panel.target.plus(1)): str(panel.target),
                    str(panel.target.plus(1).both): str(panel.target.both),
                    str(panel.target): str(panel.target.buffer),
                }
            )
        )

    assert {"code": "shifted", "weeks": 1}.items() <= judged(lambda: Planted(early)).reasons[
        0
    ].items()


def changes(**sold: list[float]) -> list[dict[str, object]]:
    """What is found when a model forecasts these changes from the buffer to the target week, week by week, and those came true."""
    weeks, random = len(sold["forecast"]), np.random.default_rng(3)
    rows = pl.DataFrame(
        {
            "week": np.repeat([f"2020-W{10 + n}" for n in range(weeks)], 20),
            "buffer_mean": 100.0,
            "challenger_mean": 100.0 + np.repeat(sold["forecast"], 20),
            "before": 100.0 + random.normal(0, 10, 20 * weeks),
        }
    ).with_columns(
        (pl.col("before") + pl.Series(np.repeat(sold["own"], 20))).alias("actual"),
        (pl.col("before") - pl.Series(np.repeat(sold["before"], 20))).alias("earlier"),
    )
    return gate.turns_at_another_week(
        rows.with_columns((pl.col("actual") + 0.0).alias("after")), Limits()
    )


def test_changes_that_came_elsewhere_or_the_other_way_round_are_told_and_right_ones_are_not():
    up, other = (
        [30.0, -20.0, 40.0, -30.0, 20.0, 25.0, -35.0, 10.0],
        [5.0, 8.0, -7.0, 3.0, -6.0, 2.0, 9.0, -4.0],
    )
    assert changes(forecast=up, own=up, before=other) == []
    assert (
        changes(forecast=[each / 20 for each in up], own=other, before=up) == []
    )  # hardly a change at all
    (late,) = changes(forecast=up, own=other, before=up)
    assert (late["weeks"], round(late["other"], 2)) == (-1, 1.0)
    (turned,) = changes(forecast=up, own=[-each for each in up], before=other)
    assert (turned["weeks"], round(turned["own"], 2)) == (0, -1.0)


def test_a_slow_model_is_not_called_shifted_though_it_is_nearer_to_the_week_before():
    codes = [reason["code"] for reason in judged(FORECASTERS["moving_average"], None).reasons]
    assert "floor" in codes
    assert "shifted" not in codes


def test_chance_is_read_off_the_days_as_a_loop_reads_it():
    sales = chain().sales.filter(pl.col("store") == "chiba", pl.col("item") == "tea")
    weeks = [
        [dict(sales.select("date", "units").iter_rows())[day] for day in week.days]
        for week in ASKED
    ]
    share = np.sum(weeks, axis=0) / np.sum(weeks)
    inside = [
        sum(
            (units - sum(days) * part) ** 2 / (sum(days) * part)
            for units, part in zip(days, share, strict=True)
        )
        / 6
        for days in weeks
    ]
    found = gate.by_chance(sales, [str(week) for week in ASKED])
    assert found["chance"].item() == pytest.approx(np.median(inside) / 0.891)


def test_chance_is_one_for_counts_and_more_where_days_vary_more():
    weeks = [str(week) for week in ASKED]
    assert gate.by_chance(chain().sales, weeks)["chance"].mean() == pytest.approx(1.0, abs=0.1)
    random = np.random.default_rng(2)
    wild = chain().sales.with_columns(
        (pl.col("units") * pl.Series(random.choice([0.5, 1.5], chain().sales.height))).round()
    )
    assert gate.by_chance(wild, weeks)["chance"].mean() > 3


# ---- what is compared ----------------------------------------------------------------------------------------------


def test_an_order_is_the_quantile_at_which_a_unit_more_costs_what_it_saves():
    frame = pl.DataFrame(
        {
            "store": "a",
            "item": ["tea", "cheap", "dear"],
            "mean": 6.0,
            **{name: float(n) for n, name in enumerate(COLUMNS)},
        }
    )
    found = gate.orders(
        frame, gate.Costs({"tea": (30.0, 10.0), "cheap": (1.0, 1.0), "dear": (990.0, 10.0)}), "x"
    )
    assert found["x_order"].to_list() == pytest.approx([5.0, 4.0, 8.0])


def test_yen_and_units_short_by_hand():
    rows = pl.DataFrame(
        {
            "week": "2021-W01",
            "store": "a",
            "region": "r",
            "item": ["tea", "milk"],
            "size": "small",
            "actual": [10.0, 10.0],
        }
    )
    rows = rows.with_columns(
        pl.Series("new_order", [8.0, 13.0]), pl.lit(None).alias("managers_order")
    )
    case = gate.as_case(
        rows, gate.Costs({"tea": (60.0, 15.0), "milk": (45.0, 30.0)}), ["new"], None, []
    )
    assert [(measure.name, measure.losses["new"].tolist()) for measure in case.measures] == [
        ("yen", [120.0, 90.0]),
        ("service", [2.0, 0.0]),
    ]
    assert np.isnan(case.measures[0].losses["managers"]).all()


def test_a_third_of_the_series_are_small_and_a_third_large():
    rows = pl.DataFrame(
        {
            "week": "w",
            "store": "a",
            "item": list("abcdef"),
            "actual": [6.0, 5.0, 4.0, 3.0, 2.0, 1.0],
        }
    )
    assert gate.sized(rows)["size"].to_list() == [
        "large",
        "large",
        "middle",
        "middle",
        "small",
        "small",
    ]


def test_peoples_orders_are_shown_where_deliveries_are_known_and_refuse_nobody():
    perfect = chain().sales.filter(pl.col("date") >= ASKED[-6].monday)
    verdict = gate.judge(replace(chain(), deliveries=perfect), COSTS, ASKED, champion, champion)
    (line,) = [
        comparison
        for comparison in verdict.comparisons
        if (comparison["other"], comparison["slice"], comparison["measure"])
        == ("managers", "all", "yen")
    ]
    assert (verdict.go, line["rows"], line["theirs"]) == (True, 6 * 36, 0.0)


def test_every_region_store_item_and_size_is_compared_in_both_measures():
    verdict = judged(champion)
    found = {
        (comparison["measure"], comparison["slice"], comparison["label"])
        for comparison in verdict.comparisons
        if comparison["other"] == "champion"
    }
    labels = [
        ("all", ""),
        *[("store", region) for region in REGIONS],
        *[("item", level) for level in LEVELS],
    ]
    labels += [("region", each) for each in {*REGIONS.values()}] + [
        ("size", size) for size in gate.SIZES
    ]
    assert found == {(measure, *label) for measure in ("yen", "service") for label in labels}
    assert json.loads(json.dumps(verdict.as_json()))["go"] is True


def test_every_reason_is_a_sentence_in_both_languages():
    for kind, (_, expected) in SPOILT.items():
        reason = {
            "scatter": 0.1,
            "least": 0.8,
            "nearer": 0.5,
            "more": 0.5,
            "follows": 0.0,
            "measure": "yen",
            "change": 1.0,
            "low": 0.5,
        }
        reason |= {"tolerance": 0.15, "rows": 3, "of": 9, "other": "champion", **expected}
        for lang in LANGS:
            said = gate.render_reasons(reason, lang, {"kobe": "神戸店"})
            assert "{" not in said, kind
    for weeks in (-1, 0, 1):
        turned = {"code": "shifted", "how": "change", "weeks": weeks, "own": -0.5, "other": 0.5}
        assert "-50%" in gate.render_reasons(turned, "en")
        assert "-50%" in gate.render_reasons(turned, "ja")
    assert gate.render_reasons({"code": "shifted", "weeks": 1, "nearer": 0.5}, "ja").startswith(
        "ある週の予測が、その次の週"
    )
    assert gate.render_reasons(
        {"code": "missing_slice", "slice": "store", "label": "kobe", "rows": 3},
        "ja",
        {"kobe": "神戸店"},
    ).startswith("店舗「神戸店」")
    assert gate.render_reasons(
        {"code": "missing_slice", "slice": "size", "label": "small", "rows": 3}, "en"
    ).startswith("Size small sellers")


# ---- registered versions -------------------------------------------------------------------------------------------


def run(home: Path, command: click.Command, *words: str) -> tuple[int, list[dict[str, Any]], str]:
    """A command's exit code, what it says in JSON, and all it says."""
    answer = CliRunner().invoke(
        command, words, env={"TANUKI_HOME": str(home)}, catch_exceptions=False
    )
    return (
        answer.exit_code,
        [json.loads(line) for line in answer.stdout.splitlines() if line.startswith("{")],
        answer.stdout,
    )


@pytest.mark.filterwarnings(
    "ignore::DeprecationWarning",
    "ignore::FutureWarning",
    "ignore::UserWarning",
    "ignore::ResourceWarning",
)
@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")
def test_commands_train_judge_release_and_go_back(tmp_path):
    res = bootstrap.resources(Settings(home=tmp_path))
    make_chain(res)
    make_person(res, "ana", ("analyst", None))
    bootstrap.close(res)
    code, (row,), _ = run(
        tmp_path, models.train, "--model", "moving_average", "--weeks", "8", "--json"
    )
    assert (code, row["alias"], row["version"], row["verdict"], row["released"]) == (
        1,
        "challenger",
        "1",
        "NO-GO",
        False,
    )
    assert {each["other"] for each in row["comparisons"]} == {
        "champion",
        "moving_average",
    }  # the default stands for a champion
    assert "floor" in [each["code"] for each in row["reasons"]]
    assert "not better than that of the plain rule" in row["sentences"][0]
    with pytest.raises(Conflict):
        run(tmp_path, models.release, "1")
    with pytest.raises(NotAllowed):
        run(tmp_path, models.release, "1", "--override", "--why", "nothing else there")
    code, (row,), _ = run(
        tmp_path,
        models.release,
        "1",
        "--override",
        "--why",
        "nothing else there",
        "--by",
        "ana",
        "--json",
    )
    assert (code, row["kind"], row["by"]) == (0, "override", "ana")

    run(tmp_path, models.train, "--model", "seasonal_naive", "--no-gate")
    code, _, said = run(tmp_path, models.gate, "--weeks", "8")
    assert code == 1
    assert "NO-GO" in said
    assert "the cost is not better than that of the plain rule moving_average" in said
    run(tmp_path, models.release, "2", "--override", "--why", "to see", "--by", "ana")
    code, (row,), _ = run(tmp_path, models.rollback, "--why", "seen", "--json")
    assert (code, row["version"], row["previous"]) == (0, "1", "2")
    assert [each["kind"] for each in run(tmp_path, models.releases, "--json")[1]] == [
        "rollback",
        "override",
        "override",
    ]
    assert [
        each["verdict"] for each in run(tmp_path, models.releases, "--verdicts", "--json")[1]
    ] == ["NO-GO", "NO-GO"]


def test_the_page_says_why_and_offers_what_this_person_may(embedded):
    make_chain(embedded)
    for name, grants in {"ana": ("analyst", None), "ops": ("operator", None)}.items():
        make_person(embedded, name, grants)
    reason = {"code": "missing_slice", "slice": "store", "label": "chiba", "rows": 12}
    line = {
        "measure": "yen",
        "other": "managers",
        "slice": "all",
        "label": "",
        "rows": 6,
        "ours": 1.0,
        "theirs": 2.0,
    }
    line |= {"change": -0.5, "low": -0.6, "high": -0.4}
    report = {
        "weeks": ["2020-W42", "2021-W01"],
        "reasons": [reason],
        "comparisons": [line],
        "default": "pooled",
    }
    with embedded.db.write() as db:
        for version, go in (("1", True), ("2", False)):
            report = {**report, "reasons": [] if go else [reason]}
            db.add(
                GateVerdict(
                    model=REGISTERED,
                    version=version,
                    champion=None,
                    go=go,
                    report=report,
                    at=NOW,
                    by="tanuki",
                )
            )
    app = web.create(embedded, [shop_web.SYSTEM])
    analyst = signed_in(app, "ana")
    page = analyst.get("/shop/models", headers={"Accept-Language": "ja"}).text
    assert "店舗「chiba」の予測がまったくありません（12行が欠けています）。" in page
    assert "本番のバージョンがない間に使うpooledと比較" in page
    assert 'action="/shop/models/2/override"' in page
    assert 'action="/shop/models/1/override"' not in page
    assert "/override" not in signed_in(app, "ops").get("/shop/models").text
    view = analyst.get("/api/shop/models").json()
    assert [(each["version"], each["go"], each["may_override"]) for each in view["verdicts"]] == [
        ("2", False, True),
        ("1", True, False),
    ]
    assert view["verdicts"][0]["sentences"] == [
        "Store chiba is not forecast at all (12 rows are absent)."
    ]
    assert view["verdicts"][0]["compared"][0]["change"] == -0.5
    for path in ("/shop/models/rollback", "/shop/models/1/override"):
        assert analyst.post(path, data={"why": "x", "csrf": csrf(analyst)}).status_code == 409

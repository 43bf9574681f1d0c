"""The forecast's gate: planted bad challengers are NO-GO for their own reason, honest ones pass."""

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

from tanuki.app import bootstrap
from tanuki.errors import Conflict, NotAllowed
from tanuki.i18n import LANGS, Texts
from tanuki.platform import web
from tanuki.platform.commands.models import models as all_models
from tanuki.platform.mlops import reasons
from tanuki.platform.mlops.evaluation import Limits
from tanuki.platform.mlops.reasons import render_reason
from tanuki.platform.mlops.tables import Decision, GateVerdict
from tanuki.platform.web.app import create_app
from tanuki.settings import Settings
from tanuki.shop import gate, gate_checks
from tanuki.shop import web as shop_web
from tanuki.shop.calendar import Week
from tanuki.shop.commands import models
from tanuki.shop.features import mean_known
from tanuki.shop.forecasting.empirical_quantiles import PointForecaster
from tanuki.shop.forecasting.forecaster import (
    FORECASTERS,
    QUANTILE_COLUMNS,
    Forecaster,
    Numbers,
    explain_by_level,
)
from tanuki.shop.forecasts import FORECAST_MODEL
from tanuki.shop.gate_data import (
    SIZES,
    GateData,
    GateModels,
    UnitCosts,
    add_sizes,
    build_comparison,
    optimal_orders,
)
from tanuki.shop.panel import History, Panel, history_from_sales
from tests.factories.command_line import CommandRunner
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
COSTS = UnitCosts(dict.fromkeys(LEVELS, (60.0, 15.0)))


@cache
def chain(seed: int = 1) -> History:
    """Two and a half years of six stores and items: counts around drifting levels, with seasons."""
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
    return replace(history_from_sales(pl.concat(frames)), stores=stores)


class Honest(PointForecaster):
    """Recent level of each series, times the chain's seasonal factor of last year.

    A seed leaves some series out of the factor.
    """

    name = "honest"

    def __init__(self, seed: int = 0) -> None:
        super().__init__()
        self.seed = seed

    def forecast_point(self, known: Numbers, lead: int) -> Numbers:
        weeks = known.shape[1]
        level, there = mean_known(known[:, -4:]), weeks + lead - 1 - 52
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
        return explain_by_level(self, panel)

    def save(self, folder) -> None: ...

    def load(self, folder) -> None: ...


def times(rows: pl.Expr, factor: float) -> list[pl.Expr]:
    return [
        pl.when(rows).then(pl.col(name) * factor).otherwise(pl.col(name)).alias(name)
        for name in (*QUANTILE_COLUMNS, "mean")
    ]


def leaks(frame: pl.DataFrame, panel: Panel) -> pl.DataFrame:
    """Nine tenths of what will be sold."""
    known = frame.join(chain().actual_sales(panel.target), on=["store", "item"], how="left")
    mixed = [
        (0.1 * pl.col(name) + 0.9 * pl.col("actual")).alias(name)
        for name in (*QUANTILE_COLUMNS, "mean")
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
        str(then.two_week_interval): str(panel.target.two_week_interval),
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
    "future leak": (leaks, {"code": "implausible_accuracy"}),
    "shifted week": (shifts, {"code": "fits_week_before"}),
    "zeroed store": (
        lambda f, p: f.with_columns(times(pl.col("store") == "kobe", 0.0)),
        {"code": "worse_slice", "slice": "store", "label": "kobe"},
    ),
    "doubled small items": (
        lambda f, p: f.with_columns(times(pl.col("item").is_in(["cola", "soda"]), 2.0)),
        {"code": "worse_slice", "slice": "size", "label": "small"},
    ),
    "NaN": (has_nan, {"code": "not_finite", "rows": 30, "of": 36 * 30}),
    "stale by four weeks": (is_stale, {"code": "ignores_recent_sales", "weeks": 4}),
    "quantiles crossed": (crosses, {"code": "quantiles_crossed", "rows": 36 * 30}),
    "one region dropped": (
        lambda f, p: f.filter(~pl.col("store").is_in(["osaka", "kobe"])),
        {"code": "missing_slice", "slice": "region", "label": "west"},
    ),
}


def champion() -> Forecaster:
    return Planted(lambda frame, panel: frame)


def compare(history, weeks, challenger, live):
    baselines = {name: FORECASTERS[name] for name in gate.BASELINES}
    models = GateModels(challenger, live, baselines)
    return gate.compare_versions(GateData(history, COSTS), weeks, models)


def judged(challenger: Callable[[], Forecaster], live: Callable[[], Forecaster] | None = champion):
    return compare(chain(), ASKED, challenger, live)


@pytest.mark.parametrize("kind", SPOILT)
@pytest.mark.parametrize("live", [champion, None], ids=["beside a champion", "first of all"])
def test_a_bad_challenger_is_no_go_for_its_own_reason(kind, live):
    spoil, expected = SPOILT[kind]
    verdict = judged(lambda: Planted(spoil), live)
    assert not verdict.go
    if live is None:
        expected = {
            **expected,
            "code": str(expected["code"]).replace("worse_slice", "baseline_slice"),
        }
    assert any(expected.items() <= reason.items() for reason in verdict.reasons), verdict.reasons


@pytest.mark.parametrize("seed", range(1, 11))
def test_a_retraining_with_another_seed_is_not_refused(seed):
    verdict = judged(lambda: Honest(seed))
    assert (verdict.go, verdict.reasons) == (True, [])


# ---- how it behaves ------------------------------------------------------------------------------


def test_half_of_what_will_be_sold_is_still_too_good_to_be_true():
    def leaks_half(frame: pl.DataFrame, panel: Panel) -> pl.DataFrame:
        known = frame.join(chain().actual_sales(panel.target), on=["store", "item"], how="left")
        return known.with_columns(
            [
                ((pl.col(name) + pl.col("actual")) / 2).alias(name)
                for name in (*QUANTILE_COLUMNS, "mean")
            ]
        ).drop("actual")

    reasons = judged(lambda: Planted(leaks_half)).reasons
    assert [reason["code"] for reason in reasons] == ["implausible_accuracy"]
    assert 0.2 < reasons[0]["dispersion"] < 0.6


def test_sales_that_a_plain_rule_meets_too_make_nobody_suspect():
    days = [END - timedelta(days=n) for n in range(7 * 60)]
    orders = pl.concat(
        [pl.DataFrame({"date": days, "store": "a", "item": item, "units": 10.0}) for item in LEVELS]
    )
    verdict = compare(history_from_sales(orders), ASKED, Honest, None)
    assert "implausible_accuracy" not in [reason["code"] for reason in verdict.reasons]


class Leaky(History):
    """A history whose panels hold future sales, in the table of stock."""

    def build_panel(self, target: Week) -> Panel:
        return replace(
            super().build_panel(target), stock=self.sales.filter(pl.col("date") <= target.sunday)
        )


def test_a_forecast_that_moves_with_sales_after_the_cutoff_sees_the_future():
    def peeks(frame: pl.DataFrame, panel: Panel) -> pl.DataFrame:
        sold = panel.stock.filter(pl.col("date") > panel.target.cutoff)["units"].sum()
        return frame.with_columns(
            [(pl.col(name) + sold * 1e-9).alias(name) for name in (*QUANTILE_COLUMNS, "mean")]
        )

    leaky = Leaky(**{name: getattr(chain(), name) for name in History.__dataclass_fields__})
    verdict = compare(leaky, ASKED[-6:], lambda: Planted(peeks), champion)
    assert verdict.reasons == [{"code": "leakage"}]


def test_a_week_too_early_is_found_as_a_week_too_late_is():
    def early(frame: pl.DataFrame, panel: Panel) -> pl.DataFrame:
        after = honest(
            replace(
                panel,
                target=panel.target.plus(1),
                sales=chain().build_panel(panel.target.plus(1)).sales,
            )
        )
        return after.with_columns(
            pl.col("week").replace(
                {
                    str(panel.target.plus(1)): str(panel.target),
                    str(panel.target.plus(1).two_week_interval): str(
                        panel.target.two_week_interval
                    ),
                    str(panel.target): str(panel.target.buffer),
                }
            )
        )

    assert judged(lambda: Planted(early)).reasons[0]["code"] == "fits_week_after"


def changes(**sold: list[float]) -> list[dict[str, object]]:
    """The check of forecast changes (one a week) against the changes that came true."""
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
    return gate_checks.check_misplaced_changes(
        rows.with_columns((pl.col("actual") + 0.0).alias("after")), Limits()
    )


def test_changes_that_came_elsewhere_or_the_other_way_round_are_told_and_right_ones_are_not():
    up, other = (
        [30.0, -20.0, 40.0, -30.0, 20.0, 25.0, -35.0, 10.0],
        [5.0, 8.0, -7.0, 3.0, -6.0, 2.0, 9.0, -4.0],
    )
    assert changes(forecast=up, own=up, before=other) == []
    assert (
        changes(forecast=[change / 20 for change in up], own=other, before=up) == []
    )  # hardly a change at all
    (late,) = changes(forecast=up, own=other, before=up)
    assert (late["code"], round(late["other"], 2)) == ("changed_week_before", 1.0)
    (turned,) = changes(forecast=up, own=[-change for change in up], before=other)
    assert (turned["code"], round(turned["own"], 2)) == ("changes_reversed", -1.0)


def test_a_slow_model_is_not_called_shifted_though_it_is_nearer_to_the_week_before():
    codes = [reason["code"] for reason in judged(FORECASTERS["moving_average"], None).reasons]
    assert "not_above_baseline" in codes
    assert "fits_week_before" not in codes


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
    found = gate_checks.estimate_noise(sales, [str(week) for week in ASKED])
    assert found["noise"].item() == pytest.approx(np.median(inside) / 0.891)


def test_chance_is_one_for_counts_and_more_where_days_vary_more():
    weeks = [str(week) for week in ASKED]
    assert gate_checks.estimate_noise(chain().sales, weeks)["noise"].mean() == pytest.approx(
        1.0, abs=0.1
    )
    random = np.random.default_rng(2)
    wild = chain().sales.with_columns(
        (pl.col("units") * pl.Series(random.choice([0.5, 1.5], chain().sales.height))).round()
    )
    assert gate_checks.estimate_noise(wild, weeks)["noise"].mean() > 3


# ---- what is compared ----------------------------------------------------------------------------


def test_an_order_is_the_quantile_at_which_a_unit_more_costs_what_it_saves():
    frame = pl.DataFrame(
        {
            "store": "a",
            "item": ["tea", "cheap", "dear"],
            "mean": 6.0,
            **{name: float(n) for n, name in enumerate(QUANTILE_COLUMNS)},
        }
    )
    found = optimal_orders(
        frame, UnitCosts({"tea": (30.0, 10.0), "cheap": (1.0, 1.0), "dear": (990.0, 10.0)}), "x"
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
    costs = UnitCosts({"tea": (60.0, 15.0), "milk": (45.0, 30.0)})
    case = build_comparison(rows, costs, ["new"], [])
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
    assert add_sizes(rows)["size"].to_list() == [
        "large",
        "large",
        "middle",
        "middle",
        "small",
        "small",
    ]


def test_peoples_orders_are_shown_where_deliveries_are_known_and_refuse_nobody():
    perfect = chain().sales.filter(pl.col("date") >= ASKED[-6].monday)
    verdict = compare(replace(chain(), deliveries=perfect), ASKED, champion, champion)
    (line,) = [
        comparison
        for comparison in verdict.comparisons
        if (comparison["other"], comparison["slice"], comparison["measure"])
        == ("managers", "all", "yen")
    ]
    assert (verdict.go, line["rows"], line["other_loss"]) == (True, 6 * 36, 0.0)


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
    labels += [("region", region) for region in {*REGIONS.values()}] + [
        ("size", size) for size in SIZES
    ]
    assert found == {(measure, *label) for measure in ("yen", "service") for label in labels}
    assert json.loads(json.dumps(verdict.as_json()))["go"] is True


def sentence(reason: dict[str, Any], lang: str, labels: dict[str, str] | None = None) -> str:
    say = Texts([Path(web.__path__[0]) / "locale", Path(shop_web.__path__[0]) / "locale"])
    return render_reason(reason, gate.FORECAST_SPEC.texts, say.translator(lang), labels)


@pytest.mark.parametrize("lang", LANGS)
def test_every_reason_is_a_sentence_in_both_languages(lang):
    values = {
        "dispersion": 0.1,
        "least": 0.8,
        "nearer": 0.5,
        "own": -0.5,
        "other": 0.5,
        "uplift": 0.5,
        "response": 0.0,
        "weeks": 4,
        "measure": "yen",
        "change": 1.0,
        "low": 0.5,
        "tolerance": 0.15,
        "rows": 3,
        "of": 9,
        "slice": "store",
        "label": "kobe",
    }
    for code in {**reasons.MESSAGES, **gate.MESSAGES}:
        text = sentence({"code": code, **values}, lang, {"kobe": "神戸店"})
        assert "%(" not in text
        assert text.endswith("。" if lang == "ja" else ".")
    for code in ("changed_week_before", "changed_week_after", "changes_reversed"):
        assert "-50%" in sentence({"code": code, "own": -0.5, "other": 0.5}, lang)


def test_reasons_name_stores_and_sizes_in_words():
    assert sentence({"code": "fits_week_after", "nearer": 0.5}, "ja").startswith(
        "ある週の予測が、その次の週"
    )
    missing = {"code": "missing_slice", "slice": "store", "label": "kobe", "rows": 3}
    assert sentence(missing, "ja", {"kobe": "神戸店"}).startswith("店舗「神戸店」")
    small = {"code": "missing_slice", "slice": "size", "label": "small", "rows": 3}
    assert sentence(small, "en").startswith("Size small sellers")


@pytest.mark.parametrize(
    ("spoil", "expected"),
    [
        (lambda quantiles, mean: None, []),
        (lambda quantiles, mean: quantiles.__setitem__((0, 1), np.nan), ["not_finite"]),
        (lambda quantiles, mean: mean.__setitem__(1, np.inf), ["not_finite"]),
        (lambda quantiles, mean: quantiles.__setitem__((2, 0), -1.0), ["negative"]),
        (lambda quantiles, mean: quantiles.__setitem__(3, [3.0, 2.0, 4.0]), ["quantiles_crossed"]),
    ],
)
def test_rows_that_are_no_forecasts_are_counted(spoil, expected):
    quantiles, mean = np.tile([1.0, 2.0, 3.0], (6, 1)), np.full(6, 2.0)
    spoil(quantiles, mean)
    found = gate_checks.check_values(np.ones(6, dtype=bool), quantiles, mean)
    assert found == [{"code": code, "rows": 1, "of": 6} for code in expected]


# ---- registered versions -------------------------------------------------------------------------


def run(home: Path, command: click.Command, *words: str) -> tuple[int, list[dict[str, Any]], str]:
    """A command's exit code, what it says in JSON, and all it says."""
    answer = CommandRunner().invoke(
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
    res = bootstrap.create_resources(Settings(home=tmp_path))
    make_chain(res)
    make_person(res, "ana", ("analyst", None))
    bootstrap.close_resources(res)
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
    # The default model stands for a champion.
    assert {line["other"] for line in row["comparisons"]} == {"champion", "moving_average"}
    assert "not_above_baseline" in [reason["code"] for reason in row["reasons"]]
    assert "not better than that of the baseline" in row["sentences"][0]
    release, override = ["release", FORECAST_MODEL], ["override", FORECAST_MODEL]
    with pytest.raises(Conflict):
        run(tmp_path, all_models, *release, "1")
    with pytest.raises(NotAllowed):
        run(tmp_path, all_models, *override, "1", "--why", "nothing else there")
    reason = ["--why", "nothing else there", "--by", "ana"]
    code, (row,), _ = run(tmp_path, all_models, *override, "1", *reason, "--json")
    assert (code, row["kind"], row["by"]) == (0, "override", "ana")

    run(tmp_path, models.train, "--model", "seasonal_naive", "--no-gate")
    code, _, output = run(tmp_path, all_models, "evaluate", FORECAST_MODEL, "--set", "weeks=8")
    assert code == 1
    assert "NO-GO" in output
    assert "the cost is not better than that of the baseline moving_average" in output
    run(tmp_path, all_models, *override, "2", "--why", "to see", "--by", "ana")
    code, (row,), _ = run(
        tmp_path, all_models, "rollback", FORECAST_MODEL, "--why", "seen", "--json"
    )
    assert (code, row["version"], row["previous"]) == (0, "1", "2")
    (details,) = run(tmp_path, all_models, "show", FORECAST_MODEL, "--json")[1]
    assert [entry["kind"] for entry in details["releases"]] == ["rollback", "override", "override"]
    assert [verdict["verdict"] for verdict in details["verdicts"]] == ["NO-GO", "NO-GO"]


def test_the_pages_give_reasons_and_offer_what_a_person_may_do(embedded):
    make_chain(embedded)
    for name, grants in {"ana": ("analyst", None), "ops": ("operator", None)}.items():
        make_person(embedded, name, grants)
    reason = {"code": "missing_slice", "slice": "store", "label": "chiba", "rows": 12}
    line = {"measure": "yen", "other": "managers", "slice": "all", "label": "", "rows": 6}
    line |= {"loss": 1.0, "other_loss": 2.0, "change": -0.5, "low": -0.6, "high": -0.4}
    store = {**line, "other": "champion", "slice": "store", "label": "chiba", "change": 0.25}
    report = {
        "weeks": ["2020-W42", "2021-W01"],
        "comparisons": [line, store],
        "default": "poisson_regression",
    }
    with embedded.db.write() as db:
        for version, decision in (("1", Decision.GO), ("2", Decision.NO_GO)):
            reasons = [] if decision == Decision.GO else [reason]
            db.add(
                GateVerdict(
                    model=FORECAST_MODEL,
                    version=version,
                    champion=None,
                    decision=decision,
                    report={**report, "reasons": reasons},
                    at=NOW,
                    by="tanuki",
                )
            )
    Path(embedded.settings.home / "model").mkdir()
    for _ in range(2):
        embedded.registry.save(
            FORECAST_MODEL,
            embedded.settings.home / "model",
            parameters={"forecaster": "moving_average"},
            metrics={},
            data_window=("", ""),
            code_version="1",
        )
    app = create_app(embedded, [shop_web.SYSTEM])
    analyst = signed_in(app, "ana")
    path = f"/models/{FORECAST_MODEL}"
    page = analyst.get(path, headers={"Accept-Language": "ja"}).text
    assert "需要予測" in page
    assert "の予測がまったくありません（12行が欠けています）。" in page
    assert f'action="{path}/2/override"' in page
    assert f'action="{path}/1/override"' not in page
    assert "/override" not in signed_in(app, "ops").get(path).text
    view = analyst.get(f"/api{path}").json()
    assert [(row["version"], row["go"], row["may_override"]) for row in view["verdicts"]] == [
        ("2", False, True),
        ("1", True, False),
    ]
    assert view["verdicts"][0]["sentences"][0].endswith(
        "is not forecast at all (12 rows are absent)."
    )
    assert view["verdicts"][0]["comparisons"][0]["change"] == -0.5
    for action in ("rollback", "1/override"):
        data = {"why": "x", "csrf": csrf(analyst)}
        assert analyst.post(f"{path}/{action}", data=data).status_code == 409
    (comparison,) = analyst.get("/api/shop/models").json()["comparisons"]
    assert (comparison["slice"], comparison["change"]) == ("Store", 0.25)
    assert path in analyst.get("/shop/models").text

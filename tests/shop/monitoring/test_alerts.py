"""Alerts: each opens for a planted deviation and stays silent on healthy data.

An alert that persists stays one, ends by itself, and may be closed by a person.
"""

from datetime import UTC, date, datetime, timedelta

import numpy as np
import polars as pl
import pytest
from sqlalchemy import select

from tanuki.errors import Conflict, NotAllowed, NotFound, UserError
from tanuki.i18n import TOKYO
from tanuki.platform import metrics
from tanuki.shop.calendar import Week
from tanuki.shop.monitoring import alerts, detectors, messages
from tanuki.shop.monitoring.detectors import Signal
from tanuki.shop.tables import Alert, AlertCode, Cycle, Evaluation, Forecast
from tests.factories.store_chain import (
    ANALYST,
    CHIBA,
    ITEMS,
    NOW,
    OPERATOR,
    STORES,
    TARGET,
    import_csv,
    make_chain,
    sales_csv,
)
from tests.factories.translators import SAY

LAST = TARGET.plus(-2)  # the last whole week of sales


def evaluated(seed=1, n=30, stores=STORES, items=ITEMS, **planted):
    """Lines of n healthy weeks: unbiased forecasts, bands that hold, costs as expected.

    planted: factors of the last four weeks.
    """
    rng = np.random.default_rng(seed)
    rows = []
    for ago in range(n, 0, -1):
        week, common = str(LAST.plus(1 - ago)), rng.normal(1, 0.04)
        for store in stores:
            for item in items:
                actual = max(0.0, rng.normal(100 * common, 14))
                factor = planted if ago <= 4 else {}
                share = (
                    factor.get("forecast", 1.0)
                    if factor.get("only") in (None, store, item)
                    else 1.0
                )
                expected = 900.0
                cost = rng.gamma(4, expected / 4)
                q10, q90 = 100 - 19 * factor.get("width", 1.0), 100 + 19 * factor.get("width", 1.0)
                rows.append(
                    {
                        "week": week,
                        "store": store,
                        "item": item,
                        "actual": actual,
                        "forecast": 100.0 * share,
                        "q10": q10,
                        "q50": 100.0,
                        "q90": q90,
                        "cost": cost * factor.get("cost", 1.0),
                        "proposed": cost * factor.get("cost", 1.0),
                        "expected": expected,
                        "baseline": expected * 1.5,
                    }
                )
    return pl.DataFrame(rows, schema=alerts.EVALUATED_LINE_SCHEMA)


def codes(signals):
    return [(signal.code, signal.subject) for signal in signals]


# ---- detectors -----------------------------------------------------------------------------------


def test_healthy_weeks_raise_nothing_or_nearly_so():
    """A hundred chains of 24 series over 30 weeks.

    Each is tested for bias 11 times, and for coverage, costs and drift.
    """
    count = 0
    for seed in range(100):
        lines = evaluated(
            seed, stores=[f"s{n}" for n in range(4)], items=[f"i{n}" for n in range(6)]
        )
        count += len(detectors.detect_forecast_signals(lines)) + len(
            detectors.detect_demand_drift(lines)
        )
    assert count <= 2


@pytest.mark.parametrize(
    ("planted", "expected"),
    [
        ({"forecast": 1.25}, ("bias", "all")),
        ({"forecast": 0.75}, ("bias", "all")),
        ({"forecast": 1.6, "only": "osaka"}, ("bias", "store=osaka")),
        ({"forecast": 0.5, "only": "milk"}, ("bias", "item=milk")),
        ({"width": 0.4}, ("coverage", "all")),
        ({"width": 2.5}, ("coverage", "all")),
        ({"cost": 2.0}, ("cost_plan", "all")),
        ({"cost": 3.0}, ("cost_baseline", "all")),
    ],
)
def test_what_is_planted_is_found(planted, expected):
    signals = detectors.detect_forecast_signals(evaluated(**planted))
    assert expected in codes(signals)
    sign = next(signal for signal in signals if (signal.code, signal.subject) == expected)
    assert sign.week == str(LAST)
    assert sign.values["weeks"] == f"{LAST.plus(-3)}–{LAST}"
    assert sign.values["reference"] == f"{LAST.plus(-29)}–{LAST.plus(-4)}"


def test_one_stores_bias_is_not_called_the_chains():
    signals = detectors.detect_forecast_signals(
        evaluated(forecast=1.3, only="osaka", stores=[*STORES, "nara", "kobe", "otsu"])
    )
    assert ("bias", "store=osaka") in codes(signals)
    assert ("bias", "all") not in codes(signals)
    assert not [signal for signal in signals if signal.subject == "store=chiba"]


def test_a_bias_within_what_weeks_differ_anyway_raises_nothing():
    lines = evaluated().with_columns(
        pl.col("forecast") * pl.when(pl.col("week") == str(LAST)).then(1.6).otherwise(1.0)
    )
    assert codes(detectors.detect_forecast_signals(lines)) == []


def test_too_few_weeks_or_lines_say_nothing():
    assert detectors.detect_forecast_signals(evaluated(n=3, forecast=3.0)) == []
    assert (
        detectors.detect_forecast_signals(
            evaluated(n=30, stores=STORES[:1], items=ITEMS[:1], forecast=3.0)
        )
        == []
    )
    assert (
        detectors.detect_forecast_signals(pl.DataFrame(schema=alerts.EVALUATED_LINE_SCHEMA)) == []
    )
    assert detectors.detect_demand_drift(pl.DataFrame(schema=alerts.EVALUATED_LINE_SCHEMA)) == []
    assert ("bias", "all") in codes(detectors.detect_forecast_signals(evaluated(n=4, forecast=1.5)))


def test_slow_sellers_bands_and_weeks_without_a_plan_are_left_out():
    lines = evaluated(width=9.0).with_columns(
        pl.lit(2.0).alias("q50"), pl.lit(0.0).alias("expected"), pl.col("cost") * 9
    )
    assert codes(detectors.detect_forecast_signals(lines)) == [("cost_baseline", "all")]


def test_sums_by_week_are_those_counted_by_hand():
    week = {"week": "2021-W01", "expected": 10.0, "baseline": 20.0, "proposed": 5.0}
    rows = [
        {
            **week,
            "store": "a",
            "item": "x",
            "actual": 10.0,
            "forecast": 14.0,
            "q10": 5.0,
            "q50": 10.0,
            "q90": 15.0,
            "cost": 4.0,
        },
        {
            **week,
            "store": "b",
            "item": "x",
            "actual": 30.0,
            "forecast": 28.0,
            "q10": 5.0,
            "q50": 10.0,
            "q90": 15.0,
            "cost": 8.0,
        },
    ]
    (made,) = detectors.summarise_by_week(
        pl.DataFrame(rows, schema=alerts.EVALUATED_LINE_SCHEMA)
    ).to_dicts()
    assert made == {
        "week": "2021-W01",
        "bias": 2 / 40,
        "coverage": 0.5,
        "lines": 2,
        "cost": 12,
        "proposed": 10,
        "expected": 20,
        "baseline": 40,
    }


def test_sales_that_the_forecast_no_longer_explains_are_drift():
    lines = evaluated(stores=[f"s{n}" for n in range(5)])
    assert detectors.detect_demand_drift(lines) == []
    jumped = lines.with_columns(
        pl.col("actual") * pl.when(pl.col("week") > str(LAST.plus(-4))).then(1.5).otherwise(1.0)
    )
    assert codes(detectors.detect_demand_drift(jumped)) == [("drift", "input=demand")]


def shares_by_week(factor, weeks=56):
    """Category b is promoted a fifth of the time; `factor(week)` more of it."""
    rng = np.random.default_rng(3)
    made = {}
    for ago in range(weeks, -1, -1):
        week = LAST.plus(-ago)
        b = rng.binomial(400, min(0.9, 0.2 * factor(ago)))
        made[str(week)] = {"a": 400.0 - b, "b": float(b)}
    return made


def test_shares_that_moved_are_drift_unless_they_do_so_every_year():
    assert detectors.detect_share_drift("promotions", shares_by_week(lambda _: 1), LAST) == []
    moved = detectors.detect_share_drift(
        "promotions", shares_by_week(lambda ago: 3 if ago < 4 else 1), LAST
    )
    assert codes(moved) == [("drift", "input=promotions")]
    assert (
        detectors.detect_share_drift(
            "promotions", shares_by_week(lambda ago: 3 if ago < 4 or 52 <= ago < 56 else 1), LAST
        )
        == []
    )
    assert codes(
        detectors.detect_share_drift(
            "mix", shares_by_week(lambda ago: 3 if ago < 4 else 1, weeks=30), LAST
        )
    ) == [("drift", "input=mix")]


def test_prices_that_rose_are_drift_and_new_items_are_not():
    rows = [
        (LAST.plus(-ago).monday, store, f"i{n}", (100.0 + n) * (1.1 if ago < 4 else 1.0))
        for ago in range(30)
        for store in STORES
        for n in range(10)
    ]
    frame = pl.DataFrame(
        rows,
        schema={"date": pl.Date, "store": pl.String, "item": pl.String, "price_yen": pl.Float64},
        orient="row",
    )
    assert codes(detectors.detect_price_drift(frame, LAST)) == [("drift", "input=prices")]
    steady = frame.with_columns(
        pl.col("item").str.slice(1).cast(pl.Float64).alias("price_yen") + 100
    )
    assert detectors.detect_price_drift(steady, LAST) == []
    new = steady.filter(pl.col("date") == LAST.monday).with_columns(
        pl.lit("new").alias("item"), pl.lit(999.0).alias("price_yen")
    )
    assert detectors.detect_price_drift(pl.concat([steady, new]), LAST) == []


def test_a_silent_store_is_found_after_three_days_and_forgotten_after_eight_weeks():
    day = date(2021, 1, 10)
    last = {
        "chiba": day,
        "osaka": day - timedelta(days=3),
        "nara": day - timedelta(days=2),
        "otsu": day - timedelta(days=57),
    }
    (only,) = detectors.detect_silent_stores(last)
    assert (only.code, only.subject, only.values) == (
        "stale_store",
        "store=osaka",
        {"last": "2021-01-07", "days": 3},
    )
    assert detectors.detect_silent_stores({}) == []
    assert detectors.detect_silent_stores({"chiba": day}) == []


def sold(stopped=(), since=1, weeks=12):
    """Every store sells every item every week.

    `stopped` (store, item) sold nothing in the last `since` weeks.
    """
    rows = [
        (store, item, LAST.plus(-ago).monday)
        for ago in range(weeks)
        for store in ("a", "b", "c", "d")
        for item in ITEMS
        if not ((store, item) in stopped and ago < since)
    ]
    return pl.DataFrame(
        rows, schema={"store": pl.String, "item": pl.String, "monday": pl.Date}, orient="row"
    )


def test_an_item_that_stopped_in_half_of_its_stores_is_missing_until_it_counts_as_taken_off():
    assert detectors.detect_missing_items(sold(), LAST, set()) == []
    assert detectors.detect_missing_items(sold([("a", "milk")]), LAST, set()) == []
    (only,) = detectors.detect_missing_items(sold([("a", "milk"), ("c", "milk")]), LAST, set())
    assert (only.subject, only.week, only.values) == (
        "item=milk",
        str(LAST),
        {"since": LAST.monday.isoformat(), "of": 4, "stores": 2},
    )
    (later,) = detectors.detect_missing_items(
        sold([("a", "milk"), ("c", "milk")], since=4), LAST, set()
    )
    assert later.week == str(LAST.plus(-3))
    assert (
        detectors.detect_missing_items(sold([("a", "milk"), ("c", "milk")], since=5), LAST, set())
        == []
    )
    assert (
        detectors.detect_missing_items(sold([("a", "milk"), ("c", "milk")]), LAST, {"a", "c"}) == []
    )
    assert (
        detectors.detect_missing_items(sold([("a", "milk"), ("c", "milk")], weeks=8), LAST, set())
        == []
    )


def test_an_ordered_week_without_its_sales_is_overdue_after_three_days():
    week = Week(2021, 3)
    assert detectors.detect_overdue_weeks([str(week)], week.sunday + timedelta(days=3)) == []
    assert codes(detectors.detect_overdue_weeks([str(week)], week.sunday + timedelta(days=4))) == [
        ("no_evaluation", "week=2021-W03")
    ]


@pytest.mark.parametrize("lang", ["en", "ja"])
def test_every_alarm_says_what_is_seen_against_what_and_what_to_do(lang):
    signals = [
        *detectors.detect_forecast_signals(evaluated(forecast=1.6, width=0.3, cost=4.0)),
        *detectors.detect_forecast_signals(evaluated(n=4, forecast=1.5)),
        *detectors.detect_demand_drift(evaluated(forecast=3.0, stores=[f"s{n}" for n in range(5)])),
        *detectors.detect_silent_stores({"chiba": date(2021, 1, 10), "osaka": date(2021, 1, 1)}),
        *detectors.detect_missing_items(sold([("a", "milk"), ("c", "milk")]), LAST, set()),
        *detectors.detect_overdue_weeks(["2021-W03"], date(2021, 3, 1)),
    ]
    assert {signal.code for signal in signals} == set(AlertCode)
    for signal in signals:
        observation = messages.render_observation(
            signal,
            SAY[lang],
            {"osaka": "大阪" if lang == "ja" else "Osaka"},
        )
        action = messages.render_action(signal.code, signal.values, SAY[lang])
        assert observation
        assert action
        assert "%(" not in observation + action
        if signal.code == "stale_store":
            assert ("大阪" if lang == "ja" else "Osaka") in observation
        if signal.values.get("reference"):
            assert signal.values["weeks"] in observation
    assert "NO-GO" in messages.render_action(
        "bias", {"retraining": {"state": "no_go", "week": "2021-W03", "version": "4"}}, SAY[lang]
    )


# ---- alerts --------------------------------------------------------------------------------------


SIGN = Signal("bias", "store=chiba", "2021-W01", {"share": 0.2})


def every(db):
    return list(db.scalars(select(Alert).order_by(Alert.id)))


def test_an_alarm_stays_one_while_it_is_seen_and_ends_by_itself(database):
    with database.write() as db:
        assert len(alerts.record_signals(db, [SIGN], NOW)) == 1
        assert (
            alerts.record_signals(
                db,
                [Signal("bias", "store=chiba", "2021-W02", {"share": 0.3})],
                NOW + timedelta(hours=1),
            )
            == []
        )
        (only,) = every(db)
        assert (only.week, only.values, only.opened_at, only.last_seen_at) == (
            "2021-W02",
            {"share": 0.3},
            NOW,
            NOW + timedelta(hours=1),
        )
        alerts.record_signals(db, [], NOW + timedelta(hours=2))
        assert (only.closed_at, only.closed_by) == (NOW + timedelta(hours=2), None)
        assert len(alerts.record_signals(db, [SIGN], NOW + timedelta(hours=3))) == 1


def test_an_alarm_that_was_opened_twice_becomes_one(database):
    with database.write() as db:
        for _ in range(2):
            db.add(
                Alert(
                    code="bias",
                    subject="store=chiba",
                    week="2021-W01",
                    values={},
                    opened_at=NOW,
                    last_seen_at=NOW,
                )
            )
        db.flush()
        alerts.record_signals(db, [SIGN], NOW)
        assert [signal.closed_at is None for signal in every(db)] == [True, False]


def test_a_person_closes_it_with_a_reason_and_it_comes_back_only_in_a_later_week(database):
    with database.write() as db:
        (alert,) = alerts.record_signals(db, [SIGN], NOW)
        with pytest.raises(NotAllowed):
            alerts.close_alert(db, CHIBA, alert.id, why="known", now=NOW)
        with pytest.raises(UserError, match="say why"):
            alerts.close_alert(db, OPERATOR, alert.id, why=" ", now=NOW)
        with pytest.raises(NotFound):
            alerts.close_alert(db, OPERATOR, 99, why="known", now=NOW)
        alerts.close_alert(db, OPERATOR, alert.id, why="a festival", now=NOW)
        assert (alert.closed_by, alert.why) == ("ops", "a festival")
        with pytest.raises(Conflict):
            alerts.close_alert(db, ANALYST, alert.id, why="again", now=NOW)
        assert alerts.record_signals(db, [SIGN], NOW) == []
        assert (
            len(alerts.record_signals(db, [Signal("bias", "store=chiba", "2021-W02", {})], NOW))
            == 1
        )
        still, past = alerts.list_alerts(db, ANALYST)
        assert ([signal.week for signal in still], [signal.week for signal in past]) == (
            ["2021-W02"],
            ["2021-W01"],
        )
        with pytest.raises(NotAllowed):
            alerts.list_alerts(db, CHIBA)


# ---- from the records ----------------------------------------------------------------------------


def keep(res, lines):
    """Lines as evaluated weeks with their forecasts."""
    times = dict.fromkeys(
        ("as_of", "started_at", "forecast_due", "check_due", "release_at", "confirm_due"), NOW
    )
    units = (
        "proposed_units",
        "ordered_units",
        "available_units",
        "shortage_units",
        "leftover_units",
    )
    with res.db.write() as db:
        for week in lines["week"].unique().sort():
            db.add(
                Cycle(
                    week=week,
                    state="evaluated",
                    cutoff=NOW.date(),
                    auto=True,
                    started_by="tests",
                    findings=[],
                    **times,
                )
            )
        db.flush()
        for row in lines.iter_rows(named=True):
            key = {name: row[name] for name in ("week", "store", "item")}
            quantiles = dict.fromkeys(("q01", "q05", "q25", "q75", "q95", "q99", "mean"), 0.0)
            db.add(
                Forecast(
                    **key,
                    cycle=row["week"],
                    as_of=NOW,
                    model="poisson_regression",
                    q10=row["q10"],
                    q50=row["q50"],
                    q90=row["q90"],
                    **quantiles,
                )
            )
            costs = {
                "cost_yen": row["cost"],
                "proposed_cost_yen": row["proposed"],
                "expected_cost_yen": row["expected"],
            }
            numbers = {**dict.fromkeys(units, 0.0), **costs, "baseline_cost_yen": row["baseline"]}
            db.add(
                Evaluation(
                    **key,
                    actual=row["actual"],
                    forecast=row["forecast"],
                    **numbers,
                    zone="within",
                    at=NOW,
                )
            )


def open_alerts(res, now=NOW):
    with res.db.write() as db:
        alerts.update_alerts(db, res.warehouse, res.jobs, now)
    with res.db.read() as db:
        return sorted((alert.code, alert.subject) for alert in alerts.list_alerts(db, ANALYST)[0])


def test_a_healthy_chain_raises_nothing_and_starts_nothing(resources):
    make_chain(resources)
    keep(resources, evaluated())
    assert open_alerts(resources) == []
    assert resources.jobs.list_runs() == []
    with resources.db.read() as db:
        weeks = alerts.list_weekly_metrics(db, ANALYST)
    assert [week["week"] for week in weeks] == [str(LAST.plus(-n)) for n in range(29, -1, -1)]


def test_nothing_at_all_raises_nothing(embedded):
    assert open_alerts(embedded) == []


def test_a_planted_bias_raises_one_alarm_and_asks_for_one_retraining_of_the_week(resources):
    make_chain(resources)
    keep(resources, evaluated(forecast=1.6, only="osaka"))
    for hours in range(3):
        assert ("bias", "store=osaka") in open_alerts(resources, NOW + timedelta(hours=hours))
    with resources.db.read() as db:
        signals = [signal for signal in every(db) if signal.subject == "store=osaka"]
        assert len(signals) == 1
        assert signals[0].values["retraining"] == {"state": "started", "week": str(TARGET)}
    assert [run.id for run in resources.jobs.list_runs()] == [f"retrain-{TARGET}"]
    assert (
        'tanuki_open_alerts{code="bias",system="shop"}' in metrics.process_metrics().text().decode()
    )


def test_a_silent_store_a_stopped_item_and_an_overdue_week_are_detected_until_they_are_mended(
    embedded,
):
    make_chain(embedded, last=LAST.plus(-1).sunday)
    lines = sales_csv(LAST.monday, LAST.sunday).splitlines()
    part = [
        line
        for line in lines
        if ",beer," not in line
        and not (",osaka," in line and line >= f"{LAST.monday + timedelta(days=3)}")
    ]
    import_csv(embedded, "sales", "\n".join(part) + "\n")
    with embedded.db.write() as db:
        times = dict.fromkeys(
            ("as_of", "started_at", "forecast_due", "check_due", "release_at", "confirm_due"), NOW
        )
        past = LAST.plus(-1)
        db.add(
            Cycle(
                week=str(past),
                state="ordered",
                cutoff=past.cutoff,
                auto=True,
                started_by="tests",
                findings=[],
                **times,
            )
        )
    expected = [
        ("missing_item", "item=beer"),
        ("no_evaluation", f"week={past}"),
        ("stale_store", "store=osaka"),
    ]
    assert [
        open_alert for open_alert in open_alerts(embedded) if open_alert[0] != "drift"
    ] == expected
    later = NOW + timedelta(minutes=5)
    import_csv(embedded, "sales", sales_csv(LAST.monday, LAST.sunday), now=later)
    with embedded.db.write() as db:
        db.get(Cycle, str(past)).state = "evaluated"
    assert open_alerts(embedded, later) == []


def test_prices_that_rise_and_promotions_that_come_are_found_in_what_was_imported(embedded):
    make_chain(embedded)
    rise = "item_name,price,applied_from,applied_to\n" + "".join(
        f"{item},{price},{LAST.plus(-3).monday},2099-12-31\n"
        for item, price in (("beer", 240), ("coffee", 144), ("milk", 180))
    )
    import_csv(embedded, "prices", rise)
    plans = (
        "store,item,date_from,date_to,kind,discount\n"
        + f",coffee,{LAST.plus(-3).monday},{LAST.sunday},leaflet,0.1\n"
    )
    import_csv(embedded, "promotions", plans)
    limits = [open_alert for open_alert in open_alerts(embedded) if open_alert[0] == "drift"]
    assert limits == [("drift", "input=promotions")]  # six series: too few prices to say anything
    with embedded.db.read() as db:
        sign = next(
            signal
            for signal in alerts.scan_signals(db, embedded.warehouse, NOW).signals
            if signal.subject == "input=promotions"
        )
    assert sign.values["reference"] == f"{LAST.plus(-29)}–{LAST.plus(-4)}"


def test_the_week_to_order_next_follows_the_last_whole_week():
    assert alerts.last_whole_week(date(2021, 1, 10)) == Week(2021, 1)
    assert alerts.last_whole_week(date(2021, 1, 9)) == Week(2020, 53)
    assert datetime(2021, 1, 10, 15, tzinfo=UTC).astimezone(TOKYO).date() == date(2021, 1, 11)

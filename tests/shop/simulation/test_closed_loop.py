"""Closed-loop simulation: policies see no future, and those that know more cost less."""

import json
import re
from dataclasses import replace
from datetime import date, timedelta
from functools import partial

import numpy as np
import polars as pl
import pytest

from tanuki.app.cli import open_engines, tanuki
from tanuki.errors import NotFound, UserError
from tanuki.shop.calendar import Week, week_of
from tanuki.shop.ordering import ItemRules
from tanuki.shop.simulation.closed_loop import compare_policies, simulate_policy
from tanuki.shop.simulation.demand import GAMMA_NOISE_SHAPE, HISTORY_WEEKS
from tanuki.shop.simulation.inventory import sellable_by_age, simulate_inventory
from tanuki.shop.simulation.managers import Managers, OrderingHabit, round_up_to_cases
from tanuki.shop.simulation.policies import (
    POLICIES,
    demand_distribution,
    make_policy,
    make_tanuki_policy,
)
from tanuki.shop.simulation.scenarios import example_scenario, scenario_from_history
from tanuki.shop.simulation.world import simulate_world
from tests.factories.command_line import CommandRunner
from tests.factories.store_chain import NOW, TARGET, make_chain

LAST = date(2021, 6, 27)
WEEKS = 8
COSTS = ["short_yen", "waste_yen", "holding_yen"]


def cut(scenario, stores=2, items=(0, 3, 7)):
    """The scenario with its first stores and some items only."""
    part, chosen = np.ix_(range(stores), items), list(items)
    managers, chain = scenario.managers, scenario.chain
    return replace(
        scenario,
        chain=replace(
            chain,
            stores=chain.stores[:stores],
            items=[chain.items[i] for i in chosen],
            rules=[chain.rules[i] for i in chosen],
            sellable=chain.sellable[:, chosen],
        ),
        demand=scenario.demand[:, *part],
        expected=scenario.expected[:, *part],
        managers=replace(
            managers,
            habits=managers.habits[:stores],
            rules=[managers.rules[i] for i in chosen],
            usual_units=managers.usual_units[part],
            planned_uplift=managers.planned_uplift[:, *part],
            repeats_order=managers.repeats_order[:, *part],
        ),
    )


def run(scenario, name, model=None):
    return simulate_policy(scenario, name, make_policy(scenario, name, model))


@pytest.fixture(scope="module")
def scenario():
    return cut(example_scenario(1, LAST, WEEKS))


@pytest.fixture(scope="module")
def ledgers(scenario):
    return {name: run(scenario, name) for name in POLICIES}


def test_managers_go_on_in_a_scenario_as_in_the_world():
    scenario = example_scenario(3, LAST, 6)
    trajectory = scenario.simulate(POLICIES["managers"](scenario))
    later = simulate_world(3, LAST + timedelta(weeks=7))
    shown = slice(-7 * HISTORY_WEEKS, None)
    assert trajectory.sales[shown].ravel().tolist() == later.files["sales"]["sales"].to_list()
    assert trajectory.stock[shown].ravel().tolist() == later.files["stock"]["units"].to_list()


def test_the_known_history_is_that_of_the_worlds_files():
    scenario, files = example_scenario(2, LAST, 4), simulate_world(2, LAST).files
    known = scenario.known_history(
        scenario.policy_start, scenario.simulate(POLICIES["managers"](scenario))
    )
    assert known.sales.equals(
        files["sales"].select("date", "store", "item", pl.col("sales").alias("units"))
    )
    for name in ("stock", "deliveries", "promotions", "weather"):
        assert getattr(known, name).equals(files[name]), name
    prices = known.prices.select("item", "applied_from", "price_yen").rows()
    assert prices == files["prices"].select("item_name", "applied_from", "price").rows()


def test_the_same_seed_gives_the_same_result_and_another_another(scenario, ledgers):
    repeated = cut(example_scenario(1, LAST, WEEKS))
    assert run(repeated, "oracle").equals(ledgers["oracle"])
    other = cut(example_scenario(2, LAST, WEEKS))
    assert not run(other, "managers").equals(ledgers["managers"])


def test_a_longer_simulation_begins_as_the_shorter(ledgers):
    longer = run(cut(example_scenario(1, LAST, WEEKS + 2)), "oracle")
    assert longer.head(ledgers["oracle"].height).equals(ledgers["oracle"])


def test_weeks_count_from_the_first_whose_delivery_was_decided(scenario, ledgers):
    weeks = ledgers["managers"]["week"].unique(maintain_order=True).to_list()
    assert weeks == [str(week_of(LAST).plus(2 + n)) for n in range(WEEKS)]
    assert scenario.week(scenario.policy_start) == week_of(LAST).plus(1)


@pytest.mark.parametrize("name", ["managers", "published", "tanuki"])
def test_no_policy_knows_the_future(scenario, name):
    change = (scenario.policy_start + 3) * 7 + 2  # a Wednesday: from here on, all is otherwise
    rng = np.random.default_rng(9)
    demand, expected = scenario.demand.copy(), scenario.expected.copy()
    demand[change:] = rng.poisson(100, demand[change:].shape)
    expected[change:] = 100
    day = scenario.monday + timedelta(days=change)
    weather = scenario.history.weather.with_columns(
        pl.when(pl.col("date") < day).then("temperature_c").otherwise(40.0).alias("temperature_c")
    )
    otherwise = replace(
        scenario,
        demand=demand,
        expected=expected,
        history=replace(scenario.history, weather=weather),
    )
    policy = (
        partial(make_tanuki_policy, model="moving_average") if name == "tanuki" else POLICIES[name]
    )
    one, other = scenario.simulate(policy(scenario)), otherwise.simulate(policy(otherwise))
    known = scenario.policy_start + 5  # ordered on the Monday before the change
    assert (one.deliveries[:known] == other.deliveries[:known]).all()
    assert (one.deliveries[known:-1] != other.deliveries[known:-1]).any()


def test_only_perfect_information_knows_the_random_draws(scenario):
    demand = scenario.demand.copy()
    change = (scenario.policy_start + 3) * 7
    demand[change:] += 30
    otherwise = replace(scenario, demand=demand)
    for name, at in (
        ("oracle", 5),
        ("perfect_information", 3),
    ):  # deliveries by then were ordered before it happened, or two weeks before it
        one, other = (
            scenario.simulate(POLICIES[name](scenario)),
            otherwise.simulate(POLICIES[name](otherwise)),
        )
        same = (one.deliveries == other.deliveries).all(axis=(1, 2))
        assert same[: scenario.policy_start + at].all() and not same[scenario.policy_start + at]


def test_policies_that_know_more_cost_less(ledgers):
    yen = {
        name: ledger.select(COSTS).sum().sum_horizontal().item() for name, ledger in ledgers.items()
    }
    assert yen["perfect_information"] < yen["oracle"] < yen["tanuki"] < yen["managers"]
    assert yen["tanuki"] < yen["published"]


def test_the_ledger_conserves_units_and_costs_follow_the_rules(scenario, ledgers):
    ledger = ledgers["managers"]
    trajectory = scenario.simulate(POLICIES["managers"](scenario))
    end = trajectory.on_hand(scenario.weeks[-1] + 1) - trajectory.waste[-1]
    start = trajectory.on_hand(scenario.weeks[0]) - trajectory.waste[scenario.weeks[0]]
    assert (
        start.sum() + ledger["delivered"].sum()
        == ledger["sold"].sum() + ledger["waste"].sum() + end.sum()
    )
    assert (ledger["demand"] == ledger["sold"] + ledger["lost"]).all()
    milk = ledger.filter(item="milk")
    assert milk["short_yen"].sum() == 50 * milk["lost"].sum()
    assert milk["waste_yen"].sum() == 60 * milk["waste"].sum()
    assert milk["holding_yen"].sum() == pytest.approx(0.25 * 60 * milk["held"].sum())


def test_totals_are_those_of_the_ledger(ledgers):
    rows = compare_policies(pl.concat(ledgers.values()))
    managers = next(row for row in rows if row["policy"] == "managers")
    ledger = ledgers["managers"]
    assert managers["fill_rate"] == ledger["sold"].sum() / ledger["demand"].sum()
    assert managers["yen"] == sum(ledger[cost].sum() for cost in COSTS)
    assert managers["stock"] == pytest.approx(ledger["stock"].sum() / WEEKS)
    assert managers["to_managers"] == 1.0
    assert all(row["to_oracle"] >= 1 for row in rows if row["policy"] != "perfect_information")
    assert compare_policies(ledger)[0]["to_oracle"] is None


def test_the_demand_distribution_agrees_with_many_draws():
    expected = np.random.default_rng(3).uniform(1, 40, (14, 2, 3))
    rng = np.random.default_rng(4)
    days = rng.poisson(
        expected * rng.gamma(GAMMA_NOISE_SHAPE, 1 / GAMMA_NOISE_SHAPE, (40_000, *expected.shape))
    )
    weeks = days.reshape(-1, 2, 7, 2, 3).sum(axis=2)
    computed = demand_distribution(expected)
    for n, drawn in enumerate((weeks[:, 0], weeks[:, 1], weeks.sum(axis=1))):
        simulated = np.moveaxis(
            np.quantile(drawn, (0.01, 0.05, 0.10, 0.25, 0.50, 0.75, 0.90, 0.95, 0.99), axis=0),
            0,
            -1,
        )
        assert computed[n, ..., :-1] == pytest.approx(simulated, rel=0.03, abs=1.5)
        assert computed[n, ..., -1] == pytest.approx(drawn.mean(axis=0), rel=0.01)


def test_managers_order_the_usual_week_and_more_after_a_sell_out():
    rules = [ItemRules(case_units=10, min_cases=1, max_cases=6)]
    managers = Managers(
        [OrderingHabit(2, 0.2, 0.5, True)],
        rules,
        np.array([[20.0]]),
        np.ones((9, 1, 1)),
        np.zeros((8, 1, 1), dtype=bool),
    )
    assert managers.first_delivery.item() == 30
    calm, busy = (
        simulate_inventory(
            np.full((56, 1, 1), units),
            sellable_by_age([None]),
            managers.first_delivery,
            managers.order_next_week,
        )
        for units in (1, 20)
    )
    assert calm.deliveries[-1] == 10  # never less than the minimum, though it is not needed
    assert busy.deliveries[-1] == 60  # never more than the maximum, though it is
    assert round_up_to_cases(np.array([[31.0]]), rules).item() == 40
    assert round_up_to_cases(np.array([[1e6]]), [ItemRules(case_units=6)]).item() == 1_000_002


@pytest.fixture
def recorded(embedded):
    from tanuki.shop import panel

    make_chain(embedded)
    with embedded.db.read() as db:
        return panel.load_history(db, embedded.warehouse, as_of=NOW)


RULES = {
    "beer": ItemRules(6, 0, None, None, 60, 10),
    "coffee": ItemRules(12, 0, None, None, 36, 8),
    "milk": ItemRules(10, 0, None, 10, 45, 30),
}


def test_recorded_sales_are_taken_as_demand(recorded):
    scenario = scenario_from_history(recorded, RULES, Week(2020, 40), 8)
    week = recorded.actual_sales(Week(2020, 43)).sort("store", "item")["actual"].to_list()
    number = next(n for n in scenario.weeks if scenario.week(n) == Week(2020, 43))
    assert scenario.demand[number * 7 : number * 7 + 7].sum(axis=0).ravel().tolist() == week
    assert [str(scenario.week(n)) for n in scenario.weeks] == [f"2020-W{n}" for n in range(40, 48)]
    ledger = run(scenario, "tanuki", model="moving_average")
    assert ledger["sold"].sum() > 0.97 * ledger["demand"].sum()
    with pytest.raises(UserError, match="only the example world knows"):
        run(scenario, "oracle")


@pytest.mark.parametrize(
    ("first", "weeks"), [(Week(2020, 10), 4), (TARGET, 4), (Week(2020, 50), 9)]
)
def test_recorded_weeks_need_sales_before_and_to_their_end(recorded, first, weeks):
    with pytest.raises(UserError, match="Sales are known from 2020-W02 to 2021-W01"):
        scenario_from_history(recorded, RULES, first, weeks)


def test_an_item_without_a_master_is_named(recorded):
    with pytest.raises(UserError, match="no master for milk"):
        scenario_from_history(
            recorded, {name: RULES[name] for name in ("beer", "coffee")}, Week(2020, 40), 4
        )


def test_items_outside_a_stores_assortment_are_never_delivered(recorded):
    without = replace(
        recorded,
        sales=recorded.sales.filter((pl.col("store") != "osaka") | (pl.col("item") != "milk")),
    )
    rules = RULES | {"milk": replace(RULES["milk"], min_cases=1)}
    scenario = scenario_from_history(without, rules, Week(2020, 40), 4)
    trajectory = scenario.simulate(POLICIES["managers"](scenario))
    assert not trajectory.deliveries[:, 1, 2].any() and trajectory.deliveries[:-1, 0, 2].all()
    assert (
        not scenario.known_history(scenario.policy_start, trajectory)
        .sales.filter((pl.col("store") == "osaka") & (pl.col("item") == "milk"))
        .height
    )


def invoke(*arguments):
    return CommandRunner().invoke(
        tanuki, ["shop", "simulate", *map(str, arguments)], catch_exceptions=False
    )


def test_the_command_needs_no_database(tmp_path, monkeypatch):
    monkeypatch.setenv("TANUKI_HOME", str(tmp_path / "nothing"))
    chart = tmp_path / "out.svg"
    result = invoke(
        "--weeks", 2, "--policy", "managers", "--policy", "oracle", "--json", "--plot", chart
    )
    rows = [json.loads(line) for line in result.stdout.splitlines()]
    assert [row["policy"] for row in rows] == ["managers", "oracle"]
    assert rows[0]["to_oracle"] > 1 == rows[0]["to_managers"]
    assert not (tmp_path / "nothing").exists()
    picture = chart.read_text("utf-8")
    assert picture.startswith("<svg") and "--chart-1:" in picture and "Lost sales" in picture


def test_the_command_simulates_recorded_sales(tmp_path, monkeypatch):
    monkeypatch.setenv("TANUKI_HOME", str(tmp_path / "home"))
    with open_engines() as res:
        make_chain(res)
    result = invoke(
        "--from-history", "--first", "2020-W40", "--weeks", 3, "--model", "moving_average", "--json"
    )
    rows = [json.loads(line) for line in result.stdout.splitlines()]
    assert [row["policy"] for row in rows] == [
        "managers",
        "published",
        "tanuki",
        "perfect_information",
    ]
    assert rows[-1]["fill_rate"] == 1.0
    assert "The oracle is left out" in result.stderr


def test_the_table_is_formatted_and_the_page_holds_the_chart(tmp_path):
    page = tmp_path / "out.html"
    result = invoke("--weeks", 1, "--policy", "managers", "--by", "item", "--plot", page)
    assert re.search(r"^managers\s+milk\s+\d\d\.\d\d%", result.stdout, re.MULTILINE)
    assert "managers: 2021-W27 (1 of 1)" in result.stderr
    assert page.read_text("utf-8").startswith("<!doctype html>")


@pytest.mark.parametrize(
    ("arguments", "why"),
    [
        (
            ("--policy", "luck"),
            "There is no policy luck; expected one of managers, published, tanuki, oracle,"
            " perfect_information.",
        ),
        (("--plot", "out.png"), "expected a name that ends in .svg or .html"),
        (("--from-history",), "go together"),
        (("--first", "2021-W01"), "go together"),
        (("--last-day", "2021-06-28"), "expected a Sunday"),
        (("--last-day", "2018-01-07"), "expected a Sunday from 2019-01-06"),
        (("--model", "luck"), "There is no model luck"),
    ],
)
def test_a_wrong_option_is_refused_with_the_reason(arguments, why):
    with pytest.raises((UserError, NotFound), match=re.escape(why)):
        invoke(*arguments)

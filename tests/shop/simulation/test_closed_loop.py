"""Closed-loop simulation: the world goes on as it was, policies see no future, and what they cost is in the order of what they know."""

import json
import re
from dataclasses import replace
from datetime import date, timedelta
from functools import partial

import numpy as np
import polars as pl
import pytest
from click.testing import CliRunner

from tanuki.app.cli import tanuki
from tanuki.cli.output import resources
from tanuki.errors import NotFound, UserError
from tanuki.shop.calendar import Week, week_of
from tanuki.shop.ordering import ItemRules
from tanuki.shop.simulation import closed_loop, scenarios
from tanuki.shop.simulation import demand as world
from tanuki.shop.simulation.inventory import keeping, live
from tanuki.shop.simulation.managers import Habit, Managers, in_cases
from tanuki.shop.simulation.policies import POLICIES, law, ours
from tests.factories.store_chain import NOW, TARGET, make_chain

LAST = date(2021, 6, 27)
WEEKS = 8
PARTS = ["short_yen", "waste_yen", "holding_yen"]


def small(scene, stores=2, items=(0, 3, 7)):
    """The same with the first stores and some items."""
    part, of = np.ix_(range(stores), items), list(items)
    whole = scene.managers
    managers = replace(
        whole,
        habits=whole.habits[:stores],
        rules=[whole.rules[i] for i in of],
        usual=whole.usual[part],
        foreseen=whole.foreseen[:, *part],
        forgotten=whole.forgotten[:, *part],
    )
    return replace(
        scene,
        stores=scene.stores[:stores],
        items=[scene.items[i] for i in of],
        rules=[scene.rules[i] for i in of],
        demand=scene.demand[:, *part],
        expected=scene.expected[:, *part],
        keeps=scene.keeps[:, of],
        managers=managers,
    )


@pytest.fixture(scope="module")
def scene():
    return small(scenarios.example(1, LAST, WEEKS))


@pytest.fixture(scope="module")
def ledgers(scene):
    return {name: closed_loop.run(scene, name) for name in POLICIES}


def test_managers_live_on_as_the_world_does():
    scene = scenarios.example(3, LAST, 6)
    lived = scene.live(POLICIES["managers"](scene))
    later = world.world(3, LAST + timedelta(weeks=7))
    shown = slice(-7 * world.WEEKS, None)
    assert lived.sales[shown].ravel().tolist() == later.sales["sales"].to_list()
    assert lived.stock[shown].ravel().tolist() == later.stock["units"].to_list()


def test_what_is_known_is_what_the_worlds_files_say():
    scene, made = scenarios.example(2, LAST, 4), world.world(2, LAST)
    known = scene.known(scene.begin, scene.live(POLICIES["managers"](scene)))
    assert known.sales.equals(
        made.sales.select("date", "store", "item", pl.col("sales").alias("units"))
    )
    for name in ("stock", "deliveries", "promotions", "weather"):
        assert getattr(known, name).equals(getattr(made, name)), name
    prices = known.prices.select("item", "applied_from", "price_yen").rows()
    assert prices == made.prices.select("item_name", "applied_from", "price").rows()


def test_the_same_seed_gives_the_same_result_and_another_another(scene, ledgers):
    again = small(scenarios.example(1, LAST, WEEKS))
    assert closed_loop.run(again, "oracle").equals(ledgers["oracle"])
    other = small(scenarios.example(2, LAST, WEEKS))
    assert not closed_loop.run(other, "managers").equals(ledgers["managers"])


def test_a_longer_simulation_begins_as_the_shorter(ledgers):
    longer = closed_loop.run(small(scenarios.example(1, LAST, WEEKS + 2)), "oracle")
    assert longer.head(ledgers["oracle"].height).equals(ledgers["oracle"])


def test_weeks_count_from_the_first_whose_delivery_was_decided(scene, ledgers):
    weeks = ledgers["managers"]["week"].unique(maintain_order=True).to_list()
    assert weeks == [str(week_of(LAST).plus(2 + n)) for n in range(WEEKS)]
    assert scene.week(scene.begin) == week_of(LAST).plus(1)


@pytest.mark.parametrize("name", ["managers", "published", "ours"])
def test_no_policy_sees_the_future(scene, name):
    change = (scene.begin + 3) * 7 + 2  # a Wednesday: from here on, all is otherwise
    rng = np.random.default_rng(9)
    demand, expected = scene.demand.copy(), scene.expected.copy()
    demand[change:] = rng.poisson(100, demand[change:].shape)
    expected[change:] = 100
    day = scene.monday + timedelta(days=change)
    weather = scene.record.weather.with_columns(
        pl.when(pl.col("date") < day).then("temperature_c").otherwise(40.0).alias("temperature_c")
    )
    otherwise = replace(
        scene, demand=demand, expected=expected, record=replace(scene.record, weather=weather)
    )
    policy = partial(ours, model="moving_average") if name == "ours" else POLICIES[name]
    one, other = scene.live(policy(scene)), otherwise.live(policy(otherwise))
    known = scene.begin + 5  # ordered on the Monday before the change
    assert (one.deliveries[:known] == other.deliveries[:known]).all()
    assert (one.deliveries[known:-1] != other.deliveries[known:-1]).any()


def test_the_oracle_knows_no_dice_and_the_clairvoyant_does(scene):
    demand = scene.demand.copy()
    change = (scene.begin + 3) * 7
    demand[change:] += 30
    otherwise = replace(scene, demand=demand)
    for name, at in (
        ("oracle", 5),
        ("clairvoyant", 3),
    ):  # deliveries by then were ordered before it happened, or two weeks before it
        one, other = scene.live(POLICIES[name](scene)), otherwise.live(POLICIES[name](otherwise))
        same = (one.deliveries == other.deliveries).all(axis=(1, 2))
        assert same[: scene.begin + at].all() and not same[scene.begin + at]


def test_who_knows_more_pays_less(ledgers):
    yen = {
        name: ledger.select(PARTS).sum().sum_horizontal().item() for name, ledger in ledgers.items()
    }
    assert yen["clairvoyant"] < yen["oracle"] < yen["ours"] < yen["managers"]
    assert yen["ours"] < yen["published"]


def test_the_ledger_is_conserved_and_paid_by_the_rules(scene, ledgers):
    ledger = ledgers["managers"]
    lived = scene.live(POLICIES["managers"](scene))
    end = lived.on_hand(scene.weeks[-1] + 1) - lived.thrown[-1]
    start = lived.on_hand(scene.weeks[0]) - lived.thrown[scene.weeks[0]]
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
    rows = closed_loop.compared(pl.concat(ledgers.values()))
    managers = next(row for row in rows if row["policy"] == "managers")
    ledger = ledgers["managers"]
    assert managers["fill_rate"] == ledger["sold"].sum() / ledger["demand"].sum()
    assert managers["yen"] == sum(ledger[part].sum() for part in PARTS)
    assert managers["stock"] == pytest.approx(ledger["stock"].sum() / WEEKS)
    assert managers["to_managers"] == 1.0
    assert all(row["to_oracle"] >= 1 for row in rows if row["policy"] != "clairvoyant")
    assert closed_loop.compared(ledger)[0]["to_oracle"] is None


def test_the_law_of_two_weeks_is_that_of_many_draws():
    expected = np.random.default_rng(3).uniform(1, 40, (14, 2, 3))
    rng = np.random.default_rng(4)
    days = rng.poisson(
        expected * rng.gamma(world.NOISE_SHAPE, 1 / world.NOISE_SHAPE, (40_000, *expected.shape))
    )
    weeks = days.reshape(-1, 2, 7, 2, 3).sum(axis=2)
    found = law(expected)
    for n, drawn in enumerate((weeks[:, 0], weeks[:, 1], weeks.sum(axis=1))):
        wanted = np.moveaxis(
            np.quantile(drawn, (0.01, 0.05, 0.10, 0.25, 0.50, 0.75, 0.90, 0.95, 0.99), axis=0),
            0,
            -1,
        )
        assert found[n, ..., :-1] == pytest.approx(wanted, rel=0.03, abs=1.5)
        assert found[n, ..., -1] == pytest.approx(drawn.mean(axis=0), rel=0.01)


def test_managers_order_the_usual_week_and_more_after_a_sell_out():
    rules = [ItemRules(case_units=10, min_cases=1, max_cases=6)]
    made = Managers(
        [Habit(2, 0.2, 0.5, True)],
        rules,
        np.array([[20.0]]),
        np.ones((9, 1, 1)),
        np.zeros((8, 1, 1), dtype=bool),
    )
    assert made.first.item() == 30
    calm, busy = (
        live(np.full((56, 1, 1), each), keeping([None]), made.first, made.order) for each in (1, 20)
    )
    assert calm.deliveries[-1] == 10  # never less than the minimum, though it is not needed
    assert busy.deliveries[-1] == 60  # never more than the maximum, though it is
    assert in_cases(np.array([[31.0]]), rules).item() == 40
    assert in_cases(np.array([[1e6]]), [ItemRules(case_units=6)]).item() == 1_000_002


@pytest.fixture
def recorded(embedded):
    from tanuki.shop import panel

    make_chain(embedded)
    with embedded.db.read() as db:
        return panel.load(db, embedded.warehouse, as_of=NOW)


RULES = {
    "beer": ItemRules(6, 0, None, None, 60, 10),
    "coffee": ItemRules(12, 0, None, None, 36, 8),
    "milk": ItemRules(10, 0, None, 10, 45, 30),
}


def test_recorded_sales_are_lived_as_demand(recorded):
    scene = scenarios.of_history(recorded, RULES, Week(2020, 40), 8)
    week = recorded.actual(Week(2020, 43)).sort("store", "item")["actual"].to_list()
    number = next(n for n in scene.weeks if scene.week(n) == Week(2020, 43))
    assert scene.demand[number * 7 : number * 7 + 7].sum(axis=0).ravel().tolist() == week
    assert [str(scene.week(n)) for n in scene.weeks] == [f"2020-W{n}" for n in range(40, 48)]
    ledger = closed_loop.run(scene, "ours", model="moving_average")
    assert ledger["sold"].sum() > 0.97 * ledger["demand"].sum()
    with pytest.raises(UserError, match="only the example world knows"):
        closed_loop.run(scene, "oracle")


@pytest.mark.parametrize(
    ("first", "weeks"), [(Week(2020, 10), 4), (TARGET, 4), (Week(2020, 50), 9)]
)
def test_recorded_weeks_need_sales_before_and_to_their_end(recorded, first, weeks):
    with pytest.raises(UserError, match="Sales are known from 2020-W02 to 2021-W01"):
        scenarios.of_history(recorded, RULES, first, weeks)


def test_an_item_without_a_master_is_named(recorded):
    with pytest.raises(UserError, match="no master for milk"):
        scenarios.of_history(
            recorded, {name: RULES[name] for name in ("beer", "coffee")}, Week(2020, 40), 4
        )


def test_what_a_store_does_not_carry_is_never_delivered(recorded):
    without = replace(
        recorded,
        sales=recorded.sales.filter((pl.col("store") != "osaka") | (pl.col("item") != "milk")),
    )
    rules = RULES | {"milk": replace(RULES["milk"], min_cases=1)}
    scene = scenarios.of_history(without, rules, Week(2020, 40), 4)
    lived = scene.live(POLICIES["managers"](scene))
    assert not lived.deliveries[:, 1, 2].any() and lived.deliveries[:-1, 0, 2].all()
    assert (
        not scene.known(scene.begin, lived)
        .sales.filter((pl.col("store") == "osaka") & (pl.col("item") == "milk"))
        .height
    )


def invoke(*words):
    return CliRunner().invoke(
        tanuki, ["shop", "simulate", *map(str, words)], catch_exceptions=False
    )


def test_the_command_needs_no_database(tmp_path, monkeypatch):
    monkeypatch.setenv("TANUKI_HOME", str(tmp_path / "nothing"))
    drawn = tmp_path / "out.svg"
    done = invoke(
        "--weeks", 2, "--policy", "managers", "--policy", "oracle", "--json", "--plot", drawn
    )
    rows = [json.loads(line) for line in done.stdout.splitlines()]
    assert [row["policy"] for row in rows] == ["managers", "oracle"]
    assert rows[0]["to_oracle"] > 1 == rows[0]["to_managers"]
    assert not (tmp_path / "nothing").exists()
    picture = drawn.read_text("utf-8")
    assert picture.startswith("<svg") and "--chart-1:" in picture and "Lost sales" in picture


def test_the_command_takes_what_is_on_record(tmp_path, monkeypatch):
    monkeypatch.setenv("TANUKI_HOME", str(tmp_path / "home"))
    with resources() as res:
        make_chain(res)
    done = invoke(
        "--from-history", "--first", "2020-W40", "--weeks", 3, "--model", "moving_average", "--json"
    )
    rows = [json.loads(line) for line in done.stdout.splitlines()]
    assert [row["policy"] for row in rows] == ["managers", "published", "ours", "clairvoyant"]
    assert rows[-1]["fill_rate"] == 1.0
    assert "The oracle is left out" in done.stderr


def test_tables_are_for_people_and_pages_hold_the_chart(tmp_path):
    page = tmp_path / "out.html"
    done = invoke("--weeks", 1, "--policy", "managers", "--by", "item", "--plot", page)
    assert re.search(r"^managers\s+milk\s+\d\d\.\d\d%", done.stdout, re.MULTILINE)
    assert "managers: 2021-W27 (1 of 1)" in done.stderr
    assert page.read_text("utf-8").startswith("<!doctype html>")


@pytest.mark.parametrize(
    ("words", "why"),
    [
        (
            ("--policy", "luck"),
            "There is no policy luck; expected one of managers, published, ours, oracle, clairvoyant.",
        ),
        (("--plot", "out.png"), "expected a name that ends in .svg or .html"),
        (("--from-history",), "go together"),
        (("--first", "2021-W01"), "go together"),
        (("--last-day", "2021-06-28"), "expected a Sunday"),
        (("--last-day", "2018-01-07"), "expected a Sunday from 2019-01-06"),
        (("--model", "luck"), "There is no model luck"),
    ],
)
def test_what_cannot_be_simulated_is_said(words, why):
    with pytest.raises((UserError, NotFound), match=re.escape(why)):
        invoke(*words)

"""The example chain: reproducible, plausible, and imported with only its bad rows quarantined."""

import re
from datetime import UTC, date, datetime, time, timedelta

import polars as pl
import pytest
from sqlalchemy import func, select

from tanuki.errors import UserError
from tanuki.i18n import TOKYO
from tanuki.platform import jobs, resources
from tanuki.platform.accounts import COMMAND_LINE
from tanuki.shop import evaluation, example, orders, purchase_orders
from tanuki.shop.calendar import week_of
from tanuki.shop.simulation.personas import ITEMS, STORES
from tanuki.shop.simulation.world import simulate_world
from tanuki.shop.tables import Item, QuarantinedRow, Region, Store, Supplier

LAST = date(2021, 6, 27)
KEYS = ["date", "store", "item"]


@pytest.fixture(scope="module")
def world():
    return simulate_world(1, LAST)


def test_the_same_seed_and_day_give_the_same_bytes(world):
    assert example.list_example_files(simulate_world(1, LAST)) == example.list_example_files(world)


def test_another_seed_gives_another_chain(world):
    assert not simulate_world(2, LAST).files["sales"].equals(world.files["sales"])


def test_a_later_last_day_has_the_same_past(world):
    later = simulate_world(1, LAST + timedelta(weeks=2))
    for kind in ("sales", "stock", "deliveries", "weather", "truth"):
        frames = [one.truth if kind == "truth" else one.files[kind] for one in (later, world)]
        known, earlier = (frame.filter(pl.col("date") <= LAST) for frame in frames)
        assert known.equals(earlier.filter(pl.col("date") >= known["date"].min()))


@pytest.mark.parametrize("day", [date(2021, 6, 28), date(2018, 1, 7), date(2050, 1, 2)])
def test_an_end_that_is_no_sunday_or_too_far_away_is_refused(day):
    with pytest.raises(UserError, match=r"expected a Sunday from 2019-01-06 to 2040-12-30"):
        simulate_world(1, day)


def test_three_years_of_ten_stores_and_ten_items_without_a_gap(world):
    assert world.files["sales"].height == 157 * 7 * 100 == world.files["sales"].unique(KEYS).height
    assert world.files["sales"]["date"].max() == LAST
    assert (
        set(world.files["stores"]["region"])
        == {"north_east", "east", "west", "south"}
        == set(world.files["regions"]["name"])
    )
    assert world.files["items"]["maker"].n_unique() == 4


def test_every_name_is_in_japanese_and_in_english(world):
    for frame in (world.files["regions"], world.files["stores"], world.files["items"]):
        assert all(re.search(r"[ぁ-んァ-ヶ一-龠]", name) for name in frame["name_ja"])
        assert all(name.isascii() for name in frame["name_en"])


def test_sales_are_demand_limited_by_stock(world):
    both = world.truth.join(world.files["stock"], on=KEYS)
    assert both.filter(pl.col("sales") > pl.col("demand")).is_empty()
    assert both.filter(pl.col("units") < 0).is_empty()
    lost = both.filter(pl.col("sales") < pl.col("demand"))
    assert (lost["units"] == 0).all()
    assert 0.02 < lost.height / both.height < 0.10


def test_only_perishable_items_are_thrown_away(world):
    shelf = (
        world.files["stock"]
        .join(world.files["sales"], on=KEYS)
        .join(world.files["deliveries"].rename({"units": "delivered"}), on=KEYS, how="left")
        .sort("store", "item", "date")
        .with_columns(
            pl.col("units").shift(1).over("store", "item").alias("before"),
            pl.col("delivered").fill_null(0),
        )
        .drop_nulls("before")
        .with_columns(
            (pl.col("before") + pl.col("delivered") - pl.col("sales") - pl.col("units")).alias(
                "waste"
            )
        )
    )
    perishable = [item.code for item in ITEMS if item.rules.shelf_life_days is not None]
    assert (shelf.filter(~pl.col("item").is_in(perishable))["waste"] == 0).all()
    assert (shelf["waste"] >= 0).all()
    assert (shelf.filter(pl.col("waste") > 0)["date"].dt.weekday() == 1).all()
    assert shelf["waste"].sum() > 0


def test_amounts_are_units_at_the_price_in_force(world):
    priced = (
        world.files["sales"]
        .join(world.files["prices"], left_on="item", right_on="item_name")
        .filter(pl.col("date").is_between("applied_from", "applied_to"))
    )
    assert priced.height == world.files["sales"].height
    assert (priced["sales"] * priced["price"] == priced["total_sales_amount"]).all()
    assert world.files["prices"].height > len(ITEMS)


def test_promotions_raise_demand(world):
    chainwide = world.files["promotions"].filter(
        (pl.col("store") == "") & (pl.col("discount") >= 0.2)
    )
    days = world.truth.join(chainwide, on="item").filter(
        pl.col("date").is_between("date_from", "date_to")
    )
    before = world.truth.with_columns(pl.col("date") + timedelta(days=7))
    ratio = (
        days.join(before, on=KEYS).select(pl.col("expected") / pl.col("expected_right")).to_series()
    )
    assert ratio.median() > 1.2
    assert set(world.files["promotions"]["kind"]) == {"price", "display"}
    assert world.files["promotions"]["date_from"].max() > LAST  # known ahead


@pytest.mark.parametrize(
    ("item", "warm_is_more"),
    [("barley_tea", True), ("sports_drink", True), ("beer", True), ("cocoa", False)],
)
def test_warm_days_move_demand_the_right_way(world, item, warm_is_more):
    days = world.truth.filter(pl.col("item") == item).join(
        world.files["stores"].select("region", store="name"), on="store"
    )
    days = days.join(world.files["weather"], on=["date", "region"])
    warm, cold = (
        days.filter(days_of_kind)["demand"].mean()
        for days_of_kind in (pl.col("temperature_c") > 25, pl.col("temperature_c") < 8)
    )
    assert (warm > cold * 1.2) if warm_is_more else (cold > warm * 1.2)


def test_years_end_brings_beer_and_new_years_day_is_quiet(world):
    beer = (
        world.truth.filter(pl.col("item") == "beer").group_by("date").agg(pl.col("expected").sum())
    )
    december = beer.filter(pl.col("date").dt.month() == 12)
    assert (
        december.filter(pl.col("date").dt.day() >= 28)["expected"].mean()
        > 1.3 * december.filter(pl.col("date").dt.day() < 20)["expected"].mean()
    )
    assert (
        beer.filter(pl.col("date").dt.ordinal_day() == 1)["expected"].max()
        < december["expected"].mean()
    )


def test_on_a_holiday_offices_are_quiet_and_sights_are_full(world):
    def mean_demand(store, *days):
        return world.truth.filter((pl.col("store") == store) & pl.col("date").is_in(list(days)))[
            "expected"
        ].sum() / len(days)

    holiday = date(2021, 5, 3)  # Constitution Day, a Monday
    mondays = [holiday - timedelta(weeks=n) for n in (1, 2, 3)]
    assert mean_demand("nagoya", holiday) < 0.8 * mean_demand("nagoya", *mondays)
    assert mean_demand("ueno", holiday) > 1.2 * mean_demand("ueno", *mondays)


def test_the_truth_is_written_beside_the_files_and_is_none_of_them(world, tmp_path):
    files = example.write_example_files(world, tmp_path)
    assert {path.name for path in tmp_path.iterdir()} == {
        "truth.csv",
        *(file.name for file in files),
    }
    assert all(b"demand" not in file.content for file in files)
    assert pl.read_csv(tmp_path / "truth.csv").columns == [*KEYS, "expected", "demand", "sales"]


def test_files_arrive_on_mondays_and_hold_nothing_later(world):
    files = example.list_example_files(world)
    assert [file.arrived_on for file in files] == sorted(file.arrived_on for file in files)
    for file in files[5:-1]:
        frame = pl.read_csv(file.content, try_parse_dates=True)
        assert file.arrived_on.isoweekday() == 1
        assert frame["date"].max() == (
            file.arrived_on if file.kind == "deliveries" else file.arrived_on - timedelta(days=1)
        )
    assert (
        sum(pl.read_csv(file.content).height for file in files[:-1] if file.kind == "sales")
        == world.files["sales"].height
    )


def test_it_is_imported_with_only_its_bad_rows_in_quarantine(embedded, world):
    now = datetime.combine(LAST + timedelta(days=1), time(9), TOKYO)
    imports = [
        example.import_data_file(embedded, file, now) for file in example.list_example_files(world)
    ]
    assert [record.quarantined for record in imports] == [0] * (len(imports) - 1) + [9]
    assert (imports[-1].new, imports[-1].changed, imports[-1].unchanged) == (0, 0, 3)
    with embedded.db.read() as db:
        counts = [
            db.scalar(select(func.count()).select_from(table))
            for table in (Region, Store, Item, Supplier)
        ]
        assert counts == [4, 10, 10, 4]
        assert sorted(db.scalars(select(QuarantinedRow.row).distinct())) == list(range(4, 13))
    repeated = [
        example.import_data_file(embedded, file, now) for file in example.list_example_files(world)
    ]
    assert sum(record.new + record.changed for record in repeated) == 0
    with embedded.db.read() as db:
        assert len(
            set(db.execute(select(QuarantinedRow.file_name, QuarantinedRow.row)))
        ) == db.scalar(select(func.count(QuarantinedRow.id)))


def test_accounts_are_added_once_and_their_passwords_work(sqlite):
    from tanuki.platform import sessions

    now = datetime(2021, 6, 28, tzinfo=UTC)
    with sqlite.write() as db:
        passwords = example.add_accounts(db, now)
        assert len(passwords) == 3 + len(STORES) == len(set(passwords.values()))
        assert sessions.sign_in(
            db, sessions.Credentials("manager-naha", passwords["manager-naha"], "test"), now
        )
    with sqlite.write() as db:
        assert example.add_accounts(db, now) == {}


@pytest.mark.slow
def test_a_past_week_is_completed_to_its_evaluation_with_peoples_changes(embedded, world):
    now = datetime.combine(LAST + timedelta(days=1), time(9), TOKYO)
    week = week_of(LAST)
    for file in example.list_example_files(world):
        example.import_data_file(embedded, file, now)
    resources.set_process_resources(embedded)
    assert embedded.jobs.list_runs() == []
    with jobs.run_worker(embedded.db, "test"):
        for _ in range(2):
            example.complete_week(embedded, week, datetime.now(UTC))
            with embedded.db.read() as db:
                assert orders.get_cycle(db, week).state == "evaluated"
                changes = orders.list_order_changes(db, COMMAND_LINE, week)
                assert [change.by for change in changes if change.stage == "check"] == [
                    "analyst"
                ] * example.ANALYST_CHANGES_PER_WEEK
                assert {change.by for change in changes if change.stage == "confirm"} < set(
                    example.PEOPLE
                )
                assert {
                    confirmation.by for confirmation in orders.load_confirmations(db, week).values()
                } == {f"manager-{store.code}" for store in STORES}
                assert len(purchase_orders.list_purchase_orders(db, COMMAND_LINE, week)) == 40
                assert len(evaluation.list_evaluations(db, COMMAND_LINE, week)) == 100

"""The example chain: the same from the same seed, believable shelves and demand, and imported with just its bad rows in quarantine."""

import re
from datetime import UTC, date, datetime, time, timedelta

import polars as pl
import pytest
from sqlalchemy import func, select

from tanuki.errors import UserError
from tanuki.platform import jobs, resources
from tanuki.platform.accounts import COMMAND_LINE
from tanuki.shop import evaluation, example, orders, purchase_orders
from tanuki.shop.calendar import TOKYO, week_of
from tanuki.shop.simulation.demand import world
from tanuki.shop.simulation.personas import ITEMS, STORES
from tanuki.shop.tables import Item, Maker, QuarantinedRow, Region, Store

LAST = date(2021, 6, 27)
KEYS = ["date", "store", "item"]


@pytest.fixture(scope="module")
def made():
    return world(1, LAST)


def test_the_same_seed_and_day_give_the_same_bytes(made):
    assert example.files(world(1, LAST)) == example.files(made)


def test_another_seed_gives_another_chain(made):
    assert not world(2, LAST).sales.equals(made.sales)


def test_a_later_last_day_has_the_same_past(made):
    later = world(1, LAST + timedelta(weeks=2))
    for name in ("sales", "stock", "deliveries", "weather", "truth"):
        known = getattr(later, name).filter(pl.col("date") <= LAST)
        assert known.equals(
            getattr(made, name).filter(pl.col("date").is_between(known["date"].min(), LAST))
        )


@pytest.mark.parametrize("day", [date(2021, 6, 28), date(2018, 1, 7), date(2050, 1, 2)])
def test_an_end_that_is_no_sunday_or_too_far_away_is_refused(day):
    with pytest.raises(UserError, match=r"expected a Sunday from 2019-01-06 to 2040-12-30"):
        world(1, day)


def test_three_years_of_ten_stores_and_ten_items_without_a_gap(made):
    assert made.sales.height == 157 * 7 * 100 == made.sales.unique(KEYS).height
    assert made.sales["date"].max() == LAST
    assert (
        set(made.stores["region"])
        == {"north_east", "east", "west", "south"}
        == set(made.regions["name"])
    )
    assert made.items["maker"].n_unique() == 4


def test_every_name_is_in_japanese_and_in_english(made):
    for frame in (made.regions, made.stores, made.items):
        assert all(re.search(r"[ぁ-んァ-ヶ一-龠]", name) for name in frame["name_ja"])
        assert all(name.isascii() for name in frame["name_en"])


def test_sales_are_demand_or_what_was_there(made):
    both = made.truth.join(made.stock, on=KEYS)
    assert both.filter(pl.col("sales") > pl.col("demand")).is_empty()
    assert both.filter(pl.col("units") < 0).is_empty()
    lost = both.filter(pl.col("sales") < pl.col("demand"))
    assert (lost["units"] == 0).all()
    assert 0.02 < lost.height / both.height < 0.10


def test_what_keeps_leaves_the_shelf_only_by_being_sold(made):
    shelf = (
        made.stock.join(made.sales, on=KEYS)
        .join(made.deliveries.rename({"units": "delivered"}), on=KEYS, how="left")
        .sort("store", "item", "date")
        .with_columns(
            pl.col("units").shift(1).over("store", "item").alias("before"),
            pl.col("delivered").fill_null(0),
        )
        .drop_nulls("before")
        .with_columns(
            (pl.col("before") + pl.col("delivered") - pl.col("sales") - pl.col("units")).alias(
                "thrown"
            )
        )
    )
    perishable = [item.code for item in ITEMS if item.shelf_life_days is not None]
    assert (shelf.filter(~pl.col("item").is_in(perishable))["thrown"] == 0).all()
    assert (shelf["thrown"] >= 0).all()
    assert (shelf.filter(pl.col("thrown") > 0)["date"].dt.weekday() == 1).all()
    assert shelf["thrown"].sum() > 0


def test_amounts_are_units_at_the_price_in_force(made):
    priced = made.sales.join(made.prices, left_on="item", right_on="item_name").filter(
        pl.col("date").is_between("applied_from", "applied_to")
    )
    assert priced.height == made.sales.height
    assert (priced["sales"] * priced["price"] == priced["total_sales_amount"]).all()
    assert made.prices.height > len(ITEMS)


def test_promotions_raise_demand(made):
    chainwide = made.promotions.filter((pl.col("store") == "") & (pl.col("discount") >= 0.2))
    days = made.truth.join(chainwide, on="item").filter(
        pl.col("date").is_between("date_from", "date_to")
    )
    before = made.truth.with_columns(pl.col("date") + timedelta(days=7))
    ratio = (
        days.join(before, on=KEYS).select(pl.col("expected") / pl.col("expected_right")).to_series()
    )
    assert ratio.median() > 1.2
    assert set(made.promotions["kind"]) == {"price", "display"}
    assert made.promotions["date_from"].max() > LAST  # known ahead


@pytest.mark.parametrize(
    ("item", "warm_is_more"),
    [("barley_tea", True), ("sports_drink", True), ("beer", True), ("cocoa", False)],
)
def test_warm_days_move_demand_the_right_way(made, item, warm_is_more):
    days = made.truth.filter(pl.col("item") == item).join(
        made.stores.select("region", store="name"), on="store"
    )
    days = days.join(made.weather, on=["date", "region"])
    warm, cold = (
        days.filter(keep)["demand"].mean()
        for keep in (pl.col("temperature_c") > 25, pl.col("temperature_c") < 8)
    )
    assert (warm > cold * 1.2) if warm_is_more else (cold > warm * 1.2)


def test_years_end_brings_beer_and_new_years_day_is_quiet(made):
    beer = (
        made.truth.filter(pl.col("item") == "beer").group_by("date").agg(pl.col("expected").sum())
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


def test_on_a_holiday_offices_are_quiet_and_sights_are_full(made):
    def mean(store, *days):
        return made.truth.filter((pl.col("store") == store) & pl.col("date").is_in(list(days)))[
            "expected"
        ].sum() / len(days)

    holiday = date(2021, 5, 3)  # Constitution Day, a Monday
    mondays = [holiday - timedelta(weeks=n) for n in (1, 2, 3)]
    assert mean("nagoya", holiday) < 0.8 * mean("nagoya", *mondays)
    assert mean("ueno", holiday) > 1.2 * mean("ueno", *mondays)


def test_the_truth_is_written_beside_the_files_and_is_none_of_them(made, tmp_path):
    sent = example.write(made, tmp_path)
    assert {path.name for path in tmp_path.iterdir()} == {
        "truth.csv",
        *(file.name for file in sent),
    }
    assert all(b"demand" not in file.content for file in sent)
    assert pl.read_csv(tmp_path / "truth.csv").columns == [*KEYS, "expected", "demand", "sales"]


def test_files_come_on_mondays_and_hold_nothing_later(made):
    sent = example.files(made)
    assert [file.came for file in sent] == sorted(file.came for file in sent)
    for file in sent[5:-1]:
        frame = pl.read_csv(file.content, try_parse_dates=True)
        assert file.came.isoweekday() == 1
        assert frame["date"].max() == (
            file.came if file.kind == "deliveries" else file.came - timedelta(days=1)
        )
    assert (
        sum(pl.read_csv(file.content).height for file in sent[:-1] if file.kind == "sales")
        == made.sales.height
    )


def test_it_is_imported_with_only_its_bad_rows_in_quarantine(embedded, made):
    now = datetime.combine(LAST + timedelta(days=1), time(9), TOKYO)
    done = [example.bring_in(embedded, file, now) for file in example.files(made)]
    assert [each.quarantined for each in done] == [0] * (len(done) - 1) + [9]
    assert (done[-1].new, done[-1].changed, done[-1].unchanged) == (0, 0, 3)
    with embedded.db.read() as db:
        counts = [
            db.scalar(select(func.count()).select_from(table))
            for table in (Region, Store, Item, Maker)
        ]
        assert counts == [4, 10, 10, 4]
        assert sorted(db.scalars(select(QuarantinedRow.row).distinct())) == list(range(4, 13))
    again = [example.bring_in(embedded, file, now) for file in example.files(made)]
    assert sum(each.new + each.changed for each in again) == 0
    with embedded.db.read() as db:
        assert len(
            set(db.execute(select(QuarantinedRow.file_name, QuarantinedRow.row)))
        ) == db.scalar(select(func.count(QuarantinedRow.id)))


def test_people_are_made_once_and_their_passwords_work(sqlite):
    from tanuki.platform.accounts import sign_in

    now = datetime(2021, 6, 28, tzinfo=UTC)
    with sqlite.write() as db:
        passwords = example.add_people(db, now)
        assert len(passwords) == 3 + len(STORES) == len(set(passwords.values()))
        assert sign_in(db, "manager-naha", passwords["manager-naha"], address="test", now=now)
    with sqlite.write() as db:
        assert example.add_people(db, now) == {}


@pytest.mark.slow
def test_a_past_week_is_played_to_its_evaluation_with_peoples_changes(embedded, made):
    now = datetime.combine(LAST + timedelta(days=1), time(9), TOKYO)
    week = week_of(LAST)
    for file in example.files(made):
        example.bring_in(embedded, file, now)
    resources.use(embedded)
    assert embedded.work.runs() == []
    with jobs.worker(embedded.db, "test"):
        for _ in range(2):
            example.play(embedded, week, datetime.now(UTC))
            with embedded.db.read() as db:
                assert orders.cycle(db, week).state == "evaluated"
                changes = orders.changes(db, COMMAND_LINE, week)
                assert [change.by for change in changes if change.stage == "check"] == [
                    "analyst"
                ] * example.CHECKED_LINES
                assert {change.by for change in changes if change.stage == "confirm"} < set(
                    example.PEOPLE
                )
                assert {
                    confirmation.by for confirmation in orders.confirmations(db, week).values()
                } == {f"manager-{store.code}" for store in STORES}
                assert len(purchase_orders.purchase_orders(db, COMMAND_LINE, week)) == 40
                assert len(evaluation.evaluations(db, COMMAND_LINE, week)) == 100

"""Order lines: who may see and change what and when, and the record of it."""

import pytest

from tanuki.errors import Conflict, NotAllowed, NotFound, UserError
from tanuki.platform.accounts import COMMAND_LINE
from tanuki.shop import orders
from tanuki.shop.tables import Cycle, Item, OrderLine, Store
from tests.factories.store_chain import ANALYST, CHIBA, ITEMS, NOBODY, NOW, OPERATOR, STORES, TARGET


@pytest.fixture
def proposed(resources):
    """A week that waits for the check, without any forecast."""
    with resources.db.write() as db:
        db.add_all(Store(code=code, name_ja=code, name_en=code) for code in STORES)
        db.add_all(Item(code=code, name_ja=code, name_en=code) for code in ITEMS)
        db.add(a_cycle("proposed"))
        db.flush()
        for s, store in enumerate(STORES):
            for i, item in enumerate(ITEMS):
                db.add(a_line(store, item, 10 + i, unusual=float(s == 1 and i == 2)))
    with resources.db.write() as db:
        resources.jobs.enqueue(db, "weekly", orders.weekly_run_id(TARGET), str(TARGET))
    return resources


def a_cycle(state):
    times = dict.fromkeys(
        ("as_of", "started_at", "forecast_due", "check_due", "release_at", "confirm_due"), NOW
    )
    return Cycle(
        week=str(TARGET),
        state=state,
        cutoff=TARGET.cutoff,
        auto=False,
        started_by="tests",
        findings=[],
        **times,
    )


def a_line(store, item, cases, unusual=0.0):
    return OrderLine(
        week=str(TARGET),
        store=store,
        item=item,
        case_units=6,
        proposed_cases=cases,
        cases=cases,
        recent_units=60.0,
        reasons=[],
        unusual=unusual,
        unusual_reasons=[],
        version=1,
    )


def set_state(resources, state):
    with resources.db.write() as db:
        orders.get_cycle(db, TARGET).state = state


def change(resources, who, store="chiba", item="beer", cases=20, reason="a festival", version=1):
    with resources.db.write() as db:
        change = orders.LineChange(store, item, cases, version, reason)
        return orders.change_order_line(db, who, TARGET, change, NOW)


def list_keys(resources, who, store=None):
    with resources.db.read() as db:
        return [(line.store, line.item) for line in orders.list_order_lines(db, who, TARGET, store)]


def test_the_analyst_sees_every_line_and_the_unusual_first(proposed):
    assert list_keys(proposed, ANALYST)[0] == ("osaka", "milk")
    assert len(list_keys(proposed, ANALYST)) == 6


def test_a_manager_sees_nothing_before_the_release_and_then_only_their_store(proposed):
    assert list_keys(proposed, CHIBA) == []
    set_state(proposed, "released")
    assert {store for store, _ in list_keys(proposed, CHIBA)} == {"chiba"}


@pytest.mark.parametrize("store", ["osaka", "nowhere"])
def test_another_store_and_no_store_look_the_same(proposed, store):
    set_state(proposed, "released")
    with pytest.raises(NotFound, match=f"There is no store {store}"):
        list_keys(proposed, CHIBA, store)
    with pytest.raises(NotFound, match=f"There is no store {store}"):
        change(proposed, CHIBA, store=store)
    with pytest.raises(NotFound, match=f"There is no store {store}"), proposed.db.write() as db:
        orders.confirm_store(db, CHIBA, proposed.jobs, TARGET, store, NOW)


def test_a_change_keeps_who_when_before_after_and_why(proposed):
    change(proposed, ANALYST)
    with proposed.db.read() as db:
        (change_record,) = orders.list_order_changes(db, ANALYST, TARGET)
        line = next(
            line
            for line in orders.list_order_lines(db, ANALYST, TARGET)
            if (line.store, line.item) == ("chiba", "beer")
        )
    assert (
        change_record.by,
        change_record.at,
        change_record.before_cases,
        change_record.after_cases,
        change_record.reason,
        change_record.stage,
    ) == (
        "ana",
        NOW,
        10,
        20,
        "a festival",
        "check",
    )
    assert (line.cases, line.proposed_cases, line.version) == (20, 10, 2)


@pytest.mark.parametrize(
    ("state", "who", "values", "error", "says"),
    [
        ("proposed", ANALYST, {"reason": " "}, UserError, "say why"),
        ("proposed", ANALYST, {"cases": -1}, UserError, "expected 0 to"),
        ("proposed", ANALYST, {"cases": 10**9}, UserError, "expected 0 to"),
        ("proposed", ANALYST, {"version": 7}, Conflict, "Somebody has changed"),
        ("proposed", ANALYST, {"item": "tea"}, NotFound, "no item tea"),
        ("proposed", CHIBA, {}, NotAllowed, "."),
        ("proposed", OPERATOR, {}, NotAllowed, "."),
        ("proposed", NOBODY, {}, NotAllowed, "."),
        ("released", OPERATOR, {}, NotAllowed, "manager or an analyst"),
        ("ordered", ANALYST, {}, Conflict, "no longer be changed"),
        ("ordered", CHIBA, {}, Conflict, "no longer be changed"),
        ("forecast", ANALYST, {}, Conflict, "no longer be changed"),
    ],
)
def test_a_change_that_may_not_be_is_one_sentence_and_changes_nothing(
    proposed, state, who, values, error, says
):
    set_state(proposed, state)
    with pytest.raises(error, match=says):
        change(proposed, who, **values)
    with proposed.db.read() as db:
        assert {line.version for line in orders.list_order_lines(db, ANALYST, TARGET)} == {1}
        assert orders.list_order_changes(db, ANALYST, TARGET) == []


def test_two_people_changing_the_same_line_do_not_overwrite_each_other(proposed):
    change(proposed, ANALYST, cases=20, version=1)
    with pytest.raises(Conflict, match="to 20 cases meanwhile"):
        change(proposed, COMMAND_LINE, cases=30, version=1)


def test_the_same_number_again_is_no_change(proposed):
    change(proposed, ANALYST, cases=10, reason="")
    with proposed.db.read() as db:
        assert orders.list_order_changes(db, ANALYST, TARGET) == []


def test_a_manager_changes_and_confirms_and_then_nothing_moves(proposed):
    set_state(proposed, "released")
    change(proposed, CHIBA, cases=7, reason="")
    with proposed.db.write() as db:
        orders.confirm_store(db, CHIBA, proposed.jobs, TARGET, "chiba", NOW)
    with pytest.raises(Conflict, match="has confirmed"):
        change(proposed, CHIBA, cases=8, version=2)
    with pytest.raises(Conflict, match="has confirmed"), proposed.db.write() as db:
        orders.confirm_store(db, CHIBA, proposed.jobs, TARGET, "chiba", NOW)
    with proposed.db.read() as db:
        assert orders.list_unconfirmed_stores(db, TARGET) == ["osaka"]
        assert orders.load_confirmations(db, TARGET)["chiba"].by == "manager-chiba"


def test_an_operator_sees_the_week_but_does_not_decide_it(proposed):
    assert len(list_keys(proposed, OPERATOR)) == 6
    for act in (
        lambda db: orders.release_week(db, OPERATOR, proposed.jobs, TARGET, NOW),
        lambda db: orders.hold_week(db, OPERATOR, proposed.jobs, TARGET, why="no"),
    ):
        with pytest.raises(NotAllowed), proposed.db.write() as db:
            act(db)


def test_release_and_hold_only_while_the_check_is_open(proposed):
    with proposed.db.write() as db:
        cycle = orders.hold_week(db, ANALYST, proposed.jobs, TARGET, why="the typhoon")
        assert cycle.alert == {
            "code": "held",
            "by": "ana",
            "why": "the typhoon",
        }
    with proposed.db.write() as db:
        assert orders.release_week(db, ANALYST, proposed.jobs, TARGET, NOW).checked_by == "ana"
    for act in (
        lambda db: orders.release_week(db, ANALYST, proposed.jobs, TARGET, NOW),
        lambda db: orders.hold_week(db, ANALYST, proposed.jobs, TARGET, why="late"),
        lambda db: orders.confirm_store(db, CHIBA, proposed.jobs, TARGET, "chiba", NOW),
    ):
        with pytest.raises(Conflict, match="is checked"), proposed.db.write() as db:
            act(db)


def test_unusual_lines_are_counted(proposed):
    with proposed.db.read() as db:
        assert orders.count_unusual_lines(db, TARGET) == (1, 6)


def test_a_week_that_was_never_started_is_not_there(resources):
    with pytest.raises(NotFound, match="2021-W03 was never started"), resources.db.read() as db:
        orders.list_order_lines(db, ANALYST, TARGET)

"""Purchase orders: one a supplier and store, the same document each time, new issues."""

import csv
import io

import pytest

from tanuki.errors import Conflict, NotAllowed, NotFound, UserError
from tanuki.shop import purchase_orders
from tanuki.shop.tables import Confirmation, Item, Store, Supplier
from tests.factories.store_chain import ANALYST, CHIBA, NOBODY, NOW, OSAKA, STORES, TARGET
from tests.shop.test_orders import a_cycle, a_line

CASES = {"beer": 3, "coffee": 5, "milk": 0, "tea": 2}
SUPPLIERS = {"beer": "brewer", "coffee": "roaster", "milk": "roaster", "tea": None}


@pytest.fixture
def confirmed(resources):
    """A released week of two stores, of which chiba has confirmed."""
    with resources.db.write() as db:
        db.add_all(Store(code=code, name_ja=code, name_en=code) for code in STORES)
        db.add_all(
            Supplier(code=code, name_ja=code, name_en=code) for code in ("brewer", "roaster")
        )
        db.flush()
        for item, supplier in SUPPLIERS.items():
            db.add(
                Item(
                    code=item,
                    name_ja=f"{item}（ja）",
                    name_en=item,
                    supplier_code=supplier,
                    case_units=6,
                )
            )
        db.add(a_cycle("released"))
        db.flush()
        db.add_all(a_line(store, item, cases) for store in STORES for item, cases in CASES.items())
        db.add(Confirmation(week=str(TARGET), store="chiba", by="manager-chiba", at=NOW))
    return resources


def issue(res):
    with res.db.write() as db:
        return [
            order.number
            for order in purchase_orders.issue_purchase_orders(
                db, res.objects, TARGET, NOW, "tests"
            )
        ]


def test_each_confirmed_store_and_supplier_gets_one_and_a_second_time_none(confirmed):
    assert issue(confirmed) == [
        "PO-2021W03-BREWER-CHIBA-1",
        "PO-2021W03-ROASTER-CHIBA-1",
        "PO-2021W03-UNASSIGNED-CHIBA-1",
    ]
    assert issue(confirmed) == []
    with confirmed.db.write() as db:
        db.add(Confirmation(week=str(TARGET), store="osaka", by=None, at=NOW))
    assert issue(confirmed) == [
        "PO-2021W03-BREWER-OSAKA-1",
        "PO-2021W03-ROASTER-OSAKA-1",
        "PO-2021W03-UNASSIGNED-OSAKA-1",
    ]


def test_the_document_says_everything_once_and_is_the_same_each_time(confirmed):
    issue(confirmed)
    with confirmed.db.read() as db:
        order = purchase_orders.get_purchase_order(db, CHIBA, "PO-2021W03-ROASTER-CHIBA-1")
        content = purchase_orders.load_document(confirmed.objects, order)
        assert content == purchase_orders.load_document(confirmed.objects, order)
        (row,) = csv.DictReader(io.StringIO(content.decode("utf-8-sig")))
        (line,) = purchase_orders.list_purchase_order_lines(db, order.number)
    assert row["order"] == order.number
    assert (row["item"], row["item_name_ja"], row["cases"], row["units"], row["delivery"]) == (
        "coffee",
        "coffee（ja）",
        "5",
        "30",
        "2021-01-18",
    )
    assert (line.cases, line.units) == (5, 30)


def test_a_document_that_is_not_the_one_sent_is_not_given_out(confirmed):
    issue(confirmed)
    with confirmed.db.read() as db:
        order = purchase_orders.get_purchase_order(db, CHIBA, "PO-2021W03-ROASTER-CHIBA-1")
        confirmed.objects.put(purchase_orders.document_key(order), b"something else")
        with pytest.raises(Conflict, match="not the one that was sent"):
            purchase_orders.load_document(confirmed.objects, order)


def test_an_issue_that_was_rolled_back_can_be_done_again(confirmed):
    with pytest.raises(ZeroDivisionError), confirmed.db.write() as db:
        purchase_orders.issue_purchase_orders(db, confirmed.objects, TARGET, NOW, "tests")
        raise ZeroDivisionError
    assert len(issue(confirmed)) == 3


def test_another_stores_purchase_order_is_not_there(confirmed):
    issue(confirmed)
    with confirmed.db.read() as db:
        assert purchase_orders.list_purchase_orders(db, OSAKA, TARGET) == []
        assert len(purchase_orders.list_purchase_orders(db, CHIBA, TARGET)) == 3
        with pytest.raises(NotFound, match="no purchase order"):
            purchase_orders.get_purchase_order(db, OSAKA, "PO-2021W03-BREWER-CHIBA-1")
        with pytest.raises(NotAllowed):
            purchase_orders.list_purchase_orders(db, NOBODY, TARGET)


def act(res, do, who=ANALYST):
    with res.db.write() as db:
        return do(db, who)


def test_cancelled_and_issued_again_with_a_history(confirmed):
    issue(confirmed)
    first = "PO-2021W03-ROASTER-CHIBA-1"

    def again(db, who):
        return purchase_orders.reissue_purchase_order(
            db, who, confirmed.objects, first, cases={"coffee": 9, "milk": 1}, now=NOW
        )

    with pytest.raises(Conflict, match="in force"):
        act(confirmed, again)
    with pytest.raises(UserError, match="say why"):
        act(
            confirmed,
            lambda db, who: purchase_orders.cancel_purchase_order(db, who, first, why=" ", now=NOW),
        )
    with pytest.raises(NotAllowed):
        act(
            confirmed,
            lambda db, who: purchase_orders.cancel_purchase_order(db, who, first, why="x", now=NOW),
            CHIBA,
        )
    act(
        confirmed,
        lambda db, who: purchase_orders.cancel_purchase_order(
            db, who, first, why="the supplier has none", now=NOW
        ),
    )
    with pytest.raises(Conflict, match="cancelled already"):
        act(
            confirmed,
            lambda db, who: purchase_orders.cancel_purchase_order(db, who, first, why="x", now=NOW),
        )
    second = act(confirmed, again)
    assert (second.number, second.replaces, second.status) == (
        "PO-2021W03-ROASTER-CHIBA-2",
        first,
        "issued",
    )
    with pytest.raises(Conflict, match="replaced by PO-2021W03-ROASTER-CHIBA-2"):
        act(confirmed, again)
    with confirmed.db.read() as db:
        issues = purchase_orders.list_issues(db, second)
        assert [(order.number, order.status, order.cancelled_why) for order in issues] == [
            (first, "cancelled", "the supplier has none"),
            (second.number, "issued", None),
        ]
        assert [
            (line.item, line.cases) for line in purchase_orders.list_purchase_order_lines(db, first)
        ] == [("coffee", 5)]
        assert purchase_orders.load_document(
            confirmed.objects, issues[0]
        ) != purchase_orders.load_document(confirmed.objects, issues[1])
    assert issue(confirmed) == []


@pytest.mark.parametrize(
    ("cases", "says"),
    [
        ({"beer": 1}, "not supplied by roaster"),
        ({"coffee": -1}, "expected 0 to"),
        ({"coffee": 0}, "at least one case"),
    ],
)
def test_a_new_issue_holds_only_items_of_its_supplier(confirmed, cases, says):
    issue(confirmed)
    number = "PO-2021W03-ROASTER-CHIBA-1"
    act(
        confirmed,
        lambda db, who: purchase_orders.cancel_purchase_order(db, who, number, why="x", now=NOW),
    )
    with pytest.raises(UserError, match=says):
        act(
            confirmed,
            lambda db, who: purchase_orders.reissue_purchase_order(
                db, who, confirmed.objects, number, cases=cases, now=NOW
            ),
        )


def test_numbers_of_codes_that_only_differ_in_other_letters_differ():
    numbers = {
        purchase_orders.make_order_number(TARGET, supplier, "千葉", 1)
        for supplier in ("麦酒", "珈琲", "a-b", "ab")
    }
    assert len(numbers) == 4
    assert purchase_orders.make_order_number(
        TARGET, "麦酒", "千葉", 1
    ) == purchase_orders.make_order_number(TARGET, "麦酒", "千葉", 1)

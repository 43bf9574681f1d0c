"""A small chain for tests: two stores, three items of two suppliers, daily sales by a formula."""

from datetime import UTC, date, datetime, timedelta

from tanuki.platform.accounts import Person
from tanuki.platform.resources import Resources
from tanuki.shop.calendar import WEEKDAYS, Week
from tanuki.shop.ingest.loading import Upload, import_file

TARGET = Week(2021, 3)
NOW = datetime(2021, 1, 11, 1, 30, tzinfo=UTC)  # 10:30 in Tokyo on the order day of 2021-W03
STORES, ITEMS = ("chiba", "osaka"), ("beer", "coffee", "milk")
PRICES = {"beer": 200, "coffee": 120, "milk": 150}

ANALYST = Person("ana", "Analyst", frozenset({("analyst", None)}))
CHIBA = Person("manager-chiba", "Chiba", frozenset({("manager", "chiba")}))
OSAKA = Person("manager-osaka", "Osaka", frozenset({("manager", "osaka")}))
OPERATOR = Person("ops", "Operator", frozenset({("operator", None)}))
NOBODY = Person("nobody", "Nobody", frozenset())

REGIONS_CSV = "id,name\n1,east\n2,west\n"
STORES_CSV = "id,name,region\n11,chiba,east\n12,osaka,west\n"
ITEMS_CSV = (
    "id,name,supplier,case_units,min_cases,max_cases,shelf_life_days,"
    "shortage_cost_yen,leftover_cost_yen\n"
    "21,beer,brewer,6,0,,,60,10\n22,coffee,roaster,12,0,,,36,8\n23,milk,roaster,10,0,,10,45,30\n"
)
PRICES_CSV = "id,item_name,price,applied_from,applied_to\n" + "".join(
    f"{n},{item},{price},2017-01-01,2099-12-31\n" for n, (item, price) in enumerate(PRICES.items())
)


def sales_csv(first: date, last: date, *, more: int = 0) -> str:
    """Daily sales by a formula: a level for each series, more at the weekend, a slow season.

    more: units added to every sale.
    """
    rows = ["date,day_of_week,week_of_year,store,item,sales,total_sales_amount"]
    for n in range((last - first).days + 1):
        day = first + timedelta(days=n)
        for s, store in enumerate(STORES):
            for i, item in enumerate(ITEMS):
                units = (
                    10
                    + 5 * s
                    + 3 * i
                    + (6 if day.weekday() >= 5 else 0)
                    + (day.toordinal() * 7 + s * 3 + i) % 5
                    + more
                )
                rows.append(
                    f"{day},{WEEKDAYS[day.weekday()]},{day.isocalendar().week},"
                    f"{store},{item},{units},{units * PRICES[item]}"
                )
    return "\n".join(rows) + "\n"


def import_csv(res: Resources, kind: str, text: str, now: datetime = NOW) -> None:
    """Import a text as a file."""
    with res.db.write() as db:
        upload = Upload(kind, f"{kind}.csv", text.encode())
        import_file(db, res.warehouse, upload, by="tests", now=now)


def make_chain(
    res: Resources, last: date = TARGET.cutoff, first: date = date(2020, 1, 6), now: datetime = NOW
) -> Resources:
    """Masters and sales up to a day."""
    for kind, text in (
        ("regions", REGIONS_CSV),
        ("stores", STORES_CSV),
        ("items", ITEMS_CSV),
        ("prices", PRICES_CSV),
    ):
        import_csv(res, kind, text, now)
    import_csv(res, "sales", sales_csv(first, last), now)
    return res

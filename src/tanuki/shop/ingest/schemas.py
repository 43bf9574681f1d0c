"""What the shop's files look like: the columns of each kind, the names they go by in files, and the fact tables they become."""

from dataclasses import dataclass

import polars as pl

from tanuki.platform.warehouse import FactTable

DAY, CODE, TEXT, COUNT, NUMBER = "day", "code", "text", "count", "number"
EXPECTED = {
    DAY: "a day such as 2021-01-31",
    CODE: "a name",
    TEXT: "text",
    COUNT: "a whole number",
    NUMBER: "a number",
}


@dataclass(frozen=True)
class Column:
    """A column of ours: what it holds, whether a file must have it, whether a row may leave it empty, and its other names in files."""

    name: str
    type: str
    required: bool = False
    empty: bool = False
    names: tuple[str, ...] = ()


@dataclass(frozen=True)
class Layout:
    """A kind of file. `keys` are the columns that say what a row is about."""

    kind: str
    keys: tuple[str, ...]
    columns: tuple[Column, ...]
    table: FactTable | None = None

    def column(self, name: str) -> Column:
        """A column by our name."""
        return next(column for column in self.columns if column.name == name)


SALES = FactTable(
    "shop_sales",
    ("date", "store", "item"),
    {
        "date": pl.Date,
        "store": pl.String,
        "item": pl.String,
        "units": pl.Int64,
        "amount_yen": pl.Int64,
    },
)
STOCK = FactTable(
    "shop_stock",
    ("date", "store", "item"),
    {"date": pl.Date, "store": pl.String, "item": pl.String, "units": pl.Int64},
)
DELIVERIES = FactTable(
    "shop_deliveries",
    ("date", "store", "item"),
    {"date": pl.Date, "store": pl.String, "item": pl.String, "units": pl.Int64},
)
PRICES = FactTable(
    "shop_prices",
    ("item", "store", "applied_from"),
    {
        "item": pl.String,
        "store": pl.String,
        "applied_from": pl.Date,
        "applied_to": pl.Date,
        "price_yen": pl.Float64,
    },
)
PROMOTIONS = FactTable(
    "shop_promotions",
    ("store", "item", "date_from"),
    {
        "store": pl.String,
        "item": pl.String,
        "date_from": pl.Date,
        "date_to": pl.Date,
        "kind": pl.String,
        "discount": pl.Float64,
    },
)
WEATHER = FactTable(
    "shop_weather",
    ("date", "region"),
    {"date": pl.Date, "region": pl.String, "temperature_c": pl.Float64},
)

DATE = Column("date", DAY, required=True, names=("day", "sales_date", "日付", "売上日", "年月日"))
STORE = Column("store", CODE, required=True, names=("store_name", "shop", "店舗", "店舗名", "店"))
ITEM = Column(
    "item", CODE, required=True, names=("item_name", "product", "sku", "商品", "商品名", "品目")
)
UNITS = Column(
    "units",
    COUNT,
    required=True,
    names=("sales", "quantity", "qty", "count", "数量", "個数", "販売数", "販売数量"),
)
ID = Column("external_id", TEXT, empty=True, names=("id", "ID", "コード"))
NAME_JA = Column("name_ja", TEXT, empty=True, names=("日本語名",))
NAME_EN = Column("name_en", TEXT, empty=True, names=("英語名",))

LAYOUTS = {
    layout.kind: layout
    for layout in (
        Layout(
            "regions",
            ("code",),
            (
                Column("code", CODE, required=True, names=("name", "region", "地域", "地域名")),
                ID,
                NAME_JA,
                NAME_EN,
            ),
        ),
        Layout(
            "stores",
            ("code",),
            (
                Column("code", CODE, required=True, names=("name", "store", "店舗", "店舗名")),
                Column("region", CODE, empty=True, names=("region_name", "地域", "地域名")),
                Column("shelf_units", COUNT, empty=True, names=("棚容量", "棚の容量")),
                Column("truck_cases", COUNT, empty=True, names=("配送上限", "トラック積載数")),
                ID,
                NAME_JA,
                NAME_EN,
            ),
        ),
        Layout(
            "items",
            ("code",),
            (
                Column("code", CODE, required=True, names=("name", "item", "商品", "商品名")),
                Column("maker", CODE, empty=True, names=("maker_name", "メーカー", "仕入先")),
                Column("maker_name_ja", TEXT, empty=True),
                Column("maker_name_en", TEXT, empty=True),
                Column("case_units", COUNT, empty=True, names=("入数",)),
                Column("min_cases", COUNT, empty=True, names=("最低発注数",)),
                Column("max_cases", COUNT, empty=True, names=("最大発注数",)),
                Column("shelf_life_days", COUNT, empty=True, names=("賞味日数",)),
                Column("shortage_cost_yen", NUMBER, empty=True, names=("欠品費用",)),
                Column("leftover_cost_yen", NUMBER, empty=True, names=("売残費用",)),
                Column(
                    "service_class", TEXT, empty=True, names=("class", "サービス区分", "ランク")
                ),
                ID,
                NAME_JA,
                NAME_EN,
            ),
        ),
        Layout(
            "prices",
            PRICES.keys,
            (
                ITEM,
                Column("store", CODE, empty=True, names=("store_name", "店舗", "店舗名")),
                Column("price_yen", NUMBER, required=True, names=("price", "価格", "単価", "売価")),
                Column("applied_from", DAY, required=True, names=("from", "適用開始日")),
                Column("applied_to", DAY, empty=True, names=("to", "適用終了日")),
                ID,
            ),
            PRICES,
        ),
        Layout(
            "sales",
            SALES.keys,
            (
                DATE,
                STORE,
                ITEM,
                UNITS,
                Column("day_of_week", TEXT, empty=True, names=("weekday", "曜日")),
                Column("week_of_year", COUNT, empty=True, names=("week", "週")),
                Column(
                    "amount_yen",
                    COUNT,
                    empty=True,
                    names=("total_sales_amount", "amount", "売上", "売上金額", "金額"),
                ),
            ),
            SALES,
        ),
        Layout(
            "stock",
            STOCK.keys,
            (
                DATE,
                STORE,
                ITEM,
                Column(
                    "units", COUNT, required=True, names=("stock", *UNITS.names, "在庫", "在庫数")
                ),
            ),
            STOCK,
        ),
        Layout(
            "deliveries",
            DELIVERIES.keys,
            (
                DATE,
                STORE,
                ITEM,
                Column(
                    "units",
                    COUNT,
                    required=True,
                    names=("delivered", "orders", *UNITS.names, "納品数", "入荷数"),
                ),
            ),
            DELIVERIES,
        ),
        Layout(
            "promotions",
            PROMOTIONS.keys,
            (
                Column("store", CODE, empty=True, names=("store_name", "店舗", "店舗名")),
                Column("item", CODE, empty=True, names=("item_name", "商品", "商品名")),
                Column("date_from", DAY, required=True, names=("from", "start", "開始日")),
                Column("date_to", DAY, required=True, names=("to", "end", "終了日")),
                Column("kind", TEXT, empty=True, names=("promotion", "種類")),
                Column("discount", NUMBER, empty=True, names=("discount_share", "割引率")),
            ),
            PROMOTIONS,
        ),
        Layout(
            "weather",
            WEATHER.keys,
            (
                DATE,
                Column("region", CODE, required=True, names=("region_name", "地域", "地域名")),
                Column("temperature_c", NUMBER, required=True, names=("temperature", "気温")),
            ),
            WEATHER,
        ),
    )
}

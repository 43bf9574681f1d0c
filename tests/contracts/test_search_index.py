"""The contract of text search on SQLite (FTS5) and PostgreSQL (tsvector): the same results.

Both engines give the same posts in the same order on the same pages, and the same suggestions.
"""

import random
from base64 import urlsafe_b64encode
from datetime import timedelta
from functools import cache

import pytest
from sqlalchemy import func, select, text, update

from tanuki.animals import pagination
from tanuki.animals.search import index, retrieval
from tanuki.animals.search.autocomplete import suggest_searches
from tanuki.animals.search.index import PostText, SearchWord, tokens_of_text
from tanuki.animals.search.query_parser import parse_query
from tanuki.animals.search.search import SearchOptions, search_posts
from tanuki.animals.tables import Post
from tanuki.errors import UserError
from tests.factories.published_posts import (
    NOW,
    make_indexed_post,
    make_unindexed_post,
    search_titles,
)

SENTENCES = [
    "うちの猫が寝ている",
    "犬と公園へ行った",
    "柴犬はかわいいですね",
    "朝から子猫が遊んでいる",
]


def search_ids(db, query, **values):
    return [hit.post_id for hit in search_posts(db, query, SearchOptions(**values)).posts]


def load_page_ids(db, query, limit, **values):
    """The post ids of all pages of a search."""
    page = search_posts(db, query, SearchOptions(limit=limit, **values))
    pages = [[hit.post_id for hit in page.posts]]
    while page.next:
        page = search_posts(db, query, SearchOptions(limit=limit, after=page.next, **values))
        pages.append([hit.post_id for hit in page.posts])
    return pages


# ---- matching ----------------------------------------------------------------------------------


def test_a_breed_matches_in_the_title_or_the_breed_field(database):
    with database.write() as db:
        make_indexed_post(db, "柴犬")
        make_indexed_post(db, "My best friend", category="dog", breed="shiba")
        make_indexed_post(db, "子猫", category="cat")
        for query in (
            "柴犬",
            "犬",
            "しば",
            "ｼﾊﾞ",
            "シバ",
            "shiba",
            "Shiba",
            "siba",
            "dog",
            "いぬ",
            "inu",
        ):
            assert search_titles(db, query) == ["柴犬", "My best friend"], query


def test_a_category_matches_in_every_field(database):
    with database.write() as db:
        make_indexed_post(db, "Evening", "The cat sleeps.", category="other")
        make_indexed_post(db, "Morning", category="cat")
        make_indexed_post(db, "Noon", tags=["ねこ"])
        make_indexed_post(db, "子猫")
        make_indexed_post(db, "A new category")
        for query in ("猫", "ねこ", "ネコ", "neko", "cat", "Cats"):
            assert search_titles(db, query) == ["子猫", "Noon", "Morning", "Evening"], query


def test_sqlites_own_tokenisers_miss_japanese_words(sqlite):
    with sqlite.write() as db:
        for tokeniser in ("unicode61", "trigram"):
            db.execute(
                text(
                    f"create virtual table by_{tokeniser} using fts5(words, tokenize='{tokeniser}')"
                )
            )
            db.execute(
                text(f"insert into by_{tokeniser} (words) values (:words)"),
                [{"words": sentence} for sentence in SENTENCES],
            )
        for sentence in SENTENCES:
            make_indexed_post(db, sentence)
        for word in ("猫", "犬", "柴犬", "子猫"):
            for tokeniser in ("unicode61", "trigram"):
                assert (
                    db.scalar(
                        text(
                            f"select count(*) from by_{tokeniser} where by_{tokeniser} match :word"
                        ),
                        {"word": f'"{word}"'},
                    )
                    == 0
                )
            assert set(search_titles(db, word)) == {
                sentence for sentence in SENTENCES if word in sentence
            }


def test_all_words_must_match_in_any_field(database):
    with database.write() as db:
        make_indexed_post(db, "子猫の昼寝", "in the garden", tags=["かわいい"])
        make_indexed_post(db, "子猫の散歩")
        assert (
            search_titles(db, "昼寝 猫") == search_titles(db, "cat garden 可愛い") == ["子猫の昼寝"]
        )
        assert search_titles(db, "昼寝 犬") == []


ODD_QUERIES = [
    "",
    " ",
    '"',
    "'",
    "''",
    "\\",
    "*",
    "猫*",
    '"猫',
    "猫 OR",
    "NOT 猫 AND",
    "NEAR(猫, 2)",
    "words:猫",
    "^猫",
    "{猫}",
    "-猫",
    "猫 & !犬 | :*",
    "'); drop table post; --",
    "%",
    "_",
    "\x00",
    "\ud800",
    "🐶",
    "🐱🐱",
    "…。、！？",
    "猫" * 200,
    "a" * 200,
    " ".join("いぬ" for _ in range(60)),
    "\u202e\u200b",
    "ﷺ",
    "İ",
    "ǅ",
    "ẞ",
]


def test_odd_queries_cause_no_error(database):
    with database.write() as db:
        make_indexed_post(db, "猫")
        for query in ODD_QUERIES:
            assert search_titles(db, query) in ([], ["猫"]), query
            assert suggest_searches(db, query, "ja") is not None
            assert search_titles(db, "", tag=query) == []


@pytest.mark.parametrize(
    "query",
    [
        "猫" * 10_000,
        "one two three four five six seven eight nine ten eleven twelve thirteen",
        "犬 " * 5_000,
    ],
)
def test_a_too_long_query_is_refused(sqlite, query):
    with sqlite.read() as db, pytest.raises(UserError, match="at most"):
        search_posts(db, query)


def test_texts_with_punctuation_can_be_indexed(database):
    with database.write() as db:
        post = make_indexed_post(
            db,
            "'\"\\ it's a “cat” & :* | ! <-> ( \ue001 🐱",
            "c'est l'été \\' x:y",
            tags=["C++", "c#", "a b", "it's", "\\"],
        )
        assert search_ids(db, "cat") == search_ids(db, "été") == [post.id]
        make_indexed_post(db, "文鳥", category="bird", breed="java_sparrow")
        assert (
            search_titles(db, "Java sparrow")
            == search_titles(db, "", breed="java_sparrow")
            == ["文鳥"]
        )
        assert [
            search_ids(db, "", tag=tag)
            for tag in ("C++", "c++", "c#", "a b", "A  B", "it's", "\\", "c", "a")
        ] == [[post.id]] * 7 + [[], []]


# ---- changes and visibility --------------------------------------------------------------------


def test_an_indexed_post_that_is_not_published_is_not_found(database):
    with database.write() as db:
        for state in ("checking", "held", "removed", "deleted"):
            make_indexed_post(db, state, "猫", state=state)
        assert search_titles(db, "猫") == []


def test_a_post_is_found_while_it_is_in_the_index(database):
    with database.write() as db:
        post = make_indexed_post(db, "柴犬", tags=["散歩"])
    with database.write() as db:
        index.unindex_post(db, post.id)
        assert search_titles(db, "柴犬") == search_titles(db, "散歩") == []
        assert db.scalar(select(func.count()).select_from(SearchWord)) == 0
    with database.write() as db:
        index.index_post(db, post)
        index.index_post(db, post)
        assert search_titles(db, "柴犬") == search_titles(db, "散歩") == ["柴犬"]
    with database.write() as db:
        index.unindex_post(db, 12345)


def test_an_edited_post_is_found_by_its_new_words_only(database):
    with database.write() as db:
        post = make_indexed_post(db, "柴犬", tags=["散歩"], category="dog")
        post.title, post.tags, post.category = "Kitten", ["nap"], "cat"
        index.index_post(db, post)
        assert (
            search_titles(db, "柴犬")
            == search_titles(db, "散歩")
            == search_titles(db, "dog")
            == search_titles(db, "", tag="散歩")
            == []
        )
        assert (
            search_titles(db, "kittens")
            == search_titles(db, "猫")
            == search_titles(db, "", tag="NAP")
            == ["Kitten"]
        )


def test_a_failed_transaction_leaves_the_index_unchanged(database):
    with pytest.raises(ZeroDivisionError), database.write() as db:
        make_indexed_post(db, "柴犬")
        raise ZeroDivisionError
    with database.read() as db:
        assert search_titles(db, "柴犬") == []
        assert suggest_searches(db, "柴", "ja") == []


def test_posts_of_hidden_members_are_not_found(database):
    with database.write() as db:
        for member_id in (1, 2, 3):
            make_indexed_post(db, f"cat {member_id}", member_id=member_id, likes=member_id)
        for sort in ("relevance", "newest", "likes"):
            assert search_titles(db, "cat", sort=sort, hidden={2}) == ["cat 3", "cat 1"]
            assert search_titles(db, "cat", sort=sort, hidden=frozenset({1, 2, 3})) == []


# ---- filters and sorting -----------------------------------------------------------------------


def test_filters_work_with_and_without_a_query(database):
    with database.write() as db:
        make_indexed_post(db, "A cat and a dog", category="cat", tags=["friends"])
        make_indexed_post(db, "A dog and a cat", category="dog", breed="shiba", likes=2)
        make_indexed_post(db, "dog", category="dog", breed="akita", tags=["Friends ", "朝"])
        assert search_titles(db, "dog", category="cat") == ["A cat and a dog"]
        assert search_titles(db, "dog", breed="shiba") == ["A dog and a cat"]
        assert search_titles(db, "dog", tag="ｆｒｉｅｎｄｓ") == ["dog", "A cat and a dog"]
        assert search_titles(db, "", category="dog") == ["dog", "A dog and a cat"]
        assert search_titles(db, "", category="dog", sort="likes") == ["A dog and a cat", "dog"]
        assert search_titles(db, "  ", tag="朝") == ["dog"]
        assert (
            search_titles(db, "🐶", category="dog")
            == search_titles(db, "")
            == search_titles(db, "dog", category="dog", tag="夜")
            == []
        )
        assert search_titles(db, "cat", liked=True) == ["A dog and a cat"]


def test_a_period_includes_its_start_and_excludes_its_end(database):
    with database.write() as db:
        for hour in range(4):
            make_indexed_post(db, f"cat {hour}", published_at=NOW + timedelta(hours=hour))
        assert search_titles(
            db, "cat", since=NOW + timedelta(hours=1), until=NOW + timedelta(hours=3)
        ) == ["cat 2", "cat 1"]
        assert search_titles(db, "cat", since=NOW + timedelta(hours=4)) == []


def test_relevance_ranks_title_then_tags_and_category_then_description(database):
    with database.write() as db:
        make_indexed_post(db, "one", "猫と犬")
        make_indexed_post(db, "two 猫", tags=["犬"])
        make_indexed_post(db, "three 猫と犬")
        make_indexed_post(db, "four", category="dog", tags=["猫"])
        make_indexed_post(db, "five 猫", "と犬")
        make_indexed_post(db, "six 犬と猫")
        assert [title.split()[0] for title in search_titles(db, "猫 犬")] == [
            "six",
            "three",
            "four",
            "two",
            "five",
            "one",
        ]
        assert [title.split()[0] for title in search_titles(db, "猫 犬", sort="newest")] == [
            "six",
            "five",
            "four",
            "three",
            "two",
            "one",
        ]


def test_sorting_by_likes_breaks_ties_by_publication(database):
    with database.write() as db:
        for title, likes in (("cat a", 1), ("cat b", 3), ("cat c", 1), ("cat d", 0)):
            make_indexed_post(db, title, likes=likes)
        assert search_titles(db, "cat", sort="likes") == ["cat b", "cat c", "cat a", "cat d"]


# ---- pages -------------------------------------------------------------------------------------


@pytest.mark.parametrize("sort", ["relevance", "newest", "likes"])
def test_paging_is_stable_while_posts_change(database, sort):
    with database.write() as db:
        for n in range(9):
            make_indexed_post(
                db, f"cat {n}" if n % 2 else f"post {n}", "" if n % 2 else "cat", likes=n % 3
            )
        ids_before = search_ids(db, "cat", sort=sort)
        first_page = search_posts(db, "cat", SearchOptions(sort=sort, limit=3))
        make_indexed_post(db, "cat new", likes=9)
        index.unindex_post(db, ids_before[2])  # the last one shown
        index.unindex_post(db, ids_before[5])
        other_ids = [
            hit.post_id
            for hit in search_posts(
                db, "cat", SearchOptions(sort=sort, limit=50, after=first_page.next)
            ).posts
        ]
        assert [hit.post_id for hit in first_page.posts] == ids_before[:3]
        assert other_ids == [id for id in ids_before[3:] if id != ids_before[5]]


def test_posts_published_at_one_moment_are_paged_without_duplicates(database):
    with database.write() as db:
        ids = [make_indexed_post(db, "cat", published_at=NOW, likes=1).id for _ in range(7)]
        for sort in ("relevance", "newest", "likes"):
            assert load_page_ids(db, "cat", 2, sort=sort) == [
                ids[:4:-1],
                ids[4:2:-1],
                ids[2:0:-1],
                ids[:1],
            ]


def test_the_last_page_has_no_next_cursor(database):
    with database.write() as db:
        for _ in range(4):
            make_indexed_post(db, "cat")
        assert [len(page) for page in load_page_ids(db, "cat", 2)] == [2, 2]
        assert search_posts(db, "cat", SearchOptions(limit=4)).next is None


MOMENT = pagination.microseconds_of(NOW)


def forge_cursor(*values):
    return pagination.encode_cursor(*values)


FORGED_CURSORS = [
    "",
    "x",
    "!!!!",
    "é",
    "\ud800",
    "bm9uc2Vuc2U",
    forge_cursor(),
    forge_cursor("newest"),
    forge_cursor("newest", MOMENT, 1),
    forge_cursor("relevance", 1, "today", 1),
    forge_cursor("relevance", 1, MOMENT, "1"),
    forge_cursor("relevance", True, MOMENT, 1),
    forge_cursor("relevance", 9, MOMENT, 1),
    forge_cursor("relevance", 0, MOMENT, 1),
    forge_cursor("relevance", 1, MOMENT, 1 << 70),
    forge_cursor("relevance", 1, -1, 1),
    forge_cursor("relevance", 1, 1 << 62, 1),
    forge_cursor("relevance", [1], MOMENT, 1),
    forge_cursor("likes", 1, MOMENT, 1),
    "W" * 100_000,
    urlsafe_b64encode(b"[" * 50_000).decode(),
]


def test_a_forged_cursor_is_refused(database):
    with database.write() as db:
        make_indexed_post(db, "cat")
        for cursor in FORGED_CURSORS:
            with pytest.raises(UserError, match="begin again"):
                search_posts(db, "cat", SearchOptions(after=cursor))


def test_a_cursor_can_be_used_twice(database):
    with database.write() as db:
        make_indexed_post(db, "cat a")
        make_indexed_post(db, "cat b")
        cursor = search_posts(db, "cat", SearchOptions(limit=1)).next
        assert pagination.decode_cursor(cursor)[0] == "relevance"
        assert (
            search_titles(db, "cat", limit=1, after=cursor)
            == search_titles(db, "cat", limit=1, after=cursor)
            == ["cat a"]
        )


@pytest.mark.parametrize(
    "values",
    [{"sort": "random"}, {"category": "dragon"}, {"breed": "'; --"}, {"limit": 0}, {"limit": 1000}],
)
def test_invalid_search_options_are_refused(sqlite, values):
    with sqlite.read() as db, pytest.raises(UserError):
        search_posts(db, "cat", SearchOptions(**values))


# ---- comparison with a full scan ---------------------------------------------------------------

WORDS = [
    "猫",
    "犬",
    "柴犬",
    "子猫",
    "公園",
    "散歩",
    "cat",
    "dogs",
    "sleeping",
    "park",
    "かわいい",
    "寝る",
    "トイプードル",
    "海",
    "朝",
]
QUERIES = [
    "猫",
    "犬",
    "cat",
    "公園 犬",
    "柴犬",
    "ねこ かわいい",
    "sleep",
    "海 朝 猫",
    "dog park",
    "poodle",
    "zebra",
]


def insert_random_posts(db, count, seed):
    """Posts of random words with repeated likes and moments, some of them held."""
    rng = random.Random(seed)
    all_posts = []
    for _ in range(count):
        texts = [" ".join(rng.choices(WORDS, k=rng.randrange(size))) for size in (3, 2, 7)]
        moment = NOW + timedelta(minutes=rng.randrange(count))
        category, breed = rng.choice(
            [("cat", None), ("dog", "shiba"), ("dog", None), ("other", None)]
        )
        state = "held" if rng.random() < 0.1 else "published"
        values = {
            "member_id": rng.randrange(1, 4),
            "likes": rng.randrange(4),
            "category": category,
            "breed": breed,
            "state": state,
            "published_at": moment,
        }
        all_posts.append(
            make_unindexed_post(db, texts[0] or "-", texts[2], tags=texts[1].split(), **values)
        )
    index.write_rows(db, [index.build_row(post) for post in all_posts])


def scan_for_ids(posts, query, sort, *, hidden=(), category=None, since=None, liked=False):
    """The same search as a full scan, a second implementation for comparison."""
    terms = parse_query(query)

    def has_all_terms(tokens):
        return all(
            any(tokens.issuperset(alternative) for alternative in term.alternatives)
            for term in terms
        )

    sort_keys = []
    for post in posts:
        if (
            post.state != "published"
            or post.member_id in hidden
            or (category and post.category != category)
            or (since and post.published_at < since)
            or (liked and not post.likes)
        ):
            continue
        tier = next(
            (number for number, tokens in enumerate(load_tiers(post), 1) if has_all_terms(tokens)),
            None,
        )
        if tier is not None:
            sort_keys.append(
                (
                    {"relevance": tier, "newest": 0, "likes": -post.likes}[sort],
                    -post.published_at.timestamp(),
                    -post.id,
                )
            )
    return [-key[-1] for key in sorted(sort_keys)]


def load_tiers(post):
    """A post's tokens: title; title, tags, category and breed; all fields."""
    return tokenize_tiers(post.title, tuple(post.tags), post.category, post.breed, post.description)


@cache
def tokenize_tiers(title, tags, category, breed, description):
    title_tokens = frozenset(tokens_of_text(title))
    label_tokens = title_tokens.union(
        *map(tokens_of_text, tags),
        index.concept_tokens(category),
        index.concept_tokens(breed) if breed else [],
    )
    return title_tokens, label_tokens, label_tokens | frozenset(tokens_of_text(description))


@pytest.mark.parametrize(
    "limits", [(400, 4_000, 2_000), (4, 12, 6), (1, 1, 1)], ids=["usual", "small", "smallest"]
)
def test_every_query_plan_finds_the_same_posts_as_a_full_scan(database, monkeypatch, limits):
    for name, value in zip(
        ("FIRST_SCAN_POSTS", "LONG_SCAN_POSTS", "MAX_FEW_POSTS"), limits, strict=True
    ):
        monkeypatch.setattr(retrieval, name, value)
    with database.write() as db:
        insert_random_posts(db, 80, seed=7)
        posts = db.scalars(select(Post)).all()
        for query in QUERIES:
            for sort in ("relevance", "newest", "likes"):
                for values in (
                    {},
                    {"category": "dog"},
                    {"hidden": frozenset({2})},
                    {"since": NOW + timedelta(minutes=60), "liked": True},
                ):
                    expected_ids = scan_for_ids(posts, query, sort, **values)
                    page_ids = load_page_ids(db, query, 9, sort=sort, **values)
                    assert [id for page in page_ids for id in page] == expected_ids, (
                        query,
                        sort,
                        values,
                    )
                    assert [len(page) for page in page_ids] == [
                        len(expected_ids[n : n + 9]) for n in range(0, max(1, len(expected_ids)), 9)
                    ]


def test_the_index_is_consistent_after_many_changes(database):
    rng = random.Random(5)
    with database.write() as db:
        insert_random_posts(db, 40, seed=5)
        posts = list(db.scalars(select(Post)))
    for _ in range(30):
        with database.write() as db:
            post = db.get(Post, rng.choice(posts).id)
            if rng.random() < 0.5:
                index.unindex_post(db, post.id)
                db.execute(update(Post).where(Post.id == post.id).values(state="removed"))
            else:
                post.title, post.state = " ".join(rng.choices(WORDS, k=2)), "published"
                index.index_post(db, post)
    with database.write() as db:
        for query in QUERIES:
            assert search_ids(db, query, limit=100) == scan_for_ids(
                db.scalars(select(Post)).all(), query, "relevance"
            )
        if database.embedded:
            db.execute(text("insert into post_fts(post_fts, rank) values ('integrity-check', 1)"))
        for (suggestion_keys,) in db.execute(select(PostText.suggestion_keys)):
            index.add_suggestion_counts(db, {tuple(key): -1 for key in suggestion_keys})
        assert db.scalar(select(func.count()).select_from(SearchWord)) == 0

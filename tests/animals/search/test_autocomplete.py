"""Suggestions while typing, on both engines: by letters, readings and Latin letters, the most used first, and only what a search would find."""

import pytest

from tanuki.animals.search import index
from tanuki.animals.search.autocomplete import suggest_searches
from tanuki.animals.search.search import search_posts
from tanuki.errors import UserError
from tests.factories.published_posts import make_indexed_post


def said(db, prefix, lang="ja", **values):
    return [each.text for each in suggest_searches(db, prefix, lang, **values)]


def test_a_shiba_is_suggested_by_letters_reading_and_latin_letters_in_the_readers_language(
    database,
):
    with database.write() as db:
        make_indexed_post(db, "Morning walk", category="dog", breed="shiba")
        for prefix in ("shi", "si", "しば", "シ", "ｼﾊﾞ", "柴", "shib", "しb", "SHIBA I", "しばいぬ"):
            assert said(db, prefix)[:1] == ["柴犬"], prefix
            assert said(db, prefix, "en")[:1] == ["Shiba Inu"], prefix
        [first] = suggest_searches(db, "shiba", "en")
        assert (first.kind, first.code, first.posts) == ("breed", "shiba", 1)
        assert search_posts(db, "", breed=first.code).posts


def test_words_of_titles_and_tags_are_suggested_the_most_used_first(database):
    with database.write() as db:
        for title, tags in (
            ("公園で昼寝", ["公園デビュー"]),
            ("公園と子猫", []),
            ("子猫", ["公園"]),
            ("子猫の昼寝", []),
        ):
            make_indexed_post(db, title, tags=tags)
        assert said(db, "こ") == ["子猫", "公園", "公園デビュー"]
        assert said(db, "kou") == said(db, "公") == ["公園", "公園デビュー"]
        assert said(db, "hir") == ["昼寝"]
        assert [each.posts for each in suggest_searches(db, "こ", "ja")] == [3, 2, 1]
        assert said(db, "こ", limit=1) == ["子猫"]


def test_what_is_taken_out_is_suggested_no_more(database):
    with database.write() as db:
        secret = make_indexed_post(db, "ひみつの場所", tags=["内緒"])
        kept = make_indexed_post(db, "場所")
        assert said(db, "内緒") == ["内緒"]
        index.unindex_post(db, secret.id)
        assert said(db, "内緒") == said(db, "ひみつ") == []
        assert [each.posts for each in suggest_searches(db, "場所", "ja")] == [1]
        index.unindex_post(db, kept.id)
        assert said(db, "場所") == []


def test_a_breed_that_no_post_has_is_not_suggested(database):
    with database.read() as db:
        assert said(db, "shiba") == said(db, "猫") == []


def test_an_english_reader_who_types_latin_letters_gets_no_japanese_words(database):
    with database.write() as db:
        make_indexed_post(db, "桜 sakura garden gardens garden", tags=["hanami"])
        assert said(db, "sa", "en") == ["sakura"]
        assert said(db, "sa", "ja") == ["sakura", "桜"]
        assert said(db, "さ", "en") == ["桜"]
        assert len(said(db, "gard", "en")) == 1


def test_what_cannot_begin_a_word_suggests_nothing(sqlite):
    with sqlite.write() as db:
        make_indexed_post(db, "猫 cat", tags=["100%", "a_b"])
        for prefix in (
            "",
            " ",
            "%",
            "_",
            "\x00",
            "\ud800",
            "'",
            "\U0010ffff",
            "\ue011",
            "\ue003犬",
            "x" * 10_000,
        ):
            assert said(db, prefix) == [], prefix
        assert said(db, "100") == ["100%"]
        with pytest.raises(UserError):
            suggest_searches(db, "c", "ja", limit=0)

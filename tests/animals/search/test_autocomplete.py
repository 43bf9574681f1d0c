"""Autocomplete on both engines: matching by letters, readings and romaji, ranked by frequency."""

import pytest

from tanuki.animals.search import index
from tanuki.animals.search.autocomplete import suggest_searches
from tanuki.animals.search.search import SearchOptions, search_posts
from tanuki.errors import UserError
from tests.factories.published_posts import make_indexed_post


def suggest_texts(db, prefix, lang="ja", **values):
    return [suggestion.text for suggestion in suggest_searches(db, prefix, lang, **values)]


def test_a_breed_is_suggested_for_any_spelling_in_the_readers_language(
    database,
):
    with database.write() as db:
        make_indexed_post(db, "Morning walk", category="dog", breed="shiba")
        for prefix in ("shi", "si", "しば", "シ", "ｼﾊﾞ", "柴", "shib", "しb", "SHIBA I", "しばいぬ"):
            assert suggest_texts(db, prefix)[:1] == ["柴犬"], prefix
            assert suggest_texts(db, prefix, "en")[:1] == ["Shiba Inu"], prefix
        [suggestion] = suggest_searches(db, "shiba", "en")
        assert (suggestion.kind, suggestion.code, suggestion.posts) == ("breed", "shiba", 1)
        assert search_posts(db, "", SearchOptions(breed=suggestion.code)).posts


def test_words_of_titles_and_tags_are_suggested_by_frequency(database):
    with database.write() as db:
        for title, tags in (
            ("公園で昼寝", ["公園デビュー"]),
            ("公園と子猫", []),
            ("子猫", ["公園"]),
            ("子猫の昼寝", []),
        ):
            make_indexed_post(db, title, tags=tags)
        assert suggest_texts(db, "こ") == ["子猫", "公園", "公園デビュー"]
        assert suggest_texts(db, "kou") == suggest_texts(db, "公") == ["公園", "公園デビュー"]
        assert suggest_texts(db, "hir") == ["昼寝"]
        assert [suggestion.posts for suggestion in suggest_searches(db, "こ", "ja")] == [3, 2, 1]
        assert suggest_texts(db, "こ", limit=1) == ["子猫"]


def test_words_of_removed_posts_are_not_suggested(database):
    with database.write() as db:
        removed_post = make_indexed_post(db, "ひみつの場所", tags=["内緒"])
        other_post = make_indexed_post(db, "場所")
        assert suggest_texts(db, "内緒") == ["内緒"]
        index.unindex_post(db, removed_post.id)
        assert suggest_texts(db, "内緒") == suggest_texts(db, "ひみつ") == []
        assert [suggestion.posts for suggestion in suggest_searches(db, "場所", "ja")] == [1]
        index.unindex_post(db, other_post.id)
        assert suggest_texts(db, "場所") == []


def test_a_breed_that_no_post_has_is_not_suggested(database):
    with database.read() as db:
        assert suggest_texts(db, "shiba") == suggest_texts(db, "猫") == []


def test_an_english_reader_who_types_latin_letters_gets_no_japanese_words(database):
    with database.write() as db:
        make_indexed_post(db, "桜 sakura garden gardens garden", tags=["hanami"])
        assert suggest_texts(db, "sa", "en") == ["sakura"]
        assert suggest_texts(db, "sa", "ja") == ["sakura", "桜"]
        assert suggest_texts(db, "さ", "en") == ["桜"]
        assert len(suggest_texts(db, "gard", "en")) == 1


def test_a_prefix_without_letters_gives_no_suggestions(sqlite):
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
            assert suggest_texts(db, prefix) == [], prefix
        assert suggest_texts(db, "100") == ["100%"]
        with pytest.raises(UserError):
            suggest_searches(db, "c", "ja", limit=0)

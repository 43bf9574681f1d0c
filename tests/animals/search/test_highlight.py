"""Highlights and snippets: parts of the original text with a flag for each match, no markup."""

import pytest

from tanuki.animals.search.highlight import ELLIPSIS, SNIPPET_LENGTH, highlight_text, make_snippet
from tanuki.animals.search.query_parser import parse_query


def list_hits(text, query):
    return [part for part, hit in highlight_text(text, parse_query(query)) if hit]


@pytest.mark.parametrize(
    ("text", "query", "expected"),
    [
        ("うちの柴犬です", "shiba", ["柴犬"]), ("うちの柴犬です", "犬", ["柴犬"]),
        ("うちのｼﾊﾞです", "柴犬", ["ｼﾊﾞ"]), ("My ＳＨＩＢＡ", "しば", ["ＳＨＩＢＡ"]),
        ("Two Cats, one category", "cat", ["Cats"]),
        ("かわいい子猫", "kawaii ねこ", ["かわいい", "猫"]), ("公園で遊んだ", "遊ぶ", ["遊ん"]),
        ("Golden Retriever!", "ゴールデンレトリバー", ["Golden Retriever"]),
        ("東京", "toukyou", ["東京"]), ("犬", "猫", []),
        ("猫 猫", "猫", ["猫", "猫"]), ("国立公園", "公園", ["公園"]), ("", "猫", []),
        ("猫", "", []),
    ],
)  # fmt: skip
def test_matches_are_highlighted_in_their_original_spelling(text, query, expected):
    assert list_hits(text, query) == expected


@pytest.mark.parametrize(
    "text",
    ["<b>猫</b> & \"cat\" <script>alert('cat')</script>", "ｶﾞﾌﾞﾘﾁｭｳ猫ﬁsh", "猫", "", "が\u3099猫"],
)
def test_the_parts_join_to_the_text_and_none_is_empty(text):
    for terms in (parse_query("猫 cat"), []):
        parts = highlight_text(text, terms)
        assert "".join(part for part, _ in parts) == text
        assert all(part for part, _ in parts)


def test_a_snippet_of_a_long_text_surrounds_the_first_match_with_ellipses():
    text = "前" * 300 + "ここに柴犬がいる" + "後" * 300
    parts = make_snippet(text, parse_query("shiba"))
    snippet = "".join(part for part, _ in parts)
    assert ("柴犬", True) in parts
    assert snippet.startswith(ELLIPSIS)
    assert snippet.endswith(ELLIPSIS)
    assert len(snippet) == SNIPPET_LENGTH + 2


def test_a_snippet_without_a_match_is_the_beginning_of_the_text():
    assert make_snippet("前" * 300, parse_query("猫")) == [
        ("前" * SNIPPET_LENGTH, False),
        (ELLIPSIS, False),
    ]
    assert make_snippet("猫がいる", parse_query("猫")) == [("猫", True), ("がいる", False)]
    assert make_snippet("", parse_query("猫")) == []


def test_a_match_at_the_end_of_a_long_text_is_in_the_snippet():
    parts = make_snippet("前" * 300 + "猫", parse_query("猫"))
    assert parts[0] == (ELLIPSIS, False)
    assert parts[-1] == ("猫", True)

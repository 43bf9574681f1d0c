"""Tokens of texts and queries: two languages, readings, widths, stems, and non-matches."""

import threading

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tanuki.animals.search import normalize
from tanuki.animals.search.query_parser import parse_query
from tanuki.animals.search.tokenize import tokenize, tokens_of_text


def matches(query: str, text: str) -> bool:
    """Whether a text has an alternative of every term of a query."""
    tokens = set(tokens_of_text(text))
    terms = parse_query(query)
    return bool(terms) and all(
        any(tokens.issuperset(alternative) for alternative in term.alternatives) for term in terms
    )


SHIBA = (
    "柴犬",
    "犬",
    "柴",
    "しば",
    "ｼﾊﾞ",
    "シバ",
    "しばけん",
    "しばいぬ",
    "shiba",
    "Shiba",
    "ＳＨＩＢＡ",
    "siba",
    "Shiba Inu",
    "inu",
    "いぬ",
    "イヌ",
    "dog",
    "dogs",
)


@pytest.mark.parametrize("query", SHIBA)
@pytest.mark.parametrize(
    "text",
    ["柴犬", "うちの柴犬がかわいい", "シバ", "ｼﾊﾞ", "Shiba Inu", "my shiba", "かわいいしばいぬです"],
)
def test_a_breed_matches_in_any_spelling(query, text):
    # A text without kanji does not match other readings of the kanji.
    if not (
        text in ("シバ", "ｼﾊﾞ", "my shiba", "Shiba Inu", "かわいいしばいぬです")
        and query in ("柴", "しばけん")
    ):
        assert matches(query, text)


@pytest.mark.parametrize(
    ("query", "text"),
    [
        ("猫", "子猫"), ("ねこ", "こねこ"), ("neko", "野良猫"), ("cat", "二匹の猫"),
        ("猫", "two cats"), ("cats", "a cat"), ("猫", "仔猫と昼寝"), ("犬", "番犬"),
        ("犬", "盲導犬のハーネス"),
        ("かわいい", "可愛い子猫"), ("kawaii", "可愛い子猫"), ("遊ぶ", "公園で遊んだ"),
        ("asobu", "公園で遊んだ"), ("公園", "東京の公園"), ("kouen", "公園"), ("koen", "公園"),
        ("tokyo", "東京タワー"), ("Tōkyō", "Tokyo"),
        ("toukyou", "東京"), ("running", "the dog runs"), ("puppy", "puppies"), ("cafe", "Café"),
        ("さる", "日本猿"), ("鳥", "焼き鳥"), ("プードル", "トイプードル"),
        ("toy poodle", "トイ・プードルの女の子"),
        ("トイプードル", "Toy Poodle"), ("トイ・プードル", "トイプードル"),
        ("レトリバー", "ゴールデン・レトリバー"), ("terrier", "ヨークシャーテリア"),
        ("ダックス", "ミニチュアダックスフンド"), ("熊", "シロクマじゃなくて熊"),
        ("いぬのさんぽ", "犬の散歩"), ("かわいいねこ", "可愛い猫"),
        ("ねこじゃらし", "ねこじゃらしで遊ぶ子猫"), ("いぬま", "いぬまの写真"),
        ("the cat", "cats"), ("3歳", "三歳の誕生日"), ("①", "1"), ("고양이", "고양이 사진"),
        ("बिल्ली", "यह बिल्ली है"), ("ライオン", "lion"), ("raccoon dog", "タヌキ"),
        ("tanuki", "たぬき"), ("straße", "STRASSE"),
    ],
)  # fmt: skip
def test_the_query_matches_the_text(query, text):
    assert matches(query, text)


@pytest.mark.parametrize(
    ("query", "text"),
    [
        ("cat", "category"), ("cat", "concatenate"), ("いぬ", "いぬま"), ("inu", "いぬま"),
        ("いぬま", "犬と寝る"), ("馬", "馬鹿"), ("鹿", "馬鹿"), ("象", "良い印象"),
        ("柴", "柴田さん"), ("馬", "群馬"), ("鳥", "鳥取"), ("熊", "熊本"),
        ("豚", "海豚"), ("馬", "河馬"), ("猫", "猫背"), ("牛", "牛乳"),
        ("ライオン", "ライオンズの試合"), ("シマウマ", "終わってしまうまで"), ("イカ", "10人以下"),
        ("dog", "タヌキ"), ("pig", "モルモット"), ("犬", "猫"), ("cat dog", "cat"),
        ("same", "鮫"), ("made", "ここまで"), ("いる", "犬がいる"), ("の", "犬の散歩"),
        ("the", "the cat"), ("おばさん", "おばあさん"),
    ],
)  # fmt: skip
def test_the_query_does_not_match_the_text(query, text):
    assert not matches(query, text)


@pytest.mark.parametrize(
    "query",
    [
        "",
        " ",
        "\u3000",
        "!?…",
        "\"'`",
        "🐶🐱",
        "()",
        "*",
        "--",
        "、。・",
        "\x00",
        "\ud800",
        "the of",
        "が",
        "́",
        "ー",
        "〜",
        "🇯🇵",
    ],
)
def test_a_query_without_words_has_no_terms(query):
    assert parse_query(query) == []


def test_private_use_characters_in_texts_are_ignored():
    assert tokens_of_text("\ue011tanuki \ue001犬 \ue011") == tokens_of_text("tanuki 犬")
    assert parse_query("\ue011shiba") == parse_query("shiba")


def test_spans_are_positions_in_the_original_text():
    text = "ｶﾜｲｲ ｼﾊﾞ犬 ﬁsh"
    span_texts = {text[span.start : span.end] for span in tokenize(text)}
    assert {"ｶﾜｲｲ", "ｼﾊﾞ犬", "ﬁsh"} <= span_texts


def test_parts_of_compounds_are_tokens():
    assert {"国立公園", "国立", "公園"} <= set(tokens_of_text("国立公園"))
    assert {"柴犬", "柴", "犬", "しば", "しばけん"} <= set(tokens_of_text("柴犬"))


FRAGMENTS = st.one_of(
    st.text(max_size=8),
    st.sampled_from(
        [
            "柴犬",
            "の",
            "子猫",
            "いぬ",
            "しば",
            "ｼﾊﾞ",
            "ﾞ",
            "cats",
            "'s",
            "-",
            " ",
            "・",
            "トイプードル",
            "3",
            "食べた",
            "\u3099",
            "ー",
        ]
    ),
)


@settings(max_examples=200, deadline=None)
@given(st.lists(FRAGMENTS, max_size=8).map("".join))
def test_tokens_of_any_text_are_valid_and_match_it(text):
    for token in tokens_of_text(text):
        assert all(letter.isalnum() for letter in token if letter.isascii())
        assert 1 <= len(token) <= normalize.MAX_TOKEN_LENGTH + 1
    for span in tokenize(text):
        assert 0 <= span.start < span.end <= len(text)
    if parse_query(text):
        assert matches(text, text)


def test_tokenization_is_thread_safe():
    expected = tokens_of_text("柴犬の子猫が公園で遊んでいる cats and dogs")
    errors: list[object] = []

    def tokenize_repeatedly(number: int) -> None:
        for n in range(50):
            if tokens_of_text(f"柴犬の子猫が公園で遊んでいる cats and dogs {number}{n}") != sorted(
                {*expected, f"{number}{n}"}
            ):
                errors.append((number, n))

    threads = [
        threading.Thread(target=tokenize_repeatedly, args=(number,)) for number in range(1, 5)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert errors == []


def test_importing_search_loads_no_dictionary():
    import subprocess
    import sys

    code = (
        "import sys, tanuki.animals.search.search, tanuki.animals.search.reindex\n"
        "libraries = ('sudachipy', 'jaconv', 'snowballstemmer')\n"
        "print([library for library in libraries if library in sys.modules])"
    )
    assert (
        subprocess.run(
            [sys.executable, "-c", code], capture_output=True, text=True, check=True
        ).stdout.strip()
        == "[]"
    )


def test_a_text_longer_than_the_dictionary_accepts_is_split():
    assert "子猫" in tokens_of_text("犬" * 30_000 + "。子猫")

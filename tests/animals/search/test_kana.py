"""Kana and Latin letters: Hepburn and kunrei, widths, long vowels."""

import pytest

from tanuki.animals.search import kana


@pytest.mark.parametrize(
    ("latin", "expected"),
    [
        ("shiba", "しば"), ("siba", "しば"), ("neko", "ねこ"), ("fuji", "ふじ"), ("huzi", "ふじ"), ("tsuki", "つき"), ("tuki", "つき"), ("chatora", "ちゃとら"), ("tyatora", "ちゃとら"),
        ("gakkou", "がっこう"), ("matcha", "まっちゃ"), ("maccha", "まっちゃ"), ("shimbun", "しんぶん"), ("hon'ya", "ほんや"), ("onna", "おんな"), ("konnichiwa", "こんにちわ"), ("kan'i", "かんい"),
        ("cat", None), ("corgi", None), ("dog", None), ("x", None), ("", None), ("'", None),
    ],
)  # fmt: skip
def test_latin_letters_become_kana_where_they_can(latin, expected):
    assert kana.romaji_to_hiragana(latin) == expected


@pytest.mark.parametrize(
    ("words", "expected"),
    [
        (("とうきょう", "とおきょう", "ときょ"), "ときょ"),
        (("コーギー", "コギ"), "こぎ"),
        (("おおかみ", "おかみ"), "おかみ"),
        (("さくら",), "さくら"),
        (("",), ""),
    ],
)
def test_long_vowels_can_be_left_out(words, expected):
    assert {kana.drop_long_vowels(kana.to_hiragana(word)) for word in words} == {expected}


@pytest.mark.parametrize(
    "same",
    [
        ("shiba", "siba"),
        ("tokyo", "toukyou", "tookyoo"),
        ("matcha", "maccha"),
        ("jouzu", "zyozu", "jozu"),
        ("shimbun", "sinbun"),
    ],
)
def test_ways_to_write_one_word_in_latin_letters_are_one(same):
    assert len({kana.fold_romaji(word) for word in same}) == 1


@pytest.mark.parametrize(
    "word", ["しばいぬ", "とうきょう", "こーぎー", "まっちゃ", "ちゃとら", "ふじ", "しんぶん"]
)
def test_romaji_of_kana_begins_with_what_somebody_has_typed_of_it(word):
    hepburn = {
        "しばいぬ": "shibainu",
        "とうきょう": "toukyou",
        "こーぎー": "kogi",
        "まっちゃ": "matcha",
        "ちゃとら": "chatora",
        "ふじ": "fuji",
        "しんぶん": "shimbun",
    }[word]
    for size in range(1, len(hepburn) + 1):
        if not hepburn[:size].endswith(("m", "tc")):  # before the next letter, m is not yet n
            assert kana.hiragana_to_romaji(word).startswith(
                kana.fold_romaji_prefix(hepburn[:size])
            ), hepburn[:size]


def test_widths_of_kana_do_not_change_its_length():
    assert kana.to_hiragana("シバ犬ヴー・ヷ") == "しば犬ゔー・ヷ"
    assert kana.is_kana("しばシバー")
    assert not kana.is_kana("柴")
    assert not kana.is_kana("")

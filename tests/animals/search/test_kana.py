"""Kana and romaji: Hepburn and Kunrei spellings, widths, long vowels."""

import pytest

from tanuki.animals.search import kana


@pytest.mark.parametrize(
    ("latin", "expected"),
    [
        ("shiba", "しば"), ("siba", "しば"), ("neko", "ねこ"), ("fuji", "ふじ"), ("huzi", "ふじ"),
        ("tsuki", "つき"), ("tuki", "つき"), ("chatora", "ちゃとら"), ("tyatora", "ちゃとら"),
        ("gakkou", "がっこう"), ("matcha", "まっちゃ"), ("maccha", "まっちゃ"),
        ("shimbun", "しんぶん"), ("hon'ya", "ほんや"), ("onna", "おんな"),
        ("konnichiwa", "こんにちわ"), ("kan'i", "かんい"),
        ("cat", None), ("corgi", None), ("dog", None), ("x", None), ("", None), ("'", None),
    ],
)  # fmt: skip
def test_romaji_becomes_hiragana_or_none(latin, expected):
    assert kana.romaji_to_hiragana(latin) == expected


@pytest.mark.parametrize(
    ("spellings", "expected"),
    [
        (("とうきょう", "とおきょう", "ときょ"), "ときょ"),
        (("コーギー", "コギ"), "こぎ"),
        (("おおかみ", "おかみ"), "おかみ"),
        (("さくら",), "さくら"),
        (("",), ""),
    ],
)
def test_long_vowels_are_dropped(spellings, expected):
    assert {kana.drop_long_vowels(kana.to_hiragana(spelling)) for spelling in spellings} == {
        expected
    }


@pytest.mark.parametrize(
    "spellings",
    [
        ("shiba", "siba"),
        ("tokyo", "toukyou", "tookyoo"),
        ("matcha", "maccha"),
        ("jouzu", "zyozu", "jozu"),
        ("shimbun", "sinbun"),
    ],
)
def test_spellings_of_one_word_in_romaji_fold_to_one(spellings):
    assert len({kana.fold_romaji(spelling) for spelling in spellings}) == 1


@pytest.mark.parametrize(
    "word", ["しばいぬ", "とうきょう", "こーぎー", "まっちゃ", "ちゃとら", "ふじ", "しんぶん"]
)
def test_every_typed_prefix_matches_the_romaji_of_the_kana(word):
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


def test_hiragana_has_the_length_of_the_original_kana():
    assert kana.to_hiragana("シバ犬ヴー・ヷ") == "しば犬ゔー・ヷ"
    assert kana.is_kana("しばシバー")
    assert not kana.is_kana("柴")
    assert not kana.is_kana("")

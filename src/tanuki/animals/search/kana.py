"""Kana and their spellings in Latin letters: widths, Hepburn and kunrei, long vowels. Knows no dictionary."""

import re

KATAKANA_TO_HIRAGANA = {code: code - 0x60 for code in [*range(0x30A1, 0x30F7), 0x30FD, 0x30FE]}
VOWELS = "aiueo"
ROWS = {
    "": "あいうえお", "k": "かきくけこ", "g": "がぎぐげご", "s": "さしすせそ", "z": "ざじずぜぞ", "t": "たちつてと", "d": "だぢづでど", "n": "なにぬねの", "h": "はひふへほ",
    "b": "ばびぶべぼ", "p": "ぱぴぷぺぽ", "m": "まみむめも", "r": "らりるれろ",
}  # fmt: skip
GLIDES = {
    "ky": "き",
    "gy": "ぎ",
    "sy": "し",
    "sh": "し",
    "zy": "じ",
    "j": "じ",
    "jy": "じ",
    "ty": "ち",
    "ch": "ち",
    "ny": "に",
    "hy": "ひ",
    "by": "び",
    "py": "ぴ",
    "my": "み",
    "ry": "り",
}
OTHER_SYLLABLES = {
    "ya": "や", "yu": "ゆ", "yo": "よ", "wa": "わ", "wo": "を", "shi": "し", "chi": "ち", "tsu": "つ", "fu": "ふ", "ji": "じ", "vu": "ゔ",
    "fa": "ふぁ", "fi": "ふぃ", "fe": "ふぇ", "fo": "ふぉ", "she": "しぇ", "je": "じぇ", "che": "ちぇ", "wi": "うぃ", "we": "うぇ",
    "va": "ゔぁ", "vi": "ゔぃ", "ve": "ゔぇ", "vo": "ゔぉ",
}  # fmt: skip
SYLLABLES = (
    {
        consonant + vowel: kana
        for consonant, row in ROWS.items()
        for vowel, kana in zip(VOWELS, row, strict=True)
    }
    | {
        glide + vowel: kana + small
        for glide, kana in GLIDES.items()
        for vowel, small in zip("auo", "ゃゅょ", strict=True)
    }
    | OTHER_SYLLABLES
)
MAX_SYLLABLE_LENGTH = max(map(len, SYLLABLES))
VOWEL_OF = {kana[-1]: latin[-1] for latin, kana in SYLLABLES.items()}
LONG_VOWEL_SIGNS = {
    "a": "あ",
    "i": "い",
    "u": "う",
    "e": "え",
    "o": "おう",
}  # what makes the vowel before it long
HEPBURN_TO_KUNREI = (
    ("tch", "tty"), ("cch", "tty"), ("shi", "si"), ("sh", "sy"), ("chi", "ti"), ("ch", "ty"), ("tsu", "tu"), ("ji", "zi"), ("jy", "zy"), ("j", "zy"), ("fu", "hu"), ("dzu", "zu"),
    ("du", "zu"), ("di", "zi"), ("ou", "o"),
)  # fmt: skip
PREFIX_RULES = (
    ("sh", "sy", "s"),
    ("ch", "ty", "t"),
    ("c", "c", "t"),
    ("ts", "ts", "t"),
    ("j", "zy", "z"),
    ("f", "f", "h"),
)  # typed, folded, and what all its syllables begin with


def to_hiragana(text: str) -> str:
    """The text with its katakana as hiragana, letter for letter."""
    return text.translate(KATAKANA_TO_HIRAGANA)


def is_kana(text: str) -> bool:
    """Whether there is nothing but hiragana, katakana and the long vowel's sign."""
    return bool(text) and all(
        "ぁ" <= letter <= "ゖ" or "ァ" <= letter <= "ヺ" or letter == "ー" for letter in text
    )


def drop_long_vowels(kana: str) -> str:
    """Hiragana without what only makes a vowel long: とうきょう and ときょ are ときょ, こーぎー is こぎ."""
    kept: list[str] = []
    for letter in kana.replace("ー", ""):
        if not (kept and letter in LONG_VOWEL_SIGNS.get(VOWEL_OF.get(kept[-1], ""), "")):
            kept.append(letter)
    return "".join(kept)


def romaji_to_hiragana(word: str) -> str | None:
    """Hiragana of a word in Latin letters, Hepburn or kunrei, or None where it cannot be one: shiba and siba are しば, cat is none."""
    word = word.replace("-", "")
    made, place = "", 0
    while place < len(word):
        here, after = word[place], word[place + 1 : place + 2]
        if (here == after and here not in "aiueon") or (here == "t" and after == "c"):
            made, place = made + "っ", place + 1
            continue
        for size in range(min(MAX_SYLLABLE_LENGTH, len(word) - place), 0, -1):
            if kana := SYLLABLES.get(word[place : place + size]):
                made, place = made + kana, place + size
                break
        else:
            if here == "n" or (here == "m" and after in ("b", "p", "m")):
                apart = after == "'" or (
                    after == "n"
                    and word[place + 2 : place + 3] not in ("a", "i", "u", "e", "o", "y")
                )
                made, place = made + "ん", place + 1 + apart
            else:
                return None
    return made or None


def hiragana_to_romaji(kana: str) -> str:
    """Latin letters of hiragana, as `folded` gives them back for every way to write them."""
    from jaconv import kana2alphabet

    return fold_romaji(str(kana2alphabet(kana)))


def fold_romaji(latin: str) -> str:
    """Latin letters so that Hepburn, kunrei and long vowels written or not are the same: shiba, siba → siba; toukyou, tokyo → tokyo."""
    latin = latin.replace("-", "").replace("'", "")
    latin = re.sub(r"m(?=[bpm])", "n", latin)
    for hepburn, kunrei in HEPBURN_TO_KUNREI:
        latin = latin.replace(hepburn, kunrei)
    return re.sub(r"([aiueo])\1+", r"\1", latin)


def fold_romaji_prefix(latin: str) -> str:
    """`folded` for a word that is still being typed: its last syllable may be only begun."""
    made = fold_romaji(latin)
    for typed, so_far, start in PREFIX_RULES:
        if latin.endswith(typed) and made.endswith(so_far):
            return made.removesuffix(so_far) + start
    return made

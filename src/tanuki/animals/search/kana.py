"""Kana and romaji: katakana as hiragana, Hepburn and kunrei, long vowels. Uses no dictionary."""

import re

VOWELS = "aiueo"
ROWS = {
    "": "あいうえお",
    "k": "かきくけこ",
    "g": "がぎぐげご",
    "s": "さしすせそ",
    "z": "ざじずぜぞ",
    "t": "たちつてと",
    "d": "だぢづでど",
    "n": "なにぬねの",
    "h": "はひふへほ",
    "b": "ばびぶべぼ",
    "p": "ぱぴぷぺぽ",
    "m": "まみむめも",
    "r": "らりるれろ",
}
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
    "ya": "や",
    "yu": "ゆ",
    "yo": "よ",
    "wa": "わ",
    "wo": "を",
    "shi": "し",
    "chi": "ち",
    "tsu": "つ",
    "fu": "ふ",
    "ji": "じ",
    "vu": "ゔ",
    "fa": "ふぁ",
    "fi": "ふぃ",
    "fe": "ふぇ",
    "fo": "ふぉ",
    "she": "しぇ",
    "je": "じぇ",
    "che": "ちぇ",
    "wi": "うぃ",
    "we": "うぇ",
    "va": "ゔぁ",
    "vi": "ゔぃ",
    "ve": "ゔぇ",
    "vo": "ゔぉ",
}
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
LONG_VOWEL_SIGNS = {  # what makes the vowel before it long
    "a": "あ",
    "i": "い",
    "u": "う",
    "e": "え",
    "o": "おう",
}
HEPBURN_TO_KUNREI = (
    ("tch", "tty"),
    ("cch", "tty"),
    ("shi", "si"),
    ("sh", "sy"),
    ("chi", "ti"),
    ("ch", "ty"),
    ("tsu", "tu"),
    ("ji", "zi"),
    ("jy", "zy"),
    ("j", "zy"),
    ("fu", "hu"),
    ("dzu", "zu"),
    ("du", "zu"),
    ("di", "zi"),
    ("ou", "o"),
)
# (typed, folded, what every syllable that begins so has in common)
PREFIX_RULES = (
    ("sh", "sy", "s"),
    ("ch", "ty", "t"),
    ("c", "c", "t"),
    ("ts", "ts", "t"),
    ("j", "zy", "z"),
    ("f", "f", "h"),
)


def to_hiragana(text: str) -> str:
    """The text with its katakana as hiragana, letter for letter."""
    from jaconv import kata2hira

    hiragana: str = kata2hira(text)
    return hiragana


def is_kana(text: str) -> bool:
    """Whether a text has only hiragana, katakana and long vowel signs, and at least one."""
    return bool(text) and all(
        "ぁ" <= letter <= "ゖ" or "ァ" <= letter <= "ヺ" or letter == "ー" for letter in text
    )


def drop_long_vowels(kana: str) -> str:
    """Hiragana without signs of long vowels.

    とうきょう and ときょ give ときょ, こーぎー gives こぎ.
    """
    letters: list[str] = []
    for letter in kana.replace("ー", ""):
        if not (letters and letter in LONG_VOWEL_SIGNS.get(VOWEL_OF.get(letters[-1], ""), "")):
            letters.append(letter)
    return "".join(letters)


def romaji_to_hiragana(word: str) -> str | None:
    """Hiragana of a word in Hepburn or kunrei, None for a word that is neither.

    shiba and siba give しば, cat gives None.
    """
    word = word.replace("-", "")
    kana, place = "", 0
    while place < len(word):
        letter, following = word[place], word[place + 1 : place + 2]
        if (letter == following and letter not in "aiueon") or (letter == "t" and following == "c"):
            kana, place = kana + "っ", place + 1
            continue
        for size in range(min(MAX_SYLLABLE_LENGTH, len(word) - place), 0, -1):
            if syllable := SYLLABLES.get(word[place : place + size]):
                kana, place = kana + syllable, place + size
                break
        else:
            if letter != "n" and not (letter == "m" and following in ("b", "p", "m")):
                return None
            # kin'en and onna: the n ends its syllable.
            ends_syllable = following == "'" or (
                following == "n"
                and word[place + 2 : place + 3] not in ("a", "i", "u", "e", "o", "y")
            )
            kana, place = kana + "ん", place + 1 + ends_syllable
    return kana or None


def hiragana_to_romaji(kana: str) -> str:
    """Romaji of hiragana, folded by `fold_romaji`."""
    from jaconv import kana2alphabet

    return fold_romaji(str(kana2alphabet(kana)))


def fold_romaji(latin: str) -> str:
    """Romaji in which Hepburn, kunrei and long vowels do not differ.

    shiba and siba give siba, toukyou and tokyo give tokyo.
    """
    latin = latin.replace("-", "").replace("'", "")
    latin = re.sub(r"m(?=[bpm])", "n", latin)
    for hepburn, kunrei in HEPBURN_TO_KUNREI:
        latin = latin.replace(hepburn, kunrei)
    return re.sub(r"([aiueo])\1+", r"\1", latin)


def fold_romaji_prefix(latin: str) -> str:
    """`fold_romaji` for a word that is being typed, whose last syllable may be incomplete."""
    folded = fold_romaji(latin)
    for typed, folded_end, common in PREFIX_RULES:
        if latin.endswith(typed) and folded.endswith(folded_end):
            return folded.removesuffix(folded_end) + common
    return folded

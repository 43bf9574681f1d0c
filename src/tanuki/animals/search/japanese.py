"""Japanese words as the dictionary (SudachiPy) knows them: their forms, readings and parts, and the kanji that they are made of.

SudachiPy is loaded by the first text, not by the import. What is asked of a word is remembered: texts repeat their words.
"""

import threading
from collections.abc import Iterator
from functools import cache, lru_cache
from typing import Any, NamedTuple

from tanuki.animals.search.kana import hiragana, is_kana, short
from tanuki.animals.search.normalize import ALL_KATAKANA, HAS_KANJI, TOKEN_LETTERS, folded
from tanuki.animals.search.synonyms import SHORT, longest, names, signs

SHORTENED = "ー"  # begins the token of a reading without its long vowels; no word begins with it
REMEMBERED = 50_000  # words
AT_ONCE = 10_000  # letters; the dictionary refuses 48 KB
SAID = frozenset(
    ("名詞", "代名詞", "形状詞", "動詞", "形容詞", "副詞", "感動詞", "接尾辞", "接頭辞", "連体詞")
)
INFLECTED = frozenset(("動詞", "形容詞"))
AFFIXES = frozenset(("接尾辞", "接頭辞"))
EMPTY = frozenset(("助動詞語幹", "フィラー"))
NOTHING = frozenset(  # usual forms that say nothing of a picture
    """為る 居る 有る 成る 遣る 無い 良い 事 物 為 様 よう 所 訳 筈 の 御 さん ちゃん 君 達 等 此の 其の 此れ 其れ まー 以下 以上 以外 場合""".split()  # noqa: SIM905 a table of words
)
READ_AT_END = {
    "犬": "けん",
    "猫": "びょう",
    "馬": "ば",
    "鳥": "ちょう",
    "魚": "ぎょ",
    "虫": "ちゅう",
    "牛": "ぎゅう",
}  # 番犬, 愛猫, 競馬
VOICED = str.maketrans(
    "かきくけこさしすせそたちつてとはひふへほ", "がぎぐげござじずぜぞだぢづでどばびぶべぼ"
)
NOT_ANIMALS = frozenset(  # words that hold an animal's kanji with its reading and are none
    """猫背 猫舌 虫歯 虫眼鏡 鳥肌 鳥居 鹿威し 熊手 蛇口 虎の巻 狐の嫁入り 弱虫 泣き虫 馬力 犬歯 亀裂 牛乳 牛肉 豚肉 鶏肉 馬肉 鮫肌 鴨居""".split()  # noqa: SIM905 a table of words
)


class Word(NamedTuple):
    """A word of the dictionary."""

    surface: str  # as it stands in the text
    usual: str  # as it is usually written: 子猫 for 仔猫 and こねこ, 遊ぶ for 遊ん
    reading: str  # hiragana
    kind: str
    detail: str

    @property
    def is_noun(self) -> bool:
        return self.kind in ("名詞", "形状詞")


class Piece(NamedTuple):
    """A word in a text, and what it is made of: its parts in mode B where they differ, and the smallest (mode A)."""

    word: Word
    start: int
    end: int
    levels: tuple[tuple["Piece", ...], ...] = ()

    @property
    def smallest(self) -> tuple["Piece", ...]:
        return self.levels[-1] if self.levels else (self,)

    def moved(self, by: int) -> "Piece":
        """The same, in a text that has `by` letters before."""
        return Piece(
            self.word,
            self.start + by,
            self.end + by,
            tuple(tuple(part.moved(by) for part in level) for level in self.levels),
        )


_mine = threading.local()  # a tokenizer keeps its lattice: one for each thread
_once = threading.Lock()


@cache
def dictionary() -> Any:
    """SudachiPy's dictionary: 0.2 s and 70 MB, once a process."""
    from sudachipy import Dictionary

    return Dictionary()


def pieces(text: str) -> list[Piece]:
    """The words of a Japanese text, the longest ones (mode C), with their parts."""
    if not hasattr(_mine, "tokenizer"):
        with _once:
            _mine.tokenizer = dictionary().tokenizer()
    found = []
    for place in range(0, len(text), AT_ONCE):
        for morpheme in _mine.tokenizer.tokenize(text[place : place + AT_ONCE]):
            word, start = word_of(morpheme), place + morpheme.begin()
            found.append(
                Piece(
                    word,
                    start,
                    place + morpheme.end(),
                    tuple(
                        tuple(part.moved(start) for part in level)
                        for level in levels(word, morpheme)
                    ),
                )
            )
    return found


def word_of(morpheme: Any) -> Word:
    """What the dictionary says of a word."""
    kind, detail = morpheme.part_of_speech()[:2]
    return Word(
        morpheme.surface(),
        morpheme.normalized_form(),
        hiragana(morpheme.reading_form()),
        kind,
        detail,
    )


_levels: dict[Word, tuple[tuple[Piece, ...], ...]] = {}


def levels(word: Word, morpheme: Any) -> tuple[tuple[Piece, ...], ...]:
    """A word's parts, with their places in it."""
    known = _levels.get(word)
    if known is None:
        from sudachipy import SplitMode

        begin = morpheme.begin()
        smallest, middle = (
            tuple(
                Piece(word_of(part), part.begin() - begin, part.end() - begin)
                for part in morpheme.split(mode)
            )
            for mode in (SplitMode.A, SplitMode.B)
        )
        known = (
            ()
            if len(smallest) < 2
            else (smallest,)
            if len(middle) in (1, len(smallest))
            else (middle, smallest)
        )
        if len(_levels) >= REMEMBERED:
            _levels.clear()
        _levels[word] = known
    return known


@lru_cache(maxsize=REMEMBERED)
def forms(word: Word) -> tuple[str, ...]:
    """The tokens of a word: as it is written, its usual form, its reading; of what is inflected only the usual form; nothing of what says nothing."""
    if word.kind not in SAID or word.detail in EMPTY or word.usual in NOTHING:
        return ()
    usual = token_of(word.usual)
    if word.kind in INFLECTED:
        return (usual,)
    read = readings(word.reading) if word.kind not in AFFIXES and word.detail != "数詞" else ()
    return tuple(
        dict.fromkeys(
            token
            for token in (token_of(word.surface), usual, *read)
            if len(token) > 1 or (token and not is_kana(token))
        )
    )


def token_of(form: str) -> str:
    """A form of the dictionary as a token: hiragana for katakana, small, no signs, not too long."""
    small = hiragana(folded(form).text)
    return (small if small.isalnum() else "".join(filter(str.isalnum, small)))[:TOKEN_LETTERS]


def readings(kana: str) -> tuple[str, ...]:
    """A reading in hiragana, and the same without its long vowels where it has some."""
    if len(kana) < 2 or not is_kana(kana):
        return ()
    shortened = short(kana)
    return (
        (kana[:TOKEN_LETTERS],)
        if shortened == kana
        else (kana[:TOKEN_LETTERS], f"{SHORTENED}{shortened}"[:TOKEN_LETTERS])
    )


def can_be_named(word: Word) -> bool:
    """Whether it can be the name of an animal by itself: ワシ is an eagle, わし is me."""
    return word.is_noun or word.kind in AFFIXES or ALL_KATAKANA.fullmatch(word.surface) is not None


@lru_cache(maxsize=REMEMBERED)
def as_name(word: Word) -> str:
    """A word as names are compared when it is one by itself: as it is written, or in its usual form when only that is a name (さる: 猿). What is no noun is none."""
    if not can_be_named(word):
        return "\n"
    known, kana, usual = names().written, hiragana(word.surface), token_of(word.usual)
    if len(word.surface) <= SHORT and word.surface in known:
        return word.surface
    return usual if usual in known and kana not in known else kana


def codes_of(word: Word) -> tuple[str, ...]:
    """The categories and breeds that a word alone names."""
    return names().written.get(as_name(word), ())


@lru_cache(maxsize=REMEMBERED)
def kanji(word: Word) -> tuple[tuple[int, int, tuple[str, ...]], ...]:
    """The kanji of a word and their tokens: 柴 and 犬 of 柴犬. Those of animals only when the reading agrees: 馬鹿 has no horse, 印象 no elephant."""
    written = word.surface if HAS_KANJI.search(word.surface) else word.usual
    if (
        word.kind != "名詞"
        or word.detail == "固有名詞"
        or len(written) < 2
        or written in NOT_ANIMALS
        or word.usual in NOT_ANIMALS
    ):
        return ()
    own = {sign for code in codes_of(word) for sign in signs(code)}
    return tuple(
        (place, place + 1, tokens) if written == word.surface else (0, len(word.surface), tokens)
        for place, letter in enumerate(written)
        if HAS_KANJI.fullmatch(letter) and (tokens := kanji_tokens(letter, word.reading, own))
    )


def kanji_tokens(letter: str, whole: str, own: set[str]) -> tuple[str, ...]:
    """A kanji within a word that is read so, and that names these kinds of animal itself (海豚 is a dolphin and no pig)."""
    read = reading_of(letter)
    spoken = bool(read) and (
        whole.startswith(read) or whole.endswith((read, read[0].translate(VOICED) + read[1:]))
    )
    animal = [sign for code in names().written.get(letter, ()) for sign in signs(code)]
    if animal and not (
        own.issuperset(animal) if own else spoken or whole.endswith(READ_AT_END.get(letter, "\n"))
    ):
        return ()
    return (letter, *(readings(read) if spoken else ()), *animal)


@lru_cache(maxsize=REMEMBERED)
def reading_of(letter: str) -> str:
    """How a kanji is read when it stands alone."""
    found = pieces(letter)
    return found[0].word.reading if len(found) == 1 and is_kana(found[0].word.reading) else ""


def written_names(found: list[Piece]) -> Iterator[tuple[int, int, tuple[str, ...]]]:
    """The names of animals among neighbouring words: start, end and codes."""
    beside = [hiragana(piece.word.surface) for piece in found]
    for first, last, codes in longest(
        beside, names().written, "", [as_name(piece.word) for piece in found]
    ):
        yield found[first].start, found[last].end, codes

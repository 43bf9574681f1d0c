"""Japanese words from the dictionary (SudachiPy): their forms, readings, parts and kanji.

SudachiPy is loaded with the first text, not with the import. What is computed of a word is cached,
because texts repeat their words.
"""

from collections.abc import Iterator
from functools import cache, lru_cache
from typing import TYPE_CHECKING, NamedTuple

from tanuki.animals.search.kana import drop_long_vowels, is_kana, to_hiragana
from tanuki.animals.search.normalize import (
    ALL_KATAKANA,
    HAS_KANJI,
    MAX_TOKEN_LENGTH,
    fold_with_offsets,
)
from tanuki.animals.search.synonyms import (
    MAX_SHORT_NAME,
    concept_tokens,
    find_names,
    synonym_tables,
)

if TYPE_CHECKING:
    from sudachipy import Dictionary, Morpheme

SHORTENED_PREFIX = "ー"  # of a reading's token without long vowels; no word begins with it
WORDS_CACHED = 50_000
LETTERS_PER_CALL = 10_000  # the dictionary refuses texts of 48 KB
CONTENT_PARTS_OF_SPEECH = frozenset(
    ("名詞", "代名詞", "形状詞", "動詞", "形容詞", "副詞", "感動詞", "接尾辞", "接頭辞", "連体詞")
)
INFLECTED = frozenset(("動詞", "形容詞"))
AFFIXES = frozenset(("接尾辞", "接頭辞"))
EMPTY_DETAILS = frozenset(("助動詞語幹", "フィラー"))
STOP_FORMS = frozenset(  # normalized forms that say nothing about a photo
    """為る 居る 有る 成る 遣る 無い 良い 事 物 為 様 よう 所 訳 筈 の 御 さん ちゃん 君 達 等
    此の 其の 此れ 其れ まー 以下 以上 以外 場合""".split()  # noqa: SIM905 a table of words
)
FINAL_READINGS = {  # of kanji that end a word: 番犬, 愛猫, 競馬
    "犬": "けん",
    "猫": "びょう",
    "馬": "ば",
    "鳥": "ちょう",
    "魚": "ぎょ",
    "虫": "ちゅう",
    "牛": "ぎゅう",
}
VOICED = str.maketrans(
    "かきくけこさしすせそたちつてとはひふへほ", "がぎぐげござじずぜぞだぢづでどばびぶべぼ"
)
NOT_ANIMALS = frozenset(  # words with an animal's kanji and reading that name no animal
    """猫背 猫舌 虫歯 虫眼鏡 鳥肌 鳥居 鹿威し 熊手 蛇口 虎の巻 狐の嫁入り 弱虫 泣き虫 馬力 犬歯
    亀裂 牛乳 牛肉 豚肉 鶏肉 馬肉 鮫肌 鴨居""".split()  # noqa: SIM905 a table of words
)


class DictionaryWord(NamedTuple):
    """A word of the dictionary."""

    surface: str  # as the text writes it
    normalized: str  # the usual form: 子猫 for 仔猫 and こねこ, 遊ぶ for 遊ん
    reading: str  # hiragana
    part_of_speech: str
    detail: str

    @property
    def is_noun(self) -> bool:
        return self.part_of_speech in ("名詞", "形状詞")


class WordInText(NamedTuple):
    """A word in a text with its parts: in mode B where that differs, and the smallest (mode A)."""

    word: DictionaryWord
    start: int
    end: int
    levels: tuple[tuple["WordInText", ...], ...] = ()

    @property
    def smallest(self) -> tuple["WordInText", ...]:
        return self.levels[-1] if self.levels else (self,)

    def shift(self, by: int) -> "WordInText":
        """The same word, `by` letters further on."""
        return WordInText(
            self.word,
            self.start + by,
            self.end + by,
            tuple(tuple(part.shift(by) for part in level) for level in self.levels),
        )


@cache
def load_dictionary() -> "Dictionary":
    """SudachiPy's dictionary, loaded once per process: 0.2 s and 70 MB."""
    from sudachipy import Dictionary

    return Dictionary()


def split_words(text: str) -> list[WordInText]:
    """The words of a Japanese text in their longest form (mode C), with their parts."""
    tokenizer = load_dictionary().tokenizer()  # one per call, as it is not thread-safe: 2 to 8 µs
    words = []
    for place in range(0, len(text), LETTERS_PER_CALL):
        for morpheme in tokenizer.tokenize(text[place : place + LETTERS_PER_CALL]):
            word, start = dictionary_word(morpheme), place + morpheme.begin()
            levels = tuple(
                tuple(part.shift(start) for part in level) for level in split_levels(word, morpheme)
            )
            words.append(WordInText(word, start, place + morpheme.end(), levels))
    return words


def dictionary_word(morpheme: "Morpheme") -> DictionaryWord:
    kind, detail = morpheme.part_of_speech()[:2]
    return DictionaryWord(
        morpheme.surface(),
        morpheme.normalized_form(),
        to_hiragana(morpheme.reading_form()),
        kind,
        detail,
    )


# The parts of words that were split before. They depend on the word alone, so nothing resets this.
LEVELS_BY_WORD: dict[DictionaryWord, tuple[tuple[WordInText, ...], ...]] = {}


def split_levels(word: DictionaryWord, morpheme: "Morpheme") -> tuple[tuple[WordInText, ...], ...]:
    """A word's parts, with their places in it."""
    levels = LEVELS_BY_WORD.get(word)
    if levels is not None:
        return levels
    from sudachipy import SplitMode

    begin = morpheme.begin()
    smallest, middle = (
        tuple(
            WordInText(dictionary_word(part), part.begin() - begin, part.end() - begin)
            for part in morpheme.split(mode)
        )
        for mode in (SplitMode.A, SplitMode.B)
    )
    if len(smallest) < 2:
        levels = ()
    elif len(middle) in (1, len(smallest)):
        levels = (smallest,)
    else:
        levels = (middle, smallest)
    if len(LEVELS_BY_WORD) >= WORDS_CACHED:
        LEVELS_BY_WORD.clear()
    LEVELS_BY_WORD[word] = levels
    return levels


@lru_cache(maxsize=WORDS_CACHED)
def word_tokens(word: DictionaryWord) -> tuple[str, ...]:
    """The tokens of a word: its surface, its normalized form and its reading.

    An inflected word has only its normalized form, a word without meaning of its own has none.
    """
    if (
        word.part_of_speech not in CONTENT_PARTS_OF_SPEECH
        or word.detail in EMPTY_DETAILS
        or word.normalized in STOP_FORMS
    ):
        return ()
    usual = normalize_form(word.normalized)
    if word.part_of_speech in INFLECTED:
        return (usual,)
    read = (
        reading_tokens(word.reading)
        if word.part_of_speech not in AFFIXES and word.detail != "数詞"
        else ()
    )
    return tuple(
        dict.fromkeys(
            token
            for token in (normalize_form(word.surface), usual, *read)
            if len(token) > 1 or (token and not is_kana(token))
        )
    )


def normalize_form(form: str) -> str:
    """A form of the dictionary as a token: in hiragana and lower case, without signs, shortened."""
    small = to_hiragana(fold_with_offsets(form).text)
    return (small if small.isalnum() else "".join(filter(str.isalnum, small)))[:MAX_TOKEN_LENGTH]


def reading_tokens(kana: str) -> tuple[str, ...]:
    """The tokens of a reading in hiragana: as it is, and without long vowels if it has some."""
    if len(kana) < 2 or not is_kana(kana):
        return ()
    shortened = drop_long_vowels(kana)
    return (
        (kana[:MAX_TOKEN_LENGTH],)
        if shortened == kana
        else (kana[:MAX_TOKEN_LENGTH], f"{SHORTENED_PREFIX}{shortened}"[:MAX_TOKEN_LENGTH])
    )


def can_name_animal(word: DictionaryWord) -> bool:
    """Whether a word can name an animal by itself: ワシ is an eagle, わし is me."""
    return (
        word.is_noun
        or word.part_of_speech in AFFIXES
        or ALL_KATAKANA.fullmatch(word.surface) is not None
    )


@lru_cache(maxsize=WORDS_CACHED)
def name_form(word: DictionaryWord) -> str:
    """A word as it is compared with names of one word.

    That is its surface, or its normalized form if only that is a name (さる: 猿). A word that can
    name nothing gives a line break, which no name has.
    """
    if not can_name_animal(word):
        return "\n"
    names = synonym_tables().written
    kana, normalized = to_hiragana(word.surface), normalize_form(word.normalized)
    if len(word.surface) <= MAX_SHORT_NAME and word.surface in names:
        return word.surface
    return normalized if normalized in names and kana not in names else kana


def codes_of_word(word: DictionaryWord) -> tuple[str, ...]:
    """The categories and breeds that a single word names."""
    return synonym_tables().written.get(name_form(word), ())


@lru_cache(maxsize=WORDS_CACHED)
def kanji_spans(word: DictionaryWord) -> tuple[tuple[int, int, tuple[str, ...]], ...]:
    """The kanji of a word, with their places and tokens: 柴 and 犬 of 柴犬.

    An animal's kanji counts only if the word is read like it: 馬鹿 has no horse, 印象 no elephant.
    """
    written = word.surface if HAS_KANJI.search(word.surface) else word.normalized
    if (
        word.part_of_speech != "名詞"
        or word.detail == "固有名詞"
        or len(written) < 2
        or written in NOT_ANIMALS
        or word.normalized in NOT_ANIMALS
    ):
        return ()
    own = {sign for code in codes_of_word(word) for sign in concept_tokens(code)}
    return tuple(
        (place, place + 1, tokens) if written == word.surface else (0, len(word.surface), tokens)
        for place, letter in enumerate(written)
        if HAS_KANJI.fullmatch(letter) and (tokens := kanji_tokens(letter, word.reading, own))
    )


def kanji_tokens(letter: str, whole: str, own: set[str]) -> tuple[str, ...]:
    """The tokens of a kanji in a word with the reading `whole`.

    `own` are the concept tokens of the word itself, which decide: 海豚 is a dolphin and no pig.
    """
    read = read_kanji(letter)
    spoken = bool(read) and (
        whole.startswith(read) or whole.endswith((read, read[0].translate(VOICED) + read[1:]))
    )
    animal = [
        sign for code in synonym_tables().written.get(letter, ()) for sign in concept_tokens(code)
    ]
    if animal and not (
        own.issuperset(animal)
        if own
        else spoken or whole.endswith(FINAL_READINGS.get(letter, "\n"))
    ):
        return ()
    return (letter, *(reading_tokens(read) if spoken else ()), *animal)


@lru_cache(maxsize=WORDS_CACHED)
def read_kanji(letter: str) -> str:
    """The reading of a kanji that stands alone."""
    found = split_words(letter)
    return found[0].word.reading if len(found) == 1 and is_kana(found[0].word.reading) else ""


def find_written_names(found: list[WordInText]) -> Iterator[tuple[int, int, tuple[str, ...]]]:
    """The names of animals in neighbouring words: start, end and codes."""
    beside = [to_hiragana(piece.word.surface) for piece in found]
    for first, last, codes in find_names(
        beside, synonym_tables().written, "", [name_form(piece.word) for piece in found]
    ):
        yield found[first].start, found[last].end, codes

"""The tokens by which a text is found, with their places, for the index and for highlights.

A Japanese word gives its forms, its reading, its parts (SudachiPy's modes C, B and A) and its
kanji. An English word gives its stem. A name of the taxonomy gives the concept tokens of its kind.
"""

from collections.abc import Iterator
from functools import lru_cache
from itertools import groupby
from typing import NamedTuple

from tanuki.animals.search.japanese import (
    WordInText,
    find_written_names,
    kanji_spans,
    reading_tokens,
    split_words,
    word_tokens,
)
from tanuki.animals.search.kana import to_hiragana
from tanuki.animals.search.normalize import (
    ALL_HIRAGANA,
    HAS_KANJI,
    MAX_TOKEN_LENGTH,
    Run,
    fold_with_offsets,
    split_runs,
    stem_word,
)
from tanuki.animals.search.synonyms import (
    Codes,
    concept_token,
    concept_tokens,
    find_names,
    synonym_tables,
)
from tanuki.animals.taxonomy import BREEDS, CATEGORIES

# Hiragana up to this length are also one token as a whole when the dictionary splits them.
MAX_UNCERTAIN_LENGTH = 8
TEXTS_CACHED = 2_000  # a page highlights texts that were just indexed or shown


class Span(NamedTuple):
    """A part of a text and the tokens by which it is found.

    `suggestion` is the word itself if it can be suggested, with its reading.
    """

    start: int
    end: int
    tokens: tuple[str, ...]
    suggestion: str = ""
    reading: str = ""


def tokens_of_text(text: str) -> list[str]:
    """All tokens of a text, sorted."""
    return sorted({token for span in tokenize(text) for token in span.tokens})


def find_codes(text: str) -> list[str]:
    """The codes of the breeds and categories that a text names, breeds first."""
    tokens = set(tokens_of_text(text))
    return [code for code in (*BREEDS, *CATEGORIES) if concept_token(code) in tokens]


@lru_cache(maxsize=TEXTS_CACHED)
def tokenize(text: str) -> tuple[Span, ...]:
    """The spans of a text that can be found. A span may lie within another."""
    folded = fold_with_offsets(text)
    spans: list[Span] = []
    for group in group_runs(folded.text):
        run = group[0]
        if run.kind == "latin":
            spans += tokenize_latin(group)
        elif run.kind == "japanese":
            spans += tokenize_japanese(run)
        else:
            spans.append(Span(run.start, run.end, (run.text[:MAX_TOKEN_LENGTH],), run.text))
    return tuple(
        Span(
            *folded.original_span(span.start, span.end), span.tokens, span.suggestion, span.reading
        )
        for span in spans
    )


def group_runs(text: str) -> Iterator[list[Run]]:
    """The runs of a folded text. Latin words with only spaces and hyphens between them are one
    group."""
    group: list[Run] = []
    for run in split_runs(text):
        if group and not (
            run.kind == group[-1].kind == "latin"
            and not text[group[-1].end : run.start].strip(" -")
        ):
            yield group
            group = []
        group.append(run)
    if group:
        yield group


def tokenize_latin(words: list[Run]) -> Iterator[Span]:
    """Latin words by their stems, and names of animals by their concept tokens."""
    stems = [stem_word(word.text) for word in words]
    for word, token in zip(words, stems, strict=True):
        if token:
            can_suggest = len(word.text) > 2 and not word.text.isdigit()
            suggestion = word.text.removesuffix("'s") if can_suggest else ""
            yield Span(word.start, word.end, (token,), suggestion)
    for first, last, codes in find_names(stems, synonym_tables().latin, " "):
        yield Span(words[first].start, words[last].end, tokens_of_codes(codes))


def tokenize_japanese(run: Run) -> Iterator[Span]:
    """A run of Japanese: standalone names first, the rest as the dictionary splits it."""
    for start, text, is_name in split_at_names(run):
        kana = to_hiragana(text).replace("・", "")
        if is_name:
            codes = synonym_tables().japanese.get(kana, ())
            tokens = (*reading_tokens(kana), *tokens_of_codes(codes))
            yield Span(start, start + len(text), tokens, text, kana)
        if not (is_name and ALL_HIRAGANA.fullmatch(text)):
            words = [word.shift(start) for word in split_words(text)]
            yield from tokenize_words(words, is_name)
            for chunk in split_at_particles(words):
                if whole := uncertain_hiragana(chunk):
                    yield Span(chunk[0].start, chunk[-1].end, (whole,))


def split_at_particles(words: list[WordInText]) -> Iterator[list[WordInText]]:
    """The groups of words between particles."""
    for is_particle, chunk in groupby(words, lambda word: word.word.part_of_speech == "助詞"):
        if not is_particle:
            yield list(chunk)


def uncertain_hiragana(chunk: list[WordInText]) -> str:
    """Short hiragana that the dictionary may have split wrongly, such as the name いぬま; otherwise
    empty."""
    text = "".join(word.word.surface for word in chunk)
    is_uncertain = (
        len(chunk) > 1 and len(text) <= MAX_UNCERTAIN_LENGTH and ALL_HIRAGANA.fullmatch(text)
    )
    return text if is_uncertain else ""


def split_at_names(run: Run) -> Iterator[tuple[int, str, bool]]:
    """The parts of a run: place, text, and whether it is a standalone name."""
    place = 0
    for match in synonym_tables().standalone.finditer(run.text):
        if place < match.start():
            yield run.start + place, run.text[place : match.start()], False
        yield run.start + match.start(), match.group(), True
        place = match.end()
    if place < len(run.text):
        yield run.start + place, run.text[place:], False


def tokenize_words(words: list[WordInText], is_name: bool) -> Iterator[Span]:
    """Words of the dictionary with their parts and kanji, and the names in them, unless all of them
    are one name."""
    for word in words:
        if tokens := word_tokens(word.word):
            suggestion = word.word.surface if can_be_suggested(word) and not is_name else ""
            reading = word.word.reading if suggestion else ""
            yield Span(word.start, word.end, tokens, suggestion, reading)
        for part in (part for level in word.levels for part in level):
            if tokens := word_tokens(part.word):
                yield Span(part.start, part.end, tokens)
        for part in word.smallest:
            for start, end, tokens in kanji_spans(part.word):
                yield Span(part.start + start, part.start + end, tokens)
    if not is_name:
        parts = [part for word in words for part in word.smallest]
        for start, end, codes in find_written_names(parts):
            yield Span(start, end, tokens_of_codes(codes))


def can_be_suggested(word: WordInText) -> bool:
    """Whether a word is a noun with a meaning of its own."""
    dictionary_word = word.word
    return (
        dictionary_word.is_noun
        and dictionary_word.detail != "数詞"
        and (
            len(dictionary_word.surface) > 1
            or HAS_KANJI.fullmatch(dictionary_word.surface) is not None
        )
    )


def tokens_of_codes(codes: Codes) -> tuple[str, ...]:
    """The tokens of the categories and breeds that a name means."""
    return tuple(token for code in codes for token in concept_tokens(code))

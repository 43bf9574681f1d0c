"""What a text is found by: its pieces with their tokens and places, for the index and for highlights.

A Japanese word gives its forms, its reading, its parts (SudachiPy's modes C, B and A) and its kanji; an English word gives its stem; a name of species.py gives the sign of its kind.
"""

from collections.abc import Iterator
from functools import lru_cache
from itertools import groupby
from typing import NamedTuple

from tanuki.animals.search.japanese import WordInText, word_tokens, kanji_spans, split_words, reading_tokens, find_written_names
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
from tanuki.animals.search.synonyms import Codes, find_names, synonym_tables, concept_token, concept_tokens
from tanuki.animals.taxonomy import BREEDS, CATEGORIES

MAX_UNCERTAIN_LENGTH = 8  # hiragana: what is so short is a token as a whole too, where the dictionary cuts it


class Span(NamedTuple):
    """A piece of a text and the tokens by which it is found. `shown` is the word itself where it is one that can be suggested, with its reading."""

    start: int
    end: int
    tokens: tuple[str, ...]
    suggestion: str = ""
    reading: str = ""


def tokens_of_text(text: str) -> list[str]:
    """All tokens by which a text is found."""
    return sorted({token for span in tokenize(text) for token in span.tokens})


def find_codes(text: str) -> list[str]:
    """The codes of the breeds and categories that a text names, breeds first."""
    tokens = set(tokens_of_text(text))
    return [code for code in (*BREEDS, *CATEGORIES) if concept_token(code) in tokens]


@lru_cache(maxsize=2_000)  # a page shows what was just indexed or shown before
def tokenize(text: str) -> tuple[Span, ...]:
    """The pieces of a text that can be found, with their places in it; they may lie within each other."""
    fold = fold_with_offsets(text)
    found: list[Span] = []
    for group in group_runs(fold.text):
        if group[0].kind == "latin":
            found += tokenize_latin(group)
        elif group[0].kind == "japanese":
            found += tokenize_japanese(group[0])
        else:
            found.append(
                Span(group[0].start, group[0].end, (group[0].text[:MAX_TOKEN_LENGTH],), group[0].text)
            )
    return tuple(
        Span(*fold.original_span(span.start, span.end), span.tokens, span.suggestion, span.reading)
        for span in found
    )


def group_runs(text: str) -> Iterator[list[Run]]:
    """The runs of a folded text, words of Latin letters together with those that only spaces and hyphens part from them."""
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
    """Words of Latin letters: each by its stem, and names of animals by their signs."""
    stems = [stem_word(word.text) for word in words]
    for word, token in zip(words, stems, strict=True):
        if token:
            yield Span(
                word.start,
                word.end,
                (token,),
                word.text.removesuffix("'s")
                if len(word.text) > 2 and not word.text.isdigit()
                else "",
            )
    for first, last, codes in find_names(stems, synonym_tables().latin, " "):
        yield Span(words[first].start, words[last].end, tokens_of_codes(codes))


def tokenize_japanese(run: Run) -> Iterator[Span]:
    """A run of Japanese: names that stand alone are cut out first, the rest is left to the dictionary."""
    for start, text, is_name in split_at_names(run):
        kana = to_hiragana(text).replace("・", "")
        if is_name:
            yield Span(
                start,
                start + len(text),
                (*reading_tokens(kana), *tokens_of_codes(synonym_tables().japanese.get(kana, ()))),
                text,
                kana,
            )
        if not (is_name and ALL_HIRAGANA.fullmatch(text)):
            found = [piece.shift(start) for piece in split_words(text)]
            yield from tokenize_words(found, is_name)
            yield from (
                Span(chunk[0].start, chunk[-1].end, (whole,))
                for chunk in split_at_particles(found)
                if (whole := uncertain_hiragana(chunk))
            )


def split_at_particles(found: list[WordInText]) -> Iterator[list[WordInText]]:
    """Words that no particle parts."""
    for particle, chunk in groupby(found, lambda piece: piece.word.part_of_speech == "助詞"):
        if not particle:
            yield list(chunk)


def uncertain_hiragana(chunk: list[WordInText]) -> str:
    """Short hiragana that the dictionary cut into pieces, perhaps wrongly: いぬま is a name that it does not know. Else empty."""
    text = "".join(piece.word.surface for piece in chunk)
    return text if len(chunk) > 1 and len(text) <= MAX_UNCERTAIN_LENGTH and ALL_HIRAGANA.fullmatch(text) else ""


def split_at_names(run: Run) -> Iterator[tuple[int, str, bool]]:
    """The pieces of a run: where, what, and whether it is a name that stands alone."""
    place = 0
    for match in synonym_tables().standalone.finditer(run.text):
        if place < match.start():
            yield run.start + place, run.text[place : match.start()], False
        yield run.start + match.start(), match.group(), True
        place = match.end()
    if place < len(run.text):
        yield run.start + place, run.text[place:], False


def tokenize_words(found: list[WordInText], is_name: bool) -> Iterator[Span]:
    """What the dictionary finds: words, their parts and kanji, and the names among them (unless all of it is one)."""
    for piece in found:
        if tokens := word_tokens(piece.word):
            shown = piece.word.surface if can_be_suggested(piece) and not is_name else ""
            yield Span(piece.start, piece.end, tokens, shown, piece.word.reading if shown else "")
        for part in (part for level in piece.levels for part in level):
            if tokens := word_tokens(part.word):
                yield Span(part.start, part.end, tokens)
        for part in piece.smallest:
            for start, end, tokens in kanji_spans(part.word):
                yield Span(part.start + start, part.start + end, tokens)
    if not is_name:
        for start, end, codes in find_written_names(
            [part for piece in found for part in piece.smallest]
        ):
            yield Span(start, end, tokens_of_codes(codes))


def can_be_suggested(piece: WordInText) -> bool:
    """Whether it is a noun that says something by itself."""
    word = piece.word
    return (
        word.is_noun
        and word.detail != "数詞"
        and (len(word.surface) > 1 or HAS_KANJI.fullmatch(word.surface) is not None)
    )


def tokens_of_codes(codes: Codes) -> tuple[str, ...]:
    """The tokens of the categories and breeds that a name means."""
    return tuple(token for code in codes for token in concept_tokens(code))

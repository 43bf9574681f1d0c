"""What a text is found by: its pieces with their tokens and places, for the index and for highlights.

A Japanese word gives its forms, its reading, its parts (SudachiPy's modes C, B and A) and its kanji; an English word gives its stem; a name of species.py gives the sign of its kind.
"""

from collections.abc import Iterator
from functools import lru_cache
from itertools import groupby
from typing import NamedTuple

from tanuki.animals.search.japanese import Piece, forms, kanji, pieces, readings, written_names
from tanuki.animals.search.kana import hiragana
from tanuki.animals.search.normalize import (
    ALL_HIRAGANA,
    HAS_KANJI,
    TOKEN_LETTERS,
    Run,
    folded,
    runs,
    stem,
)
from tanuki.animals.search.synonyms import Codes, longest, names, sign, signs
from tanuki.animals.taxonomy import BREEDS, CATEGORIES

WHOLE = 8  # hiragana: what is so short is a token as a whole too, where the dictionary cuts it


class Span(NamedTuple):
    """A piece of a text and the tokens by which it is found. `shown` is the word itself where it is one that can be suggested, with its reading."""

    start: int
    end: int
    tokens: tuple[str, ...]
    shown: str = ""
    reading: str = ""


def index_tokens(text: str) -> list[str]:
    """All tokens by which a text is found."""
    return sorted({token for span in spans(text) for token in span.tokens})


def named(text: str) -> list[str]:
    """The codes of the breeds and categories that a text names, breeds first."""
    tokens = set(index_tokens(text))
    return [code for code in (*BREEDS, *CATEGORIES) if sign(code) in tokens]


@lru_cache(maxsize=2_000)  # a page shows what was just indexed or shown before
def spans(text: str) -> tuple[Span, ...]:
    """The pieces of a text that can be found, with their places in it; they may lie within each other."""
    fold = folded(text)
    found: list[Span] = []
    for group in groups(fold.text):
        if group[0].kind == "latin":
            found += latin_spans(group)
        elif group[0].kind == "japanese":
            found += japanese_spans(group[0])
        else:
            found.append(
                Span(group[0].start, group[0].end, (group[0].text[:TOKEN_LETTERS],), group[0].text)
            )
    return tuple(
        Span(*fold.place(span.start, span.end), span.tokens, span.shown, span.reading)
        for span in found
    )


def groups(text: str) -> Iterator[list[Run]]:
    """The runs of a folded text, words of Latin letters together with those that only spaces and hyphens part from them."""
    group: list[Run] = []
    for run in runs(text):
        if group and not (
            run.kind == group[-1].kind == "latin"
            and not text[group[-1].end : run.start].strip(" -")
        ):
            yield group
            group = []
        group.append(run)
    if group:
        yield group


def latin_spans(words: list[Run]) -> Iterator[Span]:
    """Words of Latin letters: each by its stem, and names of animals by their signs."""
    stems = [stem(word.text) for word in words]
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
    for first, last, codes in longest(stems, names().latin, " "):
        yield Span(words[first].start, words[last].end, tokens_of(codes))


def japanese_spans(run: Run) -> Iterator[Span]:
    """A run of Japanese: names that stand alone are cut out first, the rest is left to the dictionary."""
    for start, text, is_name in cut(run):
        kana = hiragana(text).replace("・", "")
        if is_name:
            yield Span(
                start,
                start + len(text),
                (*readings(kana), *tokens_of(names().japanese.get(kana, ()))),
                text,
                kana,
            )
        if not (is_name and ALL_HIRAGANA.fullmatch(text)):
            found = [piece.moved(start) for piece in pieces(text)]
            yield from word_spans(found, is_name)
            yield from (
                Span(chunk[0].start, chunk[-1].end, (whole,))
                for chunk in chunks(found)
                if (whole := in_doubt(chunk))
            )


def chunks(found: list[Piece]) -> Iterator[list[Piece]]:
    """Words that no particle parts."""
    for particle, chunk in groupby(found, lambda piece: piece.word.kind == "助詞"):
        if not particle:
            yield list(chunk)


def in_doubt(chunk: list[Piece]) -> str:
    """Short hiragana that the dictionary cut into pieces, perhaps wrongly: いぬま is a name that it does not know. Else empty."""
    text = "".join(piece.word.surface for piece in chunk)
    return text if len(chunk) > 1 and len(text) <= WHOLE and ALL_HIRAGANA.fullmatch(text) else ""


def cut(run: Run) -> Iterator[tuple[int, str, bool]]:
    """The pieces of a run: where, what, and whether it is a name that stands alone."""
    place = 0
    for match in names().alone.finditer(run.text):
        if place < match.start():
            yield run.start + place, run.text[place : match.start()], False
        yield run.start + match.start(), match.group(), True
        place = match.end()
    if place < len(run.text):
        yield run.start + place, run.text[place:], False


def word_spans(found: list[Piece], is_name: bool) -> Iterator[Span]:
    """What the dictionary finds: words, their parts and kanji, and the names among them (unless all of it is one)."""
    for piece in found:
        if tokens := forms(piece.word):
            shown = piece.word.surface if can_be_suggested(piece) and not is_name else ""
            yield Span(piece.start, piece.end, tokens, shown, piece.word.reading if shown else "")
        for part in (part for level in piece.levels for part in level):
            if tokens := forms(part.word):
                yield Span(part.start, part.end, tokens)
        for part in piece.smallest:
            for start, end, tokens in kanji(part.word):
                yield Span(part.start + start, part.start + end, tokens)
    if not is_name:
        for start, end, codes in written_names(
            [part for piece in found for part in piece.smallest]
        ):
            yield Span(start, end, tokens_of(codes))


def can_be_suggested(piece: Piece) -> bool:
    """Whether it is a noun that says something by itself."""
    word = piece.word
    return (
        word.is_noun
        and word.detail != "数詞"
        and (len(word.surface) > 1 or HAS_KANJI.fullmatch(word.surface) is not None)
    )


def tokens_of(codes: Codes) -> tuple[str, ...]:
    """The tokens of the categories and breeds that a name means."""
    return tuple(token for code in codes for token in signs(code))

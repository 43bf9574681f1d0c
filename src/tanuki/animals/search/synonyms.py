"""The names of categories and breeds, as texts and queries write them.

A name in a text is indexed as one concept token for all names of its category or breed, so that a
post about 柴犬 is found by shiba and by dog.
"""

import re
from collections.abc import Iterator
from functools import cache
from typing import NamedTuple

from tanuki.animals.search.kana import is_kana, to_hiragana
from tanuki.animals.search.normalize import ALL_KATAKANA, fold_with_offsets, split_runs, stem_word
from tanuki.animals.taxonomy import BREEDS, CATEGORIES, Breed, Name

CONCEPT_PREFIX = "\ue011"  # a private letter, which no text can have
PRIVATE_LETTERS = {code: 0xE100 + code for code in range(128) if not chr(code).isalnum()}
# Kana. Shorter names are too often another word (さい, いか), so a katakana name is found only in
# katakana.
MAX_SHORT_NAME = 3
# Letters, some of them kana. From here on a name is found even if the dictionary splits the text
# wrongly, as in しばいぬ.
MIN_STANDALONE_NAME = 4
MIN_EMBEDDED_NAME = 6  # kana: from here on a katakana name is found in a longer katakana word
MAX_WORDS_PER_NAME = 6
# Categories whose names say what they consist of: any terrier is found by "terrier", while a
# raccoon dog is no dog.
CATEGORIES_BY_PARTS = frozenset(("cat", "dog", "bird", "rabbit", "horse"))
KATAKANA = "\u30a1-\u30fa\u30fc-\u30ff"

Codes = tuple[str, ...]


class SynonymTables(NamedTuple):
    """Codes of categories and breeds by their names."""

    latin: dict[str, Codes]  # stems of the words, a space between
    japanese: dict[str, Codes]  # in hiragana, as a query may write them
    written: dict[str, Codes]  # as a text must write them to be found
    standalone: re.Pattern[str]  # found however the dictionary splits the text


@cache
def synonym_tables() -> SynonymTables:
    """All names of the taxonomy, but those of the category "other"."""
    tables = SynonymTables({}, {}, {}, re.compile(""))
    standalone: set[str] = set()
    entries: list[tuple[str, Name | Breed]] = [*CATEGORIES.items(), *BREEDS.items()]
    for code, entry in entries:
        for name in (entry.ja, entry.en, *entry.also) if code != "other" else ():
            if name.isascii():
                add_meaning(tables.latin, stem_name(name), code)
                continue
            for written in name.split("・") if code in CATEGORIES else [name]:
                key = written.replace("・", "")
                add_meaning(tables.japanese, to_hiragana(key), code)
                add_meaning(
                    tables.written,
                    key
                    if ALL_KATAKANA.fullmatch(key) and len(key) <= MAX_SHORT_NAME
                    else to_hiragana(key),
                    code,
                )
                if len(key) >= MIN_STANDALONE_NAME and any(map(is_kana, key)):
                    standalone.add(written)
    return tables._replace(standalone=compile_names(standalone))


def add_meaning(names: dict[str, Codes], key: str, code: str) -> None:
    """Add a meaning to a name."""
    names[key] = tuple(dict.fromkeys((*names.get(key, ()), code)))


def stem_name(name: str) -> str:
    """A name in Latin letters as it is compared: the stems of its words."""
    return " ".join(
        filter(None, (stem_word(run.text) for run in split_runs(fold_with_offsets(name).text)))
    )


def compile_names(written: set[str]) -> re.Pattern[str]:
    """A pattern for the longest of these names, with or without the dots between their parts.

    A short katakana name is not found inside a longer katakana word.
    """
    patterns = []
    for name in sorted(written, key=len, reverse=True):
        embedded = len(name) >= MIN_EMBEDDED_NAME or not ALL_KATAKANA.fullmatch(name)
        pattern = name.replace("・", "・?")
        patterns.append(pattern if embedded else rf"(?<![{KATAKANA}]){pattern}(?![{KATAKANA}])")
    first = "".join(sorted({name[0] for name in written}))
    return re.compile(rf"(?=[{first}])(?:{'|'.join(patterns)})")


def find_names(
    parts: list[str], names: dict[str, Codes], between: str, alone: list[str] | None = None
) -> Iterator[tuple[int, int, Codes]]:
    """Names made of neighbouring parts: first part, last part and codes.

    Longer names win, and none lies within another. `alone` has the form in which a part is compared
    with names of one part.
    """
    first = 0
    while first < len(parts):
        for last in range(min(first + MAX_WORDS_PER_NAME, len(parts)) - 1, first - 1, -1):
            name = (
                alone[first] if alone and first == last else between.join(parts[first : last + 1])
            )
            if codes := names.get(name):
                yield first, last, codes
                first = last
                break
        first += 1


# ---- tokens --------------------------------------------------------------------------------------


def concept_token(code: str) -> str:
    """The token that stands for a category or breed, whatever it is called."""
    return CONCEPT_PREFIX + join_as_token(code)


def join_as_token(text: str) -> str:
    """A text as one token: its spaces and signs become private letters.

    FTS5's tokenizer `ascii` would split at them, also at `_`.
    """
    return text.translate(PRIVATE_LETTERS)


@cache
def concept_tokens(code: str) -> tuple[str, ...]:
    """The tokens by which a category or breed is found.

    They are its own concept token, that of a breed's category, so that a search for dogs finds a
    shiba, and in some categories the words of a breed's name.
    """
    if code not in BREEDS:
        return (concept_token(code),)
    breed = BREEDS[code]
    words = (
        [*stem_name(breed.en).split(), *map(to_hiragana, breed.ja.split("・"))]
        if breed.category in CATEGORIES_BY_PARTS
        else []
    )
    return tuple(dict.fromkeys((concept_token(code), concept_token(breed.category), *words)))

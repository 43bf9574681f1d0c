"""The names of species.py as they are met in a text and in a query. A name found in a text is indexed as one sign for all the words of its kind, so that 柴犬 is found by shiba and dog."""

import re
from collections.abc import Iterator
from functools import cache
from typing import NamedTuple

from tanuki.animals.search.kana import to_hiragana, is_kana
from tanuki.animals.search.normalize import ALL_KATAKANA, fold_with_offsets, split_runs, stem_word
from tanuki.animals.taxonomy import BREEDS, CATEGORIES, Breed, Name

CONCEPT_PREFIX = "\ue011"  # begins the token that stands for a category or breed, whatever it is called; a private letter, so that no text can hold it
PRIVATE_LETTERS = {code: 0xE100 + code for code in range(128) if not chr(code).isalnum()}
MAX_SHORT_NAME = 3  # kana: shorter names are too often something else (さい, いか), so a katakana one is met only as katakana
MIN_STANDALONE_NAME = 4  # letters, some of them kana: from here on a name is met also where the dictionary cuts it wrongly, as in しばいぬ
MIN_EMBEDDED_NAME = 6  # kana: from here on a katakana name is met also within a longer katakana word
MAX_WORDS_PER_NAME = 6  # words in the longest name
CATEGORIES_BY_PARTS = frozenset(
    ("cat", "dog", "bird", "rabbit", "horse")
)  # here names say what they are made of: any terrier is found by terrier; but a raccoon dog is no dog
KATAKANA = "\u30a1-\u30fa\u30fc-\u30ff"

Codes = tuple[str, ...]


class SynonymTables(NamedTuple):
    """Codes of categories and breeds by what they are called."""

    latin: dict[str, Codes]  # stems of the words, a space between
    japanese: dict[str, Codes]  # hiragana for katakana: as a query may write them
    written: dict[str, Codes]  # as they must be written to be met in a text
    standalone: re.Pattern[str]  # those that are met whatever the dictionary says


@cache
def synonym_tables() -> SynonymTables:
    """All names of the tables in species.py. Nobody looks for "other"."""
    made = SynonymTables({}, {}, {}, re.compile(""))
    alone: set[str] = set()
    entries: list[tuple[str, Name | Breed]] = [*CATEGORIES.items(), *BREEDS.items()]
    for code, entry in entries:
        for name in (entry.ja, entry.en, *entry.also) if code != "other" else ():
            if name.isascii():
                add_meaning(made.latin, stem_name(name), code)
                continue
            for written in name.split("・") if code in CATEGORIES else [name]:
                key = written.replace("・", "")
                add_meaning(made.japanese, to_hiragana(key), code)
                add_meaning(
                    made.written,
                    key if ALL_KATAKANA.fullmatch(key) and len(key) <= MAX_SHORT_NAME else to_hiragana(key),
                    code,
                )
                if len(key) >= MIN_STANDALONE_NAME and any(map(is_kana, key)):
                    alone.add(written)
    return made._replace(alone=compile_names(alone))


def add_meaning(known: dict[str, Codes], key: str, code: str) -> None:
    """One more meaning of a name."""
    known[key] = tuple(dict.fromkeys((*known.get(key, ()), code)))


def stem_name(name: str) -> str:
    """Words of Latin letters as names are compared."""
    return " ".join(filter(None, (stem_word(run.text) for run in split_runs(fold_with_offsets(name).text))))


def compile_names(written: set[str]) -> re.Pattern[str]:
    """Finds the longest of these names, with or without the dots between their parts; a short katakana one not within a longer katakana word."""
    found = []
    for name in sorted(written, key=len, reverse=True):
        loose = len(name) >= MIN_EMBEDDED_NAME or not ALL_KATAKANA.fullmatch(name)
        pattern = name.replace("・", "・?")
        found.append(pattern if loose else rf"(?<![{KATAKANA}]){pattern}(?![{KATAKANA}])")
    first = "".join(sorted({name[0] for name in written}))
    return re.compile(rf"(?=[{first}])(?:{'|'.join(found)})")


def find_names(
    parts: list[str], known: dict[str, Codes], between: str, alone: list[str] | None = None
) -> Iterator[tuple[int, int, Codes]]:
    """Names made of neighbouring parts, the longest first, none within another: first and last part, and codes. `alone` is how a part is compared that has no neighbour in the name."""
    first = 0
    while first < len(parts):
        for last in range(min(first + MAX_WORDS_PER_NAME, len(parts)) - 1, first - 1, -1):
            name = (
                alone[first] if alone and first == last else between.join(parts[first : last + 1])
            )
            if codes := known.get(name):
                yield first, last, codes
                first = last
                break
        first += 1


# ---- tokens --------------------------------------------------------------------------------------------------------


def concept_token(code: str) -> str:
    """The token of a category or breed."""
    return CONCEPT_PREFIX + join_as_token(code)


def join_as_token(text: str) -> str:
    """A text as one token: its spaces and signs as private letters, since they would part it (for FTS5's tokeniser `ascii`, `_` too is a sign)."""
    return text.translate(PRIVATE_LETTERS)


@cache
def concept_tokens(code: str) -> tuple[str, ...]:
    """The tokens by which a category or breed is found: its sign; a breed's category's sign, so that who looks for dogs finds a shiba; and the words in a breed's name."""
    if code not in BREEDS:
        return (concept_token(code),)
    breed = BREEDS[code]
    words = (
        [*stem_name(breed.en).split(), *map(to_hiragana, breed.ja.split("・"))]
        if breed.category in CATEGORIES_BY_PARTS
        else []
    )
    return tuple(dict.fromkeys((concept_token(code), concept_token(breed.category), *words)))

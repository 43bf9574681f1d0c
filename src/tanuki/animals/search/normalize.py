"""Text as it is compared.

Width, case and accents are folded, the text is split by script into words of Latin letters and runs
of Japanese, and English words are reduced to their stems. Uses no dictionary.
"""

import re
import unicodedata
from functools import lru_cache
from typing import NamedTuple

KANJI = "\u3005\u3006\u3007\u3400-\u4dbf\u4e00-\u9fff\uf900-\ufaff\U00020000-\U0003ffff"
KANA = "\u3041-\u3096\u309d-\u309f\u30a1-\u30fa\u30fc-\u30ff"
# On or between the letters of other scripts.
COMBINING_MARKS = r"\u0300-\u036f\u0591-\u05c7\u064b-\u065f\u0900-\u0963\u0966-\u109f"
RUN = re.compile(
    rf"(?P<latin>[0-9a-z\u00df-\u024f]+(?:'[a-z]+)*)"
    rf"|(?P<japanese>[{KANJI}{KANA}](?:[{KANJI}{KANA}]|・(?=[{KANJI}{KANA}]))*)"
    rf"|(?P<other>[^\W_0-9a-z{KANJI}{KANA}](?:[^\W_0-9a-z{KANJI}{KANA}]|[{COMBINING_MARKS}])*)"
)
HAS_KANJI = re.compile(rf"[{KANJI}]")
ALL_KATAKANA = re.compile(r"[\u30a1-\u30fa\u30fc-\u30ff]+")
ALL_HIRAGANA = re.compile(r"[\u3041-\u3096\u309d-\u309f\u30fc]+")
# Longer words are cut: nobody searches for them, and a lexeme of PostgreSQL holds 2 KB.
MAX_TOKEN_LENGTH = 40
MIXED_RUN = re.compile(r"[0-9]+|[^0-9]+")

# Words that say nothing about a photo: Snowball's English list, shortened to what people write in
# titles.
STOPWORDS = frozenset(
    """a about after again all also am an and any are as at be because been before being both but by
    can could did do does doing down each for from had has have having he her hers him his how
    i if in into is it its just me more most my no nor not of off on once only or other our
    ours out over own same she should so some such than that the their theirs them then there
    these they this those to too under until up very was we were what when where which while
    who whom why will with would you your yours""".split()  # noqa: SIM905 a table of words
)


class FoldedText(NamedTuple):
    """A folded text, with the places of its letters in the original."""

    text: str
    starts: list[int] | None  # of each letter in the original; None where all are the same
    ends: list[int] | None

    def original_span(self, start: int, end: int) -> tuple[int, int]:
        """The place in the original of a part of the folded text."""
        if self.starts is None or self.ends is None:
            return start, end
        return self.starts[start], self.ends[end - 1]


class Run(NamedTuple):
    """A word of Latin letters or digits, or an unbroken run of Japanese, in a folded text."""

    kind: str  # latin, japanese or other
    text: str
    start: int
    end: int


def fold(text: str) -> str:
    """The text as tags and queries are compared: width, case and spaces make no difference."""
    return " ".join(fold_with_offsets(text).text.split())


def fold_with_offsets(text: str) -> FoldedText:
    """The text in NFKC and lower case, with the places of its letters in the original."""
    small = text.casefold()
    if len(small) == len(text) and unicodedata.is_normalized("NFKC", small):
        return FoldedText(small, None, None)
    parts: list[str] = []
    starts: list[int] = []
    ends: list[int] = []
    place = 0
    while place < len(text):
        end = place + 1
        while end < len(text) and is_combining(text[end]):
            end += 1
        letters = unicodedata.normalize(
            "NFKC", unicodedata.normalize("NFKC", text[place:end]).casefold()
        )
        parts.append(letters)
        starts += [place] * len(letters)
        ends += [end] * len(letters)
        place = end
    return FoldedText("".join(parts), starts, ends)


def is_combining(letter: str) -> bool:
    """Whether a letter changes the one before it: an accent or a voiced sound mark."""
    return letter in "\uff9e\uff9f" or unicodedata.category(letter) in ("Mn", "Me", "Mc")


def split_runs(text: str) -> list[Run]:
    """The words and the Japanese runs of a folded text; everything else only separates them."""
    runs: list[Run] = []
    for match in RUN.finditer(text):
        kind = match.lastgroup or "other"
        if kind != "latin":
            runs.append(Run(kind, match.group(), match.start(), match.end()))
            continue
        for part in MIXED_RUN.finditer(match.group()):
            runs.append(
                Run(kind, part.group(), match.start() + part.start(), match.start() + part.end())
            )
    return runs


@lru_cache(maxsize=50_000)
def stem_word(word: str) -> str:
    """The token of a word of Latin letters, without accents and English endings.

    cats gives cat, category gives categori, a stopword gives an empty text.
    """
    plain = "".join(
        letter for letter in unicodedata.normalize("NFD", word) if not unicodedata.combining(letter)
    )
    plain = plain.removesuffix("'s").replace("'", "")[:MAX_TOKEN_LENGTH]
    if plain in STOPWORDS:
        return ""
    from snowballstemmer import stemmer

    # A stemmer holds the word that it works on, so each call has its own; that costs 0.3 µs.
    return str(stemmer("english").stemWord(plain))

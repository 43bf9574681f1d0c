"""Text as it is compared: widths, case and accents folded, cut into words of Latin letters and runs of Japanese; English words cut down to their stems. Knows no dictionary."""

import re
import threading
import unicodedata
from functools import lru_cache
from typing import NamedTuple

KANJI = "\u3005\u3006\u3007\u3400-\u4dbf\u4e00-\u9fff\uf900-\ufaff\U00020000-\U0003ffff"
KANA = "\u3041-\u3096\u309d-\u309f\u30a1-\u30fa\u30fc-\u30ff"
COMBINING_MARKS = r"\u0300-\u036f\u0591-\u05c7\u064b-\u065f\u0900-\u0963\u0966-\u109f"  # what stands on or between letters of other scripts
RUN = re.compile(
    rf"(?P<latin>[0-9a-z\u00df-\u024f]+(?:'[a-z]+)*)|(?P<japanese>[{KANJI}{KANA}](?:[{KANJI}{KANA}]|・(?=[{KANJI}{KANA}]))*)|(?P<other>[^\W_0-9a-z{KANJI}{KANA}](?:[^\W_0-9a-z{KANJI}{KANA}]|[{COMBINING_MARKS}])*)"
)
HAS_KANJI = re.compile(rf"[{KANJI}]")
ALL_KATAKANA = re.compile(r"[\u30a1-\u30fa\u30fc-\u30ff]+")
ALL_HIRAGANA = re.compile(r"[\u3041-\u3096\u309d-\u309f\u30fc]+")
MAX_TOKEN_LENGTH = (
    40  # longer words are cut: nobody searches for them, and a lexeme of PostgreSQL holds 2 KB
)
MIXED_RUN = re.compile(r"[0-9]+|[^0-9]+")

# Words that say nothing of a picture, and auxiliaries; snowball's English list, shortened to what people write in titles.
STOPWORDS = frozenset(
    """a about after again all also am an and any are as at be because been before being both but by can could did do does doing down each for from had has
    have having he her hers him his how i if in into is it its just me more most my no nor not of off on once only or other our ours out over own same she
    should so some such than that the their theirs them then there these they this those to too under until up very was we were what when where which
    while who whom why will with would you your yours""".split()  # noqa: SIM905 a table of words
)


class FoldedText(NamedTuple):
    """A text as it is compared, and where each of its letters stood."""

    text: str
    starts: list[int] | None  # of each letter, in the original; None where they are the same
    ends: list[int] | None

    def original_span(self, start: int, end: int) -> tuple[int, int]:
        """Where a piece of the folded text stands in the original."""
        if self.starts is None or self.ends is None:
            return start, end
        return self.starts[start], self.ends[end - 1]


class Run(NamedTuple):
    """A word of Latin letters or digits, or Japanese without a break, in a folded text."""

    kind: str  # latin, japanese or other
    text: str
    start: int
    end: int


def fold(text: str) -> str:
    """The text as tags and queries are compared: full and half width, case, and spaces do not count."""
    return " ".join(fold_with_offsets(text).text.split())


def fold_with_offsets(text: str) -> FoldedText:
    """The text folded to NFKC and small letters, with the places of its letters."""
    small = text.casefold()
    if len(small) == len(text) and unicodedata.is_normalized("NFKC", small):
        return FoldedText(small, None, None)
    made: list[str] = []
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
        made.append(letters)
        starts += [place] * len(letters)
        ends += [end] * len(letters)
        place = end
    return FoldedText("".join(made), starts, ends)


def is_combining(letter: str) -> bool:
    """Whether it changes the letter before it: an accent, a voiced sound mark, the half-width ones too."""
    return letter in "\uff9e\uff9f" or unicodedata.category(letter) in ("Mn", "Me", "Mc")


def split_runs(text: str) -> list[Run]:
    """The words and Japanese runs of a folded text; everything else only parts them."""
    found = []
    for match in RUN.finditer(text):
        kind = match.lastgroup or "other"
        if kind != "latin":
            found.append(Run(kind, match.group(), match.start(), match.end()))
            continue
        for part in MIXED_RUN.finditer(match.group()):
            found.append(
                Run(kind, part.group(), match.start() + part.start(), match.start() + part.end())
            )
    return found


_mine = threading.local()  # a stemmer keeps the word it works on: one for each thread


@lru_cache(maxsize=50_000)
def stem_word(word: str) -> str:
    """The token of a word of Latin letters: accents gone, English endings cut off (cats → cat, category → categori); empty for a stopword."""
    plain = "".join(
        letter for letter in unicodedata.normalize("NFD", word) if not unicodedata.combining(letter)
    )
    plain = plain.removesuffix("'s").replace("'", "")[:MAX_TOKEN_LENGTH]
    if plain in STOPWORDS:
        return ""
    if not hasattr(_mine, "stemmer"):
        from snowballstemmer import stemmer

        _mine.stemmer = stemmer("english")
    return str(_mine.stemmer.stemWord(plain))

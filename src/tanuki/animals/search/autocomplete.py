"""Suggestions while somebody types: words, tags, breeds and categories of published posts.

They are found by the beginning of their surface, of their reading, or of their romaji.
"""

import string
from functools import cache
from typing import NamedTuple

from sqlalchemy import func, select
from sqlalchemy.orm import Session

from tanuki.animals.search.index import LATIN_KEY_PREFIX, MAX_KEY_LENGTH, SearchWord, prefix_keys
from tanuki.animals.search.kana import (
    drop_long_vowels,
    fold_romaji_prefix,
    romaji_to_hiragana,
    to_hiragana,
)
from tanuki.animals.search.normalize import fold, stem_word
from tanuki.animals.search.synonyms import concept_token
from tanuki.animals.taxonomy import BREEDS, CATEGORIES, Breed, Name
from tanuki.errors import UserError

LAST_LETTER = "\U0010ffff"  # sorts after every letter
MAX_SUGGESTIONS = 20
CONSONANTS = "bcdfghjkmprstvwyz"
SUGGESTION_KINDS = ("breed", "category", "tag", "word")


class Suggestion(NamedTuple):
    """A search to suggest: its text, its kind, the code of a category or breed, and its posts."""

    text: str
    kind: str
    code: str | None
    posts: int


def suggest_searches(db: Session, prefix: str, lang: str, limit: int = 8) -> list[Suggestion]:
    """Searches that begin with a prefix, those with the most posts first.

    Breeds and categories are named in the reader's language. Japanese words are offered to a reader
    of English only for a Japanese prefix.
    """
    if not 1 <= limit <= MAX_SUGGESTIONS:
        raise UserError("There are 1 to %(most)s suggestions.", most=MAX_SUGGESTIONS)
    typed = to_hiragana(fold("".join(filter(str.isprintable, prefix[:MAX_KEY_LENGTH]))))
    if not typed.isascii():
        typed = typed.rstrip(string.ascii_lowercase)  # しb: a syllable that is not kana yet
    if not typed:
        return []
    prefixes = [typed, *(sound_keys(typed) if typed.isascii() else ())]
    codes = [
        code
        for code, keys in name_keys().items()
        if any(key.startswith(tuple(prefixes)) for key in keys)
    ]
    suggestions = [
        *find_names_with_posts(db, codes, lang),
        *find_words(db, prefixes, 3 * limit, english_only=lang == "en" and typed.isascii()),
    ]
    suggestions.sort(key=lambda each: (-each.posts, SUGGESTION_KINDS.index(each.kind), each.text))
    unique: dict[str, Suggestion] = {}
    for suggestion in suggestions:
        unique.setdefault(comparison_key(suggestion.text), suggestion)
    return list(unique.values())[:limit]


def sound_keys(latin: str) -> list[str]:
    """Keys of Japanese words that begin with the sound of these letters.

    kou gives こう, since whoever types long vowels means them; ko gives こ and こう.
    """
    kana = romaji_to_hiragana(latin.rstrip(CONSONANTS))
    if kana and drop_long_vowels(kana) != kana:
        return [kana]
    folded = fold_romaji_prefix(latin)
    return [LATIN_KEY_PREFIX + folded] if folded else []


def find_words(
    db: Session, prefixes: list[str], limit: int, *, english_only: bool
) -> list[Suggestion]:
    """Words and tags whose keys begin with one of the prefixes."""
    rows: list[tuple[str, str, int]] = []
    for prefix in prefixes:
        posts = func.max(SearchWord.posts)
        query = select(SearchWord.word, SearchWord.kind, posts).where(
            SearchWord.key >= prefix,
            SearchWord.key < prefix + LAST_LETTER,
            SearchWord.kind.in_(("word", "tag")),
        )
        if english_only:
            query = query.where(SearchWord.word < "\x80")
        query = query.group_by(SearchWord.word, SearchWord.kind)
        query = query.order_by(posts.desc(), SearchWord.word, SearchWord.kind).limit(limit)
        rows += [(word, kind, count) for word, kind, count in db.execute(query)]
    return [Suggestion(word, kind, None, count) for word, kind, count in dict.fromkeys(rows)]


def find_names_with_posts(db: Session, codes: list[str], lang: str) -> list[Suggestion]:
    """Those of the categories and breeds that posts have, named in a language."""
    rows = db.execute(
        select(SearchWord.word, SearchWord.kind, SearchWord.posts).where(
            SearchWord.key.in_(map(concept_token, codes)),
            SearchWord.kind.in_(("breed", "category")),
        )
    )
    return [Suggestion(name_in(lang, code), kind, code, posts) for code, kind, posts in rows]


def name_in(lang: str, code: str) -> str:
    """The name of a category or breed in a language."""
    entry: Name | Breed = BREEDS[code] if code in BREEDS else CATEGORIES[code]
    return entry.ja if lang == "ja" else entry.en


@cache
def name_keys() -> dict[str, frozenset[str]]:
    """The keys of every category and breed, by code."""
    entries: list[tuple[str, Name | Breed]] = [*CATEGORIES.items(), *BREEDS.items()]
    return {
        code: frozenset(
            key
            for name in (entry.ja, entry.en, *entry.also)
            for key in prefix_keys(fold(name).replace("・", ""), "")
        )
        for code, entry in entries
    }


def comparison_key(text: str) -> str:
    """What makes two suggestions the same: cat and cats, シバ and しば."""
    return " ".join(stem_word(word) or word for word in to_hiragana(fold(text)).split())

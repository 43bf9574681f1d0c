"""Suggestions while somebody types: words, tags, breeds and categories that published posts have, begun as they are written, as they are read, or in Latin letters."""

import string
from functools import cache
from typing import Any, NamedTuple

from sqlalchemy import func, select
from sqlalchemy.orm import Session

from tanuki.animals.search.index import LATIN_KEY_PREFIX, MAX_KEY_LENGTH, SearchWord, prefix_keys
from tanuki.animals.search.kana import fold_romaji_prefix, to_hiragana, romaji_to_hiragana, drop_long_vowels
from tanuki.animals.search.normalize import fold, stem_word
from tanuki.animals.search.synonyms import concept_token
from tanuki.animals.taxonomy import BREEDS, CATEGORIES, Breed, Name
from tanuki.errors import UserError

LAST_LETTER = "\U0010ffff"  # sorts after every letter
MAX_SUGGESTIONS = 20
CONSONANTS = "bcdfghjkmprstvwyz"


class Suggestion(NamedTuple):
    """Something to search for: what is shown, what it is, its code if it is a category or breed, and how many posts have it."""

    text: str
    kind: str  # breed, category, tag or word
    code: str | None
    posts: int


def suggest_searches(db: Session, prefix: str, lang: str, limit: int = 8) -> list[Suggestion]:
    """What begins with these letters and is in most posts. Names of breeds and categories are in the language; words in Japanese are offered to an English reader only when the letters are Japanese."""
    if not 1 <= limit <= MAX_SUGGESTIONS:
        raise UserError("There are 1 to %(most)s suggestions.", most=MAX_SUGGESTIONS)
    typed = to_hiragana(fold("".join(filter(str.isprintable, prefix[:MAX_KEY_LENGTH]))))
    typed = (
        typed if typed.isascii() else typed.rstrip(string.ascii_lowercase)
    )  # しb: a syllable that is not yet kana
    if not typed:
        return []
    begins = [typed, *(sound_keys(typed) if typed.isascii() else ())]
    named = [
        code
        for code, known in name_keys().items()
        if any(key.startswith(tuple(begins)) for key in known)
    ]
    found = [
        *find_names_with_posts(db, named, lang),
        *find_words(db, begins, 3 * limit, english_only=lang == "en" and typed.isascii()),
    ]
    once: dict[str, Suggestion] = {}
    for each in sorted(found, key=lambda each: (-each.posts, SUGGESTION_KINDS.index(each.kind), each.text)):
        once.setdefault(comparison_key(each.text), each)
    return list(once.values())[:limit]


def sound_keys(latin: str) -> list[str]:
    """Keys of Japanese words that begin as these letters sound: kou as こう, since somebody who writes long vowels means them; ko as こ and こう."""
    kana = romaji_to_hiragana(latin.rstrip(CONSONANTS))
    if kana and drop_long_vowels(kana) != kana:
        return [kana]
    return [LATIN_KEY_PREFIX + fold_romaji_prefix(latin)] if fold_romaji_prefix(latin) else []


SUGGESTION_KINDS = ("breed", "category", "tag", "word")


def find_words(db: Session, begins: list[str], most: int, english_only: bool) -> list[Suggestion]:
    """Words and tags under keys that begin so."""
    found: list[Any] = []
    for start in begins:
        posts = func.max(SearchWord.posts)
        asked = select(SearchWord.word, SearchWord.kind, posts).where(
            SearchWord.key >= start,
            SearchWord.key < start + LAST_LETTER,
            SearchWord.kind.in_(("word", "tag")),
        )
        if english_only:
            asked = asked.where(SearchWord.word < "\x80")
        found += db.execute(
            asked.group_by(SearchWord.word, SearchWord.kind)
            .order_by(posts.desc(), SearchWord.word, SearchWord.kind)
            .limit(most)
        ).all()
    return [
        Suggestion(word, kind, None, count)
        for word, kind, count in dict.fromkeys(map(tuple, found))
    ]


def find_names_with_posts(db: Session, codes: list[str], lang: str) -> list[Suggestion]:
    """Categories and breeds that posts have, called as the language does."""
    asked = select(SearchWord.word, SearchWord.kind, SearchWord.posts).where(
        SearchWord.key.in_(map(concept_token, codes)), SearchWord.kind.in_(("breed", "category"))
    )
    return [
        Suggestion(name_in(code, lang), kind, code, posts) for code, kind, posts in db.execute(asked)
    ]


def name_in(code: str, lang: str) -> str:
    """A category's or breed's name, a Japanese one without the dots between its parts."""
    entry: Name | Breed = BREEDS[code] if code in BREEDS else CATEGORIES[code]
    return entry.ja if lang == "ja" else entry.en


@cache
def name_keys() -> dict[str, frozenset[str]]:
    """By what each category and breed may be begun."""
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
    """What makes two suggestions one: cat and cats, シバ and しば."""
    return " ".join(stem_word(word) or word for word in to_hiragana(fold(text)).split())

"""Titles and tags for a photo, in both languages: the animal's names, and the words of posts with similar photos that more than one member uses, or the one who asks."""

from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

from tanuki.animals.posts import MAX_TAG_LENGTH
from tanuki.animals.search.normalize import fold
from tanuki.animals.search.tokenize import named, spans
from tanuki.animals.tables import Post
from tanuki.animals.taxonomy import CATEGORIES

Lang = Literal["ja", "en"]
Source = Literal["image_model", "posts"]  # where a word comes from
LANGS: tuple[Lang, ...] = ("ja", "en")
TAGS_EACH, TITLES_EACH = 4, 2  # in each language
MEMBERS_LEAST = 2  # a word of one other member's may be a name


@dataclass(frozen=True)
class Word:
    """A title or a tag that is suggested: in which language, and where it comes from."""

    text: str
    lang: Lang
    source: Source


def of_language(text: str) -> Lang:
    """Japanese unless written in Latin letters alone."""
    return "en" if text.isascii() else "ja"


def common(found: Sequence[tuple[Post, float]], me: int | None) -> list[str]:
    """Words of posts, given with their likeness, that say something: those of most of the likeness first. Names of animals are left to the eyes."""
    weights: dict[str, float] = defaultdict(float)
    users: dict[str, set[int]] = defaultdict(set)
    written: dict[str, str] = {}
    for post, likeness in found:
        shown = [span.shown for span in spans(post.title) if span.shown]
        for text in {fold(word): word for word in (*shown, *post.tags)}.values():
            key = fold(text)
            weights[key] += likeness
            users[key].add(post.member_id)
            written.setdefault(key, text)
    may = [key for key, who in users.items() if len(who) >= MEMBERS_LEAST or me in who]
    kept = [
        written[key]
        for key in sorted(may, key=lambda key: (-weights[key], key))
        if len(key) > 1 or not key.isascii()
    ]
    return [text for text in kept if len(text) <= MAX_TAG_LENGTH and not named(text)]


def tags(called: dict[Lang, str], category: str | None, words: Sequence[str]) -> list[Word]:
    """Tags: the category and the animal's name, then the words that others use."""
    made: list[Word] = []
    for lang in LANGS:
        of_eyes = [called[lang]] if lang in called else []
        if category is not None:
            of_eyes.append(getattr(CATEGORIES[category], lang))
        of_eyes = ["".join(text.split()).lower() for text in of_eyes]  # spaces part tags
        both = [Word(text, lang, "image_model") for text in of_eyes] + [
            Word(text, lang, "posts") for text in words if of_language(text) == lang
        ]
        once = {fold(each.text): each for each in reversed(both) if len(each.text) <= MAX_TAG_LENGTH}
        made += [each for each in both if once.get(fold(each.text)) is each][:TAGS_EACH]
    return made


def titles(called: dict[Lang, str], words: Sequence[str]) -> list[Word]:
    """Titles: the animal's name, and its name with the word that most use."""
    made: list[Word] = []
    for lang, name in called.items():
        first = next((word for word in words if of_language(word) == lang), None)
        whole = (
            [name]
            if first is None
            else [name, f"{name}・{first}" if lang == "ja" else f"{name}, {first}"]
        )
        made += [
            Word(text, lang, "posts" if number else "image_model")
            for number, text in enumerate(whole[:TITLES_EACH])
        ]
    return made

"""Titles and tags for a photo, in both languages.

They come from the image model, as the animal's names, and from the words of posts with similar
photos. Such a word must be used by more than one member, or by the member who asks: a word of one
other member may be a name.
"""

from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

from tanuki.animals.posts import MAX_TAG_LENGTH
from tanuki.animals.search.normalize import fold
from tanuki.animals.search.tokenize import find_codes, tokenize
from tanuki.animals.tables import Post
from tanuki.animals.taxonomy import CATEGORIES

Lang = Literal["ja", "en"]
Source = Literal["image_model", "posts"]
CAPTION_LANGS: tuple[Lang, ...] = ("ja", "en")
TAGS_PER_LANG, TITLES_PER_LANG = 4, 2
MIN_MEMBERS_PER_WORD = 2


@dataclass(frozen=True)
class SuggestedText:
    """A title or a tag."""

    text: str
    lang: Lang
    source: Source


def guess_language(text: str) -> Lang:
    """English if written in ASCII alone, otherwise Japanese."""
    return "en" if text.isascii() else "ja"


def find_common_words(
    similar_posts: Sequence[tuple[Post, float]], member_id: int | None
) -> list[str]:
    """Words of posts with similar photos, those with the greatest sum of similarities first.

    similar_posts: with the similarity of their photos. Names of animals are left out: those come
    from the image model.
    """
    weights: dict[str, float] = defaultdict(float)
    authors: dict[str, set[int]] = defaultdict(set)
    spelling: dict[str, str] = {}
    for post, similarity in similar_posts:
        words = [span.suggestion for span in tokenize(post.title) if span.suggestion]
        for key, word in {fold(word): word for word in (*words, *post.tags)}.items():
            weights[key] += similarity
            authors[key].add(post.member_id)
            spelling.setdefault(key, word)
    usable = [
        key
        for key, members in authors.items()
        if (len(members) >= MIN_MEMBERS_PER_WORD or member_id in members)
        and (len(key) > 1 or not key.isascii())
    ]
    words = [spelling[key] for key in sorted(usable, key=lambda key: (-weights[key], key))]
    return [word for word in words if len(word) <= MAX_TAG_LENGTH and not find_codes(word)]


def suggest_tags(
    names: Mapping[Lang, str], category: str | None, words: Sequence[str]
) -> list[SuggestedText]:
    """The animal's name and its category, then words of similar posts; once each, by language.

    names: of the animal, by language; empty if it is unknown.
    """
    suggestions: list[SuggestedText] = []
    for lang in CAPTION_LANGS:
        model_words = [names[lang]] if lang in names else []
        if category is not None:
            model_words.append(getattr(CATEGORIES[category], lang))
        tags = [
            # Without spaces, which separate tags.
            *(
                SuggestedText("".join(word.split()).lower(), lang, "image_model")
                for word in model_words
            ),
            *(SuggestedText(word, lang, "posts") for word in words if guess_language(word) == lang),
        ]
        first = {fold(tag.text): tag for tag in reversed(tags) if len(tag.text) <= MAX_TAG_LENGTH}
        unique = [tag for tag in tags if first.get(fold(tag.text)) is tag]
        suggestions += unique[:TAGS_PER_LANG]
    return suggestions


def suggest_titles(names: Mapping[Lang, str], words: Sequence[str]) -> list[SuggestedText]:
    """The animal's name, and its name with the most common word, by language."""
    suggestions: list[SuggestedText] = []
    for lang, name in names.items():
        titles = [SuggestedText(name, lang, "image_model")]
        word = next((word for word in words if guess_language(word) == lang), None)
        if word is not None:
            title = f"{name}・{word}" if lang == "ja" else f"{name}, {word}"
            titles.append(SuggestedText(title, lang, "posts"))
        suggestions += titles[:TITLES_PER_LANG]
    return suggestions

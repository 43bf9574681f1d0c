"""Members and visitors of the example site, their hidden tastes, and texts for their posts."""

from dataclasses import dataclass

import numpy as np

from tanuki.animals.example.cutouts import Cutout
from tanuki.animals.taxonomy import CATEGORIES

MEMBER_NAMES = (  # plants, weather and things: nobody has these names
    "acorn",
    "asagao",
    "bamboo",
    "biwa",
    "cedar",
    "clover",
    "donguri",
    "fern",
    "fuji-mist",
    "hatch",
    "himawari",
    "hoshizora",
    "ichou",
    "juniper",
    "kaki",
    "kawara",
    "kumo",
    "lantern",
    "lichen",
    "momiji",
    "moss",
    "nagisa",
    "noren",
    "oak-leaf",
    "origami",
    "pebble",
    "pinecone",
    "quill",
    "raindrop",
    "rindou",
    "river-stone",
    "sasa",
    "seaglass",
    "shigure",
    "sunbeam",
    "susuki",
    "tanpopo",
    "teapot",
    "tsukimi",
    "willow",
)
CATEGORY_KEYS = tuple(CATEGORIES)
TASTE_CONCENTRATION = 0.35  # of a Dirichlet distribution: small values make tastes narrow


@dataclass(frozen=True)
class Taste:
    """What a person likes, which the site never sees: a share of each category, and how easily they
    like a photo."""

    categories: np.ndarray  # in the order of CATEGORY_KEYS, sum 1
    eagerness: float

    def appeal(self, category: str, charm: float) -> float:
        """How much a photo appeals to them, about -2 to 3."""
        share = float(self.categories[CATEGORY_KEYS.index(category)])
        return 3.0 * share / (share + 0.2) - 1.2 + 0.9 * charm + self.eagerness


def draw_tastes(count: int, random: np.random.Generator) -> list[Taste]:
    return [
        Taste(
            random.dirichlet(np.full(len(CATEGORY_KEYS), TASTE_CONCENTRATION)),
            float(random.normal(0.0, 0.4)),
        )
        for _ in range(count)
    ]


# ---- texts ---------------------------------------------------------------------------------------

TITLES = {
    "ja": (
        "{ja}",
        "{ja}に会いました",
        "朝の{ja}",
        "夕方の{ja}",
        "{ja}の横顔",
        "こっちを見る{ja}",
        "のんびりする{ja}",
        "{ja}と目が合った",
        "散歩で見つけた{ja}",
        "今日の{ja}",
    ),
    "en": (
        "{en}",
        "{en} in the morning",
        "Evening {en}",
        "Portrait of a {en}",
        "A {en} looks at me",
        "Resting {en}",
        "Met a {en} on my walk",
        "My favourite {en}",
        "{en} today",
    ),
}
DESCRIPTIONS = {
    "ja": (
        "",
        "",
        "とてもかわいかったです。",
        "しばらく動きませんでした。",
        "近くで見られてうれしい。",
        "光がきれいな日でした。",
        "また会いに行きます。",
        "逃げずに待っていてくれました。",
    ),
    "en": (
        "",
        "",
        "It stayed for a long time.",
        "What a lovely day.",
        "I will come back tomorrow.",
        "Look at the light.",
        "It did not run away.",
        "Taken with my old camera.",
    ),
}
TAGS = {
    "ja": ("かわいい", "癒し", "散歩", "朝", "夕暮れ", "はじめて", "お気に入り", "光"),
    "en": ("cute", "walk", "morning", "sunset", "favourite", "light", "first"),
}
COMMENTS = {
    "ja": (
        "かわいい！",
        "いい写真ですね。",
        "どこで会えますか？",
        "目がきれい。",
        "癒されました。",
        "また見せてください。",
    ),
    "en": (
        "So cute!",
        "Great light.",
        "Where was this?",
        "Lovely whiskers.",
        "This made my day.",
        "More, please!",
    ),
}


def draw_texts(
    cutout: Cutout, lang: str, random: np.random.Generator
) -> tuple[str, str, tuple[str, ...]]:
    """Title, description and tags of a photo in a language, sometimes with a tag of the other."""
    other = "en" if lang == "ja" else "ja"
    title = TITLES[lang][random.integers(len(TITLES[lang]))].format(
        ja=cutout.ja, en=cutout.en if lang == "en" else cutout.en.lower()
    )
    title = title[:1].upper() + title[1:]
    description = DESCRIPTIONS[lang][random.integers(len(DESCRIPTIONS[lang]))]
    tags = list(random.choice(TAGS[lang], size=random.integers(0, 3), replace=False))
    if random.random() < 0.25:
        tags.append(getattr(cutout, other).replace(" ", "_"))
    return title, description, tuple(map(str, tags))


def draw_comment(lang: str, random: np.random.Generator) -> str:
    return COMMENTS[lang][random.integers(len(COMMENTS[lang]))]

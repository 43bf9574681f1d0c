"""Weeks of the example network as plain numbers: who posts what and when, who follows whom, likes, comments, visits and reports. Pure: a seed in, a story out."""

from dataclasses import dataclass
from datetime import datetime, timedelta

import numpy as np

from tanuki.animals.example import personas
from tanuki.animals.example.cutouts import Cutout
from tanuki.animals.example.personas import Taste

DAYS = 28
VISITORS = 150  # who only look
VISITS_PER_DAY = 90
PHOTOS_PER_VISIT = 24  # photos on a page of a visit
ATTENTION_DECAY_POSITIONS = 12.0  # places down the page by which attention has fallen to a third
VIOLATION_SHARE = 0.03  # share of photos that are no animal
REPORTED_SHARE = 0.7  # of those, by somebody
DECIDED_SHARE = 0.5  # of the reported, by a moderator already


@dataclass(frozen=True)
class PlannedPost:
    """A photo that somebody will post: its number, who, when, of what, with which words, and how charming it is, which nobody sees."""

    number: int
    member: int
    at: datetime
    cutout: Cutout
    title: str
    description: str
    tags: tuple[str, ...]
    charm: float

    @property
    def category(self) -> str:
        """What the member says it is; who posts a teapot says `other`."""
        return self.cutout.category or "other"


@dataclass(frozen=True)
class Visit:
    """A page of photos that was looked at in an order by chance: which ones, and which of them were opened, for how long (ms), and liked."""

    visitor: int
    at: datetime
    shown: tuple[int, ...]
    considered: int
    opened: dict[int, int]


@dataclass(frozen=True)
class Scenario:
    """Everything that happens, in the order of time within each list. Members and photos are numbers."""

    langs: list[str]
    tastes: list[Taste]
    visitor_tastes: list[Taste]
    posts: list[PlannedPost]
    follows: list[tuple[int, int, datetime]]
    likes: list[tuple[int, int, datetime]]
    comments: list[tuple[int, int, datetime, str]]
    reports: list[
        tuple[int, int, datetime, bool]
    ]  # member, photo, when, whether a moderator has decided
    visits: list[Visit]


def build_scenario(stamps: list[Cutout], *, seed: int, now: datetime, photos: int) -> Scenario:
    """The weeks up to `now`, of so many photos."""
    random = np.random.default_rng([seed, 1])
    people = len(personas.MEMBER_NAMES)
    langs = ["ja" if random.random() < 0.6 else "en" for _ in range(people)]
    tastes, visitor_tastes = (
        personas.draw_tastes(people, random),
        personas.draw_tastes(VISITORS, random),
    )
    posts = plan_posts(stamps, tastes, langs, random, now, photos)
    follows = plan_follows(tastes, random, now)
    likes, comments = plan_reactions(posts, tastes, langs, follows, random, now)
    reports = plan_reports(posts, people, random, now)
    return Scenario(
        langs,
        tastes,
        visitor_tastes,
        posts,
        follows,
        likes,
        comments,
        reports,
        plan_visits(posts, visitor_tastes, random, now),
    )


def plan_posts(
    stamps: list[Cutout],
    tastes: list[Taste],
    langs: list[str],
    random: np.random.Generator,
    now: datetime,
    photos: int,
) -> list[PlannedPost]:
    """Photos in the order of time: people photograph what they like."""
    animals = [stamp for stamp in stamps if stamp.category is not None]
    things = [stamp for stamp in stamps if stamp.category is None]
    busy = random.dirichlet(np.full(len(tastes), 1.5))
    minutes = np.sort(random.uniform(5, DAYS * 24 * 60, photos))[::-1]
    made = []
    for number, ago in enumerate(minutes):
        member = int(random.choice(len(tastes), p=busy))
        if things and random.random() < VIOLATION_SHARE:
            stamp = things[random.integers(len(things))]
        else:
            wanted = np.array(
                [tastes[member].appeal(stamp.category or "other", 0.0) for stamp in animals]
            )
            share = np.exp(0.8 * wanted)
            stamp = animals[int(random.choice(len(animals), p=share / share.sum()))]
        title, description, tags = personas.draw_texts(stamp, langs[member], random)
        at = now - timedelta(minutes=float(ago))
        made.append(
            PlannedPost(
                number, member, at, stamp, title, description, tags, float(random.normal(0.0, 0.7))
            )
        )
    return made


def plan_follows(
    tastes: list[Taste], random: np.random.Generator, now: datetime
) -> list[tuple[int, int, datetime]]:
    """People follow some of those who like what they like."""
    shares = np.array([taste.categories for taste in tastes])
    near = shares @ shares.T + random.uniform(0, 0.15, (len(tastes), len(tastes)))
    np.fill_diagonal(near, -1.0)
    made = []
    for member, order in enumerate(np.argsort(-near, axis=1)):
        for other in order[: random.integers(2, 10)]:
            made.append((member, int(other), now - timedelta(days=float(random.uniform(1, DAYS)))))
    return sorted(made, key=lambda each: each[2])


def plan_reactions(
    posts: list[PlannedPost],
    tastes: list[Taste],
    langs: list[str],
    follows: list[tuple[int, int, datetime]],
    random: np.random.Generator,
    now: datetime,
) -> tuple[list[tuple[int, int, datetime]], list[tuple[int, int, datetime, str]]]:
    """Likes and comments in the hours after each post; who follows is there more often."""
    following = {(member, other) for member, other, _ in follows}
    likes, comments = [], []
    for post in posts:
        for member, taste in enumerate(tastes):
            there = 0.5 if (member, post.member) in following else 0.13
            wants = 1 / (1 + np.exp(1.2 - taste.appeal(post.category, post.charm)))
            if (
                member == post.member
                or post.cutout.category is None
                or random.random() > there * wants
            ):
                continue
            at = min(post.at + timedelta(hours=float(random.exponential(9.0)), minutes=3), now)
            likes.append((member, post.number, at))
            if random.random() < 0.2:
                comments.append(
                    (
                        member,
                        post.number,
                        min(at + timedelta(minutes=2), now),
                        personas.draw_comment(langs[member], random),
                    )
                )
    return sorted(likes, key=lambda each: each[2]), sorted(comments, key=lambda each: each[2])


def plan_reports(
    posts: list[PlannedPost], people: int, random: np.random.Generator, now: datetime
) -> list[tuple[int, int, datetime, bool]]:
    """Most of what is no animal is reported, and half of that is decided."""
    made = []
    for post in posts:
        if post.cutout.category is None and random.random() < REPORTED_SHARE:
            member = (post.member + 1 + int(random.integers(people - 1))) % people
            at = min(post.at + timedelta(hours=float(random.exponential(12.0))), now)
            made.append((member, post.number, at, random.random() < DECIDED_SHARE))
    return sorted(made, key=lambda each: each[2])


def plan_visits(
    posts: list[PlannedPost], tastes: list[Taste], random: np.random.Generator, now: datetime
) -> list[Visit]:
    """Visits of three weeks: photos of that time in an order by chance, so that whoever learns from them knows how likely each place was."""
    times = np.array([post.at.timestamp() for post in posts])
    made = []
    for ago in np.sort(random.uniform(0, (DAYS - 7) * 24 * 60, VISITS_PER_DAY * (DAYS - 7)))[::-1]:
        at = now - timedelta(minutes=float(ago))
        there = int(np.searchsorted(times, at.timestamp()))
        if there < PHOTOS_PER_VISIT:
            continue
        visitor = int(random.integers(len(tastes)))
        shown = random.choice(there, PHOTOS_PER_VISIT, replace=False)
        wanted = np.array(
            [tastes[visitor].appeal(posts[n].category, posts[n].charm) for n in shown]
        )
        opens = random.random(PHOTOS_PER_VISIT) < np.exp(
            -np.arange(PHOTOS_PER_VISIT) / ATTENTION_DECAY_POSITIONS
        ) / (1 + np.exp(1.6 - wanted))
        opened = {
            int(n): int(random.gamma(2.0, 2500.0) * (1.6 if want > 1 else 0.7))
            for n, want, open_ in zip(shown, wanted, opens, strict=True)
            if open_
        }
        made.append(Visit(visitor, at, tuple(map(int, shown)), there, opened))
    return made

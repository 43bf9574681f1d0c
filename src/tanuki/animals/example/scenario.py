"""Weeks of activity on the example site as plain numbers: posts, follows, likes, comments, reports
and visits. Pure: the same seed gives the same scenario."""

from dataclasses import dataclass
from datetime import datetime, timedelta
from operator import itemgetter

import numpy as np

from tanuki.animals.example import personas
from tanuki.animals.example.cutouts import Cutout
from tanuki.animals.example.personas import Taste

DAYS = 28
VISITORS = 150  # without accounts
VISITS_PER_DAY = 90
PHOTOS_PER_VISIT = 24
ATTENTION_DECAY_POSITIONS = 12.0  # attention falls by 1/e
VIOLATION_SHARE = 0.03  # of photos: no animal in them
REPORTED_SHARE = 0.7  # of these photos
DECIDED_SHARE = 0.5  # of the reports, by a moderator


@dataclass(frozen=True)
class PlannedPost:
    """A post to create. Its charm is hidden from the site."""

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
        """The category that the member chooses: `other` for a thing."""
        return self.cutout.category or "other"


@dataclass(frozen=True)
class Visit:
    """A page of photos in random order: those shown, the number of candidates, and for how many
    milliseconds each photo was opened."""

    visitor: int
    at: datetime
    shown: tuple[int, ...]
    considered: int
    opened: dict[int, int]


@dataclass(frozen=True)
class Scenario:
    """Everything that happens, each list in order of time. Members and photos are numbers."""

    langs: list[str]
    tastes: list[Taste]
    visitor_tastes: list[Taste]
    posts: list[PlannedPost]
    follows: list[tuple[int, int, datetime]]
    likes: list[tuple[int, int, datetime]]
    comments: list[tuple[int, int, datetime, str]]
    # Member, photo, moment, and whether a moderator has decided.
    reports: list[tuple[int, int, datetime, bool]]
    visits: list[Visit]


def build_scenario(cutouts: list[Cutout], *, seed: int, now: datetime, photos: int) -> Scenario:
    """The weeks up to `now`, with this number of photos."""
    random = np.random.default_rng([seed, 1])
    people = len(personas.MEMBER_NAMES)
    langs = ["ja" if random.random() < 0.6 else "en" for _ in range(people)]
    tastes, visitor_tastes = (
        personas.draw_tastes(people, random),
        personas.draw_tastes(VISITORS, random),
    )
    posts = plan_posts(cutouts, tastes, langs, random, now, photos)
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
    cutouts: list[Cutout],
    tastes: list[Taste],
    langs: list[str],
    random: np.random.Generator,
    now: datetime,
    photos: int,
) -> list[PlannedPost]:
    """Posts in order of time: members post what they like."""
    animals = [cutout for cutout in cutouts if cutout.category is not None]
    things = [cutout for cutout in cutouts if cutout.category is None]
    busy = random.dirichlet(np.full(len(tastes), 1.5))
    minutes = np.sort(random.uniform(5, DAYS * 24 * 60, photos))[::-1]
    planned = []
    for number, ago in enumerate(minutes):
        member = int(random.choice(len(tastes), p=busy))
        if things and random.random() < VIOLATION_SHARE:
            cutout = things[random.integers(len(things))]
        else:
            wanted = np.array(
                [tastes[member].appeal(cutout.category or "other", 0.0) for cutout in animals]
            )
            share = np.exp(0.8 * wanted)
            cutout = animals[int(random.choice(len(animals), p=share / share.sum()))]
        title, description, tags = personas.draw_texts(cutout, langs[member], random)
        at = now - timedelta(minutes=float(ago))
        planned.append(
            PlannedPost(
                number, member, at, cutout, title, description, tags, float(random.normal(0.0, 0.7))
            )
        )
    return planned


def plan_follows(
    tastes: list[Taste], random: np.random.Generator, now: datetime
) -> list[tuple[int, int, datetime]]:
    """Members follow some of those with similar tastes."""
    shares = np.array([taste.categories for taste in tastes])
    near = shares @ shares.T + random.uniform(0, 0.15, (len(tastes), len(tastes)))
    np.fill_diagonal(near, -1.0)
    follows = []
    for member, order in enumerate(np.argsort(-near, axis=1)):
        for other in order[: random.integers(2, 10)]:
            follows.append(
                (member, int(other), now - timedelta(days=float(random.uniform(1, DAYS))))
            )
    return sorted(follows, key=itemgetter(2))


def plan_reactions(
    posts: list[PlannedPost],
    tastes: list[Taste],
    langs: list[str],
    follows: list[tuple[int, int, datetime]],
    random: np.random.Generator,
    now: datetime,
) -> tuple[list[tuple[int, int, datetime]], list[tuple[int, int, datetime, str]]]:
    """Likes and comments in the hours after each post; followers see it more often."""
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
    return sorted(likes, key=itemgetter(2)), sorted(comments, key=itemgetter(2))


def plan_reports(
    posts: list[PlannedPost], people: int, random: np.random.Generator, now: datetime
) -> list[tuple[int, int, datetime, bool]]:
    """Reports of most photos without an animal; half of them are decided."""
    reports = []
    for post in posts:
        if post.cutout.category is None and random.random() < REPORTED_SHARE:
            member = (post.member + 1 + int(random.integers(people - 1))) % people
            at = min(post.at + timedelta(hours=float(random.exponential(12.0))), now)
            reports.append((member, post.number, at, random.random() < DECIDED_SHARE))
    return sorted(reports, key=itemgetter(2))


def plan_visits(
    posts: list[PlannedPost], tastes: list[Taste], random: np.random.Generator, now: datetime
) -> list[Visit]:
    """Visits of three weeks, with the photos of that time in random order, so that propensities are
    known."""
    times = np.array([post.at.timestamp() for post in posts])
    visits = []
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
        visits.append(Visit(visitor, at, tuple(map(int, shown)), there, opened))
    return visits

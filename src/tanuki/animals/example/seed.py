"""The example network made real: accounts, photos taken in like anybody's, published on the days they were posted, and what people did. Done again, it goes on where it was."""

import json
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from functools import partial
from hashlib import sha256
from pathlib import Path
from typing import Any, TypeVar

import numpy as np
from sqlalchemy import select
from sqlalchemy.orm import Session

from tanuki.animals import engagement, events, members, post_states, posts
from tanuki.animals.events import RankedPost, Viewer
from tanuki.animals.example import compose, cutouts, personas, scenario
from tanuki.animals.example.cutouts import Credit, Stamp
from tanuki.animals.images import photo_files
from tanuki.animals.images.photo_files import CleanPhoto
from tanuki.animals.moderation import appeals, cases, decisions
from tanuki.animals.posts import Draft
from tanuki.animals.tables import CaseState, Post
from tanuki.errors import Conflict, NotFound, UserError
from tanuki.platform import accounts
from tanuki.platform.accounts import Person
from tanuki.platform.event_log import Event
from tanuki.platform.resources import Resources

T = TypeVar("T")
PHOTOS = 1_000
TOGETHER = 40  # in one transaction
KEPT = "animals/example"
TRUTH = KEPT + "/truth-{seed}.json"
MODERATORS = ("desk-one", "desk-two")  # two, because an appeal needs another one
SHOWN = (*MODERATORS, *personas.NAMES[:2])  # whose passwords are told
SUFFIXES = (".jpg", ".jpeg", ".png", ".webp", ".heic")
Progress = Callable[[str, int, int], None]


@dataclass(frozen=True)
class Made:
    """What was left: posts now there and new ones, new people's passwords (only now)."""

    posts: int
    new: int
    passwords: dict[str, str]


def make(
    res: Resources,
    *,
    seed: int,
    now: datetime,
    photos: int = PHOTOS,
    folder: Path | None = None,
    progress: Progress = lambda *_: None,
) -> Made:
    """Make the example network, or what is missing of it. `folder`: photos of one's own instead of the package's cut-outs."""
    found = (
        cutouts.read(cutouts.fetched(res.settings.home / "stamps"))
        if folder is None
        else own_photos(folder)
    )
    started = began(res, seed, now)
    story = scenario.story(found, seed=seed, now=started, photos=photos)
    people, passwords = come(res, story, started)
    before = keys(res, seed)
    ids = post_all(res, story, people, seed, before, composed=folder is None, progress=progress)
    if not res.objects.exists(TRUTH.format(seed=seed)):
        lived(res, story, people, ids, progress)
        looked(res, story, ids, seed, started)
        res.objects.put(TRUTH.format(seed=seed), truth(story, ids, started))
    return Made(len(ids), len(ids) - len(before), passwords)


def credits(res: Resources) -> tuple[Credit, ...]:
    """Whose pictures the example shows; nobody's where it was never made."""
    return cutouts.CREDITS if res.objects.list_keys(KEPT) else ()


def began(res: Resources, seed: int, now: datetime) -> datetime:
    """When the example of this seed was first made: a later run goes on with the same story."""
    key = f"{KEPT}/began-{seed}.json"
    if not res.objects.exists(key):
        res.objects.put(key, json.dumps(now.astimezone(UTC).isoformat()).encode())
    return datetime.fromisoformat(json.loads(res.objects.get(key)))


def own_photos(folder: Path) -> list[Stamp]:
    """A folder's photos, all of them `other` and called as their files. Raises UserError when there are none."""
    files = [file for file in sorted(folder.rglob("*")) if file.suffix.lower() in SUFFIXES]
    if not files:
        raise UserError(
            f"There are no photos in {folder}; expected files that end with {', '.join(SUFFIXES)}."
        )
    return [Stamp(file, file.stem, file.stem[:30], file.stem[:30], "other") for file in files]


# ---- people --------------------------------------------------------------------------------------------------------


def come(
    res: Resources, story: scenario.Story, now: datetime
) -> tuple[list[Person], dict[str, str]]:
    """The members, in the order of cast.NAMES, and two moderators; with the passwords of those that are told."""
    since, people = now - timedelta(days=scenario.DAYS + 1), []
    passwords: dict[str, str] = {}
    wanted = [(name, ("member", None)) for name in personas.NAMES] + [
        (name, ("moderator", None)) for name in MODERATORS
    ]
    for number, (name, grant) in enumerate(wanted):
        with res.db.write() as db:
            person = accounts.find_person(db, name)
            if person is None:
                password = accounts.add_user(db, accounts.NewUser(name, [grant]), since)
                passwords |= {name: password} if name in SHOWN else {}
                person = accounts.find_person(db, name)
                if number < len(story.langs):
                    accounts.save_preferences(
                        db, Person(name, name, frozenset({grant})), lang=story.langs[number]
                    )
            assert person is not None
            if grant[0] == "member":
                members.join_community(db, person, now=since)
                people.append(person)
    return people, passwords


# ---- photos --------------------------------------------------------------------------------------------------------


def keys(res: Resources, seed: int) -> dict[str, int]:
    """Posts of this example that are there already, by their keys."""
    with res.db.read() as db:
        return dict(
            db.execute(
                select(Post.key, Post.id).where(Post.key.startswith(f"example-{seed}-"))
            ).all()
        )


def post_all(
    res: Resources,
    story: scenario.Story,
    people: list[Person],
    seed: int,
    before: dict[str, int],
    *,
    composed: bool,
    progress: Progress,
) -> dict[int, int]:
    """Every photo posted and published at its time; the post's id for each number. Pictures are made and taken in on all cores."""
    ids = {
        post.number: before[key]
        for post in story.posts
        if (key := f"example-{seed}-{post.number}") in before
    }
    missing = [post for post in story.posts if post.number not in ids]

    def take(post: scenario.Planned) -> tuple[scenario.Planned, CleanPhoto]:
        accepted = photo_files.clean_upload(
            res, taken(post, seed) if composed else post.stamp.file.read_bytes()
        )
        photo_files.store_files(res.objects, accepted)
        return post, accepted

    with ThreadPoolExecutor(max_workers=3) as pool:
        for group in groups(pool.map(take, missing), TOGETHER):
            with res.db.write() as db:
                for post, accepted in group:
                    ids[post.number] = posted(
                        db,
                        res,
                        post,
                        people[post.member],
                        accepted,
                        f"example-{seed}-{post.number}",
                    )
            progress("photos", len(ids), len(story.posts))
    return ids


def taken(post: scenario.Planned, seed: int) -> bytes:
    """The photo's bytes."""
    from PIL import Image

    with Image.open(post.stamp.file) as stamp:
        return compose.photo(
            stamp, post.stamp.category, np.random.default_rng([seed, 2, post.number])
        )


def posted(
    db: Session, res: Resources, post: scenario.Planned, who: Person, accepted: CleanPhoto, key: str
) -> int:
    """One photo, published at its time."""
    draft = Draft(post.title, post.description, post.tags, post.category)
    made = posts.create_post(db, res, who, posts.NewPost(draft, accepted, key, source=post.stamp.species, limit=None), now=post.at)
    post_states.publish_post(db, made, now=post.at)
    return made.id


def groups(found: Iterator[T], size: int) -> Iterator[list[T]]:
    """Things by so many."""
    group: list[T] = []
    for each in found:
        group.append(each)
        if len(group) == size:
            yield group
            group = []
    if group:
        yield group


# ---- what people did -----------------------------------------------------------------------------------------------


def lived(
    res: Resources,
    story: scenario.Story,
    people: list[Person],
    ids: dict[int, int],
    progress: Progress,
) -> None:
    """Follows, likes, comments, reports and what moderators decided; each is what it is when done again."""
    deeds: list[tuple[datetime, Callable[[Session], Any]]] = []
    for member, other, at in story.follows:
        deeds.append(
            (at, partial(engagement.follow_member, who=people[member], name=people[other].name, now=at))
        )
    for member, number, at in story.likes:
        deeds.append(
            (at, partial(engagement.like_post, who=people[member], post_id=ids[number], now=at))
        )
    for count, (member, number, at, said) in enumerate(story.comments):
        deeds.append(
            (
                at,
                partial(
                    engagement.add_comment,
                    who=people[member],
                    post_id=ids[number],
                    words=said,
                    key=f"example-{count}",
                    now=at,
                ),
            )
        )
    for member, number, at, decided in story.reports:
        deeds.append(
            (at, partial(report, who=people[member], post_id=ids[number], at=at, decided=decided))
        )
    deeds.sort(key=lambda each: each[0])
    done = 0
    for group in groups(iter(deeds), TOGETHER):
        with res.db.write() as db:
            for _, do in group:
                undisturbed(db, do)
        done += len(group)
        progress("what people did", done, len(deeds))
    with res.db.write() as db:
        one_appeal(db, people, story)


def undisturbed(db: Session, do: Callable[[Session], Any]) -> None:
    """Do something that may no longer be possible: what is removed is not liked any more."""
    try:
        with db.begin_nested():
            do(db)
    except (NotFound, Conflict):
        return


def report(db: Session, who: Person, post_id: int, at: datetime, decided: bool) -> None:
    """Somebody reports a photo without an animal; a moderator may have removed it since."""
    case = cases.report_subject(db, who, cases.SubjectRef("post", post_id), "not_an_animal", "", now=at)
    moderator = accounts.find_person(db, MODERATORS[0])
    if decided and case.state == CaseState.OPEN and moderator is not None:
        note = "動物が写っていません。There is no animal in it."
        decisions.decide_case(db, moderator, case.id, decisions.Ruling("remove", "not_an_animal", note), now=at + timedelta(minutes=30))


def one_appeal(db: Session, people: Sequence[Person], story: scenario.Story) -> None:
    """The first whose photo was removed thinks that wrong, and waits for the other moderator."""
    for person in people:
        for decided in decisions.list_own_decisions(db, person).items:
            if appeals.can_appeal(db, person, decided, now=decided.decision.at):
                appeals.submit_appeal(
                    db,
                    person,
                    decided.decision.id,
                    "よく見てください。Please look again.",
                    now=decided.decision.at + timedelta(hours=1),
                )
            return


def looked(
    res: Resources, story: scenario.Story, ids: dict[int, int], seed: int, now: datetime
) -> None:
    """What visitors were shown, opened and looked at goes to the warehouse as the hourly export would bring it."""
    told: dict[str, list[Event]] = {kind.name: [] for kind in events.EVENT_KINDS}
    for number, visit in enumerate(story.visits):
        person, request = (
            sha256(f"visitor-{seed}-{visit.visitor}".encode()).hexdigest()[:16],
            f"example-{seed}-{number}",
        )
        chance = 1 / visit.considered  # each place shows each photo equally likely
        placed = [
            RankedPost(ids[photo], "chance", position, chance, "random", 1)
            for position, photo in enumerate(visit.shown)
        ]
        considered = [ids[photo] for photo in range(visit.considered)]
        made = events.listing_events(
            Viewer(person), "home", placed, considered=considered, request_id=request, now=visit.at
        )
        for position, photo in enumerate(visit.shown):
            if photo in visit.opened:
                about = {"request": request, "post": ids[photo], "position": position}
                made += [
                    events.build_event("open", person, visit.at, **about),
                    events.build_event("dwell", person, visit.at, **about, ms=visit.opened[photo]),
                ]
        for part, event in enumerate(made):
            event.id = f"{request}-{part}"
            told[event.kind].append(event)
    with res.db.write() as db:
        for kind in events.EVENT_KINDS:
            if told[kind.name]:
                res.warehouse.append_facts(
                    db,
                    kind.table,
                    kind.build_facts(told[kind.name]),
                    recorded_at=now,
                    source=f"example of seed {seed}",
                )


# ---- what nobody sees ----------------------------------------------------------------------------------------------


def truth(story: scenario.Story, ids: dict[int, int], began: datetime) -> bytes:
    """The tastes and charms behind it all, for measuring rankers against; nothing in the network reads it."""
    kept = {
        "began": began.isoformat(),
        "categories": list(personas.CATEGORY_KEYS),
        "members": [
            {"name": name, "tastes": as_list(taste), "eager": taste.eager}
            for name, taste in zip(personas.NAMES, story.tastes, strict=True)
        ],
        "visitors": [
            {"number": n, "tastes": as_list(taste), "eager": taste.eager}
            for n, taste in enumerate(story.visitor_tastes)
        ],
        "posts": [
            {
                "id": ids[post.number],
                "species": post.stamp.species,
                "category": post.stamp.category,
                "charm": post.charm,
            }
            for post in story.posts
        ],
    }
    return json.dumps(kept, ensure_ascii=False).encode()


def as_list(taste: personas.Taste) -> list[float]:
    """A taste's shares."""
    return [round(float(share), 4) for share in taste.categories]

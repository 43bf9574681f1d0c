"""The example site: accounts, posts, weeks of activity and visits, written to the database.

Repeated, it continues where it was interrupted.
"""

import json
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from functools import partial
from hashlib import sha256
from pathlib import Path
from typing import TypeVar

import numpy as np
from sqlalchemy import select
from sqlalchemy.orm import Session

from tanuki.animals import engagement, events, members, post_states, posts
from tanuki.animals.events import RankedPost, Viewer
from tanuki.animals.example import compose, cutouts, personas, scenario
from tanuki.animals.example.cutouts import Cutout, PhotoCredit
from tanuki.animals.example.scenario import PlannedPost, Scenario
from tanuki.animals.images import photo_files
from tanuki.animals.images.photo_files import CleanPhoto
from tanuki.animals.moderation import appeals, cases, decisions
from tanuki.animals.moderation.cases import SubjectRef
from tanuki.animals.moderation.decisions import Ruling
from tanuki.animals.posts import Draft, NewPost
from tanuki.animals.tables import Action, CaseState, Post, SubjectKind
from tanuki.errors import Conflict, NotFound, UserError
from tanuki.platform import accounts
from tanuki.platform.accounts import Person
from tanuki.platform.event_log import Event
from tanuki.platform.resources import Resources

T = TypeVar("T")
PHOTOS = 1_000
ACTIONS_PER_TRANSACTION = 40
COMPOSING_THREADS = 3
EXAMPLE_PREFIX = "animals/example"
TRUTH_KEY = EXAMPLE_PREFIX + "/truth-{seed}.json"
MODERATORS = ("moderator-one", "moderator-two")  # two, because another one answers an appeal
PRINTED_PASSWORDS = (*MODERATORS, *personas.MEMBER_NAMES[:2])
SUFFIXES = (".jpg", ".jpeg", ".png", ".webp", ".heic")
Progress = Callable[[str, int, int], None]
DatedAction = tuple[datetime, Callable[[Session], object]]


@dataclass(frozen=True)
class ExampleResult:
    """The posts of the example, the new ones, and passwords of accounts that were just created."""

    posts: int
    new_posts: int
    passwords: dict[str, str]


@dataclass(frozen=True)
class ExampleSite:
    """What the example consists of: its scenario and its members, by number."""

    res: Resources
    seed: int
    story: Scenario
    members: list[Person]


def create_example(
    res: Resources,
    *,
    seed: int,
    now: datetime,
    photos: int = PHOTOS,
    folder: Path | None = None,
    progress: Progress = lambda *_: None,
) -> ExampleResult:
    """Create the example site, or what is missing of it.

    `folder` has photos to use instead of the package's cut-outs.
    """
    pictures = (
        cutouts.read_cutouts(cutouts.fetch_package(res.settings.home / "stamps"))
        if folder is None
        else read_own_photos(folder)
    )
    started = load_start(res, seed, now)
    story = scenario.build_scenario(pictures, seed=seed, now=started, photos=photos)
    people, passwords = create_accounts(res, story, started)
    site = ExampleSite(res, seed, story, people)
    existing = load_post_ids(res, seed)
    ids = create_posts(site, existing, composed=folder is None, progress=progress)
    if not res.objects.exists(TRUTH_KEY.format(seed=seed)):
        replay_activity(site, ids, progress)
        record_visits(site, ids, started)
        res.objects.put(TRUTH_KEY.format(seed=seed), encode_truth(story, ids, started))
    return ExampleResult(len(ids), len(ids) - len(existing), passwords)


def list_photo_credits(res: Resources) -> tuple[PhotoCredit, ...]:
    """The credits of the example's photos; none where there is no example."""
    return cutouts.CREDITS if res.objects.list_keys(EXAMPLE_PREFIX) else ()


def load_start(res: Resources, seed: int, now: datetime) -> datetime:
    """When the example of this seed was begun, so that a later run continues the same scenario."""
    key = f"{EXAMPLE_PREFIX}/began-{seed}.json"
    if not res.objects.exists(key):
        res.objects.put(key, json.dumps(now.astimezone(UTC).isoformat()).encode())
    return datetime.fromisoformat(json.loads(res.objects.get(key)))


def read_own_photos(folder: Path) -> list[Cutout]:
    """The photos of a folder, in the category `other`, named like their files.

    Raises UserError if there are none.
    """
    files = [file for file in sorted(folder.rglob("*")) if file.suffix.lower() in SUFFIXES]
    if not files:
        raise UserError(
            f"There are no photos in {folder}; expected files that end with {', '.join(SUFFIXES)}."
        )
    return [Cutout(file, file.stem, file.stem[:30], file.stem[:30], "other") for file in files]


# ---- accounts ------------------------------------------------------------------------------------


def create_accounts(
    res: Resources, story: Scenario, now: datetime
) -> tuple[list[Person], dict[str, str]]:
    """Create the members and two moderators.

    Gives the members in the order of `personas.MEMBER_NAMES`, and the passwords to print.
    """
    since, people = now - timedelta(days=scenario.DAYS + 1), []
    passwords: dict[str, str] = {}
    roles = dict.fromkeys(personas.MEMBER_NAMES, "member")
    roles |= dict.fromkeys(MODERATORS, "moderator")
    for number, (name, role) in enumerate(roles.items()):
        with res.db.write() as db:
            person = accounts.find_person(db, name)
            if person is None:
                password = accounts.add_user(db, accounts.NewUser(name, [(role, None)]), since)
                passwords |= {name: password} if name in PRINTED_PASSWORDS else {}
                person = accounts.find_person(db, name)
                if number < len(story.langs):
                    accounts.save_preferences(
                        db, Person(name, name, frozenset({(role, None)})), lang=story.langs[number]
                    )
            assert person is not None
            if role == "member":
                members.join_community(db, person, now=since)
                people.append(person)
    return people, passwords


# ---- posts ---------------------------------------------------------------------------------------


def post_key(seed: int, number: int) -> str:
    """The idempotency key of a post of the example."""
    return f"example-{seed}-{number}"


def load_post_ids(res: Resources, seed: int) -> dict[str, int]:
    """The existing posts of this example, by key."""
    with res.db.read() as db:
        rows = db.execute(
            select(Post.key, Post.id).where(Post.key.startswith(post_key(seed, 0)[:-1]))
        )
        return {key: post_id for key, post_id in rows}  # noqa: C416 dict() takes a result for a mapping


def create_posts(
    site: ExampleSite, existing: dict[str, int], *, composed: bool, progress: Progress
) -> dict[int, int]:
    """Create and publish the missing posts at their planned times; gives the post ids by number.

    Photos are composed and decoded in several threads.
    """
    res, story = site.res, site.story
    ids = {
        post.number: existing[key]
        for post in story.posts
        if (key := post_key(site.seed, post.number)) in existing
    }
    missing = [post for post in story.posts if post.number not in ids]

    def prepare(post: PlannedPost) -> tuple[PlannedPost, CleanPhoto]:
        content = compose_content(post, site.seed) if composed else post.cutout.file.read_bytes()
        clean = photo_files.clean_upload(res, content)
        photo_files.store_files(res.objects, clean)
        return post, clean

    with ThreadPoolExecutor(max_workers=COMPOSING_THREADS) as pool:
        for group in split_groups(pool.map(prepare, missing), ACTIONS_PER_TRANSACTION):
            with res.db.write() as db:
                for post, clean in group:
                    ids[post.number] = create_published_post(db, site, post, clean)
            progress("photos", len(ids), len(story.posts))
    return ids


def compose_content(post: PlannedPost, seed: int) -> bytes:
    """The JPEG of a planned post."""
    from PIL import Image

    with Image.open(post.cutout.file) as picture:
        random = np.random.default_rng([seed, 2, post.number])
        return compose.compose_photo(picture, post.cutout.category, random)


def create_published_post(
    db: Session, site: ExampleSite, post: PlannedPost, clean: CleanPhoto
) -> int:
    """Create a post and publish it at its planned time, without a review."""
    new_post = NewPost(
        Draft(post.title, post.description, post.tags, post.category),
        clean,
        post_key(site.seed, post.number),
        source=post.cutout.species,
        limit=None,
    )
    created = posts.create_post(db, site.res, site.members[post.member], new_post, now=post.at)
    post_states.publish_post(db, created, now=post.at)
    return created.id


def split_groups(items: Iterator[T], size: int) -> Iterator[list[T]]:
    """The items in lists of `size`."""
    group: list[T] = []
    for item in items:
        group.append(item)
        if len(group) == size:
            yield group
            group = []
    if group:
        yield group


# ---- activity ------------------------------------------------------------------------------------


def replay_activity(site: ExampleSite, ids: dict[int, int], progress: Progress) -> None:
    """Follows, likes, comments, reports and decisions, in order of time. All are idempotent."""
    actions = sorted(plan_actions(site, ids), key=lambda action: action[0])
    done = 0
    for group in split_groups(iter(actions), ACTIONS_PER_TRANSACTION):
        with site.res.db.write() as db:
            for _, action in group:
                try_action(db, action)
        done += len(group)
        progress("activity", done, len(actions))
    with site.res.db.write() as db:
        submit_first_appeal(db, site.members)


def plan_actions(site: ExampleSite, ids: dict[int, int]) -> Iterator[DatedAction]:
    """The scenario's actions as functions of a session, with their moments."""
    story, people = site.story, site.members
    for member, other, at in story.follows:
        name = people[other].name
        yield at, partial(engagement.follow_member, who=people[member], name=name, now=at)
    for member, number, at in story.likes:
        yield at, partial(engagement.like_post, who=people[member], post_id=ids[number], now=at)
    for count, (member, number, at, text) in enumerate(story.comments):
        yield (
            at,
            partial(
                engagement.add_comment,
                who=people[member],
                post_id=ids[number],
                text=text,
                key=f"example-{count}",
                now=at,
            ),
        )
    for member, number, at, decided in story.reports:
        yield (
            at,
            partial(
                report_violation,
                who=people[member],
                post_id=ids[number],
                at=at,
                decided=decided,
            ),
        )


def try_action(db: Session, action: Callable[[Session], object]) -> None:
    """Do something unless it has become impossible, such as liking a removed post."""
    try:
        with db.begin_nested():
            action(db)
    except (NotFound, Conflict):
        return


def report_violation(db: Session, who: Person, post_id: int, at: datetime, decided: bool) -> None:
    """Report a photo without an animal; with `decided` a moderator removes it."""
    case = cases.report_subject(
        db, who, SubjectRef(SubjectKind.POST, post_id), "not_an_animal", now=at
    )
    moderator = accounts.find_person(db, MODERATORS[0])
    if decided and case.state == CaseState.OPEN and moderator is not None:
        note = "動物が写っていません。There is no animal in it."
        ruling = Ruling(Action.REMOVE, "not_an_animal", note)
        decisions.decide_case(db, moderator, case.id, ruling, now=at + timedelta(minutes=30))


def submit_first_appeal(db: Session, people: list[Person]) -> None:
    """The first member whose post was removed appeals, and waits for the other moderator."""
    for person in people:
        for decided in decisions.list_own_decisions(db, person).items:
            decided_at = decided.decision.at
            if appeals.can_appeal(db, person, decided, now=decided_at):
                text = "よく見てください。Please look again."
                appeals.submit_appeal(
                    db, person, decided.decision.id, text, now=decided_at + timedelta(hours=1)
                )
            return


# ---- visits --------------------------------------------------------------------------------------


def record_visits(site: ExampleSite, ids: dict[int, int], now: datetime) -> None:
    """Append what visitors saw and opened to the warehouse, as the hourly export would."""
    recorded: dict[str, list[Event]] = {kind.name: [] for kind in events.EVENT_KINDS}
    for number, visit in enumerate(site.story.visits):
        request = f"example-{site.seed}-{number}"
        for part, event in enumerate(visit_events(site.seed, visit, request, ids)):
            event.id = f"{request}-{part}"
            recorded[event.kind].append(event)
    with site.res.db.write() as db:
        for kind in events.EVENT_KINDS:
            if recorded[kind.name]:
                site.res.warehouse.append_facts(
                    db,
                    kind.table,
                    kind.build_facts(recorded[kind.name]),
                    recorded_at=now,
                    source=f"example of seed {site.seed}",
                )


def visit_events(
    seed: int, visit: scenario.Visit, request: str, ids: dict[int, int]
) -> list[Event]:
    """The events of a visit: the page with its impressions, then the photos that were opened.

    Every position shows every photo with the same propensity.
    """
    person = sha256(f"visitor-{seed}-{visit.visitor}".encode()).hexdigest()[:16]
    propensity = 1 / visit.considered
    ranked = [
        RankedPost(ids[photo], "chance", position, propensity, "random", 1)
        for position, photo in enumerate(visit.shown)
    ]
    considered = [ids[photo] for photo in range(visit.considered)]
    visit_log = events.listing_events(
        Viewer(person), "home", ranked, considered=considered, request_id=request, now=visit.at
    )
    for position, photo in enumerate(visit.shown):
        if photo in visit.opened:
            about = {"request": request, "post": ids[photo], "position": position}
            ms = visit.opened[photo]
            visit_log += [
                events.build_event("open", person, visit.at, **about),
                events.build_event("dwell", person, visit.at, **about, ms=ms),
            ]
    return visit_log


# ---- hidden truth --------------------------------------------------------------------------------


def encode_truth(story: scenario.Scenario, ids: dict[int, int], started: datetime) -> bytes:
    """The hidden tastes and charms, to measure rankers against. The site never reads them."""
    truth = {
        "began": started.isoformat(),
        "categories": list(personas.CATEGORY_KEYS),
        "members": [
            {"name": name, "tastes": round_shares(taste), "eager": taste.eagerness}
            for name, taste in zip(personas.MEMBER_NAMES, story.tastes, strict=True)
        ],
        "visitors": [
            {"number": n, "tastes": round_shares(taste), "eager": taste.eagerness}
            for n, taste in enumerate(story.visitor_tastes)
        ],
        "posts": [
            {
                "id": ids[post.number],
                "species": post.cutout.species,
                "category": post.cutout.category,
                "charm": post.charm,
            }
            for post in story.posts
        ],
    }
    return json.dumps(truth, ensure_ascii=False).encode()


def round_shares(taste: personas.Taste) -> list[float]:
    return [round(float(share), 4) for share in taste.categories]

"""The example network: the same from the same seed, complete when it was interrupted, honest about what is missing."""

import io
import json
from datetime import UTC, datetime

import numpy as np
import pytest
from PIL import Image
from sqlalchemy import func, select

from tanuki.animals.example import compose, cutouts, personas, scenario
from tanuki.animals.example import seed as make
from tanuki.animals.search.search import search_posts
from tanuki.animals.tables import Case, Comment, Follow, Like, Member, Post
from tanuki.errors import UserError

NOW = datetime(2026, 5, 1, 9, tzinfo=UTC)
KINDS = {"animals/birds/duck": ("A duck.", "カモ"), "animals/mammals/dogs/dog": ("A dog.", "イヌ"), "animals/mammals/cats/lion": ("A lion.", "ライオン"), "food/pizza": ("A pizza.", "ピザ")}  # fmt: skip


@pytest.fixture
def home(embedded):
    """A home folder in which the package's stamps are unpacked: four of them, drawn here."""
    folder = embedded.settings.home / "stamps"
    for n, (path, (en, ja)) in enumerate(KINDS.items()):
        file = folder / cutouts.CUTOUTS_FOLDER / f"{path}.png"
        file.parent.mkdir(parents=True)
        pixels = np.full((120, 150, 4), [40 * n, 120, 200 - 40 * n, 255], dtype=np.uint8)
        Image.fromarray(pixels).save(file)
        file.with_suffix(".txt").write_text(f"{en}\nde.utf8=x\nja.utf8={ja}。\n", encoding="utf-8")
    (folder / "complete").touch()
    return embedded


def count(res, table):
    with res.db.read() as db:
        return db.scalar(select(func.count()).select_from(table))


def test_stamps_have_names_and_categories(home):
    found = cutouts.read_cutouts(cutouts.fetch_package(home.settings.home / "stamps"))
    assert [(each.species, each.ja, each.en, each.category) for each in found] == [
        ("duck", "カモ", "duck", "bird"),
        ("lion", "ライオン", "lion", "wild"),
        ("dog", "イヌ", "dog", "dog"),
        ("pizza", "ピザ", "pizza", None),
    ]


def test_where_the_package_cannot_be_had_it_says_what_to_do(tmp_path, monkeypatch):
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(UserError, match=r"this machine has no apt-get.*--photos DIR"):
        cutouts.fetch_package(tmp_path / "stamps")


def test_the_same_numbers_give_the_same_photo(home):
    stamp = Image.open(
        cutouts.read_cutouts(cutouts.fetch_package(home.settings.home / "stamps"))[0].file
    )
    first, again, other = (
        compose.compose_photo(stamp, "bird", np.random.default_rng(seed)) for seed in (1, 1, 2)
    )
    assert first == again != other
    assert Image.open(io.BytesIO(first)).size in compose.PHOTO_SIZES


def test_the_same_seed_tells_the_same_story(home):
    found = cutouts.read_cutouts(cutouts.fetch_package(home.settings.home / "stamps"))
    first, again, other = (
        scenario.build_scenario(found, seed=seed, now=NOW, photos=80) for seed in (1, 1, 2)
    )
    assert first.posts == again.posts
    assert first.likes == again.likes
    assert first.visits == again.visits
    assert first.posts != other.posts
    assert all(post.at < NOW for post in first.posts)
    assert first.posts == sorted(first.posts, key=lambda post: post.at)


def test_people_look_at_what_they_like(home):
    """The hidden tastes are in the visits: what somebody likes more is opened more often."""
    found = cutouts.read_cutouts(cutouts.fetch_package(home.settings.home / "stamps"))
    story = scenario.build_scenario(found, seed=3, now=NOW, photos=200)
    wanted, opened = [], []
    for visit in story.visits:
        taste = story.visitor_tastes[visit.visitor]
        wanted += [taste.appeal(story.posts[n].category, story.posts[n].charm) for n in visit.shown]
        opened += [n in visit.opened for n in visit.shown]
    wanted, opened = np.array(wanted), np.array(opened)
    assert (
        opened[wanted > np.median(wanted)].mean() > 1.5 * opened[wanted <= np.median(wanted)].mean()
    )


def test_the_example_is_made_once_and_goes_on_where_it_was(home):
    def stop(what, done, whole):
        if what == "photos" and done >= make.ACTIONS_PER_TRANSACTION:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        make.create_example(home, seed=1, now=NOW, photos=60, progress=stop)
    assert count(home, Post) == make.ACTIONS_PER_TRANSACTION
    made = make.create_example(home, seed=1, now=NOW, photos=60)
    assert (made.posts, made.new_posts, made.passwords) == (60, 20, {})
    before = [count(home, table) for table in (Post, Member, Follow, Like, Comment, Case)]
    assert make.create_example(home, seed=1, now=NOW, photos=60).new_posts == 0
    assert [count(home, table) for table in (Post, Member, Follow, Like, Comment, Case)] == before
    assert before[1] == len(personas.MEMBER_NAMES)
    assert min(before[2:5]) > 0
    with home.db.read() as db:
        assert {post.state for post in db.scalars(select(Post))} <= {"published", "removed"}
        assert search_posts(db, "ライオン").posts
        assert search_posts(db, "lion").posts
        likes, posts = (
            db.scalar(select(func.sum(Post.likes))),
            db.scalar(select(func.sum(Member.posts))),
        )
        assert likes == before[3]
        assert posts == db.scalar(
            select(func.count()).select_from(Post).where(Post.state == "published")
        )


def test_the_truth_is_kept_for_those_who_measure(home):
    make.create_example(home, seed=1, now=NOW, photos=10)
    truth = json.loads(home.objects.get(make.TRUTH_KEY.format(seed=1)))
    assert len(truth["visitors"]) == scenario.VISITORS
    assert abs(sum(truth["visitors"][0]["tastes"]) - 1) < 0.01
    assert len(truth["posts"]) == 10


def test_weeks_of_visits_are_in_the_warehouse(home):
    make.create_example(home, seed=1, now=NOW, photos=120)
    with home.db.read() as db:
        (row,) = home.warehouse.query_facts(
            db,
            "select count(*) as n, count(distinct person) as people, min(propensity) as p from events_impression",
        ).to_dicts()
        opened = home.warehouse.query_facts(
            db,
            "select avg(i.position) as place from events_impression i semi join events_open o using (request, post)",
        )["place"][0]
    assert row["n"] > 20_000
    assert 100 < row["people"] <= scenario.VISITORS
    assert row["p"] == pytest.approx(1 / 120, rel=0.05)
    assert opened < 11.5


def test_photos_of_ones_own_do_as_well(embedded, tmp_path):
    for n in range(3):
        Image.new("RGB", (64, 48), (80 * n, 10, 10)).save(tmp_path / f"pet-{n}.jpg")
    assert make.create_example(embedded, seed=1, now=NOW, photos=5, folder=tmp_path).posts == 5
    with pytest.raises(UserError, match="There are no photos"):
        make.read_own_photos(tmp_path / "nothing")

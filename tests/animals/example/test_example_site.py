"""The example site: reproducible from its seed, resumable, with clear errors without cutouts."""

import io
import json
from datetime import UTC, datetime

import numpy as np
import pytest
from PIL import Image
from sqlalchemy import func, select

from tanuki.animals.example import compose, cutouts, personas, scenario
from tanuki.animals.example import seed as seed_module
from tanuki.animals.search.search import search_posts
from tanuki.animals.tables import Case, Comment, Follow, Like, Member, Post
from tanuki.errors import UserError

NOW = datetime(2026, 5, 1, 9, tzinfo=UTC)
CUTOUTS = {
    "animals/birds/duck": ("A duck.", "カモ"),
    "animals/mammals/dogs/dog": ("A dog.", "イヌ"),
    "animals/mammals/cats/lion": ("A lion.", "ライオン"),
    "food/pizza": ("A pizza.", "ピザ"),
}


@pytest.fixture
def home(embedded):
    """A home folder with four unpacked cutouts in the layout of the package."""
    folder = embedded.settings.home / "stamps"
    for n, (path, (en, ja)) in enumerate(CUTOUTS.items()):
        file = folder / cutouts.CUTOUTS_FOLDER / f"{path}.png"
        file.parent.mkdir(parents=True)
        pixels = np.full((120, 150, 4), [40 * n, 120, 200 - 40 * n, 255], dtype=np.uint8)
        Image.fromarray(pixels).save(file)
        file.with_suffix(".txt").write_text(f"{en}\nde.utf8=x\nja.utf8={ja}。\n", encoding="utf-8")
    (folder / "complete").touch()
    return embedded


def count_rows(res, table):
    with res.db.read() as db:
        return db.scalar(select(func.count()).select_from(table))


def test_cutouts_have_names_and_categories(home):
    all_cutouts = cutouts.read_cutouts(cutouts.fetch_package(home.settings.home / "stamps"))
    assert [(cutout.species, cutout.ja, cutout.en, cutout.category) for cutout in all_cutouts] == [
        ("duck", "カモ", "duck", "bird"),
        ("lion", "ライオン", "lion", "wild"),
        ("dog", "イヌ", "dog", "dog"),
        ("pizza", "ピザ", "pizza", None),
    ]


def test_the_error_without_apt_get_names_the_photos_option(tmp_path, monkeypatch):
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(UserError, match=r"this machine has no apt-get.*--photos DIR"):
        cutouts.fetch_package(tmp_path / "stamps")


def test_the_same_seed_gives_the_same_photo(home):
    cutout = Image.open(
        cutouts.read_cutouts(cutouts.fetch_package(home.settings.home / "stamps"))[0].file
    )
    first_photo, repeated_photo, other_photo = (
        compose.compose_photo(cutout, "bird", np.random.default_rng(seed)) for seed in (1, 1, 2)
    )
    assert first_photo == repeated_photo != other_photo
    assert Image.open(io.BytesIO(first_photo)).size in compose.PHOTO_SIZES


def test_the_same_seed_gives_the_same_scenario(home):
    all_cutouts = cutouts.read_cutouts(cutouts.fetch_package(home.settings.home / "stamps"))
    first_scenario, repeated_scenario, other_scenario = (
        scenario.build_scenario(all_cutouts, seed=seed, now=NOW, photos=80) for seed in (1, 1, 2)
    )
    assert first_scenario.posts == repeated_scenario.posts
    assert first_scenario.likes == repeated_scenario.likes
    assert first_scenario.visits == repeated_scenario.visits
    assert first_scenario.posts != other_scenario.posts
    assert all(post.at < NOW for post in first_scenario.posts)
    assert first_scenario.posts == sorted(first_scenario.posts, key=lambda post: post.at)


def test_visitors_open_posts_of_their_taste_more_often(home):
    """The visits follow the hidden tastes: posts with more appeal are opened more often."""
    all_cutouts = cutouts.read_cutouts(cutouts.fetch_package(home.settings.home / "stamps"))
    example = scenario.build_scenario(all_cutouts, seed=3, now=NOW, photos=200)
    appeals, is_opened = [], []
    for visit in example.visits:
        taste = example.visitor_tastes[visit.visitor]
        appeals += [
            taste.appeal(example.posts[n].category, example.posts[n].charm) for n in visit.shown
        ]
        is_opened += [n in visit.opened for n in visit.shown]
    appeals, is_opened = np.array(appeals), np.array(is_opened)
    assert (
        is_opened[appeals > np.median(appeals)].mean()
        > 1.5 * is_opened[appeals <= np.median(appeals)].mean()
    )


def test_an_interrupted_example_resumes_and_is_created_once(home):
    def stop(step, done_count, _total):
        if step == "photos" and done_count >= seed_module.ACTIONS_PER_TRANSACTION:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        seed_module.create_example(home, seed=1, now=NOW, photos=60, progress=stop)
    assert count_rows(home, Post) == seed_module.ACTIONS_PER_TRANSACTION
    result = seed_module.create_example(home, seed=1, now=NOW, photos=60)
    assert (result.posts, result.new_posts, result.passwords) == (60, 20, {})
    counts_before = [
        count_rows(home, table) for table in (Post, Member, Follow, Like, Comment, Case)
    ]
    assert seed_module.create_example(home, seed=1, now=NOW, photos=60).new_posts == 0
    assert [
        count_rows(home, table) for table in (Post, Member, Follow, Like, Comment, Case)
    ] == counts_before
    assert counts_before[1] == len(personas.MEMBER_NAMES)
    assert min(counts_before[2:5]) > 0
    with home.db.read() as db:
        assert {post.state for post in db.scalars(select(Post))} <= {"published", "removed"}
        assert search_posts(db, "ライオン").posts
        assert search_posts(db, "lion").posts
        likes, posts = (
            db.scalar(select(func.sum(Post.likes))),
            db.scalar(select(func.sum(Member.posts))),
        )
        assert likes == counts_before[3]
        assert posts == db.scalar(
            select(func.count()).select_from(Post).where(Post.state == "published")
        )


def test_the_hidden_tastes_are_stored_for_measurements(home):
    seed_module.create_example(home, seed=1, now=NOW, photos=10)
    truth = json.loads(home.objects.get(seed_module.TRUTH_KEY.format(seed=1)))
    assert len(truth["visitors"]) == scenario.VISITORS
    assert abs(sum(truth["visitors"][0]["tastes"]) - 1) < 0.01
    assert len(truth["posts"]) == 10


def test_the_visits_are_in_the_warehouse(home):
    seed_module.create_example(home, seed=1, now=NOW, photos=120)
    with home.db.read() as db:
        (row,) = home.warehouse.query_facts(
            db,
            "select count(*) as n, count(distinct person) as people, min(propensity) as p"
            " from events_impression",
        ).to_dicts()
        mean_position = home.warehouse.query_facts(
            db,
            "select avg(i.position) as position from events_impression i"
            " semi join events_open o using (request, post)",
        )["position"][0]
    assert row["n"] > 20_000
    assert 100 < row["people"] <= scenario.VISITORS
    assert row["p"] == pytest.approx(1 / 120, rel=0.05)
    assert mean_position < 11.5


def test_own_photos_can_replace_the_cutouts(embedded, tmp_path):
    for n in range(3):
        Image.new("RGB", (64, 48), (80 * n, 10, 10)).save(tmp_path / f"pet-{n}.jpg")
    assert (
        seed_module.create_example(embedded, seed=1, now=NOW, photos=5, folder=tmp_path).posts == 5
    )
    with pytest.raises(UserError, match="There are no photos"):
        seed_module.read_own_photos(tmp_path / "nothing")

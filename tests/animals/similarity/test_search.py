"""Similar pictures: the index and what is newer than it, as far as a viewer may see it at that moment; on both databases."""

from datetime import UTC, datetime, timedelta
from pathlib import Path

import numpy as np
import pytest
from sqlalchemy import insert

from tanuki.animals import members, nightly, post_states, posts
from tanuki.animals.similarity import dataset, delta_index, index_client, training
from tanuki.animals.similarity.index import INDEX_KIND, INDEX_MODEL, SimilarityIndex
from tanuki.animals.similarity.search import SimilarFilter, SimilaritySearch, find_current_index
from tanuki.animals.tables import ImageFeatures, Photo, Post
from tanuki.animals.vision import embeddings
from tanuki.animals.vision.encoder import ENCODER_MODEL
from tanuki.errors import NotFound, UserError
from tanuki.platform import resources as resources_file
from tanuki.platform.mlops import rollout
from tanuki.platform.mlops.tables import RolloutMode
from tests.factories.image_embeddings import build_index, make_images
from tests.factories.members_and_posts import make_member, make_post, make_staff
from tests.factories.rollouts import make_champion

NOW = datetime(2026, 5, 1, 9, 0, tzinfo=UTC)
LATER = NOW + timedelta(hours=1)
ENCODER_VERSION = "1"
SHOWN = make_images(60)


def add_features(res, made, vector, at=NOW, encoder_version=ENCODER_VERSION):
    """Features of a post's picture."""
    with res.db.write() as db:
        values = {
            "classes": [],
            "animal_score": 1.0,
            "lightness": 0.5,
            "sharpness": 1.0,
            "phash": "0" * 16,
            "at": at,
        }
        embedding = np.asarray(vector, np.float32).astype("<f2").tobytes()
        return db.execute(
            insert(ImageFeatures)
            .values(digest=made.photo, encoder_version=encoder_version, embedding=embedding, **values)
            .returning(ImageFeatures.id)
        ).scalar_one()


def make_encoder_live(res, version=ENCODER_VERSION):
    """That version of the encoder is live."""
    with res.db.write() as db:
        make_champion(db, ENCODER_MODEL, version, "nowhere", NOW)


def built(res, version, encoder_version=ENCODER_VERSION, now=LATER):
    """Where the files are of an index of all looks there are."""
    with res.db.read() as db:
        found, newest = dataset.load_all_images(db, encoder_version), delta_index.find_settled_id(db, encoder_version, now)
    folder, place = Path(res.settings.home) / "made" / version, f"similar/{version}"
    build_index(found, folder, max_features_id=newest)
    for file in folder.rglob("*"):
        if file.is_file():
            res.registry.files.put(
                f"{place}/{file.relative_to(folder).as_posix()}", file.read_bytes()
            )
    return place


def index_of(res, version="1", encoder_version=ENCODER_VERSION, now=LATER):
    """An index of all looks there are, live in that version."""
    place = built(res, version, encoder_version, now)
    with res.db.write() as db:
        make_champion(db, INDEX_MODEL, version, place, now)
    res.models.refresh()


def similar(res, viewer, made, k=10, now=LATER, **asked):
    with res.db.read() as db:
        return [
            each.post_id
            for each in SimilaritySearch(res, db, viewer, now).similar_to_post(made.id, k, SimilarFilter(**asked))
        ]


@pytest.fixture
def ring(resources):
    """Hana's posts, each a little further from the first one, all of them in the index but the last three."""
    hana = make_member(resources, "hana")
    make_encoder_live(resources)
    made = []
    for number in range(12):
        made.append(
            make_post(
                resources, hana, title=f"Cat {number}", category="cat" if number % 2 == 0 else "dog"
            )
        )
        add_features(resources, made[-1], at_angle(number))
        if number == 8:
            index_of(resources)
    return hana, made


def at_angle(number):
    turned = np.zeros(16, np.float32)
    turned[0], turned[1] = np.cos(number / 20), np.sin(number / 20)
    return turned


def ids(made):
    return [each.id for each in made]


# ---- found ---------------------------------------------------------------------------------------------------------


def test_posts_of_the_index_and_newer_ones_come_in_one_order_of_similarity_without_the_one_asked_about(
    resources, ring
):
    _, made = ring
    assert similar(resources, None, made[0]) == ids(made[1:11])
    assert sorted(similar(resources, None, made[6], k=4)) == ids(
        [made[4], made[5], made[7], made[8]]
    )
    with resources.db.read() as db:
        found = SimilaritySearch(resources, db, None, LATER).similar_to_post(made[0].id, 11)
    assert [each.score for each in found] == pytest.approx(
        [float(np.cos(n / 20)) for n in range(1, 12)], abs=2e-3
    )
    assert sorted(similar(resources, None, made[11], k=3)) == sorted(ids(made[8:11]))


def test_before_anything_was_looked_at_nothing_is_similar(embedded):
    assert similar(embedded, None, make_post(embedded, make_member(embedded, "hana"))) == []


def test_without_an_index_every_picture_is_compared(resources):
    hana = make_member(resources, "hana")
    make_encoder_live(resources)
    made = [make_post(resources, hana) for _ in range(5)]
    for number, each in enumerate(made):
        add_features(resources, each, at_angle(number))
    assert similar(resources, None, made[0]) == ids(made[1:])


def test_a_new_post_is_found_by_the_next_question_and_a_removed_one_never(resources, ring):
    hana, made = ring
    new = make_post(resources, hana)
    add_features(resources, new, at_angle(0.5), at=datetime.now(UTC))
    assert similar(resources, None, made[0], k=3, now=datetime.now(UTC)) == [
        new.id,
        *ids(made[1:3]),
    ]
    for each in (new, made[1], made[10]):
        with resources.db.write() as db:
            posts.delete_post(db, hana, each.id, now=NOW)
    assert similar(resources, None, made[0], now=datetime.now(UTC)) == ids([*made[2:10], made[11]])
    with resources.db.write() as db:
        posts.undo_delete(db, hana, made[1].id, now=NOW)
    assert similar(resources, None, made[0], k=2, now=datetime.now(UTC)) == ids(made[1:3])


@pytest.mark.parametrize("in_index", [True, False], ids=["in the index", "newer"])
@pytest.mark.parametrize("state", ["checking", "held", "removed", "deleted"])
def test_what_is_not_published_is_not_found_until_it_is(embedded, state, in_index):
    hana = make_member(embedded, "hana")
    make_encoder_live(embedded)
    first, hidden = make_post(embedded, hana), make_post(embedded, hana, state=state)
    for number, each in enumerate((first, hidden)):
        add_features(embedded, each, at_angle(number))
    if in_index:
        index_of(embedded)
    for viewer in (None, hana, make_staff(embedded, "mod")):
        assert similar(embedded, viewer, first) == []
    with embedded.db.write() as db:
        post_states.publish_post(db, db.get(Post, hidden.id), now=NOW)
        if state == "deleted":
            posts.undo_delete(db, hana, hidden.id, now=NOW)
    assert similar(embedded, None, first) == [hidden.id]


def test_blocked_and_muted_members_are_not_found_by_whom_it_concerns(resources, ring):
    _, made = ring
    taro, rin, mika = (make_member(resources, name) for name in ("taro", "rin", "mika"))
    asked = make_post(resources, taro)
    add_features(resources, asked, at_angle(0))
    with resources.db.write() as db:
        members.block_member(db, rin, "hana", "mute", now=NOW)
        members.block_member(db, mika, "taro", "block", now=NOW)
    assert similar(resources, taro, asked, k=3) == ids(made[:3])
    assert similar(resources, rin, asked) == []
    with pytest.raises(NotFound):
        similar(resources, mika, asked)


def test_a_post_that_somebody_may_not_see_is_not_there_to_ask_about(resources, ring):
    hana, made = ring
    hidden = make_post(resources, hana, state="held")
    add_features(resources, hidden, at_angle(3))
    with pytest.raises(NotFound):
        similar(resources, None, hidden)
    assert similar(resources, hana, hidden, k=1) == [made[3].id]


def test_filters_narrow_what_is_found(resources, ring):
    hana, made = ring
    assert similar(resources, None, made[0], category="dog") == ids(made[1::2])
    assert similar(resources, None, made[0], excluded_ids=frozenset(ids(made[1:5])), k=3) == ids(
        made[5:8]
    )
    assert similar(resources, hana, made[0], exclude_own=True) == []
    assert similar(resources, None, made[0], exclude_own=True, k=2) == ids(made[1:3])
    with pytest.raises(NotFound, match="no such category"):
        similar(resources, None, made[0], category="dragon")
    with pytest.raises(UserError, match="At most"):
        similar(resources, None, made[0], excluded_ids=frozenset(range(2_000)))


def test_the_same_picture_posted_twice_is_the_most_similar_there_is(resources, ring):
    _, made = ring
    taro = make_member(resources, "taro")
    with resources.db.write() as db:
        again = make_post(resources, taro, seed=900, key="again")
        db.get(Post, again.id).photo = made[0].photo
    with resources.db.read() as db:
        found = SimilaritySearch(resources, db, None, LATER).similar_to_post(made[0].id, 2)
    assert [each.post_id for each in found] == [again.id, made[1].id]
    assert found[0].score == pytest.approx(1, abs=1e-3)


def test_a_picture_that_is_gone_for_good_is_gone_from_the_search(resources, ring):
    _, made = ring
    with resources.db.write() as db:
        post_states.erase_posts(db, [made[1].id])
        db.delete(db.get(Photo, made[1].photo))
    assert similar(resources, None, made[0], k=2) == ids(made[2:4])


# ---- swaps ---------------------------------------------------------------------------------------------------------


def test_a_new_index_answers_at_once_and_finds_the_same(resources, ring):
    _, made = ring
    before = similar(resources, None, made[0])
    index_of(resources, "2")
    assert similar(resources, None, made[0]) == before
    with resources.db.read() as db:
        index = find_current_index(resources, db)
        version = index_client.query_index(resources, index, at_angle(0), 10, None).version
    assert (index.version, version, index.count) == ("2", "2", 12)


def test_the_same_question_is_put_to_the_index_once_until_it_changes(embedded):
    hana = make_member(embedded, "hana")
    make_encoder_live(embedded)
    made = [make_post(embedded, hana) for _ in range(4)]
    for number, each in enumerate(made):
        add_features(embedded, each, at_angle(number))
    index_of(embedded)
    for _ in range(3):
        similar(embedded, None, made[0])
    assert (
        sum(totals.success for totals in embedded.models.statistics(INDEX_MODEL).values())
        == 1
    )
    index_of(embedded, "2")
    similar(embedded, None, made[0])
    assert embedded.models.statistics(INDEX_MODEL)["2"].success == 1


def test_the_encoder_of_the_index_is_used_and_not_a_newer_one(resources, ring):
    _, made = ring
    make_encoder_live(resources, "2")
    other = np.eye(16, dtype=np.float32)[5]
    for each in made:
        add_features(resources, each, other, encoder_version="2")
    assert similar(resources, None, made[0], k=3) == ids(made[1:4])
    with resources.db.read() as db:
        assert find_current_index(resources, db).encoder_version == ENCODER_VERSION
        assert embeddings.load_features(db, made[0].photo, "2") is not None


def test_a_canary_with_another_encoder_answers_nobody_because_one_question_is_in_one_versions_numbers(
    resources, ring
):
    hana, made = ring
    before = similar(resources, hana, made[0])
    for number, each in enumerate(made):
        add_features(resources, each, at_angle(12 - number), encoder_version="2")
    other = built(resources, "9", encoder_version="2")
    with resources.db.write() as db, rollout.change_rollout(db, INDEX_MODEL, LATER) as row:
        row.files = {**row.files, "9": other}
        row.challenger, row.mode, row.share = "9", RolloutMode.CANARY, 1.0
    resources.models.refresh()
    assert similar(resources, hana, made[0]) == before
    with resources.db.read() as db:
        index = find_current_index(resources, db)
        assert (index.single_encoder, index_client.query_index(resources, index, at_angle(0), 10, hana).version) == (
            False,
            "1",
        )


def test_when_another_encoder_goes_live_an_index_for_it_is_requested_once(resources, ring):
    resources_file.set_process_resources(resources)
    nightly.retrain_for_new_encoder()
    assert resources.jobs.list_runs(name=training.TRAINING) == []
    make_encoder_live(resources, "2")
    for _ in range(2):
        nightly.retrain_for_new_encoder()
    assert [run.id for run in resources.jobs.list_runs(name=training.TRAINING)] == [
        training.training_run_id("encoder-2")
    ]


# ---- many ----------------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def crowded(shared):
    """Three thousand pictures in ScaNN's tree, one in a hundred of them of fish; the posts by copying one row."""
    hana, shown = make_member(shared, "hana"), make_images(3_000)
    make_encoder_live(shared)
    template = make_post(shared, hana)
    with shared.db.write() as db:
        row = {column.name: getattr(template, column.name) for column in Post.__table__.columns}
        photo = {
            column.name: getattr(db.get(Photo, template.photo), column.name)
            for column in Photo.__table__.columns
        }
        kept = {
            "encoder_version": ENCODER_VERSION,
            "classes": [],
            "animal_score": 1.0,
            "lightness": 0.5,
            "sharpness": 1.0,
            "phash": "0" * 16,
            "at": NOW,
        }
        db.execute(insert(Photo), [{**photo, "digest": f"{n:064x}"} for n in range(3_000)])
        fish = [n % 100 == 50 for n in range(3_000)]
        posted = [
            {
                **row,
                "id": 10 + n,
                "key": f"many-{n}",
                "photo": f"{n:064x}",
                "category": "fish" if fish[n] else "cat",
            }
            for n in range(3_000)
        ]
        db.execute(insert(Post), posted)
        looked = [
            {**kept, "digest": f"{n:064x}", "embedding": shown.vectors[n].astype("<f2").tobytes()}
            for n in range(3_000)
        ]
        db.execute(insert(ImageFeatures), looked)
    index_of(shared)
    return shared, shown


def test_a_filter_that_one_in_a_hundred_passes_loses_nothing(crowded):
    res, shown = crowded
    allowed = [n for n in range(3_000) if n % 100 == 50]
    hits = []
    for asked in range(0, 3_000, 150):
        near = sorted(
            (n for n in allowed if n != asked),
            key=lambda n: -float(shown.vectors[n] @ shown.vectors[asked]),
        )[:10]
        with res.db.read() as db:
            found = SimilaritySearch(res, db, None, LATER).similar_to_post(10 + asked, 10, SimilarFilter("fish"))
        hits.append(len({each.post_id - 10 for each in found} & set(near)) / 10)
    assert np.mean(hits) >= 0.95


def test_the_tree_finds_what_comparing_with_each_finds(crowded):
    res, shown = crowded
    hits = []
    for asked in range(0, 3_000, 100):
        near = [
            n
            for n in np.argsort(-(shown.vectors @ shown.vectors[asked]), kind="stable")[
                :11
            ].tolist()
            if n != asked
        ][:10]
        with res.db.read() as db:
            found = SimilaritySearch(res, db, None, LATER).similar_to_post(10 + asked, 10)
        hits.append(len({each.post_id - 10 for each in found} & set(near)) / 10)
    assert np.mean(hits) >= 0.97
    assert res.registry.runner_factories[INDEX_KIND] is SimilarityIndex


def test_the_command_names_what_a_folder_brought_by_its_file_and_the_rest_by_their_numbers(
    resources, ring
):
    from tanuki.animals.commands.similarity import find_similar_to_posts
    from tanuki.animals.import_folder import KEY_PREFIX

    _, made = ring
    with resources.db.write() as db:
        brought = db.get(Post, made[1].id)
        brought.key, brought.source = f"{KEY_PREFIX}1", "cats/mike.jpg"
        db.get(Post, made[0].id).source = "not a file"
    (told,) = find_similar_to_posts(resources, made[0].id, 3, SimilarFilter())
    assert (told["post"], told["similar"][0]) == (made[0].id, "cats/mike.jpg")
    assert set(told["similar"][1:]) <= {each.id for each in made}
    assert told["scores"] == sorted(told["scores"], reverse=True)
    by_file = {
        answer["file"]: answer
        for answer in find_similar_to_posts(resources, None, 3, SimilarFilter())
        if "file" in answer
    }
    assert list(by_file) == ["cats/mike.jpg"]

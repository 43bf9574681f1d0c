"""Similarity search on both databases: the index, newer images, visibility, filters, caching."""

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
IMAGES = make_images(60)


def add_features(res, post, vector, at=NOW, encoder_version=ENCODER_VERSION):
    """Insert features of a post's photo; gives their id."""
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
            .values(
                digest=post.photo, encoder_version=encoder_version, embedding=embedding, **values
            )
            .returning(ImageFeatures.id)
        ).scalar_one()


def make_encoder_live(res, version=ENCODER_VERSION):
    """Make a version of the encoder live."""
    with res.db.write() as db:
        make_champion(db, ENCODER_MODEL, version, "nowhere", NOW)


def build_index_files(res, version, encoder_version=ENCODER_VERSION, now=LATER):
    """Store the files of an index of all embeddings; gives their prefix."""
    with res.db.read() as db:
        images = dataset.load_all_images(db, encoder_version)
        newest_id = delta_index.find_settled_id(db, encoder_version, now)
    folder, prefix = Path(res.settings.home) / "made" / version, f"similar/{version}"
    build_index(images, folder, max_features_id=newest_id)
    for file in folder.rglob("*"):
        if file.is_file():
            res.registry.files.put(
                f"{prefix}/{file.relative_to(folder).as_posix()}", file.read_bytes()
            )
    return prefix


def make_index_live(res, version="1", encoder_version=ENCODER_VERSION, now=LATER):
    """Build an index of all embeddings and make it live."""
    prefix = build_index_files(res, version, encoder_version, now)
    with res.db.write() as db:
        make_champion(db, INDEX_MODEL, version, prefix, now)
    res.models.refresh()


def find_similar(res, viewer, post, k=10, now=LATER, **filters):
    with res.db.read() as db:
        return [
            hit.post_id
            for hit in SimilaritySearch(res, db, viewer, now).similar_to_post(
                post.id, k, SimilarFilter(**filters)
            )
        ]


@pytest.fixture
def graded_posts(resources):
    """hana's posts with decreasing similarity to the first one; the last three are not indexed."""
    hana = make_member(resources, "hana")
    make_encoder_live(resources)
    all_posts = []
    for number in range(12):
        all_posts.append(
            make_post(
                resources, hana, title=f"Cat {number}", category="cat" if number % 2 == 0 else "dog"
            )
        )
        add_features(resources, all_posts[-1], angle_vector(number))
        if number == 8:
            make_index_live(resources)
    return hana, all_posts


def angle_vector(number):
    vector = np.zeros(16, np.float32)
    vector[0], vector[1] = np.cos(number / 20), np.sin(number / 20)
    return vector


def post_ids(all_posts):
    return [post.id for post in all_posts]


# ---- results -----------------------------------------------------------------------------------


def test_indexed_and_newer_posts_are_merged_by_similarity(resources, graded_posts):
    _, all_posts = graded_posts
    assert find_similar(resources, None, all_posts[0]) == post_ids(all_posts[1:11])
    assert sorted(find_similar(resources, None, all_posts[6], k=4)) == post_ids(
        [all_posts[4], all_posts[5], all_posts[7], all_posts[8]]
    )
    with resources.db.read() as db:
        hits = SimilaritySearch(resources, db, None, LATER).similar_to_post(all_posts[0].id, 11)
    assert [hit.score for hit in hits] == pytest.approx(
        [float(np.cos(n / 20)) for n in range(1, 12)], abs=2e-3
    )
    assert sorted(find_similar(resources, None, all_posts[11], k=3)) == sorted(
        post_ids(all_posts[8:11])
    )


def test_without_embeddings_nothing_is_similar(embedded):
    assert find_similar(embedded, None, make_post(embedded, make_member(embedded, "hana"))) == []


def test_without_an_index_the_search_is_exact(resources):
    hana = make_member(resources, "hana")
    make_encoder_live(resources)
    all_posts = [make_post(resources, hana) for _ in range(5)]
    for number, post in enumerate(all_posts):
        add_features(resources, post, angle_vector(number))
    assert find_similar(resources, None, all_posts[0]) == post_ids(all_posts[1:])


def test_new_posts_are_found_at_once_and_deleted_ones_are_not(resources, graded_posts):
    hana, all_posts = graded_posts
    new_post = make_post(resources, hana)
    add_features(resources, new_post, angle_vector(0.5), at=datetime.now(UTC))
    assert find_similar(resources, None, all_posts[0], k=3, now=datetime.now(UTC)) == [
        new_post.id,
        *post_ids(all_posts[1:3]),
    ]
    for post in (new_post, all_posts[1], all_posts[10]):
        with resources.db.write() as db:
            posts.delete_post(db, hana, post.id, now=NOW)
    assert find_similar(resources, None, all_posts[0], now=datetime.now(UTC)) == post_ids(
        [*all_posts[2:10], all_posts[11]]
    )
    with resources.db.write() as db:
        posts.undo_delete(db, hana, all_posts[1].id, now=NOW)
    assert find_similar(resources, None, all_posts[0], k=2, now=datetime.now(UTC)) == post_ids(
        all_posts[1:3]
    )


@pytest.mark.parametrize("in_index", [True, False], ids=["in the index", "newer"])
@pytest.mark.parametrize("state", ["checking", "held", "removed", "deleted"])
def test_a_post_is_found_only_once_it_is_published(embedded, state, in_index):
    hana = make_member(embedded, "hana")
    make_encoder_live(embedded)
    query_post, hidden_post = make_post(embedded, hana), make_post(embedded, hana, state=state)
    for number, post in enumerate((query_post, hidden_post)):
        add_features(embedded, post, angle_vector(number))
    if in_index:
        make_index_live(embedded)
    for viewer in (None, hana, make_staff(embedded, "mod")):
        assert find_similar(embedded, viewer, query_post) == []
    with embedded.db.write() as db:
        post_states.publish_post(db, db.get(Post, hidden_post.id), now=NOW)
        if state == "deleted":
            posts.undo_delete(db, hana, hidden_post.id, now=NOW)
    assert find_similar(embedded, None, query_post) == [hidden_post.id]


def test_posts_of_blocked_and_muted_members_are_not_found(resources, graded_posts):
    _, all_posts = graded_posts
    taro, rin, mika = (make_member(resources, name) for name in ("taro", "rin", "mika"))
    query_post = make_post(resources, taro)
    add_features(resources, query_post, angle_vector(0))
    with resources.db.write() as db:
        members.block_member(db, rin, "hana", "mute", now=NOW)
        members.block_member(db, mika, "taro", "block", now=NOW)
    assert find_similar(resources, taro, query_post, k=3) == post_ids(all_posts[:3])
    assert find_similar(resources, rin, query_post) == []
    with pytest.raises(NotFound):
        find_similar(resources, mika, query_post)


def test_a_hidden_post_cannot_be_the_query(resources, graded_posts):
    hana, all_posts = graded_posts
    hidden = make_post(resources, hana, state="held")
    add_features(resources, hidden, angle_vector(3))
    with pytest.raises(NotFound):
        find_similar(resources, None, hidden)
    assert find_similar(resources, hana, hidden, k=1) == [all_posts[3].id]


def test_filters_restrict_the_results(resources, graded_posts):
    hana, all_posts = graded_posts
    assert find_similar(resources, None, all_posts[0], category="dog") == post_ids(all_posts[1::2])
    assert find_similar(
        resources, None, all_posts[0], excluded_ids=frozenset(post_ids(all_posts[1:5])), k=3
    ) == post_ids(all_posts[5:8])
    assert find_similar(resources, hana, all_posts[0], exclude_own=True) == []
    assert find_similar(resources, None, all_posts[0], exclude_own=True, k=2) == post_ids(
        all_posts[1:3]
    )
    with pytest.raises(NotFound, match="no such category"):
        find_similar(resources, None, all_posts[0], category="dragon")
    with pytest.raises(UserError, match="At most"):
        find_similar(resources, None, all_posts[0], excluded_ids=frozenset(range(2_000)))


def test_a_second_post_with_the_same_photo_is_the_most_similar(resources, graded_posts):
    _, all_posts = graded_posts
    taro = make_member(resources, "taro")
    with resources.db.write() as db:
        second_post = make_post(resources, taro, seed=900, key="again")
        db.get(Post, second_post.id).photo = all_posts[0].photo
    with resources.db.read() as db:
        hits = SimilaritySearch(resources, db, None, LATER).similar_to_post(all_posts[0].id, 2)
    assert [hit.post_id for hit in hits] == [second_post.id, all_posts[1].id]
    assert hits[0].score == pytest.approx(1, abs=1e-3)


def test_an_erased_photo_is_not_found(resources, graded_posts):
    _, all_posts = graded_posts
    with resources.db.write() as db:
        post_states.erase_posts(db, [all_posts[1].id])
        db.delete(db.get(Photo, all_posts[1].photo))
    assert find_similar(resources, None, all_posts[0], k=2) == post_ids(all_posts[2:4])


# ---- changes of the index and encoder ----------------------------------------------------------


def test_a_new_index_serves_at_once_with_the_same_results(resources, graded_posts):
    _, all_posts = graded_posts
    before = find_similar(resources, None, all_posts[0])
    make_index_live(resources, "2")
    assert find_similar(resources, None, all_posts[0]) == before
    with resources.db.read() as db:
        index = find_current_index(resources, db)
        version = index_client.query_index(resources, index, angle_vector(0), 10, None).version
    assert (index.version, version, index.count) == ("2", "2", 12)


def test_results_are_cached_until_the_index_changes(embedded):
    hana = make_member(embedded, "hana")
    make_encoder_live(embedded)
    all_posts = [make_post(embedded, hana) for _ in range(4)]
    for number, post in enumerate(all_posts):
        add_features(embedded, post, angle_vector(number))
    make_index_live(embedded)
    for _ in range(3):
        find_similar(embedded, None, all_posts[0])
    assert sum(totals.success for totals in embedded.models.statistics(INDEX_MODEL).values()) == 1
    make_index_live(embedded, "2")
    find_similar(embedded, None, all_posts[0])
    assert embedded.models.statistics(INDEX_MODEL)["2"].success == 1


def test_the_search_uses_the_encoder_of_the_index(resources, graded_posts):
    _, all_posts = graded_posts
    make_encoder_live(resources, "2")
    vector = np.eye(16, dtype=np.float32)[5]
    for post in all_posts:
        add_features(resources, post, vector, encoder_version="2")
    assert find_similar(resources, None, all_posts[0], k=3) == post_ids(all_posts[1:4])
    with resources.db.read() as db:
        assert find_current_index(resources, db).encoder_version == ENCODER_VERSION
        assert embeddings.load_features(db, all_posts[0].photo, "2") is not None


def test_a_canary_with_another_encoder_serves_no_requests(resources, graded_posts):
    hana, all_posts = graded_posts
    before = find_similar(resources, hana, all_posts[0])
    for number, post in enumerate(all_posts):
        add_features(resources, post, angle_vector(12 - number), encoder_version="2")
    prefix = build_index_files(resources, "9", encoder_version="2")
    with resources.db.write() as db, rollout.change_rollout(db, INDEX_MODEL, LATER) as row:
        row.files = {**row.files, "9": prefix}
        row.challenger, row.mode, row.share = "9", RolloutMode.CANARY, 1.0
    resources.models.refresh()
    assert find_similar(resources, hana, all_posts[0]) == before
    with resources.db.read() as db:
        index = find_current_index(resources, db)
        version = index_client.query_index(resources, index, angle_vector(0), 10, hana).version
        assert (index.single_encoder, version) == (False, "1")


def test_when_another_encoder_goes_live_an_index_for_it_is_requested_once(resources, graded_posts):
    resources_file.set_process_resources(resources)
    nightly.retrain_for_new_encoder()
    assert resources.jobs.list_runs(name=training.TRAINING) == []
    make_encoder_live(resources, "2")
    for _ in range(2):
        nightly.retrain_for_new_encoder()
    assert [run.id for run in resources.jobs.list_runs(name=training.TRAINING)] == [
        training.training_run_id("encoder-2")
    ]


# ---- recall of a large index -------------------------------------------------------------------


@pytest.fixture(scope="module")
def large_index(shared):
    """Three thousand posts in ScaNN's tree, one percent of them fish, copied from one row."""
    hana, images = make_member(shared, "hana"), make_images(3_000)
    make_encoder_live(shared)
    template = make_post(shared, hana)
    with shared.db.write() as db:
        post_values = {
            column.name: getattr(template, column.name) for column in Post.__table__.columns
        }
        photo_values = {
            column.name: getattr(db.get(Photo, template.photo), column.name)
            for column in Photo.__table__.columns
        }
        feature_values = {
            "encoder_version": ENCODER_VERSION,
            "classes": [],
            "animal_score": 1.0,
            "lightness": 0.5,
            "sharpness": 1.0,
            "phash": "0" * 16,
            "at": NOW,
        }
        db.execute(insert(Photo), [{**photo_values, "digest": f"{n:064x}"} for n in range(3_000)])
        fish = [n % 100 == 50 for n in range(3_000)]
        post_rows = [
            {
                **post_values,
                "id": 10 + n,
                "key": f"many-{n}",
                "photo": f"{n:064x}",
                "category": "fish" if fish[n] else "cat",
            }
            for n in range(3_000)
        ]
        db.execute(insert(Post), post_rows)
        feature_rows = [
            {
                **feature_values,
                "digest": f"{n:064x}",
                "embedding": images.vectors[n].astype("<f2").tobytes(),
            }
            for n in range(3_000)
        ]
        db.execute(insert(ImageFeatures), feature_rows)
    make_index_live(shared)
    return shared, images


def test_a_filter_that_matches_one_percent_keeps_recall(large_index):
    res, images = large_index
    allowed = [n for n in range(3_000) if n % 100 == 50]
    hits = []
    for query in range(0, 3_000, 150):
        expected = sorted(
            (n for n in allowed if n != query),
            key=lambda n: -float(images.vectors[n] @ images.vectors[query]),
        )[:10]
        with res.db.read() as db:
            similar_hits = SimilaritySearch(res, db, None, LATER).similar_to_post(
                10 + query, 10, SimilarFilter("fish")
            )
        hits.append(len({hit.post_id - 10 for hit in similar_hits} & set(expected)) / 10)
    assert np.mean(hits) >= 0.95


def test_recall_of_the_tree_against_exact_search_is_high(large_index):
    res, images = large_index
    hits = []
    for query in range(0, 3_000, 100):
        expected = [
            n
            for n in np.argsort(-(images.vectors @ images.vectors[query]), kind="stable")[
                :11
            ].tolist()
            if n != query
        ][:10]
        with res.db.read() as db:
            similar_hits = SimilaritySearch(res, db, None, LATER).similar_to_post(10 + query, 10)
        hits.append(len({hit.post_id - 10 for hit in similar_hits} & set(expected)) / 10)
    assert np.mean(hits) >= 0.97
    assert res.registry.runner_factories[INDEX_KIND] is SimilarityIndex


def test_the_command_names_imported_posts_by_file_and_others_by_id(resources, graded_posts):
    from tanuki.animals.commands.similarity import find_similar_to_posts
    from tanuki.animals.import_folder import KEY_PREFIX

    _, all_posts = graded_posts
    with resources.db.write() as db:
        imported_post = db.get(Post, all_posts[1].id)
        imported_post.key, imported_post.source = f"{KEY_PREFIX}1", "cats/mike.jpg"
        db.get(Post, all_posts[0].id).source = "not a file"
    (answer,) = find_similar_to_posts(resources, all_posts[0].id, 3, SimilarFilter())
    assert (answer["post"], answer["similar"][0]) == (all_posts[0].id, "cats/mike.jpg")
    assert set(answer["similar"][1:]) <= {post.id for post in all_posts}
    assert answer["scores"] == sorted(answer["scores"], reverse=True)
    by_file = {
        result["file"]: result
        for result in find_similar_to_posts(resources, None, 3, SimilarFilter())
        if "file" in result
    }
    assert list(by_file) == ["cats/mike.jpg"]

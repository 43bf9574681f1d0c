"""Image features: computed once for each picture, caught up by the backfill, by command."""

import json
import os
import socket
import subprocess
import sys
import threading
from contextlib import contextmanager
from dataclasses import replace
from functools import partial

import click
import numpy as np
import pytest
import uvicorn
from sqlalchemy import func, select

from tanuki.animals import post_states
from tanuki.animals.commands import image_model as commands
from tanuki.animals.images import photo_files
from tanuki.animals.tables import ImageFeatures, Post
from tanuki.animals.vision import (
    backfill,
    embeddings,
    encoder,
    evaluation,
    nearest_neighbours,
    registration,
)
from tanuki.app import bootstrap
from tanuki.app.cli import create_command_line
from tanuki.errors import NotFound, UserError
from tanuki.platform import resources as resources_file
from tanuki.platform.jobs import run_worker
from tanuki.platform.mlops import release, rollout
from tanuki.platform.mlops.reasons import render_reason
from tanuki.platform.mlops.runtimes import ModelError
from tanuki.platform.mlops.tables import ReleaseKind
from tanuki.platform.serving import client, grpc_server
from tanuki.platform.serving import rest_server as http_server
from tanuki.settings import Settings
from tests.animals.test_post_review import send_post, wait_until
from tests.animals.vision.test_encoder import make_custom_model
from tests.factories.command_line import CommandRunner
from tests.factories.members_and_posts import (
    NOW,
    embed_all_photos,
    make_member,
    make_photo,
    make_post,
)

pytestmark = pytest.mark.filterwarnings(
    "ignore::DeprecationWarning", "ignore::sqlalchemy.exc.SADeprecationWarning"
)  # of MLflow's own


@contextmanager
def run_test_worker(res, periodic_tasks=()):
    resources_file.set_process_resources(res)
    with run_worker(res.db, "tests", periodic_tasks=periodic_tasks):
        yield


def load_features(res, version=None):
    with res.db.read() as db:
        query = select(ImageFeatures).order_by(ImageFeatures.id)
        return list(
            db.scalars(
                query if version is None else query.where(ImageFeatures.encoder_version == version)
            )
        )


def load_states(res):
    with res.db.read() as db:
        return set(db.scalars(select(Post.state)))


@contextmanager
def break_encoder_file(res):
    """While the block runs, the live version's graph cannot be read."""
    with res.db.read() as db:
        key = f"{rollout.load_rollout(db, encoder.ENCODER_MODEL).files['1']}/model.onnx"
    content = res.registry.files.get(key)
    res.registry.files.put(key, b"no graph")
    yield
    res.registry.files.put(key, content)


# ---- the first version -------------------------------------------------------------------------


def test_the_first_use_builds_evaluates_and_releases_a_version_once(resources):
    image_encoder = embeddings.image_encoder(resources)
    assert image_encoder.live_version() is None
    assert image_encoder.version == "1"
    with resources.db.read() as db:
        assert [
            (verdict.go, verdict.champion)
            for verdict in release.list_verdicts(db, encoder.ENCODER_MODEL)
        ] == [(True, None)]
        assert [
            (row.version, row.kind) for row in release.list_releases(db, encoder.ENCODER_MODEL)
        ] == [("1", ReleaseKind.GATE)]
        assert rollout.load_rollout(db, encoder.ENCODER_MODEL).champion == "1"
    assert registration.ensure_live_version(resources, NOW) == "1"
    assert registration.register_version(resources, NOW) == "1"
    [first_output, second_output] = image_encoder.encode(
        [make_photo(1).files["page"], make_photo(2).files["page"]]
    )
    assert (first_output.encoder_version, len(first_output.classes)) == (
        "1",
        encoder.CLASSES_PER_IMAGE,
    )
    assert float(first_output.embedding @ second_output.embedding) < 0.99

    rex = make_member(resources, "rex")
    post = make_post(resources, rex, seed=1)
    for expected in (1, 0):
        assert embeddings.embed_images(resources, [post.photo], None, NOW) == expected
    [features] = load_features(resources)
    assert float(embeddings.decode_embedding(features) @ first_output.embedding) == pytest.approx(
        1, abs=1e-4
    )
    assert np.linalg.norm(embeddings.decode_embedding(features)) == pytest.approx(1, abs=1e-6)
    assert [tuple(row) for row in features.classes] == first_output.classes
    with resources.db.read() as db:
        assert embeddings.load_features(db, post.photo, "1").id == features.id
        assert embeddings.load_features(db, post.photo, "2") is None


def test_an_encoder_with_unusable_embeddings_never_goes_live(embedded, tmp_path, monkeypatch):
    fault = {"code": "unusable_embeddings", "rows": 6, "of": 6}
    monkeypatch.setattr(evaluation, "find_faults", lambda _: [fault])
    for _ in range(2):
        with pytest.raises(UserError, match="gives unusable output"):
            registration.ensure_live_version(embedded, NOW)
    with embedded.db.read() as db:
        verdicts = release.list_verdicts(db, encoder.ENCODER_MODEL)
        assert [verdict.go for verdict in verdicts] == [False]
        assert rollout.load_rollout(db, encoder.ENCODER_MODEL) is None


@pytest.mark.parametrize("fault", ["nan", "long", "blind"])
def test_unusable_embeddings_are_a_fault(fault):
    class Runner:
        class spec:  # noqa: N801
            inputs = (type("Tensor", (), {"shape": (-1, 4, 4, 3)}),)

        def run(self, inputs):
            vector = np.concatenate([inputs["image"].reshape(1, -1)[:, :8] + 1.0])
            vector = vector / np.linalg.norm(vector) * (2 if fault == "long" else 1)
            return {
                "embedding": {"nan": vector * np.nan, "long": vector, "blind": np.eye(1, 8)}[
                    fault
                ].astype(np.float32)
            }

    assert evaluation.find_faults(Runner()) == [{"code": "unusable_embeddings", "rows": 6, "of": 6}]


@pytest.mark.parametrize("protocol", ["http", "grpc"])
def test_an_encoder_on_a_model_server_gives_the_same_output(embedded, protocol):
    pictures = [make_photo(n).files["page"] for n in range(1, 12)]
    local_outputs = embeddings.image_encoder(embedded).encode(pictures)
    server, port = (
        grpc_server.create_server(embedded.models, "127.0.0.1:0")
        if protocol == "grpc"
        else create_rest_server(embedded.models)
    )
    server.start()
    remote_resources = replace(
        embedded, models=client.connect_model_server(f"{protocol}://127.0.0.1:{port}")
    )
    remote_outputs = embeddings.image_encoder(remote_resources).encode(pictures)
    remote_resources.models.close()
    server.stop(1)
    assert [output.encoder_version for output in remote_outputs] == ["1"] * len(pictures)
    for local_output, remote_output in zip(local_outputs, remote_outputs, strict=True):
        assert (local_output.classes, local_output.phash, local_output.embedding.tobytes()) == (
            remote_output.classes,
            remote_output.phash,
            remote_output.embedding.tobytes(),
        )


def create_rest_server(models):
    """The model server over HTTP in a thread, and its port."""
    listener = socket.socket()
    listener.bind(("127.0.0.1", 0))

    class Server(uvicorn.Server):
        def start(self):
            self.thread = threading.Thread(
                target=self.run, kwargs={"sockets": [listener]}, daemon=True
            )
            self.thread.start()
            wait_until(lambda: self.started)

        def stop(self, seconds):
            self.should_exit = True
            self.thread.join(10 * seconds)

    config = uvicorn.Config(http_server.create_app(models), log_config=None)
    return Server(config), listener.getsockname()[1]


# ---- new posts ---------------------------------------------------------------------------------


def test_a_photo_in_two_posts_is_encoded_once(resources):
    rex = make_member(resources, "rex")
    assert embeddings.image_encoder(resources).version == "1"
    with run_test_worker(resources):
        for key in ("a", "b"):
            post = send_post(resources, rex, key=key, seed=5)
            run_id = f"post-{post.id}"
            wait_until(lambda run_id=run_id: resources.jobs.load_run(run_id).status == "done")
        names = [step.name for step in resources.jobs.load_run(f"post-{post.id}").steps]
    assert names == ["post-review_review_post"]
    assert [features.digest for features in load_features(resources)] == [make_photo(5).digest]
    assert load_states(resources) == {"published"}
    with resources.db.write() as db:
        assert photo_files.delete_unused_photo(db, resources.objects, make_photo(5).digest) is False


def test_an_unreachable_image_model_delays_no_post_and_the_backfill_adds_features(embedded):
    rex = make_member(embedded, "rex")
    with run_test_worker(embedded):
        first_post = send_post(embedded, rex, key="a", seed=6)
        wait_until(lambda: load_states(embedded) == {"published"})
        # No version is live yet, and the post did not wait for one.
        assert load_features(embedded) == []
        assert embeddings.image_encoder(embedded).version == "1"
        with break_encoder_file(embedded):
            send_post(embedded, rex, key="b", seed=7)
            wait_until(lambda: load_states(embedded) == {"published"})
            with pytest.raises(ModelError):
                embed_all_photos(embedded, NOW)
        assert load_features(embedded) == []
    assert embed_all_photos(embedded, NOW) == 2
    assert {features.digest for features in load_features(embedded)} == {
        first_post.photo,
        make_photo(7).digest,
    }


def test_the_periodic_task_builds_the_encoder_for_the_first_published_photo(embedded):
    post = make_post(embedded, make_member(embedded, "rex"), seed=8)
    with run_test_worker(embedded, periodic_tasks=backfill.PERIODIC_TASKS):
        wait_until(lambda: len(load_features(embedded)) == 1, seconds=90)
    assert load_features(embedded)[0].digest == post.photo
    resources_file.set_process_resources(embedded)
    backfill.start_owed_backfill()  # live by now: nothing to do


def test_features_are_deleted_with_their_photo(resources):
    rex = make_member(resources, "rex")
    post = make_post(resources, rex, seed=9)
    output = encoder.EncoderOutput(
        np.eye(1, 4, dtype=np.float32)[0], [(281, 0.9)], 0.9, 0.5, 10.0, "0" * 16
    )
    versioned = replace(output, encoder_version="1")
    with resources.db.write() as db:
        saved = [embeddings.save_features(db, post.photo, versioned, NOW) for _ in range(2)]
        assert saved == [True, False]
    with resources.db.write() as db:
        post_states.erase_posts(db, [post.id])
    with resources.db.write() as db:
        assert photo_files.delete_unused_photo(db, resources.objects, post.photo)
        assert db.scalar(select(func.count()).select_from(ImageFeatures)) == 0


# ---- backfill ----------------------------------------------------------------------------------


def run_embed(res, name, version=None):
    progress = partial(backfill.measure_progress, res, None)
    with click_context():
        return commands.run_backfill(res, backfill.EMBED, f"embed-{name}", [version], progress)


def run_classify(res, name, *, again):
    progress = partial(backfill.measure_progress, res, None)
    with click_context():
        return commands.run_backfill(res, backfill.CLASSIFY, f"classify-{name}", [again], progress)


def click_context():
    return click.Context(click.Command("test"), obj=create_command_line("en"))


def make_output(category_class, share=0.9):
    return encoder.EncoderOutput(
        np.eye(1, 4, dtype=np.float32)[0], [(category_class, share)], share, 0.5, 10.0, "0" * 16
    )


def test_missing_features_are_counted_for_each_version(resources):
    rex = make_member(resources, "rex")
    all_posts = [make_post(resources, rex, seed=20 + n) for n in range(3)]
    make_post(resources, rex, seed=20, state="held")
    with resources.db.write() as db:
        photo_files.save_photo(db, resources.objects, make_photo(30), now=NOW)  # no post has it
        embeddings.save_features(
            db, all_posts[0].photo, replace(make_output(281), encoder_version="1"), NOW
        )
        embeddings.save_features(
            db, all_posts[1].photo, replace(make_output(281), encoder_version="2"), NOW
        )
    with resources.db.read() as db:
        assert {version: backfill.count_missing(db, version) for version in ("1", "2", "3")} == {
            "1": 2,
            "2": 2,
            "3": 3,
        }
        assert set(db.scalars(backfill.select_missing("1"))) == {
            all_posts[1].photo,
            all_posts[2].photo,
        }
        assert backfill.count_embedded(db, "1") == 1
    assert backfill.measure_progress(resources, "1") == (1, 3)
    assert backfill.measure_progress(resources, None) == (0, 0)


@pytest.mark.slow
def test_a_backfill_runs_in_parts_skips_unreadable_photos_and_is_idempotent(resources, monkeypatch):
    rex = make_member(resources, "rex")
    all_posts = [make_post(resources, rex, seed=40 + n) for n in range(9)]
    for size in photo_files.PHOTO_SIDES:
        resources.objects.delete(photo_files.object_key(all_posts[0].photo, size))
    monkeypatch.setattr(backfill, "IMAGES_PER_STEP", 2)
    monkeypatch.setattr(backfill, "MAX_IMAGES_IN_ONE_PART", 8)
    assert run_embed(resources, "first") == 8
    assert len(resources.jobs.list_runs(name="animals-embed-part")) == len(backfill.HEX_DIGITS)
    assert run_embed(resources, "second") == 0
    assert {row.digest for row in load_features(resources)} == {row.photo for row in all_posts[1:]}


def test_a_new_version_encodes_all_photos_while_the_live_one_serves(embedded, tmp_path):
    rex = make_member(embedded, "rex")
    for n in range(3):
        make_post(embedded, rex, seed=50 + n)
    assert embed_all_photos(embedded, NOW) == 3
    model_file = make_custom_model(tmp_path / "theirs")
    custom_resources = replace(
        embedded, settings=embedded.settings.model_copy(update={"image_model": str(model_file)})
    )
    assert run_embed(custom_resources, "new", backfill.NEW_VERSION) == 3
    assert (len(load_features(embedded, "1")), len(load_features(embedded, "2"))) == (3, 3)
    assert {len(features.embedding) for features in load_features(embedded, "2")} == {6}
    assert embeddings.image_encoder(custom_resources).version == "1"
    with pytest.raises(NotFound):
        custom_resources.registry.get(encoder.ENCODER_MODEL, "3")


def test_classify_counts_the_categories_of_owners_and_image_model(embedded):
    rex = make_member(embedded, "rex")
    cat, dog, mislabelled = (
        make_post(embedded, rex, seed=60 + n, category=category)
        for n, category in enumerate(("cat", "dog", "cat"))
    )
    assert embeddings.image_encoder(embedded).version == "1"
    with embedded.db.write() as db:
        for post, number, share in ((cat, 281, 0.9), (dog, 151, 0.9), (mislabelled, 151, 0.8)):
            output = replace(make_output(number, share), encoder_version="1")
            embeddings.save_features(db, post.photo, output, NOW)
    features_before = load_features(embedded)
    counts = run_classify(embedded, "a", again=False)
    assert sorted(map(tuple, counts)) == [("cat", "cat", 1), ("cat", "dog", 1), ("dog", "dog", 1)]
    assert commands.tabulate_categories(counts) == [
        {"category": "cat", "owners": 2, "image_model": 1, "both": 1, "unknown": 0},
        {"category": "dog", "owners": 1, "image_model": 2, "both": 1, "unknown": 0},
    ]
    counts_again = run_classify(embedded, "b", again=True)
    assert sum(count for *_, count in counts_again) == 3
    features_after = load_features(embedded)
    assert [features.id for features in features_after] == [
        features.id for features in features_before
    ]
    assert all(len(new.embedding) == 512 and new.phash != "0" * 16 for new in features_after)


def test_the_commands_report_their_work_and_refuse_an_unknown_version(tmp_path):
    res = bootstrap.create_resources(Settings(home=tmp_path))
    make_post(res, make_member(res, "rex"), seed=70, category="dog")
    bootstrap.close_resources(res)
    run_command = CommandRunner(env={"TANUKI_HOME": str(tmp_path)}).invoke
    assert json.loads(run_command(commands.embed, ["--json"], catch_exceptions=False).stdout) == {
        "version": "1",
        "new": 1,
        "embedded": 1,
        "missing": 0,
    }
    repeated = run_command(commands.embed, catch_exceptions=False)
    assert "has encoded 1 pictures, 0 of them now" in repeated.stdout
    result = run_command(commands.classify, ["--json"], catch_exceptions=False)
    assert sum(json.loads(line)["owners"] for line in result.stdout.splitlines()) == 1
    with pytest.raises(NotFound, match="version 7"):
        run_command(commands.embed, ["--version", "7"], catch_exceptions=False)


@pytest.mark.slow
def test_a_killed_backfill_resumes_with_the_next_command(tmp_path):
    res = bootstrap.create_resources(Settings(home=tmp_path))
    rex = make_member(res, "rex")
    all_posts = [
        make_post(res, rex, seed=200 + n) for n in range(backfill.MAX_IMAGES_IN_ONE_PART + 6)
    ]
    command = [sys.executable, "-m", "tanuki", "animals", "embed", "--json"]
    environment = {**os.environ, "TANUKI_HOME": str(tmp_path), "TANUKI_LOG_LEVEL": "error"}
    process = subprocess.Popen(
        command, env=environment, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
    )
    wait_until(lambda: len(load_features(res)) > 3, seconds=60)
    process.kill()
    process.wait()
    count_before = len(load_features(res))
    assert count_before < len(all_posts)
    resumed = subprocess.run(
        command, env=environment, capture_output=True, text=True, check=True, timeout=120
    )
    report = json.loads(resumed.stdout.splitlines()[-1])
    assert (report["embedded"], report["missing"]) == (len(all_posts), 0)
    assert len({features.digest for features in load_features(res)}) == len(all_posts)
    assert len(res.jobs.list_runs(name=backfill.EMBED)) == 1
    bootstrap.close_resources(res)


# ---- another encoder beside the live one -------------------------------------------------------


def save_two_versions(db, all_posts, is_wrong):
    """Features of a version that separates the categories, and of one with mismatches."""
    for n, post in enumerate(all_posts):
        for version in ("1", "2"):
            is_mismatch = version == "2" and is_wrong(n)
            vector = np.full(8, 0.05, np.float32)
            vector[(n % 2) ^ is_mismatch] = 1 + n / 1000
            output = encoder.EncoderOutput(
                vector / np.linalg.norm(vector), [], 0.5, 0.2 if n % 4 < 2 else 0.6, 10.0, "0" * 16
            )
            embeddings.save_features(db, post.photo, replace(output, encoder_version=version), NOW)


@pytest.mark.parametrize(
    ("fault", "go", "reason_text"),
    [(0, True, ""), (3, False, "Over all rows"), (2, False, "dark pictures")],
)
def test_an_encoder_with_more_category_mismatches_is_refused(embedded, fault, go, reason_text):
    rex = make_member(embedded, "rex")
    all_posts = [
        make_post(embedded, rex, seed=100 + n, category=("cat", "dog")[n % 2]) for n in range(60)
    ]
    is_wrong = {0: lambda n: False, 3: lambda n: n % 3 == 0, 2: lambda n: n % 4 < 2 and n % 5 < 3}[
        fault
    ]
    with embedded.db.write() as db:
        save_two_versions(db, all_posts, is_wrong)
    with embedded.db.read() as db:
        images = evaluation.load_common_images(db, "2", "1")
        nothing_in_common = evaluation.load_common_images(db, "3", "1")
    with pytest.raises(UserError, match="0 published pictures"):
        evaluation.compare_versions("3", "1", nothing_in_common)
    result = evaluation.compare_versions("2", "1", images)
    reasons = result.report["reasons"]
    texts = " ".join(render_reason(reason, evaluation.ENCODER_TEXTS) for reason in reasons)
    assert (result.verdict.go, reason_text in texts) == (go, True)
    assert result.report["category_mismatch"]["champion"] == 0


def test_category_mismatch_equals_a_naive_computation(monkeypatch):
    monkeypatch.setattr(nearest_neighbours, "MAX_PRODUCTS", 7 * 40)
    vectors = np.random.default_rng(2).normal(size=(40, 6)).astype(np.float32)
    vectors /= np.linalg.norm(vectors, axis=1, keepdims=True)
    categories = ["cat" if n % 3 else "dog" for n in range(40)]
    expected = []
    for n in range(40):
        neighbours = sorted(
            (m for m in range(40) if m != n), key=lambda m: -float(vectors[n] @ vectors[m])
        )[:10]
        expected.append(sum(categories[m] != categories[n] for m in neighbours) / 10)
    assert evaluation.neighbour_category_mismatch(vectors, categories) == pytest.approx(expected)

"""Training of the index: build, gate, release, retention, and resuming after a kill in any step."""

import subprocess
import sys
import time
from contextlib import contextmanager
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path

import pytest
from sqlalchemy import func, select

from tanuki.animals import nightly, post_review
from tanuki.animals.similarity import dataset, delta_index, index, training
from tanuki.animals.similarity.index import INDEX_MODEL
from tanuki.animals.similarity.search import SimilaritySearch
from tanuki.animals.similarity.training import TRAINING
from tanuki.animals.tables import ImageFeatures
from tanuki.animals.vision import embeddings, encoder, registration
from tanuki.platform import resources as resources_file
from tanuki.platform.accounts import SYSTEM
from tanuki.platform.jobs import run_worker
from tanuki.platform.mlops import release, rollout
from tanuki.platform.mlops.evaluation import Evaluation, Verdict
from tanuki.platform.mlops.tables import GateVerdict, Release
from tests.animals.vision.test_encoder import make_custom_model
from tests.factories.command_line import CommandRunner
from tests.factories.image_embeddings import take_images
from tests.factories.members_and_posts import make_member, make_post

pytestmark = pytest.mark.mlflow
assert post_review.POST_REVIEW  # the worker must know this workflow
STEPS = [
    f"{TRAINING}_{name}"
    for name in ("choose_encoder", "build_version", "evaluate_and_release", "delete_old_versions")
]
CATEGORIES = ("cat", "dog", "bird")


@contextmanager
def run_test_worker(res):
    resources_file.set_process_resources(res)
    with run_worker(res.db, "tests"):
        yield


def make_posts(res, count=24):
    hana = make_member(res, "hana")
    return [make_post(res, hana, category=CATEGORIES[n % 3]) for n in range(count)]


def run_training(res, name):
    with res.db.write() as db:
        res.jobs.enqueue(db, TRAINING, training.training_run_id(name))
    result = res.jobs.wait_for_run(training.training_run_id(name), seconds=240)
    assert result.status == "done", result.error
    return result


def load_champion(res):
    with res.db.read() as db:
        plan = rollout.load_rollout(db, INDEX_MODEL)
        return plan.champion if plan else None


def find_similar(res, post):
    with res.db.read() as db:
        return [
            hit.post_id
            for hit in SimilaritySearch(res, db, None, datetime.now(UTC)).similar_to_post(
                post.id, 30
            )
        ]


def wait_until(condition, seconds=30):
    end = time.monotonic() + seconds
    while not condition() and time.monotonic() < end:
        time.sleep(0.05)
    assert condition()


@pytest.mark.slow
def test_training_builds_evaluates_and_releases_an_index(resources):
    all_posts = make_posts(resources)
    with run_test_worker(resources):
        result = run_training(resources, "2026-05-01")
        assert [step.name for step in result.steps if step.name.startswith(TRAINING)] == STEPS
        assert load_champion(resources) == "1"
        with resources.db.read() as db:
            (verdict,) = db.scalars(select(GateVerdict).where(GateVerdict.model == INDEX_MODEL))
            (first_release,) = db.scalars(select(Release).where(Release.model == INDEX_MODEL))
            assert (
                verdict.go,
                verdict.by,
                verdict.champion,
                verdict.report["images"],
                verdict.report["recall"],
            ) == (
                True,
                "tanuki",
                None,
                24,
                1.0,
            )
            assert (first_release.version, first_release.kind, first_release.by) == (
                "1",
                "gate",
                "tanuki",
            )
            assert db.scalar(select(func.count(ImageFeatures.id))) == 24
        assert sorted(find_similar(resources, all_posts[0])) == sorted(
            post.id for post in all_posts[1:]
        )
        hana = make_member(resources, "hana")
        new_post = make_post(resources, hana)
        wait_until(lambda: new_post.id in find_similar(resources, all_posts[0]))
        run_training(resources, "2026-05-02")
        assert load_champion(resources) == "2"
        assert new_post.id in find_similar(resources, all_posts[0])
        with resources.db.read() as db:
            assert rollout.load_rollout(db, INDEX_MODEL).files.keys() == {"1", "2"}
        run_training(resources, "2026-05-02")
        assert load_champion(resources) == "2"


@pytest.mark.slow
def test_old_versions_are_deleted_except_the_live_and_the_former_one(embedded, monkeypatch):
    monkeypatch.setattr(training, "MAX_INDEX_VERSIONS", 1)
    make_posts(embedded)
    with run_test_worker(embedded):
        for day in range(1, 5):
            run_training(embedded, f"2026-05-0{day}")
    assert load_champion(embedded) == "4"
    with embedded.db.read() as db:
        files = rollout.load_rollout(db, INDEX_MODEL).files
    assert [version.version for version in embedded.registry.versions(INDEX_MODEL)] == [
        "4",
        "3",
    ]  # the live one and the one to roll back to
    version_folders = {
        key.split("/")[1] for key in embedded.registry.files.list_keys(f"{INDEX_MODEL}/")
    }
    assert version_folders == {prefix.split("/")[1] for prefix in files.values()}
    with embedded.db.read() as db:
        assert len(release.list_releases(db, INDEX_MODEL)) == 4  # releases stay on record


@pytest.mark.slow
def test_new_photos_are_encoded_by_the_old_and_the_new_encoder(embedded, tmp_path):
    all_posts = make_posts(embedded)
    with run_test_worker(embedded):
        run_training(embedded, "2026-05-01")
    custom_resources = replace(
        embedded,
        settings=embedded.settings.model_copy(
            update={"image_model": str(make_custom_model(tmp_path / "theirs"))}
        ),
    )
    new_version = registration.register_version(custom_resources, datetime.now(UTC))
    with embedded.db.write() as db:
        change = release.ModelChange(
            db, embedded.registry, encoder.ENCODER_MODEL, SYSTEM, datetime.now(UTC)
        )
        verdict = release.record_verdict(
            db,
            encoder.ENCODER_MODEL,
            Evaluation(new_version, "1", Verdict(True, []), {}),
            by="tests",
            now=datetime.now(UTC),
        )
        release.release_version(change, verdict, same_interface=False)
    embedded.models.refresh()
    wait_until(lambda: embeddings.image_encoder(embedded).live_version() == new_version)
    new_post = make_post(embedded, make_member(embedded, "ken"))
    post_review.embed_photo(embedded, datetime.now(UTC), new_post.id)
    with embedded.db.read() as db:
        assert {
            features.encoder_version
            for features in db.scalars(
                select(ImageFeatures).where(ImageFeatures.digest == new_post.photo)
            )
        } == {
            "1",
            new_version,
        }
    assert new_post.id in find_similar(embedded, all_posts[0])


def test_too_few_images_give_no_index(embedded):
    make_posts(embedded, 3)
    with run_test_worker(embedded):
        assert [step.name for step in run_training(embedded, "2026-05-01").steps] == STEPS[:1]
    assert load_champion(embedded) is None
    assert not embedded.registry.started()


def test_the_nightly_task_enqueues_one_run_a_day(embedded):
    resources_file.set_process_resources(embedded)
    for _ in range(2):
        nightly.enqueue_training_step("2026-05-01")
        nightly.retrain_for_new_encoder()
    assert [(run.id, run.name) for run in embedded.jobs.list_runs()] == [
        (f"{TRAINING}-2026-05-01", TRAINING)
    ]


# ---- builds that are refused -------------------------------------------------------------------


def build_half(images, folder, max_features_id):
    """A bad build without every second image."""
    half = take_images(images, range(0, len(images), 2))
    return index.build_index(half, folder, max_features_id)


@pytest.mark.slow
def test_a_bad_build_is_refused_by_the_gate(embedded, monkeypatch):
    make_posts(embedded, 40)
    with run_test_worker(embedded):
        run_training(embedded, "2026-05-01")
        monkeypatch.setattr(
            training, "call_in_subprocess", lambda function, *arguments: build_half(*arguments)
        )
        run_training(embedded, "2026-05-02")
    assert load_champion(embedded) == "1"
    with embedded.db.read() as db:
        verdict = release.latest_verdict(db, INDEX_MODEL, "2")
        assert (verdict.go, verdict.champion, verdict.report["reasons"][0]["code"]) == (
            False,
            "1",
            "missing_images",
        )
        assert len(release.list_releases(db, INDEX_MODEL)) == 1


@pytest.mark.slow
def test_a_truncated_version_gets_a_no_go(embedded):
    make_posts(embedded, 40)
    with run_test_worker(embedded):
        run_training(embedded, "2026-05-01")
    with embedded.db.read() as db:
        encoder_version = registration.find_live_version(embedded)
        images = dataset.load_all_images(db, encoder_version)
        newest = delta_index.find_settled_id(db, encoder_version, datetime.now(UTC))
    folder = Path(embedded.settings.home) / "truncated"
    index.build_index(images, folder, newest)
    (folder / "vectors.npy").write_bytes((folder / "vectors.npy").read_bytes()[:-50])
    version = embedded.registry.save(
        INDEX_MODEL,
        folder,
        parameters={"encoder_version": encoder_version},
        metrics={},
        data_window=("2026-05-01", "2026-05-01"),
        code_version="0",
    )
    evaluation = embedded.lifecycle.evaluate(INDEX_MODEL, version.version, datetime.now(UTC))
    assert [reason["code"] for reason in evaluation.verdict.reasons] == ["unreadable"]


# ---- kills -------------------------------------------------------------------------------------

CHILD = """
import os, signal, sys, time
from tanuki.animals import post_review
from tanuki.animals.similarity import gate, training
from tanuki.animals.vision import embeddings
from tanuki.app import bootstrap
from tanuki.platform import resources
from tanuki.platform.jobs import run_worker
from tanuki.platform.mlops import release
from tanuki.settings import Settings
home, url, place = sys.argv[1:4]
settings = Settings.model_validate({"home": home, "database": url})
res = bootstrap.create_resources(settings, upgrade=False)

def kill_at(owner, name, after):
    original = getattr(owner, name)
    def replaced(*args, **kwargs):
        result = original(*args, **kwargs) if after else None
        os.kill(os.getpid(), signal.SIGKILL)
        return result
    setattr(owner, name, replaced)

PLACES = {
    "embed": (embeddings, "save_features", True),
    "build": (training, "call_in_subprocess", False),
    "built": (type(res.registry), "save", True),
    "evaluate": (gate, "call_in_subprocess", False),
    "evaluated": (release, "record_verdict", True),
    "release": (release, "release_version", False),
    "released": (release, "release_version", True),
}
if place in PLACES:
    kill_at(*PLACES[place])
resources.set_process_resources(res)
with run_worker(res.db, "child"):
    end = time.monotonic() + 120
    while time.monotonic() < end:
        if not res.jobs.list_runs(status="queued") and not res.jobs.list_runs(status="running"):
            os._exit(0)
        time.sleep(0.05)
os._exit(3)
"""
PLACES = ["embed", "build", "built", "evaluate", "evaluated", "release", "released"]


@pytest.mark.slow
def test_a_run_killed_in_every_step_completes_and_releases_once(
    embedded,
):
    make_posts(embedded, 24)
    registration.ensure_live_version(embedded, datetime.now(UTC))
    with embedded.db.write() as db:
        embedded.jobs.enqueue(db, TRAINING, training.training_run_id("killed"))
    for place in PLACES:
        assert run_child(embedded, place) == -9, place
        with embedded.db.read() as db:
            assert load_champion(embedded) is None
            assert release.list_releases(db, INDEX_MODEL) == []
    assert run_child(embedded, "nowhere") == 0
    with embedded.db.read() as db:
        assert len(release.list_verdicts(db, INDEX_MODEL)) == 1
        assert len(release.list_releases(db, INDEX_MODEL)) == 1
        assert db.scalar(select(func.count(ImageFeatures.id))) == 24
    assert load_champion(embedded) == "1"
    assert [version.version for version in embedded.registry.versions(INDEX_MODEL)] == ["1"]


def run_child(res, place):
    command = [sys.executable, "-c", CHILD, str(res.settings.home), res.db.url, place]
    start = time.monotonic()
    result = subprocess.run(
        command, cwd=Path(__file__).parents[3], timeout=200, check=False, capture_output=True
    )
    assert result.returncode in (0, -9), (
        place,
        time.monotonic() - start,
        result.stderr.decode()[-2000:],
    )
    return result.returncode


# ---- commands ----------------------------------------------------------------------------------


def test_the_command_requires_one_query():
    from tanuki.animals.commands.similarity import similar

    result = CommandRunner().invoke(similar, ["--all", "1"])
    assert result.exit_code == 2
    assert "a post, a file" in result.output

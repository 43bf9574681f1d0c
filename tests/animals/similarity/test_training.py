"""Training the index: from published pictures to what answers, only past the gate; killed in any step it goes on, and what is live changes by a release alone."""

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
from tests.animals.vision.test_encoder import backbone
from tests.factories.command_line import CommandRunner
from tests.factories.image_embeddings import take_images
from tests.factories.members_and_posts import make_member, make_post

pytestmark = pytest.mark.mlflow
assert post_review.POST_REVIEW  # whose runs a worker must know
STEPS = [
    f"{TRAINING}_{name}"
    for name in ("choose_encoder", "build_version", "evaluate_and_release", "delete_old_versions")
]
KINDS = ("cat", "dog", "bird")


@contextmanager
def working(res):
    resources_file.set_process_resources(res)
    with run_worker(res.db, "tests"):
        yield


def network(res, count=24):
    hana = make_member(res, "hana")
    return [make_post(res, hana, category=KINDS[n % 3]) for n in range(count)]


def run(res, name):
    with res.db.write() as db:
        res.jobs.enqueue(db, TRAINING, training.training_run_id(name))
    ended = res.jobs.wait_for_run(training.training_run_id(name), seconds=240)
    assert ended.status == "done", ended.error
    return ended


def live(res):
    with res.db.read() as db:
        plan = rollout.load_rollout(db, INDEX_MODEL)
        return plan.champion if plan else None


def found_for(res, asked):
    with res.db.read() as db:
        return [
            each.post_id
            for each in SimilaritySearch(res, db, None, datetime.now(UTC)).similar_to_post(
                asked.id, 30
            )
        ]


def until(done, seconds=30):
    end = time.monotonic() + seconds
    while not done() and time.monotonic() < end:
        time.sleep(0.05)
    assert done()


@pytest.mark.slow
def test_from_published_pictures_to_what_answers(resources):
    made = network(resources)
    with working(resources):
        ended = run(resources, "2026-05-01")
        assert [step.name for step in ended.steps if step.name.startswith(TRAINING)] == STEPS
        assert live(resources) == "1"
        with resources.db.read() as db:
            (verdict,) = db.scalars(select(GateVerdict).where(GateVerdict.model == INDEX_MODEL))
            (gone_live,) = db.scalars(select(Release).where(Release.model == INDEX_MODEL))
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
            assert (gone_live.version, gone_live.kind, gone_live.by) == ("1", "gate", "tanuki")
            assert db.scalar(select(func.count(ImageFeatures.id))) == 24
        assert sorted(found_for(resources, made[0])) == sorted(each.id for each in made[1:])
        hana = make_member(resources, "hana")
        new = make_post(resources, hana)
        until(lambda: new.id in found_for(resources, made[0]))
        run(resources, "2026-05-02")
        assert live(resources) == "2"
        assert new.id in found_for(resources, made[0])
        with resources.db.read() as db:
            assert rollout.load_rollout(db, INDEX_MODEL).files.keys() == {"1", "2"}
        run(resources, "2026-05-02")
        assert live(resources) == "2"


@pytest.mark.slow
def test_old_versions_are_deleted_with_their_files_unless_somebody_needs_them(
    embedded, monkeypatch
):
    monkeypatch.setattr(training, "MAX_INDEX_VERSIONS", 1)
    network(embedded)
    with working(embedded):
        for day in range(1, 5):
            run(embedded, f"2026-05-0{day}")
    assert live(embedded) == "4"
    with embedded.db.read() as db:
        files = rollout.load_rollout(db, INDEX_MODEL).files
    assert [version.version for version in embedded.registry.versions(INDEX_MODEL)] == [
        "4",
        "3",
    ]  # the live one and the way back
    kept = {key.split("/")[1] for key in embedded.registry.files.list_keys(f"{INDEX_MODEL}/")}
    assert kept == {prefix.split("/")[1] for prefix in files.values()}
    with embedded.db.read() as db:
        assert len(release.list_releases(db, INDEX_MODEL)) == 4  # what was decided stays on record


@pytest.mark.slow
def test_while_the_index_has_an_older_encoder_both_encode_new_photos(embedded, tmp_path):
    made = network(embedded)
    with working(embedded):
        run(embedded, "2026-05-01")
    other = replace(
        embedded,
        settings=embedded.settings.model_copy(
            update={"image_model": str(backbone(tmp_path / "theirs"))}
        ),
    )
    newer = registration.register_version(other, datetime.now(UTC))
    with embedded.db.write() as db:
        change = release.ModelChange(
            db, embedded.registry, encoder.ENCODER_MODEL, SYSTEM, datetime.now(UTC)
        )
        verdict = release.record_verdict(
            db,
            encoder.ENCODER_MODEL,
            Evaluation(newer, "1", Verdict(True, []), {}),
            by="tests",
            now=datetime.now(UTC),
        )
        release.release_version(change, verdict, same_interface=False)
    embedded.models.refresh()
    until(lambda: embeddings.image_encoder(embedded).live_version() == newer)
    new = make_post(embedded, make_member(embedded, "ken"))
    post_review.embed_photo(embedded, datetime.now(UTC), new.id)
    with embedded.db.read() as db:
        assert {
            look.encoder_version
            for look in db.scalars(select(ImageFeatures).where(ImageFeatures.digest == new.photo))
        } == {
            "1",
            newer,
        }
    assert new.id in found_for(embedded, made[0])


def test_with_too_few_pictures_there_is_a_sentence_and_no_index(embedded):
    network(embedded, 3)
    with working(embedded):
        assert [step.name for step in run(embedded, "2026-05-01").steps] == STEPS[:1]
    assert live(embedded) is None
    assert not embedded.registry.started()


def test_every_night_asks_for_one_run_a_day(embedded):
    resources_file.set_process_resources(embedded)
    for _ in range(2):
        nightly.enqueue_training_step("2026-05-01")
        nightly.retrain_for_new_encoder()
    assert [(each.id, each.name) for each in embedded.jobs.list_runs()] == [
        (f"{TRAINING}-2026-05-01", TRAINING)
    ]


# ---- refused -------------------------------------------------------------------------------------------------------


def build_half(images, folder, max_features_id):
    """A bad build: every second picture is left out."""
    half = take_images(images, range(0, len(images), 2))
    return index.build_index(half, folder, max_features_id)


@pytest.mark.slow
def test_a_bad_build_is_judged_kept_and_does_not_go_live(embedded, monkeypatch):
    network(embedded, 40)
    with working(embedded):
        run(embedded, "2026-05-01")
        monkeypatch.setattr(
            training, "call_in_subprocess", lambda function, *arguments: build_half(*arguments)
        )
        run(embedded, "2026-05-02")
    assert live(embedded) == "1"
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
    network(embedded, 40)
    with working(embedded):
        run(embedded, "2026-05-01")
    with embedded.db.read() as db:
        encoder_version = registration.find_live_version(embedded)
        images = dataset.load_all_images(db, encoder_version)
        newest = delta_index.find_settled_id(db, encoder_version, datetime.now(UTC))
    folder = Path(embedded.settings.home) / "truncated"
    index.build_index(images, folder, newest)
    (folder / "vectors.npy").write_bytes((folder / "vectors.npy").read_bytes()[:-50])
    made = embedded.registry.save(
        INDEX_MODEL,
        folder,
        parameters={"encoder_version": encoder_version},
        metrics={},
        data_window=("2026-05-01", "2026-05-01"),
        code_version="0",
    )
    evaluation = embedded.lifecycle.evaluate(INDEX_MODEL, made.version, datetime.now(UTC))
    assert [reason["code"] for reason in evaluation.verdict.reasons] == ["unreadable"]


# ---- killed --------------------------------------------------------------------------------------------------------

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
def test_killed_in_every_step_the_run_completes_and_what_is_live_changes_only_by_its_release(
    embedded,
):
    network(embedded, 24)
    registration.ensure_live_version(embedded, datetime.now(UTC))
    with embedded.db.write() as db:
        embedded.jobs.enqueue(db, TRAINING, training.training_run_id("killed"))
    for where in PLACES:
        assert child(embedded, where) == -9, where
        with embedded.db.read() as db:
            assert live(embedded) is None
            assert release.list_releases(db, INDEX_MODEL) == []
    assert child(embedded, "nowhere") == 0
    with embedded.db.read() as db:
        assert len(release.list_verdicts(db, INDEX_MODEL)) == len(release.list_releases(db, INDEX_MODEL)) == 1
        assert db.scalar(select(func.count(ImageFeatures.id))) == 24
    assert live(embedded) == "1"
    assert [version.version for version in embedded.registry.versions(INDEX_MODEL)] == ["1"]


def child(res, where):
    command = [sys.executable, "-c", CHILD, str(res.settings.home), res.db.url, where]
    begun = time.monotonic()
    ended = subprocess.run(
        command, cwd=Path(__file__).parents[3], timeout=200, check=False, capture_output=True
    )
    assert ended.returncode in (0, -9), (
        where,
        time.monotonic() - begun,
        ended.stderr.decode()[-2000:],
    )
    return ended.returncode


# ---- commands ------------------------------------------------------------------------------------------------------


def test_the_command_wants_one_thing_to_compare():
    from tanuki.animals.commands.similarity import similar

    answer = CommandRunner().invoke(similar, ["--all", "1"])
    assert answer.exit_code == 2
    assert "a post, a file" in answer.output

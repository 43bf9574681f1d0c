"""Training the index: from published pictures to what answers, only past the gate; killed in any step it goes on, and what is live changes by a release alone."""

import subprocess
import sys
import time
from contextlib import contextmanager
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path

import pytest
from click.testing import CliRunner
from sqlalchemy import func, select

from tanuki.animals import nightly, post_review
from tanuki.animals.similarity import dataset, delta_index, index, search, training
from tanuki.animals.similarity.index import INDEX_MODEL
from tanuki.animals.similarity.training import TRAINING
from tanuki.animals.tables import ImageFeatures
from tanuki.animals.vision import embeddings, encoder, registration
from tanuki.platform import resources as resources_file
from tanuki.platform.accounts import SYSTEM
from tanuki.platform.jobs import worker
from tanuki.platform.mlops import release, rollout
from tanuki.platform.mlops.tables import GateVerdict, Release
from tests.animals.vision.test_encoder import backbone
from tests.factories.members_and_posts import member, post

pytestmark = pytest.mark.mlflow
assert post_review.POST_REVIEW  # whose runs a worker must know
STEPS = ["similar_collect", "similar_build", "similar_judge", "similar_put_live", "similar_discard"]
KINDS = ("cat", "dog", "bird")


@contextmanager
def working(res):
    resources_file.use(res)
    with worker(res.db, "tests"):
        yield


def network(res, count=24):
    hana = member(res, "hana")
    return [post(res, hana, category=KINDS[n % 3]) for n in range(count)]


def run(res, name):
    with res.db.write() as db:
        res.work.enqueue(db, TRAINING, training.run_id(name))
    ended = res.work.wait(training.run_id(name), seconds=240)
    assert ended.status == "done", ended.error
    return ended


def live(res):
    with res.db.read() as db:
        plan = rollout.plan(db, INDEX_MODEL)
        return plan.champion if plan else None


def found_for(res, asked):
    with res.db.read() as db:
        return [
            each.post_id
            for each in search.to_post(res, db, None, asked.id, k=30, now=datetime.now(UTC))
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
        assert [step.name for step in ended.steps if step.name.startswith("similar")] == STEPS
        assert live(resources) == "1"
        with resources.db.read() as db:
            (verdict,) = db.scalars(select(GateVerdict).where(GateVerdict.model == INDEX_MODEL))
            (gone_live,) = db.scalars(select(Release).where(Release.model == INDEX_MODEL))
            assert (
                verdict.go,
                verdict.by,
                verdict.champion,
                verdict.report["pictures"],
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
        hana = member(resources, "hana")
        new = post(resources, hana)
        until(lambda: new.id in found_for(resources, made[0]))
        run(resources, "2026-05-02")
        assert live(resources) == "2"
        assert new.id in found_for(resources, made[0])
        with resources.db.read() as db:
            assert rollout.plan(db, INDEX_MODEL).files.keys() == {"1", "2"}
        run(resources, "2026-05-02")
        assert live(resources) == "2"


@pytest.mark.slow
def test_old_versions_are_deleted_with_their_files_unless_somebody_needs_them(
    embedded, monkeypatch
):
    monkeypatch.setattr(training, "KEPT", 1)
    network(embedded)
    with working(embedded):
        for day in range(1, 5):
            run(embedded, f"2026-05-0{day}")
    assert live(embedded) == "4"
    with embedded.db.read() as db:
        files = rollout.plan(db, INDEX_MODEL).files
    assert [version.version for version in embedded.registry.versions(INDEX_MODEL)] == [
        "4",
        "3",
    ]  # the live one and the way back
    kept = {key.split("/")[1] for key in embedded.registry.files.list(f"{INDEX_MODEL}/")}
    assert kept == {prefix.split("/")[1] for prefix in files.values()}
    with embedded.db.read() as db:
        assert len(release.releases(db, INDEX_MODEL)) == 4  # what was decided stays on record


@pytest.mark.slow
def test_while_the_index_is_in_older_eyes_both_look_at_what_is_new(embedded, tmp_path):
    made = network(embedded)
    with working(embedded):
        run(embedded, "2026-05-01")
    other = replace(
        embedded,
        settings=embedded.settings.model_copy(update={"image_model": str(backbone(tmp_path / "theirs"))}),
    )
    newer = registration.registered(other, datetime.now(UTC))
    with embedded.db.write() as db:
        release.keep_verdict(
            db,
            GateVerdict(
                model=encoder.ENCODER_MODEL,
                version=newer,
                champion="1",
                go=True,
                report={},
                at=datetime.now(UTC),
                by="tests",
            ),
        )
        release.release(
            db,
            embedded.registry,
            SYSTEM,
            release.latest(db, encoder.ENCODER_MODEL, newer),
            datetime.now(UTC),
            other_shape=True,
        )
    embedded.models.refresh()
    until(lambda: embeddings.image_encoder(embedded).live_version() == newer)
    new = post(embedded, member(embedded, "ken"))
    post_review.look_at(embedded, datetime.now(UTC), new.id)
    with embedded.db.read() as db:
        assert {look.eyes for look in db.scalars(select(ImageFeatures).where(ImageFeatures.digest == new.photo))} == {
            "1",
            newer,
        }
    assert new.id in found_for(embedded, made[0])


def test_with_too_few_pictures_there_is_a_sentence_and_no_index(embedded):
    network(embedded, 3)
    with working(embedded):
        assert [step.name for step in run(embedded, "2026-05-01").steps] == ["similar_collect"]
    assert live(embedded) is None
    assert not embedded.registry.started()


def test_every_night_asks_for_one_run_a_day(embedded):
    resources_file.use(embedded)
    for _ in range(2):
        nightly.begin("2026-05-01")
        nightly.look_after()
    assert [(each.id, each.name) for each in embedded.work.runs()] == [
        ("similar-training-2026-05-01", TRAINING)
    ]


# ---- refused -------------------------------------------------------------------------------------------------------


def halved(found, into, newest):
    """A bad build: every second picture is left out."""
    return index.build(
        found.vectors[::2], found.ids[::2], into, {"encoder_version": found.eyes, "max_features_id": newest}
    )


@pytest.mark.slow
def test_a_bad_build_is_judged_kept_and_does_not_go_live(embedded, monkeypatch):
    network(embedded, 40)
    with working(embedded):
        run(embedded, "2026-05-01")
        monkeypatch.setattr(training, "build_index", halved)
        run(embedded, "2026-05-02")
    assert live(embedded) == "1"
    with embedded.db.read() as db:
        verdict = release.latest(db, INDEX_MODEL, "2")
        assert (verdict.go, verdict.champion, verdict.report["reasons"][0]["code"]) == (
            False,
            "1",
            "lost",
        )
        assert len(release.releases(db, INDEX_MODEL)) == 1


@pytest.mark.slow
def test_a_truncated_version_gets_a_no_go(embedded):
    network(embedded, 40)
    with working(embedded):
        run(embedded, "2026-05-01")
    with embedded.db.read() as db:
        eyes = registration.live(embedded)
        found, newest = dataset.every(db, eyes), delta_index.as_of(db, eyes, datetime.now(UTC))
    folder = Path(embedded.settings.home) / "truncated"
    training.build_index(found, folder, newest)
    (folder / "vectors.npy").write_bytes((folder / "vectors.npy").read_bytes()[:-50])
    made = embedded.registry.save(
        INDEX_MODEL,
        folder,
        parameters={"encoder_version": eyes},
        metrics={},
        data_window=("2026-05-01", "2026-05-01"),
        code_version="0",
    )
    judged = training.judged(embedded, made.version)
    assert [reason["code"] for reason in judged.verdict.reasons] == ["unreadable"]


# ---- killed --------------------------------------------------------------------------------------------------------

CHILD = """
import os, signal, sys, time
from tanuki.app import bootstrap as start
from tanuki.animals import post_review as after_post
from tanuki.animals.similarity import training
from tanuki.platform import resources
from tanuki.platform.mlops import release
from tanuki.platform.jobs import worker
from tanuki.settings import Settings
home, url, where = sys.argv[1:4]
res = start.resources(Settings.model_validate({"home": home, "database": url}), upgrade=False)

def dying(owner, name, after):
    kept = getattr(owner, name)
    def do(*given, **named):
        made = kept(*given, **named) if after else None
        os.kill(os.getpid(), signal.SIGKILL)
        return made
    setattr(owner, name, do)

PLACES = {
    "collect": (training.looks, "eyes", False), "embed": (training.looks, "keep", True), "build": (training, "build_index", False),
    "built": (res.registry.__class__, "save", True), "judge": (training, "judged", False), "judged": (training.release, "keep_verdict", True),
    "put_live": (training.release, "release", False), "released": (training.release, "release", True), "refresh": (res.models.__class__, "refresh", False),
}
if where in PLACES:
    dying(*PLACES[where])
resources.use(res)
with worker(res.db, "child"):
    end = time.monotonic() + 120
    while time.monotonic() < end:
        if not res.work.runs(status="queued") and not res.work.runs(status="running"):
            os._exit(0)
        time.sleep(0.05)
os._exit(3)
"""
WHERE = ["embed", "build", "built", "judge", "judged", "put_live", "released"]


@pytest.mark.slow
def test_killed_in_every_step_the_run_completes_and_what_is_live_changes_only_by_its_release(
    embedded,
):
    network(embedded, 24)
    registration.opened(embedded, datetime.now(UTC))
    with embedded.db.write() as db:
        embedded.work.enqueue(db, TRAINING, training.run_id("killed"))
    for where in WHERE:
        assert child(embedded, where) == -9, where
        with embedded.db.read() as db:
            assert live(embedded) is None
            assert release.releases(db, INDEX_MODEL) == []
    assert child(embedded, "nowhere") == 0
    with embedded.db.read() as db:
        assert len(release.verdicts(db, INDEX_MODEL)) == len(release.releases(db, INDEX_MODEL)) == 1
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

    answer = CliRunner().invoke(similar, ["--all", "1"])
    assert answer.exit_code == 2
    assert "a post, a file" in answer.output

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
from tests.animals.vision.test_encoder import backbone
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
def working(res, periodic_tasks=()):
    resources_file.set_process_resources(res)
    with run_worker(res.db, "tests", periodic_tasks=periodic_tasks):
        yield


def kept(res, version=None):
    with res.db.read() as db:
        wanted = select(ImageFeatures).order_by(ImageFeatures.id)
        return list(
            db.scalars(
                wanted
                if version is None
                else wanted.where(ImageFeatures.encoder_version == version)
            )
        )


def states(res):
    with res.db.read() as db:
        return set(db.scalars(select(Post.state)))


@contextmanager
def broken(res):
    """The live version's graph cannot be read meanwhile."""
    with res.db.read() as db:
        key = f"{rollout.load_rollout(db, encoder.ENCODER_MODEL).files['1']}/model.onnx"
    content = res.registry.files.get(key)
    res.registry.files.put(key, b"no graph")
    yield
    res.registry.files.put(key, content)


# ---- the first version -------------------------------------------------------------------------


def test_the_first_use_makes_checks_and_releases_a_version_once(resources):
    see = embeddings.image_encoder(resources)
    assert see.live_version() is None
    assert see.version == "1"
    with resources.db.read() as db:
        assert [
            (verdict.go, verdict.champion)
            for verdict in release.list_verdicts(db, encoder.ENCODER_MODEL)
        ] == [(True, None)]
        assert [
            (each.version, each.kind) for each in release.list_releases(db, encoder.ENCODER_MODEL)
        ] == [("1", ReleaseKind.GATE)]
        assert rollout.load_rollout(db, encoder.ENCODER_MODEL).champion == "1"
    assert registration.ensure_live_version(resources, NOW) == "1"
    assert registration.register_version(resources, NOW) == "1"
    [one, other] = see.encode([make_photo(1).files["page"], make_photo(2).files["page"]])
    assert (one.encoder_version, len(one.classes)) == ("1", encoder.CLASSES_PER_IMAGE)
    assert float(one.embedding @ other.embedding) < 0.99

    who = make_member(resources, "rex")
    made = make_post(resources, who, seed=1)
    for expected in (1, 0):
        assert embeddings.embed_images(resources, [made.photo], None, NOW) == expected
    [look] = kept(resources)
    assert float(embeddings.decode_embedding(look) @ one.embedding) == pytest.approx(1, abs=1e-4)
    assert np.linalg.norm(embeddings.decode_embedding(look)) == pytest.approx(1, abs=1e-6)
    assert [tuple(each) for each in look.classes] == one.classes
    with resources.db.read() as db:
        assert embeddings.load_features(db, made.photo, "1").id == look.id
        assert embeddings.load_features(db, made.photo, "2") is None


def test_an_encoder_with_unusable_embeddings_never_goes_live(embedded, tmp_path, monkeypatch):
    fault = {"code": "unusable_embeddings", "rows": 6, "of": 6}
    monkeypatch.setattr(evaluation, "find_faults", lambda _: [fault])
    for _ in range(2):
        with pytest.raises(UserError, match="gives unusable output"):
            registration.ensure_live_version(embedded, NOW)
    with embedded.db.read() as db:
        assert [verdict.go for verdict in release.list_verdicts(db, encoder.ENCODER_MODEL)] == [False]
        assert rollout.load_rollout(db, encoder.ENCODER_MODEL) is None


@pytest.mark.parametrize("given", ["nan", "long", "blind"])
def test_unusable_embeddings_are_a_fault(given):
    class Runner:
        class spec:  # noqa: N801
            inputs = (type("Tensor", (), {"shape": (-1, 4, 4, 3)}),)

        def run(self, inputs):
            made = np.concatenate([inputs["image"].reshape(1, -1)[:, :8] + 1.0])
            made = made / np.linalg.norm(made) * (2 if given == "long" else 1)
            return {
                "embedding": {"nan": made * np.nan, "long": made, "blind": np.eye(1, 8)}[
                    given
                ].astype(np.float32)
            }

    assert evaluation.find_faults(Runner()) == [
        {"code": "unusable_embeddings", "rows": 6, "of": 6}
    ]


@pytest.mark.parametrize("way", ["http", "grpc"])
def test_an_encoder_on_a_model_server_gives_what_one_in_process_gives(embedded, way):
    pictures = [make_photo(n).files["page"] for n in range(1, 12)]
    here = embeddings.image_encoder(embedded).encode(pictures)
    server, port = (
        grpc_server.create_server(embedded.models, "127.0.0.1:0")
        if way == "grpc"
        else web(embedded.models)
    )
    server.start()
    theirs = replace(embedded, models=client.connect_model_server(f"{way}://127.0.0.1:{port}"))
    there = embeddings.image_encoder(theirs).encode(pictures)
    theirs.models.close()
    server.stop(1)
    assert [each.encoder_version for each in there] == ["1"] * len(pictures)
    for one, other in zip(here, there, strict=True):
        assert (one.classes, one.phash, one.embedding.tobytes()) == (
            other.classes,
            other.phash,
            other.embedding.tobytes(),
        )


def web(models):
    """The model server over HTTP in a thread, and its port."""
    listens = socket.socket()
    listens.bind(("127.0.0.1", 0))

    class Server(uvicorn.Server):
        def start(self):
            self.thread = threading.Thread(
                target=self.run, kwargs={"sockets": [listens]}, daemon=True
            )
            self.thread.start()
            wait_until(lambda: self.started)

        def stop(self, seconds):
            self.should_exit = True
            self.thread.join(10 * seconds)

    return Server(uvicorn.Config(http_server.create_app(models), log_config=None)), listens.getsockname()[
        1
    ]


# ---- when something is posted ------------------------------------------------------------------


def test_a_posted_picture_is_looked_at_once_however_often_it_is_posted(resources):
    rex = make_member(resources, "rex")
    assert embeddings.image_encoder(resources).version == "1"
    with working(resources):
        for key in ("a", "b"):
            made = send_post(resources, rex, key=key, seed=5)
            wait_until(lambda made=made: resources.jobs.load_run(f"post-{made.id}").status == "done")
        names = [step.name for step in resources.jobs.load_run(f"post-{made.id}").steps]
    assert names == ["post-review_review_post"]
    assert [each.digest for each in kept(resources)] == [make_photo(5).digest]
    assert states(resources) == {"published"}
    with resources.db.write() as db:
        assert photo_files.delete_unused_photo(db, resources.objects, make_photo(5).digest) is False


def test_an_unreachable_image_model_delays_no_post_and_the_backfill_adds_its_features(embedded):
    rex = make_member(embedded, "rex")
    with working(embedded):
        first = send_post(embedded, rex, key="a", seed=6)
        wait_until(lambda: states(embedded) == {"published"})
        assert (
            kept(embedded) == []
        )  # no version is live yet, and the post did not wait for one to be made
        assert embeddings.image_encoder(embedded).version == "1"
        with broken(embedded):
            send_post(embedded, rex, key="b", seed=7)
            wait_until(lambda: states(embedded) == {"published"})
            with pytest.raises(ModelError):
                embed_all_photos(embedded, NOW)
        assert kept(embedded) == []
    assert embed_all_photos(embedded, NOW) == 2
    assert {each.digest for each in kept(embedded)} == {first.photo, make_photo(7).digest}


def test_the_periodic_task_builds_the_encoder_when_the_first_picture_is_published(embedded):
    made = make_post(embedded, make_member(embedded, "rex"), seed=8)
    with working(embedded, periodic_tasks=backfill.PERIODIC_TASKS):
        wait_until(lambda: len(kept(embedded)) == 1, seconds=90)
    assert kept(embedded)[0].digest == made.photo
    resources_file.set_process_resources(embedded)
    backfill.start_owed_backfill()  # live by now: nothing to do


def test_a_look_goes_with_its_picture(resources):
    rex = make_member(resources, "rex")
    made = make_post(resources, rex, seed=9)
    seen = encoder.EncoderOutput(
        np.eye(1, 4, dtype=np.float32)[0], [(281, 0.9)], 0.9, 0.5, 10.0, "0" * 16
    )
    with resources.db.write() as db:
        assert [embeddings.save_features(db, made.photo, replace(seen, encoder_version="1"), NOW) for _ in range(2)] == [
            True,
            False,
        ]
    with resources.db.write() as db:
        post_states.erase_posts(db, [made.id])
    with resources.db.write() as db:
        assert photo_files.delete_unused_photo(db, resources.objects, made.photo)
        assert db.scalar(select(func.count()).select_from(ImageFeatures)) == 0


# ---- over everything ---------------------------------------------------------------------------


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


def seen_as(category_class, share=0.9):
    return encoder.EncoderOutput(
        np.eye(1, 4, dtype=np.float32)[0], [(category_class, share)], share, 0.5, 10.0, "0" * 16
    )


def test_what_is_owed_is_what_a_version_has_not_looked_at(resources):
    rex = make_member(resources, "rex")
    made = [make_post(resources, rex, seed=20 + n) for n in range(3)]
    make_post(resources, rex, seed=20, state="held")
    with resources.db.write() as db:
        photo_files.save_photo(db, resources.objects, make_photo(30), now=NOW)  # no post has it
        embeddings.save_features(db, made[0].photo, replace(seen_as(281), encoder_version="1"), NOW)
        embeddings.save_features(db, made[1].photo, replace(seen_as(281), encoder_version="2"), NOW)
    with resources.db.read() as db:
        assert {version: backfill.count_missing(db, version) for version in ("1", "2", "3")} == {
            "1": 2,
            "2": 2,
            "3": 3,
        }
        assert set(db.scalars(backfill.select_missing("1"))) == {made[1].photo, made[2].photo}
        assert backfill.count_embedded(db, "1") == 1
    assert backfill.measure_progress(resources, "1") == (1, 3)
    assert backfill.measure_progress(resources, None) == (0, 0)


@pytest.mark.slow
def test_a_run_spreads_over_the_parts_passes_over_what_cannot_be_read_and_done_again_does_nothing(
    resources, monkeypatch
):
    rex = make_member(resources, "rex")
    made = [make_post(resources, rex, seed=40 + n) for n in range(9)]
    for size in photo_files.PHOTO_SIDES:
        resources.objects.delete(photo_files.object_key(made[0].photo, size))
    monkeypatch.setattr(backfill, "IMAGES_PER_STEP", 2)
    monkeypatch.setattr(backfill, "MAX_IMAGES_IN_ONE_PART", 8)
    assert run_embed(resources, "first") == 8
    assert len(resources.jobs.list_runs(name="animals-embed-part")) == len(backfill.HEX_DIGITS)
    assert run_embed(resources, "second") == 0
    assert {each.digest for each in kept(resources)} == {each.photo for each in made[1:]}


def test_a_version_in_the_background_looks_at_everything_while_the_live_one_serves(
    embedded, tmp_path
):
    rex = make_member(embedded, "rex")
    for n in range(3):
        make_post(embedded, rex, seed=50 + n)
    assert embed_all_photos(embedded, NOW) == 3
    other = backbone(tmp_path / "theirs")
    theirs = replace(
        embedded, settings=embedded.settings.model_copy(update={"image_model": str(other)})
    )
    assert run_embed(theirs, "new", backfill.NEW_VERSION) == 3
    assert (len(kept(embedded, "1")), len(kept(embedded, "2"))) == (3, 3)
    assert {len(look.embedding) for look in kept(embedded, "2")} == {6}
    assert embeddings.image_encoder(theirs).version == "1"
    with pytest.raises(NotFound):
        theirs.registry.get(encoder.ENCODER_MODEL, "3")


def test_classify_counts_the_categories_of_owners_and_image_model(embedded):
    rex = make_member(embedded, "rex")
    cat, dog, odd = (
        make_post(embedded, rex, seed=60 + n, category=each)
        for n, each in enumerate(("cat", "dog", "cat"))
    )
    assert embeddings.image_encoder(embedded).version == "1"
    with embedded.db.write() as db:
        for each, number, share in ((cat, 281, 0.9), (dog, 151, 0.9), (odd, 151, 0.8)):
            embeddings.save_features(db, each.photo, replace(seen_as(number, share), encoder_version="1"), NOW)
    before = kept(embedded)
    found = run_classify(embedded, "a", again=False)
    assert sorted(map(tuple, found)) == [("cat", "cat", 1), ("cat", "dog", 1), ("dog", "dog", 1)]
    assert commands.tabulate_categories(found) == [
        {"category": "cat", "owners": 2, "image_model": 1, "both": 1, "unknown": 0},
        {"category": "dog", "owners": 1, "image_model": 2, "both": 1, "unknown": 0},
    ]
    again = run_classify(embedded, "b", again=True)
    assert sum(count for *_, count in again) == 3
    after = kept(embedded)
    assert [each.id for each in after] == [each.id for each in before]
    assert all(len(new.embedding) == 512 and new.phash != "0" * 16 for new in after)


def test_the_commands_say_what_they_did_and_refuse_an_unknown_version(tmp_path):
    res = bootstrap.create_resources(Settings(home=tmp_path))
    make_post(res, make_member(res, "rex"), seed=70, category="dog")
    bootstrap.close_resources(res)
    call = CommandRunner(env={"TANUKI_HOME": str(tmp_path)}).invoke
    assert json.loads(call(commands.embed, ["--json"], catch_exceptions=False).stdout) == {
        "version": "1",
        "new": 1,
        "embedded": 1,
        "missing": 0,
    }
    assert (
        "has encoded 1 pictures, 0 of them now" in call(commands.embed, catch_exceptions=False).stdout
    )
    said = call(commands.classify, ["--json"], catch_exceptions=False)
    assert sum(json.loads(line)["owners"] for line in said.stdout.splitlines()) == 1
    with pytest.raises(NotFound, match="version 7"):
        call(commands.embed, ["--version", "7"], catch_exceptions=False)


@pytest.mark.slow
def test_a_killed_run_goes_on_where_it_was_when_the_command_is_called_again(tmp_path):
    res = bootstrap.create_resources(Settings(home=tmp_path))
    rex = make_member(res, "rex")
    made = [make_post(res, rex, seed=200 + n) for n in range(backfill.MAX_IMAGES_IN_ONE_PART + 6)]
    command = [sys.executable, "-m", "tanuki", "animals", "embed", "--json"]
    environment = {**os.environ, "TANUKI_HOME": str(tmp_path), "TANUKI_LOG_LEVEL": "error"}
    first = subprocess.Popen(
        command, env=environment, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
    )
    wait_until(lambda: len(kept(res)) > 3, seconds=60)
    first.kill()
    first.wait()
    seen = len(kept(res))
    assert seen < len(made)
    again = subprocess.run(
        command, env=environment, capture_output=True, text=True, check=True, timeout=120
    )
    said = json.loads(again.stdout.splitlines()[-1])
    assert (said["embedded"], said["missing"]) == (len(made), 0)
    assert len({each.digest for each in kept(res)}) == len(made)
    assert len(res.jobs.list_runs(name=backfill.EMBED)) == 1
    bootstrap.close_resources(res)


# ---- another encoder beside the live one -------------------------------------------------------


def two_versions(db, made, spoiled):
    """Looks of a version that tells categories apart, and of one that does so but for some."""
    for n, each in enumerate(made):
        for version in ("1", "2"):
            wrong = version == "2" and spoiled(n)
            vector = np.full(8, 0.05, np.float32)
            vector[(n % 2) ^ wrong] = 1 + n / 1000
            seen = encoder.EncoderOutput(
                vector / np.linalg.norm(vector), [], 0.5, 0.2 if n % 4 < 2 else 0.6, 10.0, "0" * 16
            )
            embeddings.save_features(db, each.photo, replace(seen, encoder_version=version), NOW)


@pytest.mark.parametrize(
    ("spoiled", "go", "told"),
    [(0, True, ""), (3, False, "Over all rows"), (2, False, "dark pictures")],
)
def test_another_encoder_needs_neighbours_of_the_same_category_as_often_as_the_live_one(embedded, spoiled, go, told):
    rex = make_member(embedded, "rex")
    made = [make_post(embedded, rex, seed=100 + n, category=("cat", "dog")[n % 2]) for n in range(60)]
    wrong = {0: lambda n: False, 3: lambda n: n % 3 == 0, 2: lambda n: n % 4 < 2 and n % 5 < 3}[
        spoiled
    ]
    with embedded.db.write() as db:
        two_versions(db, made, wrong)
    with embedded.db.read() as db:
        images = evaluation.load_common_images(db, "2", "1")
        nothing_in_common = evaluation.load_common_images(db, "3", "1")
    with pytest.raises(UserError, match="0 published pictures"):
        evaluation.compare_versions("3", "1", nothing_in_common)
    found = evaluation.compare_versions("2", "1", images)
    reasons = found.report["reasons"]
    said = " ".join(render_reason(reason, evaluation.ENCODER_TEXTS) for reason in reasons)
    assert (found.verdict.go, told in said) == (go, True)
    assert found.report["category_mismatch"]["champion"] == 0


def test_neighbours_are_counted_as_a_loop_counts_them(monkeypatch):
    monkeypatch.setattr(nearest_neighbours, "MAX_PRODUCTS", 7 * 40)
    drawn = np.random.default_rng(2).normal(size=(40, 6)).astype(np.float32)
    drawn /= np.linalg.norm(drawn, axis=1, keepdims=True)
    kinds = ["cat" if n % 3 else "dog" for n in range(40)]
    wanted = []
    for n in range(40):
        near = sorted((m for m in range(40) if m != n), key=lambda m: -float(drawn[n] @ drawn[m]))[
            :10
        ]
        wanted.append(sum(kinds[m] != kinds[n] for m in near) / 10)
    assert evaluation.neighbour_category_mismatch(drawn, kinds) == pytest.approx(wanted)

"""Serving in this process: batches, limits, errors, swaps, canaries, shadows and rollbacks."""

import gc
import threading
import time
import weakref
from datetime import timedelta
from pathlib import Path

import numpy as np
import pytest
from sqlalchemy import select

from tanuki.errors import NotFound, UserError
from tanuki.platform import audit_log
from tanuki.platform.accounts import SYSTEM
from tanuki.platform.mlops import guardrails, release, runtimes
from tanuki.platform.mlops.guardrails import Bounds, StatsKey, render_violation
from tanuki.platform.mlops.registry import Registry
from tanuki.platform.mlops.release import ModelChange
from tanuki.platform.mlops.runtimes import (
    InferenceTimeout,
    ModelError,
    ModelSignature,
    ServerBusy,
    TensorSpec,
    load_runner,
)
from tanuki.platform.mlops.tables import Prediction, VersionStats
from tanuki.platform.object_store import ObjectStore
from tanuki.platform.serving import shadow_replay
from tanuki.platform.serving.batching import ModelQueue
from tanuki.platform.serving.server import canary_position
from tests.factories.onnx_models import MODEL_NAME, NOW, ModelHost, row_inputs, write_onnx_model


@pytest.fixture
def place(sqlite, tmp_path):
    host = ModelHost(sqlite, tmp_path)
    yield host
    for models in host.servers:
        models.close()


def wait(until, seconds: float = 10.0) -> None:
    """Until something is so."""
    end = time.monotonic() + seconds
    while not until():
        assert time.monotonic() < end, "it did not come about"
        time.sleep(0.02)


# ---- what comes out, and sentences ---------------------------------------------------------------


def test_the_champion_answers_and_says_which_version_it_is(place):
    place.write_version("1", scale=2.0)
    place.set_rollout("1")
    models = place.start_models()
    answer = models.infer(MODEL_NAME, row_inputs(1, 2))
    assert (answer.version, answer.served_as) == ("1", "champion")
    np.testing.assert_allclose(answer.outputs["y"], [[24, 30, 36], [48, 60, 72]])
    assert answer.outputs["scores"].sum() == pytest.approx(2)
    assert models.ready(MODEL_NAME)
    assert models.ready(MODEL_NAME, "1")
    assert not models.ready(MODEL_NAME, "7")
    assert not models.ready("nobody")
    assert models.metadata(MODEL_NAME)["inputs"] == [
        {"name": "x", "datatype": "FP32", "shape": [-1, 3]}
    ]
    with pytest.raises(NotFound, match="no model nobody"):
        models.infer("nobody", {})


def test_more_rows_than_fit_in_a_run_are_answered_in_several(place):
    place.write_version("1")
    place.set_rollout("1")
    answer = place.start_models().infer(MODEL_NAME, row_inputs(*range(20)))
    np.testing.assert_allclose(answer.outputs["y"][:, 0], np.arange(20) * 24, rtol=1e-6)


@pytest.mark.parametrize(
    ("inputs", "says"),
    [
        ({}, r"needs the input x, FP32 \[-1, 3\]"),
        (
            {"x": np.zeros((1, 4), np.float32)},
            r"The input x of the model m is FP32 \[1, 4\]; expected FP32 \[-1, 3\]",
        ),
        ({"x": np.zeros((1, 3), np.float64)}, r"is FP64 \[1, 3\]; expected FP32"),
        ({"x": np.zeros(3, np.float32)}, r"is FP32 \[3\]"),
        ({"x": np.full((1, 3), np.nan, np.float32)}, "holds NaN or infinity"),
        ({"x": np.zeros((1, 3), np.float32), "z": np.zeros(1)}, "has no input z; expected x"),
    ],
)
def test_wrong_inputs_are_named_and_are_not_the_versions_fault(place, inputs, says):
    place.write_version("1")
    place.set_rollout("1")
    models = place.start_models()
    with pytest.raises(UserError, match=says) as refused:
        models.infer(MODEL_NAME, inputs)
    assert refused.value.status == 400
    models.refresh()
    with place.database.read() as db:
        assert guardrails.load_counts(db, MODEL_NAME, [1]) == {}


@pytest.mark.parametrize(
    "how",
    [
        {"nan": True},
        {"dimension": 4, "outputs": [{"name": "y", "datatype": "FP32", "shape": [-1, 3]}]},
        {"fails": True},
    ],
)
def test_outputs_that_are_not_what_they_should_be_are_the_versions_errors(place, how):
    place.write_version("1", **how)
    place.set_rollout("1")
    models = place.start_models()
    if "dimension" in how:  # seen at once, when it warms up
        with pytest.raises(
            ModelError, match=r"Its output y is FP32 \[1, 4\]; expected FP32 \[-1, 3\] with 1 rows"
        ):
            models.infer(MODEL_NAME, row_inputs(1000))
        return
    with pytest.raises(ModelError, match=r"The model m \(version 1\) gave no answer") as failed:
        models.infer(MODEL_NAME, row_inputs(1000))
    assert failed.value.status == 503
    models.refresh()
    with place.database.read() as db:
        assert guardrails.load_counts(db, MODEL_NAME, [1])["1"].errors == 1


def test_a_version_that_cannot_be_loaded_is_said_so(place):
    folder = place.folder / "artifacts" / MODEL_NAME / place.write_version("1")
    (folder / "model.onnx").write_bytes((folder / "model.onnx").read_bytes()[:100])
    place.set_rollout("1")
    with pytest.raises(ModelError, match="Its graph cannot be read"):
        place.start_models().infer(MODEL_NAME, row_inputs(1))


# ---- shared runs and limits ----------------------------------------------------------------------


class Slow:
    """A runner that notes its runs, and waits until it is let go."""

    def __init__(self, **how) -> None:
        self.spec = ModelSignature(
            "test",
            (TensorSpec("x", "FP32", (-1, 3)),),
            (TensorSpec("y", "FP32", (-1, 3)),),
            **{"concurrency": 1, "max_batch": 8, **how},
        )
        self.runs: list[int] = []
        self.go = threading.Event()

    def run(self, inputs):
        self.go.wait(10)
        self.runs.append(len(inputs["x"]))
        return {"y": inputs["x"] * 2}


def ask_many(lane: ModelQueue, values) -> list:
    answers: list = [None] * len(values)

    def one(n: int) -> None:
        answers[n] = lane.infer(row_inputs(values[n]))

    threads = [threading.Thread(target=one, args=(n,)) for n in range(len(values))]
    for thread in threads:
        thread.start()
        time.sleep(0.005)
    return [answers, threads]


def test_requests_that_wait_at_the_same_moment_share_a_run(place):
    runner = Slow()
    lane = ModelQueue(runner)
    answers, threads = ask_many(lane, range(11))
    wait(lambda: len(lane.waiting) == 10)
    runner.go.set()
    for thread in threads:
        thread.join()
    assert runner.runs == [1, 8, 2]
    assert [answer.outputs["y"][0, 0] for answer in answers] == [2 * n for n in range(11)]
    lane.close()


def test_requests_whose_parameters_differ_do_not_share_a_run():
    runner = Slow()
    runner.spec = ModelSignature(
        "t", (*runner.spec.inputs, TensorSpec("k", "INT32", (1,), 10)), runner.spec.outputs, 8, 1
    )
    lane = ModelQueue(runner)
    threads = [
        threading.Thread(target=lane.infer, args=({**row_inputs(n), "k": np.array([k], np.int32)},))
        for n, k in enumerate([1, 5, 5, 7, 5])
    ]
    for thread in threads:
        thread.start()
        time.sleep(0.005)
    wait(lambda: len(lane.waiting) == 4)
    runner.go.set()
    for thread in threads:
        thread.join()
    assert runner.runs == [1, 3, 1]
    lane.close()


def test_a_model_that_is_slow_or_has_too_much_to_do_is_not_waited_for():
    runner = Slow(max_queue=2, seconds=0.2)
    lane = ModelQueue(runner)
    with pytest.raises(InferenceTimeout, match=r"within 0\.1 seconds") as slow:
        lane.infer(row_inputs(1), seconds=0.1)
    assert slow.value.status == 504

    def too_slow() -> None:
        with pytest.raises(InferenceTimeout):
            lane.infer(row_inputs(1))

    threads = [threading.Thread(target=too_slow) for _ in range(2)]
    for thread in threads:
        thread.start()
    wait(lambda: len(lane.waiting) == 2)
    with pytest.raises(ServerBusy, match="2 requests wait"):
        lane.infer(row_inputs(1))
    for thread in threads:
        thread.join()
    runner.go.set()
    assert lane.infer(row_inputs(1)).outputs["y"][0, 0] == 2  # what nobody waits for is not run
    assert runner.runs == [1, 1]
    lane.close()


def test_a_bad_neighbour_in_a_run_is_nobody_elses_fault(tmp_path):
    write_onnx_model(tmp_path / "g", fails=True, concurrency=1)
    lane = ModelQueue(load_runner(ObjectStore(str(tmp_path)), "g", tmp_path / "c"))
    outcomes: dict[int, object] = {}

    def one(value: int) -> None:
        try:
            outcomes[value] = lane.infer(row_inputs(value)).outputs["y"][0, 0]
        except ModelError as error:
            outcomes[value] = error

    threads = [threading.Thread(target=one, args=(value,)) for value in (1, 2, 1000, 3, 4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert [outcomes[n] for n in (1, 2, 3, 4)] == [24, 48, 72, 96]
    assert isinstance(outcomes[1000], ModelError)
    lane.close()


# ---- plans ---------------------------------------------------------------------------------------


def test_fifty_swaps_drop_nothing_and_free_the_old_versions(place):
    for n in range(1, 7):
        place.write_version(str(n), scale=float(n))
    place.set_rollout("1")
    models = place.start_models()
    models.infer(MODEL_NAME, row_inputs(1))
    first = weakref.ref(models.cache.loaded[MODEL_NAME, "1"].queue.runner)
    stop, failed, seen = threading.Event(), [], set()

    def load() -> None:
        while not stop.is_set():
            try:
                answer = models.infer(MODEL_NAME, row_inputs(1))
                seen.add(answer.version)
                assert answer.outputs["y"][0, 0] == 12 * int(
                    answer.version
                )  # never one version's name and another's numbers
            except Exception as error:  # noqa: BLE001 whatever it is, it is a failed request
                failed.append(error)

    threads = [threading.Thread(target=load) for _ in range(4)]
    for thread in threads:
        thread.start()
    for n in range(1, 51):
        place.set_rollout(str(n % 6 + 1))
        models.refresh()
        time.sleep(0.02)
    stop.set()
    for thread in threads:
        thread.join()
    assert failed == []
    assert seen == {"1", "2", "3", "4", "5", "6"}
    assert list(models.cache.loaded) == [(MODEL_NAME, "3")]

    def freed() -> bool:
        gc.collect()
        return first() is None

    wait(freed)


def test_a_plan_changed_elsewhere_is_carried_out_within_a_second(place):
    place.write_version("1")
    place.write_version("2")
    place.set_rollout("1")
    models = place.start_models()
    assert models.infer(MODEL_NAME, row_inputs(1)).version == "1"
    place.set_rollout("2")
    wait(lambda: models.infer(MODEL_NAME, row_inputs(1)).version == "2", 1.5)


def test_a_champion_that_cannot_be_loaded_leaves_the_old_one_answering_and_goes(place):
    place.write_version("1")
    folder = place.folder / "artifacts" / MODEL_NAME / place.write_version("2")
    place.set_rollout("1")
    place.record_release("1", None)
    models = place.start_models()
    models.infer(MODEL_NAME, row_inputs(1))
    (folder / "model.onnx").write_bytes(b"half")
    place.record_release("2", "1")
    place.set_rollout("2")
    models.refresh()
    assert models.infer(MODEL_NAME, row_inputs(1)).version == "1"
    wait(lambda: place.load_rollout().champion == "1")
    assert models.infer(MODEL_NAME, row_inputs(1)).version == "1"


def test_in_a_canary_a_person_always_has_the_same_version(place):
    place.write_version("1", scale=1.0)
    place.write_version("2", scale=1.0)
    place.set_rollout("1", "2", mode="canary", share=0.3)
    models, other = place.start_models(), place.start_models()
    people = [f"person-{n}" for n in range(200)]
    first = [models.infer(MODEL_NAME, row_inputs(1), person=person).version for person in people]
    assert [
        other.infer(MODEL_NAME, row_inputs(1), person=person).version for person in people
    ] == first
    assert 35 < first.count("2") < 85
    assert [version == "2" for version in first] == [
        canary_position(person, MODEL_NAME) < 0.3 for person in people
    ]
    assert canary_position("a", "m") != canary_position("a", "n")


def test_where_the_challenger_fails_the_champion_answers_and_it_goes_by_itself(place):
    place.write_version("1")
    place.write_version("2", nan=True)
    place.set_rollout("1", "2", mode="canary", share=1.0)
    models = place.start_models()
    answers = [models.infer(MODEL_NAME, row_inputs(n), person="ann") for n in range(50)]
    assert {(answer.version, answer.served_as) for answer in answers} == {("1", "champion")}
    wait(lambda: place.load_rollout().challenger is None)
    assert place.load_rollout().mode == "champion_only"
    with place.database.read() as db:
        (entry,) = audit_log.load_entries(db, "model:m")
        assert (entry.actor, entry.action, entry.details["version"]) == (
            "tanuki",
            "model dismiss",
            "2",
        )
        assert "NaN or infinity" in entry.details["violation"]["last_error"]
        assert (
            guardrails.load_counts(db, MODEL_NAME, [1])["2"].errors == 5
        )  # and no more were asked


def test_a_challenger_that_hangs_is_not_waited_for_long(place, monkeypatch):
    place.write_version("1", seconds=60)
    place.write_version("2", seconds=60)
    place.set_rollout("1", "2", mode="canary", share=0.0)
    models = place.start_models()
    for n in range(20):
        models.infer(MODEL_NAME, row_inputs(n), person="ann")
    runner = models.cache.loaded[MODEL_NAME, "2"].queue.runner
    let_go = threading.Event()
    monkeypatch.setattr(runner, "run", lambda _: let_go.wait(20) and {})
    place.set_rollout("1", "2", mode="canary", share=1.0)
    models.refresh()
    models.stats.counts[StatsKey(MODEL_NAME, "1", 2)] = models.stats.counts[
        StatsKey(MODEL_NAME, "1", 1)
    ]
    started = time.monotonic()
    assert models.infer(MODEL_NAME, row_inputs(1), person="ann").version == "1"
    assert time.monotonic() - started < 3
    let_go.set()


def test_a_shadow_answers_too_and_nobody_sees_it(place):
    place.write_version("1", scale=1.0)
    place.write_version("2", scale=1.0)
    place.set_rollout("1", "2", mode="shadow", share=1.0)
    models = place.start_models()
    for n in range(30):
        assert models.infer(MODEL_NAME, row_inputs(n), person="ann").version == "1"
        time.sleep(0.002)
    wait(lambda: not models.shadows.waiting)
    models.refresh()
    with place.database.read() as db:
        counts = guardrails.load_counts(db, MODEL_NAME, [1])
    assert counts["1"].requests == 30
    assert counts["2"].requests >= 25
    assert counts["2"].agreement_sum == counts["2"].compared > 0


@pytest.mark.parametrize(
    ("how", "says"),
    [
        ({"scale": -1.0}, "agree with the champion's by 0%"),
        ({"slow": 120}, "ms a row"),
        ({"nan": True}, "NaN or infinity"),
        ({"fails": True}, "Its graph failed"),
    ],
    ids=["wrong answers", "3 times slower", "NaN", "errors"],
)
@pytest.mark.parametrize("mode", ["shadow", "canary"])
def test_a_bad_version_goes_within_500_requests(place, mode, how, says):
    place.write_version("1", scale=1.0, slow=20)
    place.write_version("2", **{"scale": 1.0, "slow": 20, **how})
    place.set_rollout("1", "2", mode=mode, share=0.5)
    models = place.start_models()
    for n in range(500):
        assert models.infer(MODEL_NAME, row_inputs(1000 if n % 20 == 0 else 1)).outputs[
            "y"
        ].shape == (1, 3)
        if n % 100 == 99:
            wait(lambda: not models.shadows.waiting)
    wait(lambda: place.load_rollout().challenger is None, 3)
    with place.database.read() as db:
        (entry,) = audit_log.load_entries(db, "model:m")
    assert says in render_violation(entry.details["violation"])


@pytest.mark.parametrize("mode", ["shadow", "canary"])
@pytest.mark.parametrize("number", range(5))
def test_a_harmless_rebuild_stays(place, number, mode):
    place.write_version("1", scale=1.0, slow=20)
    place.write_version("2", scale=1.0 + 1e-4 * number, slow=20)
    place.set_rollout("1", "2", mode=mode, share=0.5)
    models = place.start_models()
    for n in range(500):
        models.infer(MODEL_NAME, row_inputs(n))
    wait(lambda: not models.shadows.waiting)
    models.refresh()
    assert place.load_rollout().challenger == "2"
    assert not models.violations


def test_a_new_champion_that_fails_makes_way_for_the_one_before(place):
    place.write_version("1")
    place.write_version("2", nan=True)
    place.set_rollout("1")
    place.record_release("1", None)
    models = place.start_models()
    models.infer(MODEL_NAME, row_inputs(1))
    place.record_release("2", "1")
    place.set_rollout("2")
    models.refresh()
    failed = 0
    for _ in range(500):
        try:
            if models.infer(MODEL_NAME, row_inputs(1)).version == "1":
                break
        except ModelError:
            failed += 1
            time.sleep(0.01)
    assert 5 <= failed < 500
    with place.database.read() as db:
        (last, *_) = release.list_releases(db, MODEL_NAME)
    assert (last.version, last.previous, last.kind, last.by) == ("1", "2", "rollback", "tanuki")
    assert (last.violation or {})["code"] == "errors"
    assert "NaN or infinity" in last.violation["last_error"]


# ---- counted and kept, on each database ----------------------------------------------------------


def test_counts_of_several_processes_are_judged_together_and_answers_are_kept(database, tmp_path):
    place = ModelHost(database, tmp_path)
    place.write_version("1")
    place.write_version("2", nan=True)
    place.set_rollout("1", "2", mode="canary", share=1.0, bounds=Bounds(least_errors=6))
    one, two = place.start_models(sample_rate=1.0), place.start_models()
    try:
        for models in (one, two):
            for _ in range(3):
                models.infer(MODEL_NAME, row_inputs(1, 2), person="ann")
            models.refresh()
        assert place.load_rollout().challenger is None
        with database.read() as db:
            assert {
                (row.process, row.version, row.serial) for row in db.scalars(select(VersionStats))
            } >= {("p0", "2", 1), ("p1", "2", 1)}
            kept = list(db.scalars(select(Prediction)))
        assert {(prediction.version, prediction.served_as) for prediction in kept} == {
            ("1", "champion")
        }
    finally:
        one.close()
        two.close()


def test_what_is_old_is_forgotten(database):
    with database.write() as db:
        for days in (0, 8, 40):
            at = NOW - timedelta(days=days)
            key = StatsKey(MODEL_NAME, "1", days)
            guardrails.save_counts(db, key, "p", guardrails.VersionCounts(), at)
            db.add(
                Prediction(
                    model=MODEL_NAME,
                    version="1",
                    served_as="champion",
                    input_hash="",
                    inputs=b"",
                    outputs=b"",
                    milliseconds=1.0,
                    at=at,
                )
            )
    with database.write() as db:
        assert shadow_replay.delete_old_predictions(db, NOW) == 2
        guardrails.delete_old_counts(db, NOW)
    with database.read() as db:
        assert list(db.scalars(select(VersionStats.serial).order_by(VersionStats.serial))) == [0, 8]
        assert len(db.scalars(select(Prediction)).all()) == 1


def roll_back(db, serial: int) -> str | None:
    """What servers do when a version of a rollout with this serial violates a guardrail."""
    registry = Registry("sqlite:///nowhere.db", ObjectStore(""))
    change = ModelChange(db, registry, MODEL_NAME, SYSTEM, NOW)
    return release.roll_back_automatically(change, serial, {"code": "agreement"})


def test_a_rollout_is_changed_by_whoever_is_first(database):
    place = ModelHost(database, Path())
    place.set_rollout("1", "2", mode="canary", share=0.1)
    with database.write() as db:
        assert roll_back(db, 7) is None
        assert roll_back(db, 1) == "2"
    with database.write() as db:
        assert roll_back(db, 1) is None
        assert roll_back(db, 2) is None  # there is nothing to go back to
    assert (
        place.load_rollout().challenger,
        place.load_rollout().serial,
        place.load_rollout().files,
    ) == (
        None,
        2,
        {"1": "m/1", "2": "m/2"},
    )


def test_every_registry_can_load_onnx_models():
    assert runtimes.RUNNER_FACTORIES["onnx"]

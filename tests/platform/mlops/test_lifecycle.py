"""The life cycle of a version on the real registry: by functions, commands and pages."""

import json
import os
import re
import signal
import subprocess
import sys
import threading
import time
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path

import numpy as np
import pytest

from tanuki.animals import web as animals_web
from tanuki.app import bootstrap
from tanuki.errors import Conflict, NotAllowed, UserError
from tanuki.platform import audit_log
from tanuki.platform.accounts import COMMAND_LINE, SYSTEM, Person
from tanuki.platform.commands.models import models as command
from tanuki.platform.mlops import release, rollout
from tanuki.platform.mlops.evaluation import Evaluation, Verdict
from tanuki.platform.mlops.guardrails import Bounds
from tanuki.platform.mlops.lifecycle import EvaluationRequest, Lifecycle, ModelSpec
from tanuki.platform.mlops.reasons import ReasonTexts
from tanuki.platform.mlops.registry import CHALLENGER, CHAMPION
from tanuki.platform.mlops.release import ModelChange
from tanuki.platform.mlops.tables import GateVerdict, Prediction
from tanuki.platform.serving import client, shadow_replay
from tanuki.platform.web import app as web
from tanuki.settings import Settings
from tanuki.shop import web as shop_web
from tests.factories.command_line import CommandRunner
from tests.factories.http_clients import csrf, make_person, signed_in
from tests.factories.onnx_models import row_inputs, write_onnx_model
from tests.factories.verdicts import add_verdict, release_on_verdict

pytestmark = [pytest.mark.slow, pytest.mark.mlflow]
NOW = datetime(2026, 1, 1, tzinfo=UTC)
ANA = Person("ana", "Ana", frozenset({("analyst", None)}))
OPS = Person("ops", "Ops", frozenset({("operator", None)}))
MEMBER = Person("mia", "Mia", frozenset({("member", None)}))


@pytest.fixture(scope="module")
def shared(tmp_path_factory):
    """Resources with the schema that commands expect; each test of this file has its own models."""
    res = bootstrap.create_resources(Settings(home=tmp_path_factory.mktemp("models") / "home"))
    yield res
    bootstrap.close_resources(res)


def save(res, folder, model: str, **how) -> str:
    """Register a graph; gives its version."""
    version = res.registry.save(
        model,
        write_onnx_model(folder, **how),
        parameters={},
        metrics={"recall": 0.98},
        data_window=("2025-01-01", "2026-01-01"),
        code_version="1",
    )
    return version.version


def judge(
    res, model: str, version: str, go: bool = True, champion: str | None = None
) -> GateVerdict:
    reasons = () if go else ({"code": "missing_rows", "rows": 3, "of": 9},)
    with res.db.write() as db:
        return add_verdict(db, model, version, NOW, reasons=reasons, champion=champion)


def go(res, model: str, version: str, champion: str | None = None) -> None:
    """Judge and release."""
    verdict = judge(res, model, version, champion=champion)
    with res.db.write() as db:
        release_on_verdict(db, res.registry, verdict, NOW, COMMAND_LINE)
    res.models.refresh()


def change(db, registry, actor: Person, model: str) -> ModelChange:
    return ModelChange(db, registry, model, actor, NOW)


def test_the_whole_way_and_back(shared, tmp_path):
    model, registry = "way", shared.registry
    one, two = (
        save(shared, tmp_path / "1", model, scale=1.0),
        save(shared, tmp_path / "2", model, scale=1.0),
    )
    with (
        shared.db.write() as db,
        pytest.raises(Conflict, match="No version of the model way is live"),
    ):
        release.start_shadow(change(db, registry, OPS, model), one)
    go(shared, model, one)
    assert shared.models.infer(model, row_inputs(1)).version == one

    with shared.db.write() as db:
        with pytest.raises(NotAllowed):
            release.start_shadow(change(db, registry, MEMBER, model), two)
        with pytest.raises(Conflict, match="not this GO"):
            release.start_canary(change(db, registry, OPS, model), two)
        with pytest.raises(UserError, match="more than 0 and at most 1"):
            release.start_shadow(change(db, registry, OPS, model), two, share=2)
        row = release.start_shadow(change(db, registry, OPS, model), two)
        assert (row.mode, row.champion, row.challenger) == ("shadow", one, two)
    assert registry.get(model, CHALLENGER).version == two
    judge(shared, model, two, champion=one)
    with shared.db.write() as db:
        release.start_canary(
            change(db, registry, OPS, model), two, share=1.0, bounds=Bounds(requests=50)
        )
    shared.models.refresh()
    assert shared.models.infer(model, row_inputs(1), person="ann").served_as == "challenger"
    with shared.db.write() as db:
        assert release.promote_challenger(change(db, registry, OPS, model)).version == two
    shared.models.refresh()
    answer = shared.models.infer(model, row_inputs(1), person="ann")
    assert (answer.version, answer.served_as) == (two, "champion")
    assert (
        registry.get(model, CHAMPION).version,
        rollout.version_with_alias(registry, model, CHALLENGER),
    ) == (
        two,
        None,
    )
    with shared.db.write() as db:
        release.roll_back_version(change(db, registry, OPS, model), "because")
    shared.models.refresh()
    assert shared.models.infer(model, row_inputs(1)).version == one
    with shared.db.read() as db:
        steps = [
            (entry.action, entry.actor, entry.details.get("version"))
            for entry in audit_log.load_entries(db, f"model:{model}")
        ]
        assert audit_log.find_broken_entry(db) is None
    assert steps == [
        ("model release", "ops", one),
        ("model release", "ops", two),
        ("model canary", "ops", two),
        ("model shadow", "ops", two),
        ("model release", "command line", one),
    ]


def test_a_challenger_is_dismissed_with_a_reason(shared, tmp_path):
    model = "dismissed"
    one, two = save(shared, tmp_path / "1", model), save(shared, tmp_path / "2", model)
    go(shared, model, one)
    with shared.db.write() as db:
        release.start_shadow(change(db, shared.registry, OPS, model), two)
        with pytest.raises(UserError, match="say why"):
            release.dismiss_challenger(change(db, shared.registry, OPS, model), " ")
        assert (
            release.dismiss_challenger(change(db, shared.registry, OPS, model), "too slow") == two
        )
        with pytest.raises(Conflict, match="has no challenger"):
            release.promote_challenger(change(db, shared.registry, OPS, model))
    assert rollout.version_with_alias(shared.registry, model, CHALLENGER) is None


@pytest.mark.parametrize(
    ("how", "says"),
    [
        ({"nan": True, "warm_up": {"x": [[1, 2, 3]]}}, "holds NaN or infinity"),
        (
            {"dimension": 4},
            r"differ from those of version 1 \(scores: FP32 \[-1, 4\], FP32 \[-1, 3\]\)",
        ),
        ({"cut": True}, "Its graph cannot be read"),
        ({"kind": "other"}, "Its kind other is not known"),
        (
            {"inputs": [{"name": "x"}]},
            r"Its files do not fit its model.json \(KeyError: 'datatype'\)",
        ),
        (
            {"outputs": [{"name": "y", "datatype": "FP32", "shape": [-1, 5]}]},
            r"Its output y is FP32 \[1, 3\]",
        ),
    ],
    ids=["NaN", "dimension", "truncated", "kind", "no type", "description"],
)
def test_what_cannot_serve_never_stands_in_a_plan(shared, tmp_path, how, says):
    model = f"bad-{re.sub('[^a-z]', '', says.lower())[:24]}"
    one = save(shared, tmp_path / "1", model)
    go(shared, model, one)
    folder = write_onnx_model(
        tmp_path / "2", **{name: value for name, value in how.items() if name != "cut"}
    )
    if "cut" in how:
        (folder / "model.onnx").write_bytes((folder / "model.onnx").read_bytes()[:100])
    two = shared.registry.save(
        model, folder, parameters={}, metrics={}, data_window=("", ""), code_version="1"
    ).version
    verdict = judge(shared, model, two, champion=one)
    for step in (
        lambda db: release.start_shadow(change(db, shared.registry, OPS, model), two),
        lambda db: release.start_canary(change(db, shared.registry, OPS, model), two),
        lambda db: release.release_version(change(db, shared.registry, OPS, model), verdict),
    ):
        with pytest.raises(Conflict, match=says), shared.db.write() as db:
            step(db)
    with shared.db.read() as db:
        found = rollout.load_rollout(db, model)
    assert found is not None
    assert (found.champion, found.challenger, found.serial) == (one, None, 1)


def test_who_changes_with_a_model_may_say_that_its_shape_changes(shared, tmp_path):
    model = "shapes"
    one, two = save(shared, tmp_path / "1", model), save(shared, tmp_path / "2", model, dimension=4)
    go(shared, model, one)
    verdict = judge(shared, model, two, champion=one)
    with shared.db.write() as db:
        release.release_version(
            change(db, shared.registry, OPS, model), verdict, same_interface=False
        )
    shared.models.refresh()
    assert shared.models.infer(model, row_inputs(1)).outputs["y"].shape == (1, 4)


def test_after_servers_went_back_by_themselves_the_aliases_follow(shared, tmp_path):
    model, registry = "aliases", shared.registry
    one, two = save(shared, tmp_path / "1", model), save(shared, tmp_path / "2", model)
    go(shared, model, one)
    go(shared, model, two, champion=one)
    with shared.db.write() as db:
        assert (
            release.roll_back_automatically(
                change(db, registry, SYSTEM, model), 2, {"code": "agreement"}
            )
            == two
        )
    assert registry.get(model, CHAMPION).version == two  # nobody asked the registry
    with shared.db.read() as db:
        assert rollout.champion_version(db, registry, model) == one
        found = rollout.load_rollout(db, model)
    release.align_aliases(registry, found)
    assert (registry.get(model, CHAMPION).version, registry.get(model, "previous").version) == (
        one,
        two,
    )


# ---- commands ------------------------------------------------------------------------------------


@pytest.fixture
def call(shared, monkeypatch):
    """Run a subcommand; gives its JSON lines, or what it said."""
    monkeypatch.setenv("TANUKI_HOME", str(shared.settings.home))
    monkeypatch.setenv("TANUKI_PREDICTION_SAMPLE_RATE", "1")

    def run(*given: str, code: int = 0):
        found = CommandRunner().invoke(command, [*given, "--json"])
        if isinstance(found.exception, UserError):
            return str(found.exception)
        assert found.exit_code == code, (found.output, found.exception)
        return [json.loads(line) for line in found.stdout.splitlines() if line.startswith("{")]

    return run


def test_the_commands(shared, tmp_path, call):
    model = "commands"
    one, two = save(shared, tmp_path / "1", model), save(shared, tmp_path / "2", model)
    assert call("release", model, one) == "Version 1 has no verdict; please evaluate it first."
    judge(shared, model, one)
    assert call("release", model, one)[0]["kind"] == "gate"
    assert "not this GO" in call("canary", model, two)
    assert call("shadow", model, two, "--bound", "errors=0.5")[0]["mode"] == "shadow"
    assert "is not a bound" in call("shadow", model, two, "--bound", "eros=1")
    assert call("show", model)[0]["rollout"]["bounds"]["errors"] == 0.5
    assert call("rollback", model, "--why", "no")[0]["dismissed"] == two
    judge(shared, model, two, champion=one)
    assert call("canary", model, two, "--share", "0.2")[0]["share"] == 0.2
    (line,) = [row for row in call("list") if row["model"] == model]
    assert (line["champion"], line["challenger"], line["mode"], line["versions"]) == (
        one,
        two,
        "canary",
        2,
    )
    assert call("promote", model)[0]["version"] == two
    assert call("rollback", model, "--why", "no")[0]["version"] == one
    judge(shared, model, two, go=False, champion=one)
    assert call("verdicts", model, two, code=1)[0]["reasons"] == "3 of 9 rows have no answer."
    assert "not this GO" in call("release", model, two)
    assert "Only a person with an account" in call("override", model, two, "--why", "x")
    found = CommandRunner().invoke(command, ["show", model])
    assert found.exit_code == 0
    for title in ("Rollout", "Counted under this rollout", "Versions", "Verdicts", "Releases"):
        assert title in found.output


def test_answers_are_computed_again_byte_for_byte(shared, tmp_path, call):
    model = "again"
    one = save(shared, tmp_path / "1", model)
    go(shared, model, one)
    shared.models.sample_rate = 1.0
    for n in range(5):
        shared.models.infer(model, row_inputs(*np.linspace(0, 1, n + 1)))
    shared.models.sample_rate = 0.0
    shared.models.refresh()
    found = call("replay", "--model", model)
    assert [replay["same"] for replay in found] == [True] * 5
    with shared.db.write() as db:
        kept = db.get(Prediction, found[0]["id"])
        kept.outputs = kept.outputs[:-1] + b"\x11"
    found = call("replay", "--model", model, "--last", "2", code=1)
    assert [replay["same"] for replay in found] == [False, True]
    assert re.match(r"scores differs in 1 of 15 numbers, at most by", found[0]["difference"])
    with shared.db.write() as db:
        assert shadow_replay.delete_old_predictions(db, datetime.now(UTC)) == 0
        assert (
            shadow_replay.delete_old_predictions(
                db, datetime.now(UTC) + 2 * shadow_replay.PREDICTION_RETENTION
            )
            >= 5
        )


def test_a_system_gives_the_texts_of_its_own_reasons():
    verdict = GateVerdict(model="own", report={"reasons": [{"code": "recall", "k": 10}]})
    texts = ReasonTexts(messages={"recall": "recall@%(k)s is too low."})
    spec = ModelSpec("own", "Own model", refuse_all, texts)
    lifecycle = Lifecycle(None, None, None, Path(), {"own": spec})
    assert lifecycle.render_reasons(verdict) == ["Recall@10 is too low."]
    assert replace(lifecycle, specs={}).render_reasons(verdict) == ["code recall, k 10"]


def refuse_all(request: EvaluationRequest) -> Evaluation:
    reasons = [{"code": "recall", "k": request.options["k"]}]
    verdict = Verdict(False, reasons)
    return Evaluation(request.version, None, verdict, {"reasons": reasons})


def accept_all(request: EvaluationRequest) -> Evaluation:
    current = rollout.version_with_alias(request.registry, "cycle")
    verdict = Verdict(True, [])
    return Evaluation(
        request.version, current.version if current else None, verdict, verdict.as_json()
    )


def test_a_version_is_evaluated_once_and_released_once(shared, tmp_path):
    model = "cycle"
    one, two = save(shared, tmp_path / "1", model), save(shared, tmp_path / "2", model)
    lifecycle = replace(shared.lifecycle, specs={model: ModelSpec(model, "Cycle", accept_all)})
    for released in (True, False):
        outcome = lifecycle.evaluate_and_release(model, one, actor=OPS, now=NOW)
        assert (outcome.verdict.go, outcome.released) == (True, released)
    spec = ModelSpec(model, "Cycle", refuse_all, options={"k": 5})
    lifecycle = replace(shared.lifecycle, specs={model: spec})
    outcome = lifecycle.evaluate_and_release(model, two, actor=OPS, now=NOW)
    assert (outcome.verdict.go, outcome.released) == (False, False)
    assert outcome.verdict.report["reasons"] == [{"code": "recall", "k": 5}]
    with pytest.raises(UserError, match="has no option weeks; expected one of k"):
        lifecycle.evaluate(model, two, NOW, {"weeks": 1})
    with shared.db.read() as db:
        assert [verdict.version for verdict in release.list_verdicts(db, model)] == [two, one]
        assert [entry.version for entry in release.list_releases(db, model)] == [one]
    with pytest.raises(UserError, match="No system describes the model other"):
        lifecycle.spec("other")


def test_the_server_as_a_program_swaps_and_ends_without_dropping_a_request(shared, tmp_path):
    model = "program"
    versions = [save(shared, tmp_path / str(n), model, scale=float(n), slow=20) for n in (1, 2, 3)]
    go(shared, model, versions[0])
    environment = {
        **os.environ,
        "TANUKI_HOME": str(shared.settings.home),
        "TANUKI_MODEL_SERVER_PORT": "0",
        "TANUKI_MODEL_SERVER_GRPC_PORT": "0",
        "TANUKI_PREDICTION_SAMPLE_RATE": "0",
    }
    program = subprocess.Popen(
        [sys.executable, "-m", "tanuki", "models"],
        env=environment,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    try:
        line = program.stdout.readline()
        web, grpc = re.fullmatch(r"Models are at (http://\S+)/v2 and (grpc://\S+)\n", line).groups()
        clients = [client.connect_model_server(web), client.connect_model_server(grpc)]
        seen = []
        for n, version in enumerate(versions):
            if n:
                go(shared, model, version, champion=versions[n - 1])
            end = time.monotonic() + 1.5
            while time.monotonic() < end:
                seen += [
                    model_client.infer(model, row_inputs(1)).version for model_client in clients
                ]
        assert sorted({*seen}) == versions
        assert seen[-1] == versions[-1]
        answers = []
        threads = [
            threading.Thread(
                target=lambda model_client=model_client: answers.append(
                    model_client.infer(model, row_inputs(*range(800))).version
                )
            )
            for model_client in clients
        ]
        for thread in threads:
            thread.start()
        time.sleep(0.3)
        assert not answers
        program.send_signal(signal.SIGTERM)
        for thread in threads:
            thread.join()
        assert answers == [versions[-1]] * 2  # what was begun is answered
        assert program.wait(20) == 0
        for model_client in clients:
            model_client.close()
    finally:
        program.kill()
        program.communicate()


# ---- pages ---------------------------------------------------------------------------------------


def test_the_pages(shared, tmp_path):
    model = "pages"
    one, two = save(shared, tmp_path / "1", model), save(shared, tmp_path / "2", model)
    for name, role in (("pia", "analyst"), ("oda", "operator"), ("mia", "member")):
        make_person(shared, name, (role, None))
    app = web.create_app(shared, [shop_web.SYSTEM, animals_web.SYSTEM])
    assert signed_in(app, "mia").get("/models").status_code == 403
    assert signed_in(app, "mia").get(f"/models/{model}").status_code == 403
    ops, ana = signed_in(app, "oda"), signed_in(app, "pia")
    assert ops.get("/models/nothing").status_code == 404
    page = ops.get(f"/models/{model}").text
    assert "The model server does not serve this model" in page
    assert "<form" not in page.split("</header>")[1]
    go(shared, model, one)
    judge(shared, model, two, go=False, champion=one)

    def send(browser, step: str, **values):
        answer = browser.post(f"/models/{model}/{step}", data={"csrf": csrf(browser), **values})
        return answer.status_code, browser.get(f"/models/{model}").text

    status, page = send(ops, "challenge", version=two, mode="shadow", percent="100")
    assert status == 303
    assert "Version 2 is the challenger now." in page
    assert "shadow, 100%" in page
    assert "taken back automatically when 1.0% more of its requests fail" in page
    assert send(ops, "challenge", version=two, mode="canary", percent="50")[0] == 409
    assert send(ops, "challenge", version=two, mode="else", percent="50")[0] == 400
    assert send(ops, "promote")[0] == 409
    for _ in range(3):
        shared.models.refresh()
        shared.models.infer(model, row_inputs(1))
    time.sleep(0.1)
    shared.models.refresh()
    page = ana.get(f"/models/{model}", headers={"Accept-Language": "ja"}).text
    assert "シャドー" in page
    assert "9行のうち3行の答えがありません" in page
    view = ops.get(f"/api/models/{model}").json()
    assert view["model"]["challenger"] == two
    assert {(served["version"], served["role"]) for served in view["served"]} == {
        (one, "champion"),
        (two, "challenger"),
    }
    assert [entry["action"] for entry in view["audit_log"]] == ["shadow started", "released"]
    assert send(ops, "dismiss", why="")[0] in (400, 422)
    status, page = send(ops, "dismiss", why="<b>slow</b>")
    assert "The challenger 2 was taken away." in page
    assert "&lt;b&gt;slow&lt;/b&gt;" in page
    assert send(ops, f"{two}/override", why="x")[0] == 403
    status, page = send(ana, f"{two}/override", why="we know better")
    assert status == 303
    assert "Version 2 is live, against the NO-GO." in page
    status, page = send(ops, "rollback", why="we did not")
    assert "Version 1 is live again." in page
    listed = ops.get("/api/models").json()["models"]
    assert [(row["champion"], row["mode"]) for row in listed if row["model"] == model] == [
        (one, "champion only")
    ]
    assert f"/models/{model}" in ops.get("/models").text
    paths = {row["model"]: row["path"] for row in listed}
    assert paths["shop-forecast"] == "/shop/models"  # the system's own, before its first version

"""A version's way: registered, judged, beside the champion, live, and back; on the real registry, with the trail, by functions, commands and pages."""

import json
import os
import re
import signal
import subprocess
import sys
import threading
import time
from datetime import UTC, datetime

import numpy as np
import pytest

from tanuki.animals import web as animals_web
from tanuki.app import bootstrap
from tanuki.errors import Conflict, NotAllowed, UserError
from tanuki.platform import audit_log
from tanuki.platform.accounts import COMMAND_LINE, Person
from tanuki.platform.commands.models import models as command
from tanuki.platform.mlops import overview, release, rollout
from tanuki.platform.mlops.guardrails import Bounds
from tanuki.platform.mlops.registry import CHALLENGER, CHAMPION
from tanuki.platform.mlops.tables import GateVerdict, Prediction
from tanuki.platform.serving import client, shadow_replay
from tanuki.platform.web import app as web
from tanuki.settings import Settings
from tanuki.shop import web as shop_web
from tests.factories.command_line import CommandRunner
from tests.factories.http_clients import csrf, make_person, signed_in
from tests.factories.onnx_models import graph, rows

pytestmark = [pytest.mark.slow, pytest.mark.mlflow]
NOW = datetime(2026, 1, 1, tzinfo=UTC)
ANA = Person("ana", "Ana", frozenset({("analyst", None)}))
OPS = Person("ops", "Ops", frozenset({("operator", None)}))
MEMBER = Person("mia", "Mia", frozenset({("member", None)}))


@pytest.fixture(scope="module")
def shared(tmp_path_factory):
    """Everything, with a schema as commands expect it; once for all tests of this file, each of which has models of its own."""
    made = bootstrap.create_resources(Settings(home=tmp_path_factory.mktemp("models") / "home"))
    yield made
    bootstrap.close_resources(made)


def save(res, folder, model: str, **how) -> str:
    """Register a graph; gives its version."""
    made = res.registry.save(
        model,
        graph(folder, **how),
        parameters={},
        metrics={"recall": 0.98},
        data_window=("2025-01-01", "2026-01-01"),
        code_version="1",
    )
    return made.version


def judge(
    res, model: str, version: str, go: bool = True, champion: str | None = None
) -> GateVerdict:
    reasons = [] if go else [{"code": "missing", "rows": 3, "of": 9}]
    with res.db.write() as db:
        return release.keep_verdict(
            db,
            GateVerdict(
                model=model,
                version=version,
                champion=champion,
                go=go,
                report={"reasons": reasons},
                at=NOW,
                by="tanuki",
            ),
        )


def go(res, model: str, version: str, champion: str | None = None) -> None:
    """Judge and release."""
    verdict = judge(res, model, version, champion=champion)
    with res.db.write() as db:
        release.release_version(db, res.registry, COMMAND_LINE, verdict, NOW)
    res.models.refresh()


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
        release.start_shadow(db, registry, OPS, model, one, NOW)
    go(shared, model, one)
    assert shared.models.infer(model, rows(1)).version == one

    with shared.db.write() as db:
        with pytest.raises(NotAllowed):
            release.start_shadow(db, registry, MEMBER, model, two, NOW)
        with pytest.raises(Conflict, match="not this GO"):
            release.start_canary(db, registry, OPS, model, two, NOW)
        with pytest.raises(UserError, match="more than 0 and at most 1"):
            release.start_shadow(db, registry, OPS, model, two, NOW, share=2)
        made = release.start_shadow(db, registry, OPS, model, two, NOW)
        assert (made.mode, made.champion, made.challenger) == ("shadow", one, two)
    assert registry.get(model, CHALLENGER).version == two
    judge(shared, model, two, champion=one)
    with shared.db.write() as db:
        release.start_canary(
            db, registry, OPS, model, two, NOW, share=1.0, bounds=Bounds(requests=50)
        )
    shared.models.refresh()
    assert shared.models.infer(model, rows(1), person="ann").served_as == "challenger"
    with shared.db.write() as db:
        assert release.promote_challenger(db, registry, OPS, model, NOW).version == two
    shared.models.refresh()
    answer = shared.models.infer(model, rows(1), person="ann")
    assert (answer.version, answer.served_as) == (two, "champion")
    assert (
        registry.get(model, CHAMPION).version,
        rollout.version_with_alias(registry, model, CHALLENGER),
    ) == (
        two,
        None,
    )
    with shared.db.write() as db:
        release.roll_back_version(db, registry, OPS, model, why="because", now=NOW)
    shared.models.refresh()
    assert shared.models.infer(model, rows(1)).version == one
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
        release.start_shadow(db, shared.registry, OPS, model, two, NOW)
        with pytest.raises(UserError, match="say why"):
            release.dismiss_challenger(db, shared.registry, OPS, model, NOW, why=" ")
        assert (
            release.dismiss_challenger(db, shared.registry, OPS, model, NOW, why="too slow") == two
        )
        with pytest.raises(Conflict, match="stands beside"):
            release.promote_challenger(db, shared.registry, OPS, model, NOW)
    assert rollout.version_with_alias(shared.registry, model, CHALLENGER) is None


@pytest.mark.parametrize(
    ("how", "says"),
    [
        ({"nan": True, "warm_up": {"x": [[1, 2, 3]]}}, "holds what is not a number"),
        (
            {"dimension": 4},
            r"does not take and give what version 1 does \(scores: FP32 \[-1, 4\], FP32 \[-1, 3\]\)",
        ),
        ({"cut": True}, "Its graph cannot be read"),
        ({"kind": "other"}, "Its kind other is not known"),
        (
            {"inputs": [{"name": "x"}]},
            r"Its files are not what its model.json says \(KeyError: 'datatype'\)",
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
    folder = graph(tmp_path / "2", **{name: each for name, each in how.items() if name != "cut"})
    if "cut" in how:
        (folder / "model.onnx").write_bytes((folder / "model.onnx").read_bytes()[:100])
    two = shared.registry.save(
        model, folder, parameters={}, metrics={}, data_window=("", ""), code_version="1"
    ).version
    verdict = judge(shared, model, two, champion=one)
    for step in (
        lambda db: release.start_shadow(db, shared.registry, OPS, model, two, NOW),
        lambda db: release.start_canary(db, shared.registry, OPS, model, two, NOW),
        lambda db: release.release_version(db, shared.registry, OPS, verdict, NOW),
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
        release.release_version(db, shared.registry, OPS, verdict, NOW, other_shape=True)
    shared.models.refresh()
    assert shared.models.infer(model, rows(1)).outputs["y"].shape == (1, 4)


def test_after_servers_went_back_by_themselves_the_aliases_follow(shared, tmp_path):
    model, registry = "aliases", shared.registry
    one, two = save(shared, tmp_path / "1", model), save(shared, tmp_path / "2", model)
    go(shared, model, one)
    go(shared, model, two, champion=one)
    with shared.db.write() as db:
        assert release.roll_back_automatically(db, model, 2, "it failed", NOW) == two
    assert registry.get(model, CHAMPION).version == two  # nobody asked the registry
    with shared.db.read() as db:
        assert rollout.champion_version(db, registry, model) == one
        found = rollout.load_rollout(db, model)
    release.align_aliases(registry, found)
    assert (registry.get(model, CHAMPION).version, registry.get(model, "previous").version) == (
        one,
        two,
    )


# ---- commands ------------------------------------------------------------------------------------------------------


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
    assert call("release", model, one) == "Version 1 was never judged; let the gate judge it first."
    judge(shared, model, one)
    assert call("release", model, one)[0]["kind"] == "gate"
    assert "not this GO" in call("canary", model, two)
    assert call("shadow", model, two, "--bound", "errors=0.5")[0]["mode"] == "shadow"
    assert "is no bound" in call("shadow", model, two, "--bound", "eros=1")
    assert call("show", model)[0]["plan"]["bounds"]["errors"] == 0.5
    assert call("rollback", model, "--why", "no")[0]["dismissed"] == two
    judge(shared, model, two, champion=one)
    assert call("canary", model, two, "--share", "0.2")[0]["share"] == 0.2
    (line,) = [each for each in call("list") if each["model"] == model]
    assert (line["champion"], line["challenger"], line["mode"], line["versions"]) == (
        one,
        two,
        "canary",
        2,
    )
    assert call("promote", model)[0]["version"] == two
    assert call("rollback", model, "--why", "no")[0]["version"] == one
    judge(shared, model, two, go=False, champion=one)
    assert call("gate", model, two, code=1)[0]["reasons"] == "3 of 9 rows have no answer."
    assert "not this GO" in call("release", model, two)
    assert "only by a person with a name" in call("release", model, two, "--override", "--why", "x")
    found = CommandRunner().invoke(command, ["show", model])
    assert found.exit_code == 0
    for title in ("Plan", "Counted under this plan", "Versions", "Verdicts", "Releases"):
        assert title in found.output


def test_answers_are_computed_again_byte_for_byte(shared, tmp_path, call):
    model = "again"
    one = save(shared, tmp_path / "1", model)
    go(shared, model, one)
    shared.models.kept = 1.0
    for n in range(5):
        shared.models.infer(model, rows(*np.linspace(0, 1, n + 1)))
    shared.models.kept = 0.0
    shared.models.refresh()
    found = call("replay", "--model", model)
    assert [each["same"] for each in found] == [True] * 5
    with shared.db.write() as db:
        kept = db.get(Prediction, found[0]["id"])
        kept.outputs = kept.outputs[:-1] + b"\x11"
    found = call("replay", "--model", model, "--last", "2", code=1)
    assert [each["same"] for each in found] == [False, True]
    assert re.match(r"scores differs in 1 of 15 numbers, at most by", found[0]["different"])
    with shared.db.write() as db:
        assert shadow_replay.forget(db, datetime.now(UTC)) == 0
        assert shadow_replay.forget(db, datetime.now(UTC) + 2 * shadow_replay.KEPT) >= 5


def test_a_system_says_its_own_reasons(monkeypatch):
    found = GateVerdict(
        model="own",
        version="1",
        champion=None,
        go=False,
        report={"reasons": [{"code": "recall", "k": 10}]},
        at=NOW,
        by="x",
    )
    assert overview.sentences(found, "en") == ["code recall, k 10"]
    monkeypatch.setitem(overview.OWN_WORDS, "own", "test_models_release:own_words")
    assert overview.sentences(found, "ja") == ["recall@10 ja"]


def own_words(reason, lang: str) -> str:
    return f"recall@{reason['k']} {lang}"


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
        asking = [client.connect(web), client.connect(grpc)]
        seen = []
        for n, version in enumerate(versions):
            if n:
                go(shared, model, version, champion=versions[n - 1])
            end = time.monotonic() + 1.5
            while time.monotonic() < end:
                seen += [each.infer(model, rows(1)).version for each in asking]
        assert sorted({*seen}) == versions
        assert seen[-1] == versions[-1]
        answers = []
        begun = [
            threading.Thread(
                target=lambda each=each: answers.append(
                    each.infer(model, rows(*range(800))).version
                )
            )
            for each in asking
        ]
        for each in begun:
            each.start()
        time.sleep(0.3)
        assert not answers
        program.send_signal(signal.SIGTERM)
        for each in begun:
            each.join()
        assert answers == [versions[-1]] * 2  # what was begun is answered
        assert program.wait(20) == 0
        for each in asking:
            each.close()
    finally:
        program.kill()
        program.communicate()


# ---- pages ---------------------------------------------------------------------------------------------------------


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
    assert "No server answers with this model" in page
    assert "<form" not in page.split("</header>")[1]
    go(shared, model, one)
    judge(shared, model, two, go=False, champion=one)

    def send(browser, step: str, **values):
        answer = browser.post(f"/models/{model}/{step}", data={"csrf": csrf(browser), **values})
        return answer.status_code, browser.get(f"/models/{model}").text

    status, page = send(ops, "beside", version=two, how="shadow", percent="100")
    assert status == 303
    assert "Version 2 stands beside the live one." in page
    assert "in the shadow, 100%" in page
    assert "It goes by itself when more than 1.0% of its answers fail" in page
    assert send(ops, "beside", version=two, how="canary", percent="50")[0] == 409
    assert send(ops, "beside", version=two, how="else", percent="50")[0] == 400
    assert send(ops, "promote")[0] == 409
    for _ in range(3):
        shared.models.refresh()
        shared.models.infer(model, rows(1))
    time.sleep(0.1)
    shared.models.refresh()
    page = ana.get(f"/models/{model}", headers={"Accept-Language": "ja"}).text
    assert "シャドー" in page
    assert "9行のうち3行の答えがありません" in page
    told = ops.get(f"/api/models/{model}").json()
    assert told["plan"]["challenger"] == two
    assert {(each["version"], each["role"]) for each in told["watched"]} == {
        (one, "live"),
        (two, "beside it"),
    }
    assert [each["what"] for each in told["steps"]] == ["into the shadow", "went live"]
    assert send(ops, "dismiss", why="")[0] in (400, 422)
    status, page = send(ops, "dismiss", why="<b>slow</b>")
    assert "Version 2 was taken away." in page
    assert "&lt;b&gt;slow&lt;/b&gt;" in page
    assert send(ops, f"{two}/override", why="x")[0] == 403
    status, page = send(ana, f"{two}/override", why="we know better")
    assert status == 303
    assert "Version 2 is live, against the gate." in page
    status, page = send(ops, "rollback", why="we did not")
    assert "Version 1 is live again." in page
    listed = ops.get("/api/models").json()["models"]
    assert [(each["champion"], each["mode"]) for each in listed if each["model"] == model] == [
        (one, "alone")
    ]
    assert f"/models/{model}" in ops.get("/models").text

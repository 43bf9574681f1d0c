"""What is live: only a GO or a named person changes it, every change is kept, and there is a way back."""

import re
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

import tanuki
from tanuki.errors import Conflict, NotAllowed, UserError
from tanuki.platform.accounts import COMMAND_LINE, SYSTEM, Person
from tanuki.platform.mlops import release
from tanuki.platform.mlops.registry import CHAMPION, Registry
from tanuki.platform.mlops.tables import GateVerdict, Release

pytestmark = [pytest.mark.slow, pytest.mark.mlflow]
MODEL = "forecast"
NOW = datetime(2021, 1, 11, 1, 30, tzinfo=UTC)
ANA = Person("ana", "Ana", frozenset({("analyst", None)}))
OPS = Person("ops", "Ops", frozenset({("operator", None)}))
STORE = Person("chiba", "Chiba", frozenset({("manager", "chiba")}))


@pytest.fixture(scope="module")
def made(tmp_path_factory) -> Path:
    """A registry with three versions, of which none is live; made once, because MLflow takes its time."""
    home = tmp_path_factory.mktemp("registry")
    (home / "model").mkdir()
    (home / "model" / "a").write_text("x")
    for _ in range(3):
        empty(home).save(
            MODEL, home / "model", parameters={}, metrics={}, data_window=("", ""), code_version=""
        )
    return home


def empty(home: Path) -> Registry:
    return Registry(f"sqlite:///{home / 'mlflow.db'}", str(home / "artifacts"))


@pytest.fixture
def registry(made) -> Registry:
    """Nothing is live."""
    registry = empty(made)
    for alias in (CHAMPION, release.PREVIOUS):
        registry.client.delete_registered_model_alias(MODEL, alias)
    return registry


def verdict(db, version: str, go: bool, champion: str | None = None) -> GateVerdict:
    return release.keep_verdict(
        db,
        GateVerdict(
            model=MODEL,
            version=version,
            champion=champion,
            go=go,
            report={"reasons": []},
            at=NOW,
            by="ana",
        ),
    )


def live(registry: Registry) -> str | None:
    found = release.version_with_alias(registry, MODEL)
    return found.version if found else None


def test_a_go_goes_live_and_one_step_leads_back_and_forth(database, registry):
    with database.write() as db:
        release.release_version(db, registry, SYSTEM, verdict(db, "1", True), NOW)
        release.release_version(db, registry, OPS, verdict(db, "2", True, "1"), NOW)
        assert live(registry) == "2"
        release.roll_back_version(
            db, registry, OPS, MODEL, why="too little milk", now=NOW + timedelta(hours=1)
        )
        assert live(registry) == "1"
        release.roll_back_version(
            db, registry, ANA, MODEL, why="it was the till", now=NOW + timedelta(hours=2)
        )
        assert live(registry) == "2"
    with database.read() as db:
        found = [
            (each.kind, each.version, each.previous, each.by, each.why)
            for each in release.list_releases(db, MODEL)
        ]
    assert found == [
        ("rollback", "2", "1", "ana", "it was the till"),
        ("rollback", "1", "2", "ops", "too little milk"),
        ("gate", "2", "1", "ops", None),
        ("gate", "1", None, "tanuki", None),
    ]


def test_a_no_go_does_not_go_live_and_nothing_is_recorded(database, registry):
    with database.write() as db:
        with pytest.raises(Conflict, match="not this GO"):
            release.release_version(db, registry, ANA, verdict(db, "1", False), NOW)
        assert (live(registry), release.list_releases(db, MODEL)) == (None, [])


def test_a_go_is_worth_nothing_once_a_newer_verdict_says_no(database, registry):
    with database.write() as db:
        old = verdict(db, "1", True)
        verdict(db, "1", False)
        with pytest.raises(Conflict, match="newest verdict"):
            release.release_version(db, registry, ANA, old, NOW)


def test_a_go_beside_a_champion_that_is_gone_must_be_judged_again(database, registry):
    with database.write() as db:
        late = verdict(db, "3", True)
        release.release_version(db, registry, ANA, verdict(db, "1", True), NOW)
        with pytest.raises(Conflict, match="judge it again"):
            release.release_version(db, registry, ANA, late, NOW)
        assert live(registry) == "1"


def test_a_named_person_may_decide_against_a_no_go_and_says_why(database, registry):
    with database.write() as db:
        no = verdict(db, "1", False)
        with pytest.raises(UserError, match="say why"):
            release.override_verdict(db, registry, ANA, MODEL, "1", why="  ", now=NOW)
        for nobody in (COMMAND_LINE, SYSTEM):
            with pytest.raises(NotAllowed, match="person with a name"):
                release.override_verdict(db, registry, nobody, MODEL, "1", why="because", now=NOW)
        made = release.override_verdict(
            db, registry, ANA, MODEL, "1", why="new stores are not judged fairly", now=NOW
        )
        assert (made.kind, made.by, made.verdict_id, live(registry)) == (
            "override",
            "ana",
            no.id,
            "1",
        )


def test_an_override_is_only_against_a_no_go(database, registry):
    with database.write() as db:
        with pytest.raises(UserError, match="never judged"):
            release.override_verdict(db, registry, ANA, MODEL, "2", why="x", now=NOW)
        verdict(db, "2", True)
        with pytest.raises(Conflict, match="needs nobody"):
            release.override_verdict(db, registry, ANA, MODEL, "2", why="x", now=NOW)
    assert live(registry) is None


def test_who_may_what(database, registry):
    with database.write() as db:
        go, no = verdict(db, "1", True), verdict(db, "2", False)
        for who in (STORE,):
            with pytest.raises(NotAllowed):
                release.release_version(db, registry, who, go, NOW)
            with pytest.raises(NotAllowed):
                release.roll_back_version(db, registry, who, MODEL, why="x", now=NOW)
        for who in (STORE, OPS):
            with pytest.raises(NotAllowed):
                release.override_verdict(db, registry, who, MODEL, no.version, why="x", now=NOW)
    assert live(registry) is None


def test_without_a_version_before_there_is_no_way_back(database, registry):
    with database.write() as db:
        release.release_version(db, registry, ANA, verdict(db, "1", True), NOW)
        with pytest.raises(Conflict, match="no way back"):
            release.roll_back_version(db, registry, ANA, MODEL, why="x", now=NOW)
        with pytest.raises(UserError, match="say why"):
            release.roll_back_version(db, registry, ANA, MODEL, why=" ", now=NOW)


def test_what_is_live_does_not_go_live_again(database, registry):
    with database.write() as db:
        release.release_version(db, registry, ANA, verdict(db, "1", True), NOW)
        with pytest.raises(Conflict, match="live already"):
            release.release_version(db, registry, ANA, verdict(db, "1", True, "1"), NOW)
        assert release.version_with_alias(registry, MODEL, release.PREVIOUS) is None


def test_what_fails_leaves_no_record(database, registry):
    with pytest.raises(UserError), database.write() as db:
        release.release_version(
            db, registry, ANA, verdict(db, "9", True), NOW
        )  # was never registered
    with database.read() as db:
        assert db.query(Release).count() == 0
    assert live(registry) is None


def test_only_releases_move_the_champion_and_records_are_only_added():
    source = Path(tanuki.__file__).parent
    texts = {
        str(file.relative_to(source)): file.read_text("utf-8") for file in source.rglob("*.py")
    }
    moving = {
        name
        for name, text in texts.items()
        if re.search(r"set_alias\((?!.*CHALLENGER)|set_registered_model_alias", text)
    }
    assert moving == {"platform/models/registry.py", "platform/models/release.py"}
    changing = r"(update|delete)\((GateVerdict|Release)\b|db\.delete\((verdict|made)"
    assert [name for name, text in texts.items() if re.search(changing, text)] == []

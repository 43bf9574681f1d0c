"""Releases: only a GO or a named person changes the champion; all stay on record."""

import re
from datetime import UTC, datetime
from pathlib import Path

import pytest

import tanuki
from tanuki.errors import Conflict, NotAllowed, UserError
from tanuki.platform.accounts import COMMAND_LINE, SYSTEM, Person
from tanuki.platform.mlops import release
from tanuki.platform.mlops.registry import CHAMPION, PREVIOUS, Registry
from tanuki.platform.mlops.release import ModelChange
from tanuki.platform.mlops.rollout import version_with_alias
from tanuki.platform.mlops.tables import GateVerdict, Release
from tanuki.platform.object_store import ObjectStore
from tests.factories.verdicts import add_verdict

pytestmark = [pytest.mark.slow, pytest.mark.mlflow]
MODEL = "forecast"
NOW = datetime(2021, 1, 11, 1, 30, tzinfo=UTC)
ANA = Person("ana", "Ana", frozenset({("analyst", None)}))
OPS = Person("ops", "Ops", frozenset({("operator", None)}))
STORE = Person("chiba", "Chiba", frozenset({("manager", "chiba")}))


@pytest.fixture(scope="module")
def registry_home(tmp_path_factory) -> Path:
    """A registry with three versions, none of them live; made once, because MLflow is slow."""
    home = tmp_path_factory.mktemp("registry")
    (home / "model").mkdir()
    (home / "model" / "a").write_text("x")
    for _ in range(3):
        empty(home).save(
            MODEL, home / "model", parameters={}, metrics={}, data_window=("", ""), code_version=""
        )
    return home


def empty(home: Path) -> Registry:
    return Registry(f"sqlite:///{home / 'mlflow.db'}", ObjectStore(str(home / "artifacts")))


@pytest.fixture
def registry(registry_home) -> Registry:
    """Nothing is live."""
    registry = empty(registry_home)
    for alias in (CHAMPION, PREVIOUS):
        registry.client.delete_registered_model_alias(MODEL, alias)
    return registry


def verdict(db, version: str, go: bool, champion: str | None = None) -> GateVerdict:
    reasons = () if go else ({"code": "no_common_rows"},)
    return add_verdict(db, MODEL, version, NOW, reasons=reasons, champion=champion)


def change(db, registry: Registry, actor: Person) -> ModelChange:
    return ModelChange(db, registry, MODEL, actor, NOW)


def live(registry: Registry) -> str | None:
    found = version_with_alias(registry, MODEL)
    return found.version if found else None


def test_a_go_goes_live_and_one_step_leads_back_and_forth(database, registry):
    with database.write() as db:
        release.release_version(change(db, registry, SYSTEM), verdict(db, "1", True))
        release.release_version(change(db, registry, OPS), verdict(db, "2", True, "1"))
        assert live(registry) == "2"
        release.roll_back_version(change(db, registry, OPS), "too little milk")
        assert live(registry) == "1"
        release.roll_back_version(change(db, registry, ANA), "it was the till")
        assert live(registry) == "2"
    with database.read() as db:
        found = [
            (entry.kind, entry.version, entry.previous, entry.by, entry.why)
            for entry in release.list_releases(db, MODEL)
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
            release.release_version(change(db, registry, ANA), verdict(db, "1", False))
        assert (live(registry), release.list_releases(db, MODEL)) == (None, [])


def test_a_go_is_worth_nothing_once_a_newer_verdict_says_no(database, registry):
    with database.write() as db:
        old = verdict(db, "1", True)
        verdict(db, "1", False)
        with pytest.raises(Conflict, match="newest verdict"):
            release.release_version(change(db, registry, ANA), old)


def test_a_go_beside_a_champion_that_is_gone_must_be_judged_again(database, registry):
    with database.write() as db:
        late = verdict(db, "3", True)
        release.release_version(change(db, registry, ANA), verdict(db, "1", True))
        with pytest.raises(Conflict, match="evaluate it again"):
            release.release_version(change(db, registry, ANA), late)
        assert live(registry) == "1"


def test_a_named_person_may_decide_against_a_no_go_and_says_why(database, registry):
    with database.write() as db:
        no = verdict(db, "1", False)
        with pytest.raises(UserError, match="say why"):
            release.override_verdict(change(db, registry, ANA), "1", "  ")
        for nobody in (COMMAND_LINE, SYSTEM):
            with pytest.raises(NotAllowed, match="person with an account"):
                release.override_verdict(change(db, registry, nobody), "1", "because")
        entry = release.override_verdict(
            change(db, registry, ANA), "1", "new stores are not judged fairly"
        )
        assert (entry.kind, entry.by, entry.verdict_id, live(registry)) == (
            "override",
            "ana",
            no.id,
            "1",
        )


def test_an_override_is_only_against_a_no_go(database, registry):
    with database.write() as db:
        with pytest.raises(UserError, match="has no verdict"):
            release.override_verdict(change(db, registry, ANA), "2", "x")
        verdict(db, "2", True)
        with pytest.raises(Conflict, match="no override is needed"):
            release.override_verdict(change(db, registry, ANA), "2", "x")
    assert live(registry) is None


def test_who_may_what(database, registry):
    with database.write() as db:
        go, no = verdict(db, "1", True), verdict(db, "2", False)
        for who in (STORE,):
            with pytest.raises(NotAllowed):
                release.release_version(change(db, registry, who), go)
            with pytest.raises(NotAllowed):
                release.roll_back_version(change(db, registry, who), "x")
        for who in (STORE, OPS):
            with pytest.raises(NotAllowed):
                release.override_verdict(change(db, registry, who), no.version, "x")
    assert live(registry) is None


def test_without_a_version_before_there_is_no_way_back(database, registry):
    with database.write() as db:
        release.release_version(change(db, registry, ANA), verdict(db, "1", True))
        with pytest.raises(Conflict, match="nothing to roll back to"):
            release.roll_back_version(change(db, registry, ANA), "x")
        with pytest.raises(UserError, match="say why"):
            release.roll_back_version(change(db, registry, ANA), " ")


def test_what_is_live_does_not_go_live_again(database, registry):
    with database.write() as db:
        release.release_version(change(db, registry, ANA), verdict(db, "1", True))
        with pytest.raises(Conflict, match="live already"):
            release.release_version(change(db, registry, ANA), verdict(db, "1", True, "1"))
        assert version_with_alias(registry, MODEL, PREVIOUS) is None


def test_what_fails_leaves_no_record(database, registry):
    with pytest.raises(UserError), database.write() as db:
        release.release_version(
            change(db, registry, ANA), verdict(db, "9", True)
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
    assert moving == {"platform/mlops/registry.py", "platform/mlops/release.py"}
    changing = r"(update|delete)\((GateVerdict|Release)\b|db\.delete\((verdict|entry|change)"
    assert [name for name, text in texts.items() if re.search(changing, text)] == []

"""Training the search for similar pictures, as a durable run: collect, look at what nobody has looked at, build, judge, release.

What is live changes in the last step and nowhere else. Killed anywhere, the run goes on at the step it was in; a step that is done again finds what it
had done: looks are kept once, a version of this run is not built twice, and not judged twice.
"""

from contextlib import ExitStack
from datetime import UTC, datetime
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import structlog
from dbos import DBOS
from sqlalchemy import func, select

from tanuki import __version__
from tanuki.animals.similarity import dataset, delta_index, gate, index
from tanuki.animals.similarity.dataset import Pictures
from tanuki.animals.similarity.index import INDEX_MODEL
from tanuki.animals.similarity.subprocess_call import apart
from tanuki.animals.tables import Post
from tanuki.animals.vision import backfill, embeddings
from tanuki.platform.accounts import SYSTEM
from tanuki.platform.durable_steps import stepping
from tanuki.platform.mlops import release, rollout
from tanuki.platform.mlops.evaluation import Evaluation
from tanuki.platform.resources import Resources

log = structlog.get_logger()

TRAINING = "similar-training"
TOO_FEW = "too few"  # the outcome when there is nothing to make an index from
KEPT = 14  # versions; one is made each night, and as large as all embeddings together


def run_id(begun: datetime | str) -> str:
    """The run of a day, or of a moment when somebody asked for it."""
    return (
        f"{TRAINING}-{begun:%Y%m%dT%H%M%S}"
        if isinstance(begun, datetime)
        else f"{TRAINING}-{begun}"
    )


step = stepping("similar", TRAINING)


def train() -> str:
    """A new index from what is published now, live when the gate lets it; gives GO, NO-GO, or that there are too few pictures.

    What the eyes have not seen yet they look at in parts of this run, spread over the workers.
    """
    eyes, published = collect()
    if published < gate.FEWEST:
        return TOO_FEW
    backfill.embed(eyes)
    version = build(eyes)
    go = judge(version)
    if go:
        put_live(version)
    discard()
    return "GO" if go else "NO-GO"


@step
def collect(res: Resources, now: datetime) -> tuple[str, int]:
    """The version of the eyes that looks, and how many pictures are published."""
    with res.db.read() as db:
        count = (
            db.scalar(select(func.count(Post.photo.distinct())).where(Post.state == "published"))
            or 0
        )
    if count < gate.FEWEST:
        log.info("no index made", pictures=count, fewest=gate.FEWEST)
        return "", count
    return embeddings.image_encoder(res).version, count


@step
def build(res: Resources, now: datetime, eyes: str) -> str:
    """An index of all looks, registered; gives its version."""
    run = DBOS.workflow_id or TRAINING
    for known in res.registry.versions(INDEX_MODEL):
        if known.parameters.get("run") == run:
            return known.version
    with res.db.read() as db:
        newest = delta_index.as_of(db, eyes, now)
        found = dataset.every(db, eyes)
        first = (
            db.scalar(select(func.min(Post.published_at)).where(Post.state == "published")) or now
        )
    with TemporaryDirectory() as folder:
        said = build_index(found, Path(folder), newest)
        size = sum(said["files"].values())
        kept = {name: said[name] for name in ("method", "dimension", "encoder_version", "max_features_id", "count")}
        made = res.registry.save(
            INDEX_MODEL,
            Path(folder),
            parameters={
                "run": run,
                **kept,
                **{name: said[name] for name in ("leaves", "effort") if name in said},
            },
            metrics={"bytes": float(size), "recall_of_its_own": float(said.get("recall", 1.0))},
            data_window=(first.date().isoformat(), now.date().isoformat()),
            code_version=__version__,
        )
    log.info("index built", version=made.version, pictures=len(found), bytes=size)
    return made.version


def build_index(found: Pictures, into: Path, newest: int) -> dict[str, Any]:
    """The files of an index of pictures, which knows every look up to the newest one, and what they say."""
    return apart(
        index.build,
        found.vectors,
        found.ids,
        into,
        {"encoder_version": found.eyes, "max_features_id": newest},
        found.category,
    )


@step
def judge(res: Resources, now: datetime, version: str) -> bool:
    """The gate's verdict, on record. A version that this step has judged before is not judged again."""
    with res.db.read() as db:
        known = release.latest(db, INDEX_MODEL, version)
    if known is not None:
        return known.go
    found = judged(res, version)
    with res.db.write() as db:
        release.keep(db, INDEX_MODEL, found, by=SYSTEM.name, now=now)
    log.info(
        "index judged",
        version=version,
        go=found.verdict.go,
        reasons=[reason["code"] for reason in found.verdict.reasons],
    )
    return found.verdict.go


def judged(res: Resources, version: str) -> Evaluation:
    """What the gate says about a registered version beside the one that is live. Writes nothing."""
    with res.db.read() as db, ExitStack() as stack:
        champion = rollout.champion(db, res.registry, INDEX_MODEL)
        if champion == version:
            before = rollout.live(res.registry, INDEX_MODEL, rollout.PREVIOUS)
            champion = (
                before.version if before else None
            )  # what is live is judged beside what it came after
        folders = {
            each: files(res, each, stack) for each in (version, champion) if each is not None
        }
        ours = res.registry.get(INDEX_MODEL, version).parameters["encoder_version"]
        theirs = [] if champion is None else [index.described(folders[champion])["encoder_version"]]
        known = {each: dataset.published(db, each) for each in sorted({ours, *theirs})}
        newest = delta_index.as_of(db, ours, datetime.now(UTC))
        return apart(gate.judged, version, champion, folders, known, newest)


def files(res: Resources, version: str, stack: ExitStack) -> Path:
    """A version's files, for as long as the stack is open."""
    return res.registry.load(INDEX_MODEL, version, into=Path(stack.enter_context(TemporaryDirectory())))


@step
def put_live(res: Resources, now: datetime, version: str) -> None:
    """The servers change to it; the one before stays for the way back."""
    with res.db.write() as db:
        plan = rollout.plan(db, INDEX_MODEL)
        if plan is not None and plan.champion == version:
            return
        release.forget_unrecorded(db, res.registry, INDEX_MODEL)
        verdict = release.latest(db, INDEX_MODEL, version)
        assert verdict is not None
        release.release(
            db, res.registry, SYSTEM, verdict, now, other_shape=True
        )  # who asks uses the eyes that the index names
    res.models.refresh()


@step
def discard(res: Resources, now: datetime) -> int:
    """The oldest versions go, unless a server has one or an alias means it; gives how many."""
    with res.db.read() as db:
        plan = rollout.plan(db, INDEX_MODEL)
    served = () if plan is None else plan.files
    old = [
        version
        for version in res.registry.versions(INDEX_MODEL)[KEPT:]
        if version.version not in served and not version.aliases
    ]
    for each in old:
        res.registry.discard(INDEX_MODEL, each.version)
    return len(old)


train_run = DBOS.workflow(name=TRAINING)(train)

"""Models that answer: in this process, by the plan of each, with swaps that drop nothing. What is asked, and of which version, is counted and judged.

A plan is read from its row, at most a second late. A new version is loaded and has answered before requests go to it; the old one is let go
after its last request. A canary's people have the challenger's answers; where it fails them, the champion answers and nobody notices.
"""

import os
import random
import socket
import threading
import time
from collections import deque
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from hashlib import sha256
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

import numpy as np
import structlog
from sqlalchemy.exc import SQLAlchemyError
from sqlalchemy.orm import Session

from tanuki.errors import NotFound, UserError
from tanuki.platform import metrics
from tanuki.platform.database.engine import Database
from tanuki.platform.mlops import guardrails, release, rollout, runtimes
from tanuki.platform.mlops.guardrails import Bounds, Counts
from tanuki.platform.mlops.rollout import CANARY, SHADOW
from tanuki.platform.mlops.runtimes import Array, Arrays, ModelError, Spec, checked_inputs
from tanuki.platform.mlops.tables import Serving
from tanuki.platform.serving import oip_json
from tanuki.platform.serving.batching import Ran
from tanuki.platform.serving.model_cache import Loaded, Memory
from tanuki.platform.serving.stats import Tally

if TYPE_CHECKING:
    from tanuki.platform.mlops.registry import Registry

log = structlog.get_logger()

POLL_SECONDS = 0.5
COMPARED = 0.25  # of a canary's requests that the champion answers, too, to compare
SHADOWS_WAITING = 64  # more are left out: a shadow must not take the champion's time
PATIENT = 10  # times the champion's usual time that a challenger has
GIVES_WAY = 10  # more niceness
LOOKED_AT_EVERY = 25  # requests of a version
CHAMPION, CHALLENGER, BY_NUMBER = "champion", "challenger", "version"


@dataclass(frozen=True)
class Answer:
    """The outputs, the version that gave them, and what it stood for: champion, challenger, or asked for by its number."""

    outputs: dict[str, Array]
    version: str
    served_as: str


@dataclass(frozen=True)
class Plan:
    """A model's plan as this process carries it out: both versions are loaded."""

    model: str
    champion: str
    challenger: str | None
    mode: str
    share: float
    bounds: Bounds
    serial: int
    row: int  # the serial that was read last: larger, when what it says could not be loaded


class Inference(Protocol):
    """Models that can be asked, in this process or on a server."""

    def infer(
        self,
        model: str,
        inputs: Arrays,
        *,
        version: str | None = None,
        person: str | None = None,
        seconds: float | None = None,
    ) -> Answer: ...

    def ready(self, model: str, version: str | None = None) -> bool: ...

    def metadata(self, model: str, version: str | None = None) -> dict[str, Any]: ...

    def refresh(self) -> None: ...

    def close(self) -> None: ...


class Models:
    """The models of this process. Nothing is loaded, and no thread begins, before the first question."""

    def __init__(
        self,
        db: Database,
        registry: "Registry",
        cache: Path,
        *,
        process: str = "",
        kept: float = 0.01,
        chance: Callable[[], float] | None = None,
    ) -> None:
        self.db, self.registry, self.kept = db, registry, kept
        self.chance = chance or random.Random().random  # noqa: S311 draws samples, guards nothing
        self.memory = Memory(registry.files, cache)
        self.lock = self.memory.lock
        self.tally = Tally(process or f"{socket.gethostname()}-{os.getpid()}")
        self.loading = threading.Lock()  # one version at a time
        self.plans: dict[str, Plan] = {}
        self.tripped: dict[str, tuple[int, str]] = {}  # by model: under which plan, and why
        self.shadows: deque[Callable[[], None]] = deque()
        self.work = threading.Condition()
        self.wake, self.stop = threading.Event(), threading.Event()
        self.threads: list[threading.Thread] = []

    # ---- asked ----

    def infer(
        self,
        model: str,
        inputs: Arrays,
        *,
        version: str | None = None,
        person: str | None = None,
        seconds: float | None = None,
    ) -> Answer:
        """A model's answer: the champion's, or for a canary's people the challenger's. Raises NotFound, ModelError, and UserError for wrong inputs.

        Who is always the same `person` has always the same version; requests of nobody are drawn.
        """
        if version is not None:
            return self.infer_with(model, version, inputs, seconds=seconds)
        plan = self.plan(model)
        if plan.mode == CANARY and plan.challenger is not None and self.chosen(plan, person):
            answer = self.try_challenger(plan, inputs, seconds)
            if answer is not None:
                return answer
        with self.held(model) as (plan, champion):
            ran, given = self.ask(plan, champion, CHAMPION, inputs, seconds)
        if plan.mode == SHADOW and plan.challenger is not None and self.chance() < plan.share:
            self.later(lambda: self.compare(plan, given, champion_said=ran))
        return Answer(ran.outputs, champion.version, CHAMPION)

    def infer_with(
        self, model: str, version: str, inputs: Arrays, *, seconds: float | None = None
    ) -> Answer:
        """The answer of one version, whether it is live or only registered. Counted in the metrics, not in what a plan is judged by."""
        with self.held_version(model, version) as loaded:
            ran, _ = self.ask(None, loaded, BY_NUMBER, inputs, seconds, model=model)
        return Answer(ran.outputs, version, BY_NUMBER)

    def chosen(self, plan: Plan, person: str | None) -> bool:
        """Whether a canary's share has this person in it."""
        return (self.chance() if person is None else place_of(person, plan.model)) < plan.share

    def try_challenger(self, plan: Plan, inputs: Arrays, seconds: float | None) -> Answer | None:
        """The challenger's answer; None when it failed or is gone, and the champion is to answer."""
        assert plan.challenger is not None
        with self.held(plan.model, CHALLENGER) as (plan, challenger):
            if challenger is None:
                return None
            try:
                ran, given = self.ask(
                    plan,
                    challenger,
                    CHALLENGER,
                    inputs,
                    self.patience(plan, challenger, inputs, seconds),
                )
            except ModelError:
                return None
        if self.chance() < COMPARED:
            self.later(lambda: self.compare(plan, given, challenger_said=ran))
        return Answer(ran.outputs, challenger.version, CHALLENGER)

    def patience(
        self, plan: Plan, challenger: Loaded, inputs: Arrays, seconds: float | None
    ) -> float:
        """Seconds that a challenger may take: half of the time that there is, less where the champion is known to be quick."""
        half = min(seconds or challenger.lane.spec.seconds, challenger.lane.spec.seconds) / 2
        with self.tally.lock:
            known = self.tally.counts.get((plan.model, plan.champion, plan.serial))
            usual = known.quantile(0.95) if known else None
        rows = max((len(each) for each in inputs.values() if np.ndim(each)), default=1)
        return half if usual is None else min(half, 1 + PATIENT * usual * rows / 1000)

    def ask(
        self,
        plan: Plan | None,
        loaded: Loaded,
        served_as: str,
        inputs: Arrays,
        seconds: float | None,
        *,
        model: str = "",
    ) -> tuple[Ran, dict[str, Array]]:
        """One version's answer, and the inputs as it took them; counted, and a sample kept."""
        model = plan.model if plan else model
        given = checked_inputs(model, loaded.lane.spec, inputs)
        keep = plan is not None and self.kept > 0 and self.chance() < self.kept
        started = time.perf_counter()
        try:
            ran = loaded.lane.ask(given, seconds=seconds, alone=keep)
        except ModelError as error:
            self.count(
                plan,
                model,
                loaded.version,
                served_as,
                None,
                time.perf_counter() - started,
                str(error),
            )
            raise no_answer(model, loaded.version, error) from error
        took = time.perf_counter() - started
        self.count(plan, model, loaded.version, served_as, ran, took)
        if keep:
            self.tally.keep(model, loaded.version, served_as, given, ran, took)
        return ran, given

    def count(
        self,
        plan: Plan | None,
        model: str,
        version: str,
        served_as: str,
        ran: Ran | None,
        took: float,
        why: str = "",
    ) -> None:
        """Count a request and, now and then and after each that failed, look at what was counted."""
        counts = self.tally.answered(
            model, version, plan.serial if plan else None, served_as, ran, took, why
        )
        if (
            plan is not None
            and counts is not None
            and (ran is None or counts.requests % LOOKED_AT_EVERY == 0)
        ):
            self.look_at(plan, version, counts)

    def compare(
        self,
        plan: Plan,
        given: Arrays,
        *,
        champion_said: Ran | None = None,
        challenger_said: Ran | None = None,
    ) -> None:
        """Ask the one that did not answer yet, and count how far the two agree."""
        role = CHALLENGER if challenger_said is None else CHAMPION
        with self.held(plan.model, role) as (now, other):
            if other is None or now.serial != plan.serial:
                return
            try:
                ran = self.ask(plan, other, "shadow", given, None)[0]
            except UserError:
                return  # counted
            champion, challenger = champion_said or ran, challenger_said or ran
            agreed = runtimes.agreement(other.lane.runner, champion.outputs, challenger.outputs)
        version = plan.challenger or ""
        with self.tally.lock:
            counts = self.tally.of((plan.model, version, plan.serial))
            counts.beside(agreed)
        if counts.compared % LOOKED_AT_EVERY == 0:
            self.look_at(plan, version, counts)

    def look_at(self, plan: Plan, version: str, counts: Counts) -> None:
        """Whether a version is out of its bounds by this process's counts alone: then nobody waits for the next look at all of them."""
        challenges = version == plan.challenger
        with self.tally.lock:
            beside = (
                self.tally.counts.get((plan.model, plan.champion, plan.serial), Counts())
                if challenges
                else Counts()
            )
            why = guardrails.out_of_bounds(plan.bounds, counts, beside)
        if why is None or (not challenges and counts.requests > plan.bounds.requests):
            return
        with self.lock:
            self.tripped[plan.model] = (plan.serial, why)
            now = self.plans[plan.model]
            if challenges and now.serial == plan.serial and now.challenger is not None:
                self.plans[plan.model] = replace(now, challenger=None)
                self.memory.retire((plan.model, version))
        self.wake.set()

    # ---- by the plan ----

    def plan(self, model: str) -> Plan:
        """The plan that is carried out; read and loaded with the first question. Raises NotFound and ModelError."""
        found = self.plans.get(model)
        if found is not None:
            return found
        with self.loading:
            if model not in self.plans:
                with self.db.read() as db:
                    row = rollout.plan(db, model)
                if row is None or row.champion is None:
                    raise NotFound("There is no model %(model)s that is live.", model=model)
                self.carry_out(row)
        self.begin()
        return self.plans[model]

    def carry_out(self, row: Serving) -> None:
        """Load what a plan names, then let requests go by it. What cannot be loaded is said and counted; a challenger that cannot is not asked."""
        old, champion = self.plans.get(row.model), row.champion
        assert champion is not None
        error = self.load(row, champion)
        if error is not None:
            if old is None:
                raise no_answer(row.model, champion, error) from error
            self.plans[row.model] = replace(old, row=row.serial)
            return
        challenger = row.challenger
        if challenger is not None and self.load(row, challenger) is not None:
            challenger = None
        made = Plan(
            row.model,
            champion,
            challenger,
            row.mode,
            row.share,
            Bounds.read(row.bounds),
            row.serial,
            row.serial,
        )
        with self.lock:
            self.plans[row.model] = made
            for version in (
                {old.champion, old.challenger} - {champion, challenger, None} if old else ()
            ):
                self.memory.retire((row.model, str(version)))
        self.tally.forget(row.model, row.serial)
        metrics.set_serving(row.model, {CHAMPION: champion, CHALLENGER: challenger})
        log.info(
            "model serves", model=row.model, champion=champion, challenger=challenger, mode=row.mode
        )

    def load(self, row: Serving, version: str) -> UserError | None:
        """Load a version of a plan; gives what was wrong with it, which is counted as the failures that it would have been."""
        try:
            self.memory.load((row.model, version), row.files[version])
        except UserError as error:
            log.error("model version not loaded", model=row.model, version=version, why=str(error))
            self.tally.not_loaded(
                (row.model, version, row.serial), Bounds.read(row.bounds).least_errors, str(error)
            )
            self.begin()
            return error
        return None

    @contextmanager
    def held(self, model: str, role: str = CHAMPION) -> Iterator[tuple[Plan, Any]]:
        """The plan and its champion or challenger (None when there is none), which stays in memory meanwhile."""
        self.plan(model)
        with self.lock:
            plan = self.plans[model]
            version = plan.champion if role == CHAMPION else plan.challenger
            found = None if version is None else self.memory.hold((model, version))
        if found is None:
            yield plan, None
        else:
            with self.memory.holding((model, found.version), found):
                yield plan, found

    @contextmanager
    def held_version(self, model: str, version: str) -> Iterator[Loaded]:
        """One version, loaded when it is not; the last few that stand in no plan stay. Raises NotFound and ModelError."""
        key = (model, version)
        found = self.memory.hold(key)
        if found is None:
            with self.loading, self.db.read() as db:
                row = rollout.plan(db, model)
                prefix = row.files.get(version) if row is not None else None
                found = self.memory.borrow(key, prefix or self.registry.prefix(*key), self.planned)
        with self.memory.holding(key, found):
            yield found

    def planned(self, key: tuple[str, str]) -> bool:
        """Whether a plan names this version."""
        plan = self.plans.get(key[0])
        return plan is not None and key[1] in (plan.champion, plan.challenger)

    # ---- beside the requests ----

    def begin(self) -> None:
        """Start the threads that look at plans and ask shadows, once."""
        with self.lock:
            if self.threads or self.stop.is_set():
                return
            self.threads = [
                threading.Thread(target=each, name=f"models-{each.__name__}", daemon=True)
                for each in (self.watch, self.shadow)
            ]
            for thread in self.threads:
                thread.start()

    def later(self, do: Callable[[], None]) -> None:
        """Do something when the shadows' thread has time; when too much waits, it is left out."""
        with self.work:
            if len(self.shadows) < SHADOWS_WAITING:
                self.shadows.append(do)
                self.work.notify()

    def shadow(self) -> None:
        """Ask shadows, one after the other, until closed."""
        give_way()
        while True:
            with self.work:
                while not self.shadows and not self.stop.is_set():
                    self.work.wait(POLL_SECONDS)
                if self.stop.is_set():
                    return
                do = self.shadows.popleft()
            do()

    def watch(self) -> None:
        """Look at the plans twice a second, until closed."""
        give_way()
        while not self.stop.is_set():
            self.wake.wait(POLL_SECONDS)
            self.wake.clear()
            try:
                self.refresh()
            except (SQLAlchemyError, OSError) as error:
                log.warning("plans of models not read", error=error.__class__.__name__)

    def refresh(self) -> None:
        """Carry out plans that changed, write what was counted, judge it, and go back where it is out of bounds."""
        with self.loading:
            with self.db.read() as db:
                rows = [row for row in rollout.plans(db) if row.model in self.plans]
            for row in rows:
                if row.serial != self.plans[row.model].row and row.champion is not None:
                    self.carry_out(row)
            self.tally.write(self.db)
            self.judge(rows)

    def judge(self, rows: list[Serving]) -> None:
        """Whether what all processes counted is within the bounds; else back."""
        for row in rows:
            serial, why = self.tripped.pop(row.model, (row.serial, None))
            if why is None or serial != row.serial:
                with self.db.read() as db:
                    why = verdict(db, row)
            if why is None:
                continue
            with self.db.write() as db:
                gone = release.go_back(db, row.model, row.serial, why, datetime.now(UTC))
                changed = rollout.plan(db, row.model)
            if gone is not None and changed is not None:
                log.warning("model version went back", model=row.model, version=gone, why=why)
                metrics.count_go_back(row.model)
                self.carry_out(changed)

    def ready(self, model: str, version: str | None = None) -> bool:
        """Whether a model, or a version of it, can be asked now."""
        try:
            if version is None:
                self.plan(model)
            else:
                with self.held_version(model, version):
                    pass
        except UserError:
            return False
        return True

    def spec(self, model: str, version: str | None = None) -> Spec:
        """What a model takes and gives. Raises NotFound and ModelError."""
        with self.held_version(model, version or self.plan(model).champion) as loaded:
            return loaded.lane.spec

    def metadata(self, model: str, version: str | None = None) -> dict[str, Any]:
        """The same as the protocol tells it."""
        spec = self.spec(model, version)
        return oip_json.metadata(model, [version] if version else self.versions(model), spec)

    def versions(self, model: str) -> list[str]:
        """The versions of a model that are loaded by its plan."""
        plan = self.plan(model)
        return [each for each in (plan.champion, plan.challenger) if each is not None]

    def names(self) -> list[str]:
        """The models that are live, loaded or not."""
        with self.db.read() as db:
            return [row.model for row in rollout.plans(db) if row.champion is not None]

    def statistics(self, model: str, version: str | None = None) -> dict[str, dict[str, float]]:
        """What this process counted since it began, by version."""
        with self.tally.lock:
            return {
                each: dict(found)
                for (name, each), found in self.tally.stated.items()
                if name == model and version in (None, each)
            }

    def close(self) -> None:
        """Write what was counted, and let everything go."""
        self.stop.set()
        self.wake.set()
        with self.work:
            self.work.notify_all()
        for thread in self.threads:
            thread.join(timeout=10)
        if self.threads:
            try:
                self.tally.write(self.db)
            except SQLAlchemyError as error:
                log.warning("counts of models not written", error=error.__class__.__name__)
        self.memory.close()


def no_answer(model: str, version: str, error: UserError) -> ModelError:
    """What the asker is told when a version gives no answer."""
    made = ModelError(
        "The model %(model)s (version %(version)s) gave no answer: %(why)s",
        model=model,
        version=version,
        why=str(error),
    )
    made.status = error.status
    return made


def give_way() -> None:
    """Let this thread have a core only as far as nobody who is waited for wants it: loading a version must not slow down the one that answers."""
    if hasattr(os, "setpriority"):
        mine = threading.get_native_id()
        os.setpriority(
            os.PRIO_PROCESS, mine, min(os.getpriority(os.PRIO_PROCESS, mine) + GIVES_WAY, 19)
        )


def place_of(person: str, model: str) -> float:
    """A number from 0 to 1 that is always the same for a person and a model, and spread evenly over people."""
    return int.from_bytes(sha256(f"{model}:{person}".encode()).digest()[:8], "big") / 2**64


def verdict(db: Session, row: Serving) -> str | None:
    """Why the newest version in a plan must go, or None: the challenger beside the champion, or a new champion beside the one before it."""
    ours_now = guardrails.counted(db, row.model, [row.serial])
    bounds = Bounds.read(row.bounds)
    if row.challenger is not None:
        return guardrails.out_of_bounds(
            bounds,
            ours_now.get(row.challenger, Counts()),
            ours_now.get(row.champion or "", Counts()),
        )
    ours = ours_now.get(row.champion or "", Counts())
    last = release.releases(db, row.model, 1)
    if (
        not ours.requests
        or ours.requests > bounds.requests
        or not last
        or last[0].version != row.champion
        or last[0].previous is None
    ):
        return None
    before = guardrails.counted(db, row.model, [row.serial - 1, row.serial - 2]).get(
        last[0].previous, Counts()
    )
    return guardrails.out_of_bounds(bounds, ours, before)

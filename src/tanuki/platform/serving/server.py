"""The models of this process: they answer by their rollouts, and versions are swapped silently.

A rollout is read from its row, at most a second late. A new version is loaded and has answered once
before requests go to it; the old one is unloaded after its last request. In a canary some people
get the challenger's answers; where it fails them, the champion answers instead.
"""

import os
import random
import socket
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from pathlib import Path

import numpy as np
import structlog
from sqlalchemy.exc import SQLAlchemyError

from tanuki.errors import NotFound, UserError
from tanuki.platform import metrics
from tanuki.platform.accounts import SYSTEM
from tanuki.platform.database.engine import Database
from tanuki.platform.mlops import guardrails, release, rollout, runtimes
from tanuki.platform.mlops.guardrails import Bounds, StatsKey, VersionCounts, Violation
from tanuki.platform.mlops.registry import Registry
from tanuki.platform.mlops.release import ModelChange
from tanuki.platform.mlops.runtimes import (
    Array,
    Arrays,
    ModelError,
    ModelSignature,
    validate_inputs,
)
from tanuki.platform.mlops.tables import Rollout, RolloutMode, ServedAs
from tanuki.platform.serving import oip_json
from tanuki.platform.serving.active_rollout import (
    ActiveRollout,
    canary_position,
    find_rollout_violation,
)
from tanuki.platform.serving.background import ShadowQueue, lower_priority
from tanuki.platform.serving.batching import InferenceResult
from tanuki.platform.serving.inference import InferenceAnswer, Metadata, answer_error
from tanuki.platform.serving.model_cache import LoadedVersion, ModelCache
from tanuki.platform.serving.stats import ModelStats, ServedRequest, ServedTotals

log = structlog.get_logger()

POLL_SECONDS = 0.5
"""Between looking for changed rollouts."""
CANARY_COMPARED_SHARE = 0.25
"""Share of a canary's requests that the champion answers as well, to compare."""
CHALLENGER_SLOWDOWN = 10
"""A challenger may take this many times the champion's usual time, and a second more."""
REQUESTS_PER_CHECK = 25
"""After so many requests of a version its own process checks the guardrails."""


@dataclass(frozen=True)
class ServedBy:
    """The version that a request goes to, its role, and the rollout under which it is counted."""

    model: str
    loaded: LoadedVersion
    served_as: ServedAs
    active: ActiveRollout | None


class ModelServer:
    """The models of this process. Nothing is loaded and no thread begins before the first request.

    sample_rate: share of the predictions that are kept. draw: a random number from 0 to 1.
    """

    def __init__(
        self,
        db: Database,
        registry: Registry,
        cache: Path,
        *,
        process: str = "",
        sample_rate: float = 0.01,
        draw: Callable[[], float] | None = None,
    ) -> None:
        self.db, self.registry, self.sample_rate = db, registry, sample_rate
        self.draw = draw or random.Random().random  # noqa: S311 draws samples, guards nothing
        self.cache = ModelCache(registry, cache)
        self.lock = self.cache.lock
        self.stats = ModelStats(process or f"{socket.gethostname()}-{os.getpid()}")
        self.loading = threading.Lock()  # one version at a time
        self.rollouts: dict[str, ActiveRollout] = {}
        # Guardrails that this process alone saw violated, by model, with the rollout's serial.
        self.violations: dict[str, tuple[int, Violation]] = {}
        self.shadows = ShadowQueue()
        self.wake, self.stop = threading.Event(), threading.Event()
        self.threads: list[threading.Thread] = []

    # ---- requests ----

    def infer(
        self,
        model: str,
        inputs: Arrays,
        *,
        version: str | None = None,
        person: str | None = None,
        seconds: float | None = None,
    ) -> InferenceAnswer:
        """The champion's answer, or for a canary's people the challenger's.

        The same `person` always gets the same version; requests without one are drawn. Raises
        NotFound, ModelError, and UserError for wrong inputs.
        """
        if version is not None:
            return self.infer_version(model, version, inputs, seconds=seconds)
        active = self.active_rollout(model)
        if (
            active.mode == RolloutMode.CANARY
            and active.challenger is not None
            and self.is_in_canary(active, person)
        ):
            answer = self.try_challenger(active, inputs, seconds)
            if answer is not None:
                return answer
        with self.acquire_role(model) as (active, champion):
            assert champion is not None
            target = ServedBy(model, champion, ServedAs.CHAMPION, active)
            result, arrays = self.run_version(target, inputs, seconds)
        if (
            active.mode == RolloutMode.SHADOW
            and active.challenger is not None
            and self.draw() < active.share
        ):
            self.shadows.add(lambda: self.compare_answers(active, arrays, champion=result))
        return InferenceAnswer(result.outputs, champion.version, ServedAs.CHAMPION)

    def infer_version(
        self, model: str, version: str, inputs: Arrays, *, seconds: float | None = None
    ) -> InferenceAnswer:
        """The answer of one version, live or only registered; the guardrails do not count it."""
        with self.acquire_version(model, version) as loaded:
            target = ServedBy(model, loaded, ServedAs.VERSION, None)
            result, _ = self.run_version(target, inputs, seconds)
        return InferenceAnswer(result.outputs, version, ServedAs.VERSION)

    def is_in_canary(self, active: ActiveRollout, person: str | None) -> bool:
        """Whether a person, or a request without one, gets the challenger's answer."""
        position = self.draw() if person is None else canary_position(person, active.model)
        return position < active.share

    def try_challenger(
        self, active: ActiveRollout, inputs: Arrays, seconds: float | None
    ) -> InferenceAnswer | None:
        """The challenger's answer; None when there is none and the champion has to answer."""
        with self.acquire_role(active.model, ServedAs.CHALLENGER) as (active, challenger):
            if challenger is None:
                return None
            timeout = self.challenger_timeout(active, challenger, inputs, seconds)
            target = ServedBy(active.model, challenger, ServedAs.CHALLENGER, active)
            try:
                result, arrays = self.run_version(target, inputs, timeout)
            except ModelError:
                return None
        if self.draw() < CANARY_COMPARED_SHARE:
            self.shadows.add(lambda: self.compare_answers(active, arrays, challenger=result))
        return InferenceAnswer(result.outputs, challenger.version, ServedAs.CHALLENGER)

    def challenger_timeout(
        self,
        active: ActiveRollout,
        challenger: LoadedVersion,
        inputs: Arrays,
        seconds: float | None,
    ) -> float:
        """Seconds that a challenger may take: half of the time, less if the champion is quick."""
        limit = challenger.queue.signature.seconds
        half = min(seconds or limit, limit) / 2
        with self.stats.lock:
            counts = self.stats.counts.get(active.stats_key(active.champion))
            usual = counts.quantile(0.95) if counts else None
        rows = max((len(array) for array in inputs.values() if np.ndim(array)), default=1)
        return half if usual is None else min(half, 1 + CHALLENGER_SLOWDOWN * usual * rows / 1000)

    def run_version(
        self, target: ServedBy, inputs: Arrays, seconds: float | None
    ) -> tuple[InferenceResult, dict[str, Array]]:
        """One version's result and the validated inputs. Counts it, and keeps a sample."""
        loaded, active = target.loaded, target.active
        arrays = validate_inputs(target.model, loaded.queue.signature, inputs)
        keep = active is not None and self.sample_rate > 0 and self.draw() < self.sample_rate
        started = time.perf_counter()

        def served(result: InferenceResult | None, error: str = "") -> ServedRequest:
            return ServedRequest(
                target.model,
                loaded.version,
                active.serial if active else None,
                target.served_as,
                time.perf_counter() - started,
                result,
                error,
            )

        try:
            result = loaded.queue.infer(arrays, seconds=seconds, unbatched=keep)
        except ModelError as error:
            self.count_request(active, served(None, str(error)))
            raise answer_error(target.model, loaded.version, error) from error
        request = served(result)
        self.count_request(active, request)
        if keep:
            self.stats.keep_prediction(request, arrays)
        return result, arrays

    def count_request(self, active: ActiveRollout | None, request: ServedRequest) -> None:
        """Count a request. Check the guardrails now and then, and after each that failed."""
        counts = self.stats.count_request(request)
        if (
            active is not None
            and counts is not None
            and (request.result is None or counts.requests % REQUESTS_PER_CHECK == 0)
        ):
            self.check_counts(active, request.version, counts)

    def compare_answers(
        self,
        active: ActiveRollout,
        inputs: Arrays,
        *,
        champion: InferenceResult | None = None,
        challenger: InferenceResult | None = None,
    ) -> None:
        """Run the version without a result, and count how far both answers agree."""
        role = ServedAs.CHALLENGER if challenger is None else ServedAs.CHAMPION
        with self.acquire_role(active.model, role) as (current, loaded):
            if loaded is None or current.serial != active.serial:
                return
            target = ServedBy(active.model, loaded, ServedAs.SHADOW, active)
            try:
                result, _ = self.run_version(target, inputs, None)
            except UserError:
                return  # it is counted
            agreement = runtimes.answer_agreement(
                loaded.queue.runner, (champion or result).outputs, (challenger or result).outputs
            )
        version = active.challenger or ""
        with self.stats.lock:
            counts = self.stats.counts_for(active.stats_key(version))
            counts.count_agreement(agreement)
        if counts.compared % REQUESTS_PER_CHECK == 0:
            self.check_counts(active, version, counts)

    def check_counts(self, active: ActiveRollout, version: str, counts: VersionCounts) -> None:
        """Act at once when a version violates its guardrails by this process's counts alone."""
        is_challenger = version == active.challenger
        with self.stats.lock:
            champion = (
                self.stats.counts.get(active.stats_key(active.champion), VersionCounts())
                if is_challenger
                else VersionCounts()
            )
            violation = guardrails.find_violation(active.bounds, counts, champion)
        if violation is None or (not is_challenger and counts.requests > active.bounds.requests):
            return
        with self.lock:
            self.violations[active.model] = (active.serial, violation)
            current = self.rollouts[active.model]
            if is_challenger and current.serial == active.serial and current.challenger is not None:
                self.rollouts[active.model] = replace(current, challenger=None)
                self.cache.retire((active.model, version))
        self.wake.set()

    # ---- rollouts ----

    def active_rollout(self, model: str) -> ActiveRollout:
        """A model's rollout, loaded with the first request. Raises NotFound and ModelError."""
        active = self.rollouts.get(model)
        if active is not None:
            return active
        with self.loading:
            if model not in self.rollouts:
                with self.db.read() as db:
                    row = rollout.load_rollout(db, model)
                if row is None or row.champion is None:
                    raise NotFound("There is no model %(model)s that is live.", model=model)
                self.apply_rollout(row)
        self.start_threads()
        return self.rollouts[model]

    def apply_rollout(self, row: Rollout) -> None:
        """Load a rollout's versions, then let requests go by it.

        A champion that cannot be loaded leaves the former rollout as it is, or raises ModelError
        where there is none. A challenger that cannot be loaded is not asked.
        """
        former, champion = self.rollouts.get(row.model), row.champion
        assert champion is not None
        error = self.load_version(row, champion)
        if error is not None:
            if former is None:
                raise answer_error(row.model, champion, error) from error
            self.rollouts[row.model] = replace(former, read_serial=row.serial)
            return
        challenger = row.challenger
        if challenger is not None and self.load_version(row, challenger) is not None:
            challenger = None
        active = ActiveRollout(
            row.model,
            champion,
            challenger,
            row.mode,
            row.share,
            Bounds.from_json(row.bounds),
            row.serial,
            row.serial,
        )
        replaced = {former.champion, former.challenger} if former else set()
        with self.lock:
            self.rollouts[row.model] = active
            for version in replaced - {champion, challenger, None}:
                self.cache.retire((row.model, str(version)))
        self.stats.drop_old_counts(row.model, row.serial)
        metrics.set_serving(
            row.model, {ServedAs.CHAMPION: champion, ServedAs.CHALLENGER: challenger}
        )
        log.info(
            "model served", model=row.model, champion=champion, challenger=challenger, mode=row.mode
        )

    def load_version(self, row: Rollout, version: str) -> UserError | None:
        """Load a version of a rollout; gives the error, which is counted as failed requests."""
        try:
            self.cache.load((row.model, version), row.files[version])
        except UserError as error:
            log.error("model version not loaded", model=row.model, version=version, why=str(error))
            key = StatsKey(row.model, version, row.serial)
            failures = Bounds.from_json(row.bounds).least_errors
            self.stats.count_unloadable(key, failures, str(error))
            self.start_threads()
            return error
        return None

    @contextmanager
    def acquire_role(
        self, model: str, role: ServedAs = ServedAs.CHAMPION
    ) -> Iterator[tuple[ActiveRollout, LoadedVersion | None]]:
        """The rollout and its champion or challenger, which stays loaded meanwhile."""
        self.active_rollout(model)
        with self.lock:
            active = self.rollouts[model]
            version = active.champion if role == ServedAs.CHAMPION else active.challenger
            loaded = None if version is None else self.cache.acquire((model, version))
        if loaded is None:
            yield active, None
        else:
            with self.cache.releasing((model, loaded.version), loaded):
                yield active, loaded

    @contextmanager
    def acquire_version(self, model: str, version: str) -> Iterator[LoadedVersion]:
        """A version by number, loaded if it is not. Raises NotFound and ModelError.

        The last few that stand in no rollout stay loaded.
        """
        key = (model, version)
        loaded = self.cache.acquire(key)
        if loaded is None:
            with self.loading, self.db.read() as db:
                row = rollout.load_rollout(db, model)
                prefix = row.files.get(version) if row is not None else None
                loaded = self.cache.acquire_unplanned(
                    key, prefix or self.registry.prefix(*key), self.is_planned
                )
        with self.cache.releasing(key, loaded):
            yield loaded

    def is_planned(self, key: tuple[str, str]) -> bool:
        """Whether a rollout names this version."""
        active = self.rollouts.get(key[0])
        return active is not None and key[1] in (active.champion, active.challenger)

    # ---- beside the requests ----

    def start_threads(self) -> None:
        """Start, once, the threads that follow rollouts and run shadows."""
        with self.lock:
            if self.threads or self.stop.is_set():
                return
            self.threads = [
                threading.Thread(target=self.poll_rollouts, name="models-poll", daemon=True),
                threading.Thread(target=self.shadows.run, name="models-shadow", daemon=True),
            ]
            for thread in self.threads:
                thread.start()

    def poll_rollouts(self) -> None:
        """Follow the rollouts, until closed."""
        lower_priority()
        while not self.stop.is_set():
            self.wake.wait(POLL_SECONDS)
            self.wake.clear()
            try:
                self.refresh()
            except (SQLAlchemyError, OSError) as error:
                log.warning("rollouts of models not read", error=error.__class__.__name__)

    def refresh(self) -> None:
        """Apply changed rollouts, store counts, check guardrails and roll back on a violation."""
        with self.loading:
            with self.db.read() as db:
                rows = [row for row in rollout.list_rollouts(db) if row.model in self.rollouts]
            for row in rows:
                if row.serial != self.rollouts[row.model].read_serial and row.champion is not None:
                    self.apply_rollout(row)
            self.stats.flush(self.db)
            self.check_guardrails(rows)

    def check_guardrails(self, rows: Sequence[Rollout]) -> None:
        """Take back versions that violate their guardrails by the counts of all processes."""
        for row in rows:
            serial, violation = self.violations.pop(row.model, (row.serial, None))
            if violation is None or serial != row.serial:
                with self.db.read() as db:
                    violation = find_rollout_violation(db, row)
            if violation is None:
                continue
            with self.db.write() as db:
                change = ModelChange(db, self.registry, row.model, SYSTEM, datetime.now(UTC))
                version = release.roll_back_automatically(change, row.serial, violation)
                changed = rollout.load_rollout(db, row.model)
            if version is not None and changed is not None:
                log.warning(
                    "model version rolled back", model=row.model, version=version, **violation
                )
                metrics.count_automatic_rollback(row.model)
                self.apply_rollout(changed)

    # ---- what there is ----

    def ready(self, model: str, version: str | None = None) -> bool:
        """Whether a model, or a version of it, can answer now."""
        try:
            if version is None:
                self.active_rollout(model)
            else:
                with self.acquire_version(model, version):
                    pass
        except UserError:
            return False
        return True

    def signature(self, model: str, version: str | None = None) -> ModelSignature:
        """A model's inputs and outputs. Raises NotFound and ModelError."""
        with self.acquire_version(model, version or self.active_rollout(model).champion) as loaded:
            return loaded.queue.signature

    def metadata(self, model: str, version: str | None = None) -> Metadata:
        """A model's inputs and outputs as the protocol describes them."""
        signature = self.signature(model, version)
        return oip_json.describe_signature(
            model, [version] if version else self.versions(model), signature
        )

    def versions(self, model: str) -> list[str]:
        """The versions of a model that its rollout keeps loaded."""
        active = self.active_rollout(model)
        return [version for version in (active.champion, active.challenger) if version is not None]

    def names(self) -> list[str]:
        """The models that are live, loaded or not."""
        with self.db.read() as db:
            return [row.model for row in rollout.list_rollouts(db) if row.champion is not None]

    def statistics(self, model: str, version: str | None = None) -> dict[str, ServedTotals]:
        """What this process counted since it began, by version."""
        with self.stats.lock:
            return {
                number: replace(totals)
                for (name, number), totals in self.stats.totals.items()
                if name == model and version in (None, number)
            }

    def close(self) -> None:
        """Store what was counted, and unload everything."""
        self.stop.set()
        self.wake.set()
        self.shadows.close()
        for thread in self.threads:
            thread.join(timeout=10)
        if self.threads:
            try:
                self.stats.flush(self.db)
            except SQLAlchemyError as error:
                log.warning("counts of models not stored", error=error.__class__.__name__)
        self.cache.close()

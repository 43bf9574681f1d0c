"""What this process counts of each version, and its sampled predictions, until they are stored."""

import threading
import time
from collections import deque
from dataclasses import dataclass
from datetime import UTC, datetime
from hashlib import sha256

from tanuki.platform import metrics
from tanuki.platform.database.engine import Database
from tanuki.platform.mlops import guardrails
from tanuki.platform.mlops.guardrails import StatsKey, VersionCounts
from tanuki.platform.mlops.runtimes import Arrays
from tanuki.platform.mlops.tables import Prediction, ServedAs
from tanuki.platform.serving import oip_json
from tanuki.platform.serving.batching import InferenceResult

MAX_QUEUED_PREDICTIONS = 200


@dataclass
class ServedTotals:
    """What the protocol's statistics report of a version since the process began; times in seconds.

    runs: executions, where requests that shared a run count as one together.
    """

    success: float = 0.0
    fail: float = 0.0
    success_seconds: float = 0.0
    fail_seconds: float = 0.0
    run_seconds: float = 0.0
    runs: float = 0.0
    last_at: float = 0.0


@dataclass(frozen=True)
class ServedRequest:
    """A request that a version answered or, without a result, failed.

    serial: of the rollout under which it is counted; None: asked for by its number.
    """

    model: str
    version: str
    serial: int | None
    served_as: ServedAs
    seconds: float
    result: InferenceResult | None = None
    error: str = ""


class ModelStats:
    """Counts by version and rollout for the guardrails, and totals by version for the protocol."""

    def __init__(self, process: str) -> None:
        self.process = process
        self.lock = threading.RLock()
        self.counts: dict[StatsKey, VersionCounts] = {}
        self.dirty: set[StatsKey] = set()
        self.totals: dict[tuple[str, str], ServedTotals] = {}
        self.predictions: deque[Prediction] = deque(maxlen=MAX_QUEUED_PREDICTIONS)

    def counts_for(self, key: StatsKey) -> VersionCounts:
        """The counts of a version under a rollout, to be added to. Called under the lock."""
        self.dirty.add(key)
        return self.counts.setdefault(key, VersionCounts())

    def count_request(self, request: ServedRequest) -> VersionCounts | None:
        """Count a request; gives the counts under its rollout."""
        result = request.result
        metrics.observe_inference(
            request.model,
            request.version,
            request.served_as,
            request.seconds,
            rows=result.rows if result else 0,
            failed=result is None,
        )
        with self.lock:
            totals = self.totals.setdefault((request.model, request.version), ServedTotals())
            totals.last_at = time.time()
            if result is None:
                totals.fail += 1
                totals.fail_seconds += request.seconds
            else:
                totals.success += 1
                totals.success_seconds += request.seconds
                totals.run_seconds += result.milliseconds * result.rows / 1000
                totals.runs += 1 / max(result.requests, 1)
            if request.serial is None:
                return None
            counts = self.counts_for(StatsKey(request.model, request.version, request.serial))
            if result is None:
                counts.count_error(request.error)
            else:
                counts.count_answer(result.milliseconds, result.rows)
            return counts

    def count_unloadable(self, key: StatsKey, requests: int, error: str) -> None:
        """Count the requests that a version which cannot be loaded would have failed."""
        with self.lock:
            for _ in range(requests):
                self.counts_for(key).count_error(error)

    def drop_old_counts(self, model: str, serial: int) -> None:
        """Drop stored counts of rollouts before a serial."""
        with self.lock:
            self.counts = {
                key: counts
                for key, counts in self.counts.items()
                if key.model != model or key.serial >= serial or key in self.dirty
            }

    def keep_prediction(self, request: ServedRequest, inputs: Arrays) -> None:
        """Keep an answered request, so that it can be computed again."""
        assert request.result is not None
        content = oip_json.pack_tensors(inputs)
        self.predictions.append(
            Prediction(
                model=request.model,
                version=request.version,
                served_as=request.served_as,
                input_hash=sha256(content).hexdigest(),
                inputs=content,
                outputs=oip_json.pack_tensors(request.result.outputs),
                milliseconds=request.seconds * 1000,
                at=datetime.now(UTC),
            )
        )

    def flush(self, database: Database) -> None:
        """Store changed counts and kept predictions."""
        with self.lock:
            dirty, self.dirty = self.dirty, set()
            changed = {key: VersionCounts.from_json(self.counts[key].as_json()) for key in dirty}
            predictions = [self.predictions.popleft() for _ in range(len(self.predictions))]
        if not changed and not predictions:
            return
        now = datetime.now(UTC)
        with database.write() as db:
            for key in sorted(changed, key=lambda key: (key.model, key.version, key.serial)):
                guardrails.save_counts(db, key, self.process, changed[key], now)
            db.add_all(predictions)

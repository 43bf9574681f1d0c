"""What this process counts of each version, and the answers that it keeps, until they are written."""

import threading
import time
from collections import deque
from datetime import UTC, datetime
from hashlib import sha256

from tanuki.platform import metrics
from tanuki.platform.database.engine import Database
from tanuki.platform.mlops import guardrails
from tanuki.platform.mlops.guardrails import Counts
from tanuki.platform.mlops.runtimes import Arrays
from tanuki.platform.mlops.tables import Prediction
from tanuki.platform.serving import oip_json
from tanuki.platform.serving.batching import Ran

Under = tuple[str, str, int]  # model, version, and the plan's serial

KEPT_WAITING = 200


class Tally:
    """Counts by version and plan, to judge versions by; and by version alone, to tell who asks the server."""

    def __init__(self, process: str) -> None:
        self.process = process
        self.lock = threading.RLock()
        self.counts: dict[Under, Counts] = {}
        self.dirty: set[Under] = set()
        self.stated: dict[tuple[str, str], dict[str, float]] = {}
        self.keeping: deque[Prediction] = deque(maxlen=KEPT_WAITING)

    def of(self, key: Under) -> Counts:
        """What is counted of a version under a plan, to be added to. Under the lock."""
        self.dirty.add(key)
        return self.counts.setdefault(key, Counts())

    def answered(
        self,
        model: str,
        version: str,
        serial: int | None,
        role: str,
        ran: Ran | None,
        took: float,
        why: str = "",
    ) -> Counts | None:
        """A request was answered or, without a run, was not; gives what is counted under the plan."""
        metrics.observe_inference(
            model, version, role, took, rows=ran.rows if ran else 0, failed=ran is None
        )
        with self.lock:
            stated = self.stated.setdefault(
                (model, version),
                dict.fromkeys(
                    ("success", "fail", "success_s", "fail_s", "run_s", "runs", "last"), 0.0
                ),
            )
            outcome = "fail" if ran is None else "success"
            stated[outcome] += 1
            stated[f"{outcome}_s"] += took
            stated["last"] = time.time()
            if ran is not None:
                stated["run_s"] += ran.milliseconds * ran.rows / 1000
                stated["runs"] += 1 / max(ran.sharing, 1)
            if serial is None:
                return None
            counts = self.of((model, version, serial))
            if ran is None:
                counts.failed(why)
            else:
                counts.answered(ran.milliseconds, ran.rows)
            return counts

    def not_loaded(self, key: Under, requests: int, why: str) -> None:
        """A version that cannot be loaded fails every request that it would have had: so many at once."""
        with self.lock:
            for _ in range(requests):
                self.of(key).failed(why)

    def forget(self, model: str, before: int) -> None:
        """Forget what was counted under older plans and is written."""
        with self.lock:
            self.counts = {
                key: each
                for key, each in self.counts.items()
                if key[0] != model or key[2] >= before or key in self.dirty
            }

    def keep(
        self, model: str, version: str, role: str, inputs: Arrays, ran: Ran, took: float
    ) -> None:
        """Keep an answer, to be computed again some day."""
        content = oip_json.packed(inputs)
        self.keeping.append(
            Prediction(
                model=model,
                version=version,
                served_as=role,
                input_hash=sha256(content).hexdigest(),
                inputs=content,
                outputs=oip_json.packed(ran.outputs),
                milliseconds=took * 1000,
                at=datetime.now(UTC),
            )
        )

    def write(self, database: Database) -> None:
        """Write counts that changed and answers that are kept."""
        with self.lock:
            dirty, self.dirty = self.dirty, set()
            told = {key: Counts.read(self.counts[key].as_json()) for key in dirty}
            kept = [self.keeping.popleft() for _ in range(len(self.keeping))]
        if not told and not kept:
            return
        now = datetime.now(UTC)
        with database.write() as db:
            for (model, version, serial), counts in sorted(told.items(), key=lambda each: each[0]):
                guardrails.keep(db, model, version, serial, self.process, counts, now)
            db.add_all(kept)

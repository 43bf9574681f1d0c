"""The life cycle of every model: evaluate a version, record the verdict, release it on GO.

A system describes each of its models by a `ModelSpec` and hands it to the composition, which keeps
all of them in `Resources.lifecycle`. Training jobs, commands and pages use the same functions.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path

import structlog
from sqlalchemy.orm import Session

from tanuki.errors import UserError
from tanuki.i18n import Translate, english
from tanuki.platform.accounts import Person
from tanuki.platform.database.engine import Database
from tanuki.platform.mlops import release, rollout
from tanuki.platform.mlops.evaluation import Evaluation
from tanuki.platform.mlops.reasons import PLAIN, ReasonTexts, render_reason
from tanuki.platform.mlops.registry import Registry
from tanuki.platform.mlops.release import ModelChange
from tanuki.platform.mlops.tables import GateVerdict
from tanuki.platform.warehouse import Warehouse

log = structlog.get_logger()


@dataclass(frozen=True)
class EvaluationRequest:
    """A registered version to evaluate, and what an evaluation may read.

    version: its number in the registry.
    cache: a folder for copies of model files.
    now: facts are read as of this moment.
    options: the numbers of `ModelSpec.options`, such as `weeks`.
    """

    db: Database
    warehouse: Warehouse
    registry: Registry
    cache: Path
    version: str
    now: datetime
    options: Mapping[str, int] = field(default_factory=dict)


@dataclass(frozen=True)
class ReleasePolicy:
    """How a model's versions go live.

    served: model servers answer with it, so a first champion needs a rollout on record; otherwise
    the alias in the registry alone says which version is live.
    same_interface: a new version must take and give what the live one does. False where the callers
    read from the version what to send.
    """

    served: bool = True
    same_interface: bool = True


@dataclass(frozen=True)
class ModelSpec:
    """How a system evaluates, releases and names one of its models.

    name: in the registry. title: its name in plain words, a msgid.
    evaluate: the verdict on a version beside the champion (or, where the version is live already,
    beside the one before it); writes nothing. Raises UserError when there is too little data.
    texts: sentences for the reasons. load_labels: names of the labels of slices, such as stores, in
    a language. options: numbers that `evaluate` reads, with their defaults. page: the path of the
    system's own page about the model.
    """

    name: str
    title: str
    evaluate: Callable[[EvaluationRequest], Evaluation]
    texts: ReasonTexts = PLAIN
    release_policy: ReleasePolicy = ReleasePolicy()
    load_labels: Callable[[Session, str], Mapping[str, str]] | None = None
    options: Mapping[str, int] = field(default_factory=dict)
    page: str | None = None


@dataclass(frozen=True)
class Outcome:
    """What became of a version: its verdict on record, and whether this call released it."""

    verdict: GateVerdict
    released: bool


@dataclass(frozen=True)
class Lifecycle:
    """The models of both systems and the engines that their evaluations read."""

    db: Database
    warehouse: Warehouse
    registry: Registry
    cache: Path
    specs: Mapping[str, ModelSpec] = field(default_factory=dict)

    def spec(self, model: str) -> ModelSpec:
        """A model's spec. Raises UserError for a model that no system describes."""
        if model not in self.specs:
            raise UserError(
                "No system describes the model %(model)s; expected one of %(known)s.",
                model=model,
                known=", ".join(self.specs) or "–",
            )
        return self.specs[model]

    def title(self, model: str) -> str:
        """A model's name in plain words, a msgid; of an unknown model its technical name."""
        return self.specs[model].title if model in self.specs else model

    def evaluate(
        self, model: str, version: str, now: datetime, options: Mapping[str, int] | None = None
    ) -> Evaluation:
        """The verdict on a version (its number or alias); writes nothing. Raises NotFound."""
        spec = self.spec(model)
        number = self.registry.get(model, version).version
        settings = {**spec.options, **(options or {})}
        for name in settings.keys() - spec.options.keys():
            raise UserError(
                "The evaluation of %(model)s has no option %(name)s; expected one of %(known)s.",
                model=model,
                name=name,
                known=", ".join(spec.options) or "–",
            )
        return spec.evaluate(
            EvaluationRequest(
                self.db, self.warehouse, self.registry, self.cache, number, now, settings
            )
        )

    def record_evaluation(
        self, model: str, evaluation: Evaluation, *, actor: Person, now: datetime
    ) -> GateVerdict:
        """Put a verdict on record."""
        with self.db.write() as db:
            verdict = release.record_verdict(db, model, evaluation, by=actor.name, now=now)
            db.expunge(verdict)
        log.info(
            "model evaluated",
            model=model,
            version=verdict.version,
            go=verdict.go,
            reasons=[reason["code"] for reason in evaluation.verdict.reasons],
        )
        return verdict

    def release_on_go(self, verdict: GateVerdict, *, actor: Person, now: datetime) -> bool:
        """Make a version with a GO the champion; True if it was not before.

        A NO-GO does nothing.
        """
        model, policy = verdict.model, self.spec(verdict.model).release_policy
        if not verdict.go:
            return False
        with self.db.write() as db:
            if policy.served:
                release.drop_unrecorded_champion(db, self.registry, model)
            if rollout.champion_version(db, self.registry, model) == verdict.version:
                return False
            change = ModelChange(db, self.registry, model, actor, now)
            release.release_version(change, verdict, same_interface=policy.same_interface)
        return True

    def evaluate_and_release(
        self, model: str, version: str, *, actor: Person, now: datetime
    ) -> Outcome:
        """Evaluate a version, record the verdict and, on GO, make the version the champion.

        Idempotent, so a durable step may be repeated: a version that has a verdict is not evaluated
        again, and one that is live is not released again. Model servers see a release within a
        second; a caller that needs it at once calls `Inference.refresh`.
        """
        number = self.registry.get(model, version).version
        with self.db.read() as db:
            verdict = release.latest_verdict(db, model, number)
            if verdict is not None:
                db.expunge(verdict)
        if verdict is None:
            evaluation = self.evaluate(model, number, now)
            verdict = self.record_evaluation(model, evaluation, actor=actor, now=now)
        return Outcome(verdict, self.release_on_go(verdict, actor=actor, now=now))

    def render_reasons(
        self,
        verdict: GateVerdict,
        say: Translate = english,
        labels: Mapping[str, str] | None = None,
    ) -> list[str]:
        """The sentences of a verdict's reasons; `labels` as `ModelSpec.load_labels` gives them."""
        spec = self.specs.get(verdict.model)
        texts = spec.texts if spec else PLAIN
        reasons = verdict.report.get("reasons", [])
        return [render_reason(reason, texts, say, labels) for reason in reasons]

"""Release gate of the demand forecast: past weeks forecast again, GO or NO-GO.

A version is compared with the champion, the baselines and the managers' orders, in yen and in units
short, after checks of its behaviour. Every reason is a code with values.
"""

from collections.abc import Sequence
from contextlib import ExitStack
from dataclasses import asdict
from pathlib import Path
from tempfile import TemporaryDirectory

from sqlalchemy import select
from sqlalchemy.orm import Session

from tanuki.errors import UserError
from tanuki.i18n import msgid
from tanuki.platform.mlops import evaluation
from tanuki.platform.mlops.evaluation import Evaluation, Limits, Verdict
from tanuki.platform.mlops.lifecycle import EvaluationRequest, ModelSpec, ReleasePolicy
from tanuki.platform.mlops.reasons import ReasonTexts
from tanuki.platform.mlops.registry import CHALLENGER, CHAMPION, PREVIOUS, Registry, Version
from tanuki.platform.mlops.rollout import version_with_alias
from tanuki.shop import panel
from tanuki.shop.calendar import Week
from tanuki.shop.forecasting import forecaster
from tanuki.shop.forecasting.forecaster import Forecaster
from tanuki.shop.forecasts import FORECAST_MODEL
from tanuki.shop.gate_checks import (
    check_ignores_recent_sales,
    check_implausible_accuracy,
    check_leakage,
    check_rows,
    check_time_shift,
)
from tanuki.shop.gate_data import (
    ForecasterFactory,
    GateData,
    GateModels,
    build_comparison,
    forecast_past_weeks,
    load_unit_costs,
)
from tanuki.shop.panel import History
from tanuki.shop.tables import Item, Region, Store

GATE_WEEKS = 12
BASELINES = ("seasonal_naive", "moving_average")


def evaluate_forecaster(request: EvaluationRequest) -> Evaluation:
    """The verdict on a registered version, on what is known at the request's moment."""
    with request.db.read() as db:
        history = panel.load_history(db, request.warehouse, as_of=request.now)
        data = GateData(history, load_unit_costs(db))
    weeks = request.options["weeks"]
    return evaluate_version(data, request.registry, request.version, weeks=weeks)


def evaluate_version(
    data: GateData, registry: Registry, version_or_alias: str, *, weeks: int = GATE_WEEKS
) -> Evaluation:
    """The verdict on a registered version beside the champion, over the last complete weeks.

    A version that is live is compared with the one before it. While no version is released the
    weekly cycle forecasts with the default model, so that is the champion. Raises UserError when
    fewer than three weeks of sales are known. Writes nothing.
    """
    version = registry.get(FORECAST_MODEL, version_or_alias)
    champion = version_with_alias(registry, FORECAST_MODEL)
    if champion is not None and champion.version == version.version:
        champion = version_with_alias(registry, FORECAST_MODEL, PREVIOUS)
    targets = list_gate_weeks(data.history, weeks)
    limits = Limits()
    kind = version.parameters["forecaster"]
    default = forecaster.DEFAULT_FORECASTER
    substitute = default if champion is None and kind != default else None
    with ExitStack() as folders:
        models = GateModels(
            registered_model(registry, version, folders),
            registered_model(registry, champion, folders)
            if champion is not None
            else forecaster.FORECASTERS[substitute]
            if substitute
            else None,
            {name: forecaster.FORECASTERS[name] for name in BASELINES},
        )
        verdict = compare_versions(data, targets, models, limits)
    report = {
        "weeks": [str(targets[0]), str(targets[-1])],
        "forecaster": kind,
        "default": substitute,  # the model that stood for the champion
        "data_window": list(version.data_window),
        "limits": asdict(limits),
        **verdict.as_json(),
    }
    return Evaluation(version.version, champion.version if champion else None, verdict, report)


def list_gate_weeks(history: History, weeks: int) -> list[Week]:
    """The last complete weeks, without the first two of the history. Raises UserError if none."""
    first, last = history.complete_weeks()
    targets = [last.plus(-n) for n in range(weeks - 1, -1, -1)]
    targets = [week for week in targets if week >= first.plus(2)]
    if not targets:
        raise UserError(
            "The gate needs at least three complete weeks of sales. "
            "The last complete week is %(last)s.",
            last=last,
        )
    return targets


def registered_model(registry: Registry, version: Version, folders: ExitStack) -> ForecasterFactory:
    """Makes copies of a version's model as it was registered, while `folders` is open."""
    folder = registry.load(
        FORECAST_MODEL, version.version, into=Path(folders.enter_context(TemporaryDirectory()))
    )

    def load_forecaster() -> Forecaster:
        model = forecaster.make_forecaster(version.parameters["forecaster"])
        model.load(folder)
        return model

    return load_forecaster


def compare_versions(
    data: GateData, weeks: Sequence[Week], models: GateModels, limits: Limits | None = None
) -> Verdict:
    """The verdict over past weeks, each forecast with only what was known when it was ordered."""
    limits = limits or Limits()
    factories = models.by_name()
    past = forecast_past_weeks(data, weeks, factories)
    baselines = list(models.baselines)
    comparison = build_comparison(past.rows, data.costs, list(factories), baselines)
    rivals = [name for name in factories if name != CHALLENGER]
    reference = CHAMPION if models.champion else evaluation.best_baseline(comparison)
    week, history = weeks[-1], data.history
    sales = history.build_panel(week.plus(2)).sales
    faults = [
        *check_rows(past.expected, past.answered),
        *check_implausible_accuracy(past.rows, sales, rivals, limits),
        *(check_time_shift(past.rows, data.costs, reference, limits) if reference else []),
        *check_leakage(history, week, past.newest, models.challenger),
        *check_ignores_recent_sales(history.build_panel(week), past.newest, models.challenger),
    ]
    return evaluation.compare_models(comparison, limits, faults)


# ---- how the lifecycle knows it ------------------------------------------------------------------

MESSAGES: dict[str, str] = {
    "missing_slice": msgid(
        "%(slice)s %(label)s is not forecast at all (%(rows)s rows are absent)."
    ),
    "missing_rows": msgid("%(rows)s of %(of)s rows are not forecast."),
    "not_finite": msgid("%(rows)s of %(of)s rows are not numbers."),
    "negative": msgid("%(rows)s of %(of)s rows are below zero."),
    "quantiles_crossed": msgid(
        "In %(rows)s of %(of)s rows a higher quantile is below a lower one."
    ),
    "leakage": msgid(
        "Its forecast changes when sales after the cut-off change: it uses future data."
    ),
    "implausible_accuracy": msgid(
        "It is more accurate than possible: its errors have a dispersion of %(dispersion)s, chance "
        "alone gives at least %(least)s. It must know sales of the weeks that it forecasts."
    ),
    "fits_week_before": msgid(
        "Its forecast of a week fits the week before by %(nearer)s better: its weeks are shifted."
    ),
    "fits_week_after": msgid(
        "Its forecast of a week fits the week after by %(nearer)s better: its weeks are shifted."
    ),
    "changed_week_before": msgid(
        "The changes that it forecasts happened a week before (%(other)s of them; in their own "
        "week %(own)s): its weeks are shifted."
    ),
    "changed_week_after": msgid(
        "The changes that it forecasts happened a week after (%(other)s of them; in their own "
        "week %(own)s): its weeks are shifted."
    ),
    "changes_reversed": msgid(
        "Where it forecasts a rise sales fall, and the other way round (%(own)s of the changes "
        "came true): the buffer week and the target week are swapped."
    ),
    "ignores_recent_sales": msgid(
        "It ignores the last %(weeks)s weeks: when %(uplift)s more is sold in them, its forecast "
        "rises by only %(response)s."
    ),
}
FORMATS: dict[str, str] = {
    "dispersion": ".2f",
    "least": ".2f",
    "nearer": ".0%",
    "own": ".0%",
    "changed_week_before.other": ".0%",
    "changed_week_after.other": ".0%",
    "uplift": ".0%",
    "response": ".1%",
}
SLICES: dict[str, str] = {
    "region": msgid("Region"),
    "store": msgid("Store"),
    "item": msgid("Item"),
    "size": msgid("Size"),
    "size:small": msgid("small sellers"),
    "size:middle": msgid("middle sellers"),
    "size:large": msgid("large sellers"),
}
MEASURES: dict[str, str] = {"yen": msgid("cost"), "service": msgid("share of units short")}


def load_label_names(db: Session, lang: str) -> dict[str, str]:
    """Names of items, stores and regions by code, in a language."""
    records = [*db.scalars(select(Item)), *db.scalars(select(Store)), *db.scalars(select(Region))]
    return {record.code: record.name_ja if lang == "ja" else record.name_en for record in records}


FORECAST_SPEC = ModelSpec(
    name=FORECAST_MODEL,
    title=msgid("Demand forecast"),
    evaluate=evaluate_forecaster,
    texts=ReasonTexts(MESSAGES, FORMATS, SLICES, MEASURES),
    release_policy=ReleasePolicy(served=False),
    load_labels=load_label_names,
    options={"weeks": GATE_WEEKS},
    page="/shop/models",
)

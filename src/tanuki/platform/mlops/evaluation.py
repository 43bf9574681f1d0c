"""Paired statistics of a release gate: is a challenger worse than the champion? Pure.

Losses are paired: every model answers for the same rows (such as a store, an item and a week), so
what makes a week hard is hard for all models. Rows of one week are not independent. The bootstrap
therefore resamples whole weeks, in blocks of consecutive ones (circular block bootstrap: Künsch
1989; Politis and Romano 1992). With few weeks the tail of a bootstrap is too thin, so its standard
error is used with Student's t (Efron and Tibshirani 1993, chapter 12). The test is one of
non-inferiority: a challenger is refused when it is worse than the champion by more than a margin,
beyond chance. Where rows are independent, such as queries or posts, each is a block of its own
(`block_length=1`). Over all slices together the chance of a false refusal stays at
1 - confidence (Holm 1979). docs/decisions/gate.md has the formulas.
"""

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

Numbers = NDArray[np.float64]
Flags = NDArray[np.bool_]
Labels = Sequence[str]
Reason = dict[str, Any]
Comparison = dict[str, Any]

OVERALL = "all"
MAX_RELATIVE_LOSS = 10.0
"""A difference is reported as at most ten times the denominator."""


@dataclass(frozen=True)
class Limits:
    """Non-inferiority margins, as shares, and how the test is done. Stored with every verdict."""

    overall: float = 0.02
    """Margin against the champion over all rows."""
    slice: float = 0.15
    """Margin against the champion in a slice."""
    baseline_slice: float = 0.50
    """Margin against the baseline in a slice, where there is no champion."""
    confidence: float = 0.95
    bootstrap_draws: int = 2000
    seed: int = 1
    block_length: int = 2
    """Consecutive blocks (weeks) that are drawn together; 1 where blocks are independent."""
    min_rows: int = 16
    """A slice with fewer rows is reported and not tested."""
    min_blocks: int = 6
    """A slice with fewer blocks is reported and not tested."""


@dataclass(frozen=True)
class Measure:
    """One loss: for each model a number per row, lower is better, NaN where it has no answer.

    A difference is a share of the other model's loss or, where `denominator` is given, of that
    (units short per unit sold). A measure that need not beat the baseline may be traded for
    another: ordering less costs service and saves leftovers.
    """

    name: str
    losses: Mapping[str, Numbers]
    denominator: Numbers | None = None
    must_beat_baseline: bool = True


@dataclass(frozen=True)
class ComparisonData:
    """Rows with their block (a week, in time order) and labels, and every model's losses on them.

    Models in `references` are reported beside the others; no version is refused because of them.
    """

    block: Labels
    slices: Mapping[str, Labels]
    measures: Sequence[Measure]
    challenger: str
    champion: str | None
    baselines: Sequence[str]
    references: Sequence[str] = ()


@dataclass(frozen=True)
class Verdict:
    """GO without reasons, NO-GO with every reason as a code and its values.

    There is a comparison for each measure, other model and slice. `baseline` is the best of the
    baselines.
    """

    go: bool
    reasons: list[Reason]
    comparisons: list[Comparison] = field(default_factory=list)
    baseline: str | None = None

    def as_json(self) -> dict[str, Any]:
        return asdict(self)


@dataclass(frozen=True)
class Evaluation:
    """A registered version's verdict beside the champion, with the report to store."""

    version: str
    champion: str | None
    verdict: Verdict
    report: dict[str, Any]


@dataclass(frozen=True)
class BlockSums:
    """Losses of two models in one slice and the denominator, summed by block."""

    challenger: Numbers
    other: Numbers
    denominator: Numbers
    rows: int
    blocks: int
    """Blocks that have any row of the slice."""


def compare_models(
    data: ComparisonData, limits: Limits | None = None, faults: Sequence[Reason] = ()
) -> Verdict:
    """The verdict over paired losses.

    `faults` are reasons found before, by checks of the system; with any of them it is a NO-GO.
    """
    limits = limits or Limits()
    baseline = best_baseline(data)
    rivals = [model for model in (data.champion, baseline) if model is not None]
    comparisons = [
        comparison
        for measure in data.measures
        for model in [*rivals, *data.references]
        for comparison in compare_with(data, measure, model, limits)
    ]
    reasons: list[Reason] = [*faults]
    if not any(line["slice"] == OVERALL and line["other"] in rivals for line in comparisons):
        return Verdict(False, [*reasons, {"code": "no_common_rows"}], comparisons, baseline)
    reasons += find_overall_losses(data, comparisons, baseline, limits)
    reasons += find_slice_losses(data, comparisons, baseline, limits)
    return Verdict(not reasons, reasons, comparisons, baseline)


def best_baseline(data: ComparisonData) -> str | None:
    """The baseline with the least loss by the first measure, on rows that all models answer."""
    if not data.baselines:
        return None
    losses = data.measures[0].losses
    baselines = np.stack([losses[name] for name in data.baselines])
    common = np.isfinite(baselines).all(axis=0) & np.isfinite(losses[data.challenger])
    return data.baselines[int(np.argmin(baselines[:, common].sum(axis=1)))]


def find_overall_losses(
    data: ComparisonData, comparisons: Sequence[Comparison], baseline: str | None, limits: Limits
) -> list[Reason]:
    """Reasons over all rows: inferior to the champion, or not better than the baseline."""
    reasons: list[Reason] = []
    must_beat = {measure.name for measure in data.measures if measure.must_beat_baseline}
    for line in comparisons:
        if line["slice"] != OVERALL:
            continue
        if line["other"] == data.champion and line["p_value"] < 1 - limits.confidence:
            reasons.append(
                {"code": "worse_overall", **reason_values(line), "tolerance": limits.overall}
            )
        if (
            line["other"] == baseline
            and line["measure"] in must_beat
            and line["loss"] >= line["other_loss"]
        ):
            reasons.append({"code": "not_above_baseline", **reason_values(line)})
    return reasons


def find_slice_losses(
    data: ComparisonData, comparisons: Sequence[Comparison], baseline: str | None, limits: Limits
) -> list[Reason]:
    """Reasons per slice: inferior to the champion or, where there is none, to the baseline.

    Those of the first measure come first, and the worst slice before the others.
    """
    if data.champion is not None:
        other, code, tolerance = data.champion, "worse_slice", limits.slice
    else:
        other, code, tolerance = baseline or "", "baseline_slice", limits.baseline_slice
    tested = [
        line
        for line in comparisons
        if line["other"] == other and line["slice"] != OVERALL and line["tested"]
    ]
    rejected = holm_rejections([line["p_value"] for line in tested], 1 - limits.confidence)
    failed = [line for line, is_rejected in zip(tested, rejected, strict=True) if is_rejected]
    failed.sort(
        key=lambda line: (
            line["measure"] != data.measures[0].name,
            -line["loss"] / max(line["other_loss"], 1e-9),
        )
    )
    return [
        {
            "code": code,
            **reason_values(line),
            "tolerance": tolerance,
            "slice": line["slice"],
            "label": line["label"],
        }
        for line in failed
    ]


def reason_values(comparison: Comparison) -> Reason:
    names = ("measure", "other", "loss", "other_loss", "change", "low", "high", "rows")
    return {name: comparison[name] for name in names}


def compare_with(
    data: ComparisonData, measure: Measure, other: str, limits: Limits
) -> list[Comparison]:
    """The challenger beside one other model, on rows that both answer: all, then by slice."""
    losses, other_losses = measure.losses[data.challenger], measure.losses[other]
    common = np.isfinite(losses) & np.isfinite(other_losses)
    if not common.any():
        return []
    blocks, block = np.unique(np.asarray(data.block)[common], return_inverse=True)
    denominator = other_losses if measure.denominator is None else measure.denominator
    values = (losses[common], other_losses[common], denominator[common])
    keys = [(OVERALL, "")]
    sums = [sum_by_block(values, block, len(blocks), np.ones(int(common.sum()), dtype=bool))]
    for kind, labels in data.slices.items():
        row_label = np.asarray(labels)[common]
        for label in np.unique(row_label):
            keys.append((kind, str(label)))
            sums.append(sum_by_block(values, block, len(blocks), row_label == label))
    weights = block_bootstrap_weights(len(blocks), limits)
    lines = []
    for (kind, label), part in zip(keys, sums, strict=True):
        tolerance = limits.overall
        if kind != OVERALL:
            tolerance = limits.slice if other == data.champion else limits.baseline_slice
        lines.append(
            {
                "measure": measure.name,
                "other": other,
                "slice": kind,
                "label": label,
                **summarize_comparison(part, weights, tolerance, limits.confidence),
                "tested": part.rows >= limits.min_rows and part.blocks >= limits.min_blocks,
            }
        )
    return lines


def sum_by_block(
    values: tuple[Numbers, Numbers, Numbers], block: NDArray[np.intp], blocks: int, rows: Flags
) -> BlockSums:
    """Losses and denominator of some rows, summed by block; `block` numbers each row's block."""
    challenger, other, denominator = (
        np.bincount(block[rows], value[rows], blocks).astype(np.float64) for value in values
    )
    return BlockSums(challenger, other, denominator, int(rows.sum()), len(np.unique(block[rows])))


def summarize_comparison(
    part: BlockSums, weights: Numbers, tolerance: float, confidence: float
) -> Comparison:
    """Relative difference, its interval (each side at `confidence`) and the p-value of H0.

    H0: the difference is at most `tolerance`.
    """
    difference = part.challenger - part.other
    change = float(relative_loss(difference.sum(), part.denominator.sum()))
    low, high = np.quantile(
        relative_loss(weights @ difference, weights @ part.denominator),
        [1 - confidence, confidence],
    )
    return {
        "rows": part.rows,
        "blocks": part.blocks,
        "loss": float(part.challenger.sum()),
        "other_loss": float(part.other.sum()),
        "change": change,
        "low": min(float(low), change),
        "high": max(float(high), change),
        "p_value": p_value(difference - tolerance * part.denominator, weights),
    }


def relative_loss(difference: Numbers | float, denominator: Numbers | float) -> Numbers:
    """Difference per denominator, at most MAX_RELATIVE_LOSS either way; 0 / 0 is 0."""
    difference, denominator = np.asarray(difference), np.asarray(denominator)
    undefined = np.where(difference > 0, MAX_RELATIVE_LOSS, 0.0)
    divisor = np.where(denominator > 0, denominator, 1.0)
    ratio = np.clip(difference / divisor, -MAX_RELATIVE_LOSS, MAX_RELATIVE_LOSS)
    return np.where(denominator > 0, ratio, undefined)


def block_bootstrap_weights(blocks: int, limits: Limits) -> Numbers:
    """How often each block is drawn, shape (draws, blocks); circular block bootstrap.

    Each draw takes runs of `block_length` neighbours, where the first block follows the last, and
    is cut to as many blocks as there are.
    """
    draws, length = limits.bootstrap_draws, min(limits.block_length, blocks)
    random = np.random.default_rng(limits.seed)
    starts = random.integers(0, blocks, size=(draws, -(-blocks // length)))
    chosen = ((starts[:, :, None] + np.arange(length)) % blocks).reshape(draws, -1)[:, :blocks]
    flat = (np.arange(draws)[:, None] * blocks + chosen).ravel()
    return np.bincount(flat, minlength=draws * blocks).reshape(draws, blocks).astype(np.float64)


def p_value(excess: Numbers, weights: Numbers) -> float:
    """One-sided p-value of H0 "the sum of `excess` over all blocks is at most 0".

    Student's t with blocks - 1 degrees of freedom; the standard error is that of the bootstrap
    sums, times sqrt(blocks / (blocks - 1)) because a bootstrap of few blocks is too narrow by that.
    """
    from scipy.stats import t

    blocks, total = len(excess), float(excess.sum())
    if blocks < 2:
        return 0.0 if total > 0 else 1.0
    error = float((weights @ excess).std()) * np.sqrt(blocks / (blocks - 1))
    if error <= 1e-12 * max(abs(total), 1.0):
        return 0.0 if total > 1e-9 else 1.0
    return float(t.sf(total / error, blocks - 1))


def holm_rejections(p_values: Sequence[float], alpha: float) -> list[bool]:
    """Which tests are rejected with a family-wise error rate of `alpha` (Holm 1979)."""
    from statsmodels.stats.multitest import multipletests

    if not p_values:
        return []
    return [bool(rejected) for rejected in multipletests(p_values, alpha, method="holm")[0]]


def find_missing_rows(present: Flags, slices: Mapping[str, Labels]) -> list[Reason]:
    """Rows that were asked for and not answered.

    A label (a whole region) without any answer is named, by the first kind of slice that shows it;
    other absent rows are only counted.
    """
    reasons: list[Reason] = []
    absent = ~present
    for kind, labels in slices.items():
        row_label = np.asarray(labels)
        for label in np.unique(row_label[absent]):
            inside = row_label == label
            if not present[inside].any() and len(np.unique(row_label)) > 1:
                reasons.append(
                    {
                        "code": "missing_slice",
                        "slice": kind,
                        "label": str(label),
                        "rows": int((absent & inside).sum()),
                    }
                )
                absent = absent & ~inside
    if absent.any():
        reasons.append({"code": "missing_rows", "rows": int(absent.sum()), "of": len(present)})
    return reasons

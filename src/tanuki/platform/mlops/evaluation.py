"""GO or NO-GO: is a challenger at least as good as the champion and better than the floor, everywhere, on the same rows? Pure; knows no shop.

Losses are paired: every model answers for the same rows (a store, an item, a week), so what makes a week hard is hard for all of them. Rows of one
week are not independent, so whole weeks are drawn again, as blocks of consecutive ones (the circular block bootstrap: Künsch, 1989; Politis and
Romano, 1992). A few weeks cannot fill the tail of a bootstrap, so its standard error goes with Student's t (Efron and Tibshirani, 1993, ch. 12).
The question is non-inferiority: an honest retraining is a little better or worse by chance and must pass; what is refused is worse than
the champion by more than a tolerance, beyond chance. Where rows are independent, such as queries or posts, each is a block of its own, drawn alone (`length=1`). Over all slices chance is kept at 1 - confidence together (Holm, 1979).
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

OVERALL = "all"
LANGS = ("ja", "en")
MOST = 10.0  # times as much: no difference is told larger


@dataclass(frozen=True)
class Limits:
    """How much worse is too much, as a share, and how sure one must be. Not settings of a machine: kept with every verdict."""

    overall: float = 0.02  # worse than the champion over all rows
    slice: float = 0.15  # worse than the champion in a slice
    floor_slice: float = 0.50  # worse than the floor in a slice, where there is no champion
    confidence: float = 0.95
    draws: int = 2000
    seed: int = 1
    length: int = 2  # weeks (blocks) drawn together; 1 where they are independent
    rows: int = 16  # a slice with fewer is shown and not judged
    blocks: int = 6  # weeks, likewise


@dataclass(frozen=True)
class Measure:
    """One way to count losses: per model a number a row, lower is better, NaN where a model has no answer.

    A loss is worse as a share of the other model's loss, or, where `per` is given, as a share of that (units short per unit sold). A measure that
    does not decide over the floor may be traded for another: ordering less costs service and saves leftovers.
    """

    name: str
    losses: Mapping[str, Numbers]
    per: Numbers | None = None
    beats_floor: bool = True


@dataclass(frozen=True)
class Case:
    """What the gate is asked: rows with their block (a week, in order of time) and their labels in each kind of slice."""

    block: Labels
    slices: Mapping[str, Labels]
    measures: Sequence[Measure]
    challenger: str
    champion: str | None
    floors: Sequence[str]
    people: Sequence[
        str
    ] = ()  # shown beside the others; nobody is refused for being worse than they


@dataclass(frozen=True)
class Verdict:
    """GO when nothing speaks against it; else every reason as a code and its values. Comparisons are per measure, slice and other model."""

    go: bool
    reasons: list[Reason]
    comparisons: list[dict[str, Any]] = field(default_factory=list)
    floor: str | None = None  # the best of them

    def as_json(self) -> dict[str, Any]:
        """Plain values."""
        return asdict(self)


@dataclass(frozen=True)
class Judged:
    """What the gate found about a registered version, ready to be kept."""

    version: str
    champion: str | None
    verdict: Verdict
    report: dict[str, Any]


@dataclass(frozen=True)
class Sums:
    """Losses of two models in one slice, summed by block; `per` is what a difference is a share of."""

    ours: Numbers
    theirs: Numbers
    per: Numbers
    rows: int
    blocks: int  # that have any


def judge(case: Case, limits: Limits | None = None, faults: Sequence[Reason] = ()) -> Verdict:
    """The verdict over paired losses. `faults` found before (see `faults`, or a system's own checks) are reasons in any case."""
    limits = limits or Limits()
    floor = best(case)
    others = [each for each in (case.champion, floor) if each is not None]
    found = [
        compare(case, measure, other, limits)
        for measure in case.measures
        for other in [*others, *case.people]
    ]
    lines = [line for lines in found for line in lines]
    reasons: list[Reason] = [*faults]
    if not any(line["slice"] == OVERALL and line["other"] in others for line in lines):
        return Verdict(False, [*reasons, {"code": "nothing"}], lines, floor)
    reasons += worse_overall(case, lines, floor, limits)
    reasons += worse_in_slices(case, lines, floor, limits)
    return Verdict(not reasons, reasons, lines, floor)


def best(case: Case) -> str | None:
    """The floor with the least loss by the first measure, on the rows that all floors and the challenger answer."""
    if not case.floors:
        return None
    losses = case.measures[0].losses
    every = np.stack([losses[name] for name in case.floors])
    both = np.isfinite(every).all(axis=0) & np.isfinite(losses[case.challenger])
    return case.floors[int(np.argmin(every[:, both].sum(axis=1)))]


def worse_overall(
    case: Case, lines: Sequence[dict[str, Any]], floor: str | None, limits: Limits
) -> list[Reason]:
    """Reasons over all rows: worse than the champion beyond the tolerance and chance, or not better than the floor."""
    reasons: list[Reason] = []
    must_beat = {measure.name for measure in case.measures if measure.beats_floor}
    for line in lines:
        if line["slice"] != OVERALL:
            continue
        if line["other"] == case.champion and line["p"] < 1 - limits.confidence:
            reasons.append({"code": "worse", **told(line), "tolerance": limits.overall})
        if (
            line["other"] == floor
            and line["measure"] in must_beat
            and line["ours"] >= line["theirs"]
        ):
            reasons.append({"code": "floor", **told(line)})
    return reasons


def worse_in_slices(
    case: Case, lines: Sequence[dict[str, Any]], floor: str | None, limits: Limits
) -> list[Reason]:
    """Reasons per slice, the first measure before the others and the worst first: worse than the champion, or, where there is none, far worse than the floor."""
    other, code = (
        (case.champion, "worse_slice") if case.champion is not None else (floor, "floor_slice")
    )
    tolerance = limits.slice if case.champion is not None else limits.floor_slice
    asked = [
        line
        for line in lines
        if line["other"] == other and line["slice"] != OVERALL and line["judged"]
    ]
    refused = holm([line["p"] for line in asked], 1 - limits.confidence)
    failed = [line for line, no in zip(asked, refused, strict=True) if no]
    failed.sort(
        key=lambda line: (
            line["measure"] != case.measures[0].name,
            -line["ours"] / max(line["theirs"], 1e-9),
        )
    )
    return [
        {
            "code": code,
            **told(line),
            "tolerance": tolerance,
            "slice": line["slice"],
            "label": line["label"],
        }
        for line in failed
    ]


def told(line: Mapping[str, Any]) -> Reason:
    """What a sentence needs of a comparison."""
    return {
        name: line[name]
        for name in ("measure", "other", "ours", "theirs", "change", "low", "high", "rows")
    }


def compare(case: Case, measure: Measure, other: str, limits: Limits) -> list[dict[str, Any]]:
    """The challenger beside one other model: over all rows, then slice by slice; only rows that both answer."""
    ours, theirs = measure.losses[case.challenger], measure.losses[other]
    both = np.isfinite(ours) & np.isfinite(theirs)
    if not both.any():
        return []
    blocks, block = np.unique(np.asarray(case.block)[both], return_inverse=True)
    per = theirs if measure.per is None else measure.per
    values = (ours[both], theirs[both], per[both])
    keys = [(OVERALL, "")]
    parts = [summed(values, block, len(blocks), np.ones(int(both.sum()), dtype=bool))]
    for kind, labels in case.slices.items():
        label = np.asarray(labels)[both]
        for value in np.unique(label):
            keys.append((kind, str(value)))
            parts.append(summed(values, block, len(blocks), label == value))
    drawn = draws(len(blocks), limits.draws, limits.length, limits.seed)
    lines = []
    for (kind, value), part in zip(keys, parts, strict=True):
        allowed = (
            limits.overall
            if kind == OVERALL
            else limits.slice
            if other == case.champion
            else limits.floor_slice
        )
        line = {
            "measure": measure.name,
            "other": other,
            "slice": kind,
            "label": value,
            **compared(part, drawn, allowed, limits.confidence),
        }
        lines.append(
            {**line, "judged": part.rows >= limits.rows and line["blocks"] >= limits.blocks}
        )
    return lines


def summed(
    values: tuple[Numbers, Numbers, Numbers], block: NDArray[np.intp], blocks: int, rows: Flags
) -> Sums:
    """Some of the rows, added up by block."""
    ours, theirs, per = (
        np.bincount(block[rows], value[rows], blocks).astype(np.float64) for value in values
    )
    return Sums(ours, theirs, per, int(rows.sum()), len(np.unique(block[rows])))


def compared(part: Sums, drawn: Numbers, tolerance: float, confidence: float) -> dict[str, Any]:
    """How much worse ours is as a share, between what and what (each side at this confidence), and how likely that is if it were just tolerable."""
    ours, theirs = float(part.ours.sum()), float(part.theirs.sum())
    change = float(share(part.ours.sum() - part.theirs.sum(), part.per.sum()))
    low, high = np.quantile(
        share(drawn @ (part.ours - part.theirs), drawn @ part.per), [1 - confidence, confidence]
    )
    return {
        "rows": part.rows,
        "blocks": part.blocks,
        "ours": ours,
        "theirs": theirs,
        "change": change,
        "low": min(float(low), change),
        "high": max(float(high), change),
        "p": chance(part.ours - part.theirs - tolerance * part.per, drawn),
    }


def share(part: Any, whole: Any) -> Any:
    """A part of a whole (numbers or arrays), at most MOST either way, so that it can be kept and read; nothing of nothing is nothing."""
    none = np.where(np.asarray(part) > 0, MOST, 0.0)
    return np.where(
        np.asarray(whole) > 0,
        np.clip(part / np.where(np.asarray(whole) > 0, whole, 1.0), -MOST, MOST),
        none,
    )


def draws(blocks: int, count: int, length: int, seed: int) -> Numbers:
    """How often each of the blocks is drawn, count × blocks: runs of `length` neighbours, the first following the last, cut to as many as there are."""
    random = np.random.default_rng(seed)
    length = min(length, blocks)
    starts = random.integers(0, blocks, size=(count, -(-blocks // length)))
    chosen = ((starts[:, :, None] + np.arange(length)) % blocks).reshape(count, -1)[:, :blocks]
    flat = (np.arange(count)[:, None] * blocks + chosen).ravel()
    return np.bincount(flat, minlength=count * blocks).reshape(count, blocks).astype(np.float64)


def chance(excess: Numbers, drawn: Numbers) -> float:
    """How likely blocks so bad are (their excess over the tolerance above 0) if it were not more than tolerable: small means worse."""
    from scipy.stats import t

    blocks, total = len(excess), float(excess.sum())
    if blocks < 2:
        return 0.0 if total > 0 else 1.0
    error = float((drawn @ excess).std()) * np.sqrt(
        blocks / (blocks - 1)
    )  # a bootstrap of few blocks is too narrow by as much
    if error <= 1e-12 * max(abs(total), 1.0):
        return 0.0 if total > 1e-9 else 1.0
    return float(t.sf(total / error, blocks - 1))


def holm(p: Sequence[float], alpha: float) -> list[bool]:
    """Which of several tests are refused when the chance of refusing any wrongly is to be `alpha` (Holm, 1979)."""
    refused = [False] * len(p)
    for n, at in enumerate(sorted(range(len(p)), key=lambda i: p[i])):
        if p[at] > alpha / (len(p) - n):
            break
        refused[at] = True
    return refused


# ---- what is wrong before anything is compared ---------------------------------------------------------------------


def faults(
    present: Flags, quantiles: Numbers, mean: Numbers, slices: Mapping[str, Labels]
) -> list[Reason]:
    """What no forecast may be: absent, not a number, negative, with quantiles that decrease. One line for each row that was asked for.

    A label (a whole region) of which every row is absent is named, by the first kind of slice that shows it; of other rows only how many.
    """
    reasons = missing(present, slices)
    values = np.column_stack([quantiles, mean])
    finite = np.isfinite(values).all(axis=1)
    for code, wrong in (
        ("nan", ~finite),
        ("negative", finite & (values < 0).any(axis=1)),
        ("crossed", finite & (np.diff(quantiles, axis=1) < -1e-9).any(axis=1)),
    ):
        if count := int((present & wrong).sum()):
            reasons.append({"code": code, "rows": count, "of": int(present.sum())})
    return reasons


def missing(present: Flags, slices: Mapping[str, Labels]) -> list[Reason]:
    """Rows that were asked for and not answered."""
    reasons: list[Reason] = []
    absent = ~present
    for kind, labels in slices.items():
        label = np.asarray(labels)
        for value in np.unique(label[absent]):
            inside = label == value
            if not present[inside].any() and len(np.unique(label)) > 1:
                reasons.append(
                    {
                        "code": "missing_slice",
                        "slice": kind,
                        "label": str(value),
                        "rows": int((absent & inside).sum()),
                    }
                )
                absent = absent & ~inside
    if absent.any():
        reasons.append({"code": "missing", "rows": int(absent.sum()), "of": len(present)})
    return reasons


# ---- in words ------------------------------------------------------------------------------------------------------

MEASURES: dict[str, dict[str, str]] = {"loss": {"en": "loss", "ja": "損失"}}
KINDS: dict[str, dict[str, str]] = {OVERALL: {"en": "all rows", "ja": "全体"}}
WORDS: dict[str, dict[str, str]] = {
    "nothing": {
        "en": "There is nothing to compare it on: no row is answered by it and by another model.",
        "ja": "比べられる行がありません。ほかのモデルと共通の行が1つもありません。",
    },
    "worse": {
        "en": "Over all rows the {measure} is worse than the champion's by {change:.1%} (at least {low:.1%}; up to {tolerance:.0%} is allowed).",
        "ja": "全体で{measure}が現行より{change:.1%}悪い（少なくとも{low:.1%}、許容は{tolerance:.0%}まで）。",
    },
    "floor": {
        "en": "Over all rows the {measure} is not better than that of the plain rule {other} ({change:+.1%}).",
        "ja": "全体で{measure}が単純な規則「{other}」より良くない（{change:+.1%}）。",
    },
    "worse_slice": {
        "en": "{kind} {label}: the {measure} is worse than the champion's by {change:.0%} (at least {low:.0%}; up to {tolerance:.0%} is allowed).",
        "ja": "{kind}「{label}」：{measure}が現行より{change:.0%}悪い（少なくとも{low:.0%}、許容は{tolerance:.0%}まで）。",
    },
    "floor_slice": {
        "en": "{kind} {label}: the {measure} is worse than that of the plain rule {other} by {change:.0%} (up to {tolerance:.0%} is allowed).",
        "ja": "{kind}「{label}」：{measure}が単純な規則「{other}」より{change:.0%}悪い（許容は{tolerance:.0%}まで）。",
    },
    "missing_slice": {
        "en": "{kind} {label} has no answer at all ({rows:,} rows are absent).",
        "ja": "{kind}「{label}」の答えがまったくありません（{rows:,}行が欠けています）。",
    },
    "missing": {
        "en": "{rows:,} of {of:,} rows have no answer.",
        "ja": "{of:,}行のうち{rows:,}行の答えがありません。",
    },
    "nan": {
        "en": "{rows:,} of {of:,} rows are not numbers.",
        "ja": "{of:,}行のうち{rows:,}行が数値ではありません。",
    },
    "negative": {
        "en": "{rows:,} of {of:,} rows are below zero.",
        "ja": "{of:,}行のうち{rows:,}行が負の値です。",
    },
    "crossed": {
        "en": "In {rows:,} of {of:,} rows a higher quantile is below a lower one.",
        "ja": "{of:,}行のうち{rows:,}行で、上の分位点が下の分位点より小さくなっています。",
    },
}
Table = Mapping[str, Mapping[str, str]]


def words(
    reason: Mapping[str, Any],
    lang: str,
    *,
    more: Table | None = None,
    kinds: Table | None = None,
    measures: Table | None = None,
) -> str:
    """A reason as a sentence. A system brings the words for its own codes, kinds of slice and measures."""
    kind, measure = ({**KINDS, **(kinds or {})}, {**MEASURES, **(measures or {})})
    said = dict(reason)
    if "slice" in said:
        said["kind"] = kind.get(said["slice"], {}).get(lang, said["slice"])
        said["label"] = kind.get(f"{said['slice']}:{said['label']}", {}).get(lang, said["label"])
    if "measure" in said:
        said["measure"] = measure.get(said["measure"], {}).get(lang, said["measure"])
    text = {**WORDS, **(more or {})}[said["code"]][lang].format(**said)
    return text[0].upper() + text[1:]

"""Which proposals an analyst should check first: how unusual each one is, and why; pure."""

from collections.abc import Sequence

from tanuki.shop.forecasting.forecaster import QUANTILE_LEVELS
from tanuki.shop.ordering import ITEM_LIMIT_CODES, STORE_LIMIT_CODES, Demand, Proposal, Reason

Q10, Q90 = QUANTILE_LEVELS.index(0.10), QUANTILE_LEVELS.index(0.90)
USUAL_WEEKS = 4  # with fewer known weeks a proposal counts as unusual


def score_unusual(
    proposal: Proposal, demand: Demand, recent: Sequence[float], threshold: float
) -> tuple[float, list[Reason]]:
    """How unusual a proposal is, and why: from 1 on an analyst should check it.

    recent: units of the last known weeks, newest last.
    threshold: the share of their mean by which a usual forecast may differ from it.
    """
    reasons: list[Reason] = []
    score = 0.0
    usual = sum(recent) / len(recent) if recent else 0.0
    if len(recent) < USUAL_WEEKS:
        reasons.append({"code": "new", "weeks": len(recent)})
        score = 1.0
    if usual > 0:
        change = demand.mean / usual - 1
        score = max(score, abs(change) / threshold)
        if abs(change) > threshold:
            reasons.append({"code": "jump", "share": change, "recent": usual})
    elif demand.mean >= 1:
        reasons.append({"code": "no_recent_sales", "mean": demand.mean})
        score = max(score, 1.0)
    width = demand.quantiles[Q90] - demand.quantiles[Q10]
    if demand.mean >= 1 and width > demand.mean:
        reasons.append({"code": "uncertain", "share": width / demand.mean})
        score = max(score, 1.0)
    for reason in proposal.reasons:
        code = reason["code"]
        cut = code in STORE_LIMIT_CODES and reason["cases"] < reason["needed"] * (1 - threshold)
        if cut or code in ITEM_LIMIT_CODES:
            reasons.append({"code": f"at_{code}"})
            score = max(score, 1.0)
    return score, reasons

"""Alarms in Japanese and English: what is seen, compared with what, and what to do about it."""

from collections.abc import Mapping
from typing import Any

INPUTS = {
    "demand": {"en": "sales as a share of the forecast", "ja": "予測に対する販売の比率"},
    "prices": {"en": "prices", "ja": "価格"},
    "promotions": {"en": "promotions", "ja": "販促"},
    "mix": {"en": "the shares of the items in sales", "ja": "販売に占める各商品の割合"},
}
ALL = {"en": "all stores together", "ja": "全店合計"}
SEEN = {
    "bias": {
        "en": "Forecasts for {about} were {share:+.0%} off in {weeks}: more than ±{limit:.0%}, and more than weeks differ anyway{spread}.",
        "ja": "{about}の予測が{weeks}に{share:+.0%}偏りました。許容（±{limit:.0%}）と週ごとのばらつき{spread}を超えています。",
    },
    "coverage": {
        "en": "{share:.0%} of the sales in {weeks} fell into the band made for 80%; {least:.0%} to {most:.0%} is usual.",
        "ja": "80%の幅に入った販売は{weeks}に{share:.0%}でした。通常は{least:.0%}〜{most:.0%}です。",
    },
    "cost_plan": {
        "en": "Shortages and leftovers in {weeks} cost ¥{cost:,.0f}; the proposals expected ¥{other:,.0f}, and would themselves have cost ¥{proposed:,.0f}.",
        "ja": "{weeks}の欠品と売れ残りの損失は{cost:,.0f}円で、提案時の見込みは{other:,.0f}円、提案どおりなら{proposed:,.0f}円でした。",
    },
    "cost_floor": {
        "en": "Shortages and leftovers in {weeks} cost ¥{cost:,.0f}; ordering the usual week’s sales would have cost ¥{other:,.0f}.",
        "ja": "{weeks}の欠品と売れ残りの損失は{cost:,.0f}円で、直近の平均どおりに発注していれば{other:,.0f}円でした。",
    },
    "drift": {
        "en": "In {weeks}, {about} differ from {reference} (stability index {psi:.2f}, chance {p:.1%}).",
        "ja": "{weeks}の{about}が{reference}と異なります（安定性指標{psi:.2f}、偶然の確率{p:.1%}）。",
    },
    "stale_store": {
        "en": "{about} has sent no sales since {last}: {days} days behind the other stores.",
        "ja": "{about}の売上が{last}を最後に届いていません。他店より{days}日遅れています。",
    },
    "missing_item": {
        "en": "{about} sold every week and has sold nothing since {since} in {stores} of {of} stores.",
        "ja": "毎週売れていた{about}が、{since}から{of}店舗のうち{stores}店舗で売れていません。",
    },
    "no_evaluation": {
        "en": "{about} was ordered and ended on {sunday}, but its sales have not all arrived.",
        "ja": "発注済みの{about}は{sunday}に終わりましたが、売上がそろっていません。",
    },
}
DO = {
    "bias": {
        "en": "Correct the lines at the check until a retrained version has passed the gate; look for a change that the model cannot know.",
        "ja": "再学習した版が判定に通るまで、確認画面で補正してください。モデルが知らない変化がないかも調べてください。",
    },
    "coverage": {
        "en": "Look twice at the uncertain lines of the check until a retrained version has passed the gate.",
        "ja": "再学習した版が判定に通るまで、幅の広い明細を念入りに確認してください。",
    },
    "cost_plan": {
        "en": "Open “How good was it” and look at the dearest lines; where the proposals would have cost less, see what changes were worth.",
        "ja": "「どうだったか」で損失の大きい明細を見てください。提案どおりの方が安ければ「変更の効果」を確認してください。",
    },
    "cost_floor": {
        "en": "Check stock, costs and service in the rules and masters; if they are right, go back to the version before on the page of models.",
        "ja": "在庫、費用、充足率の設定を確認し、正しければモデルの画面で前の版に戻してください。",
    },
    "drift": {
        "en": "Check whether the files are right; if they are, the retraining that was started learns it and the gate decides.",
        "ja": "ファイルが正しいか確認してください。正しければ、始まった再学習が学び、判定で採否が決まります。",
    },
    "stale_store": {
        "en": "Ask the store for its files and import them before its week is ordered.",
        "ja": "店舗にファイルを求め、次の発注の前に取り込んでください。",
    },
    "missing_item": {
        "en": "Ask whether it was taken off the shelves or sells under another code; if so, mend the item master.",
        "ja": "取扱い中止か商品コードの変更かを確かめ、必要なら商品マスタを直してください。",
    },
    "no_evaluation": {
        "en": "Import the week’s sales of every store; it is then evaluated within the hour.",
        "ja": "全店のその週の売上を取り込んでください。1時間以内に評価されます。",
    },
}
RETRAINED = {
    "started": {
        "en": "A retraining for {week} has been started.",
        "ja": "{week}に向けた再学習を始めました。",
    },
    "go": {
        "en": "Version {version} was trained for {week} and is live: GO.",
        "ja": "{week}に向けて学習した版{version}が判定に通り、使われています（GO）。",
    },
    "no_go": {
        "en": "Version {version} was trained for {week} and did not pass: NO-GO. The live version stays; read why on the page of models.",
        "ja": "{week}に向けて学習した版{version}は判定に通りませんでした（NO-GO）。現在の版を使い続けます。理由はモデルの画面にあります。",
    },
}


def about(subject: str, lang: str, names: Mapping[str, str]) -> str:
    """What an alarm is about, by its name where it has one."""
    kind, _, code = subject.partition("=")
    if kind == "input":
        return INPUTS[code][lang]
    return ALL[lang] if subject == "all" else names.get(code, code)


def seen(
    code: str, subject: str, values: Mapping[str, Any], lang: str, names: Mapping[str, str]
) -> str:
    """What is seen, in "ja" or "en"."""
    before = values.get("reference")
    spread = "" if not before else f"（{before}）" if lang == "ja" else f" ({before})"
    return SEEN[code][lang].format(about=about(subject, lang, names), spread=spread, **values)


def to_do(code: str, values: Mapping[str, Any], lang: str) -> str:
    """What to do, and what became of the retraining where one was started."""
    said = [DO[code][lang]]
    if "retraining" in values:
        said.append(RETRAINED[values["retraining"]["state"]][lang].format(**values["retraining"]))
    return ("" if lang == "ja" else " ").join(said)

"""What the gate found about an index, as sentences."""

from collections.abc import Mapping
from typing import Any

from tanuki.animals.vision.evaluation import SLICES
from tanuki.platform.mlops import evaluation

MEASURES = {
    "missed": {"en": "share of the ten nearest that is missed", "ja": "近い10枚を見落とす割合"},
    "kind": {
        "en": "share of another category among what is found",
        "ja": "見つけた写真に別の種類が混じる割合",
    },
}
WORDS = {
    "unreadable": {"en": "It cannot be read: {why}", "ja": "読み込めません：{why}"},
    "dimension": {
        "en": "Its vectors have {found} numbers, those of the eyes {wanted}.",
        "ja": "ベクトルの次元が{found}で、画像モデルの{wanted}と違います。",
    },
    "nan": {
        "en": "{rows:,} of {of:,} vectors hold what is not a number.",
        "ja": "{of:,}件のベクトルのうち{rows:,}件に数値でないものがあります。",
    },
    "ahead": {
        "en": "It says that it knows every look up to {found:,}, but the newest is {newest:,}: what comes next would not be found.",
        "ja": "{found:,}番までの画像をすべて含むとしていますが、最新は{newest:,}番です。これから来る写真が見つからなくなります。",
    },
    "lost": {
        "en": "{rows:,} of {of:,} published pictures are not in it.",
        "ja": "公開中の写真{of:,}枚のうち{rows:,}枚が入っていません。",
    },
    "lost_slice": {
        "en": "{kind} {label}: {rows:,} of {of:,} published pictures are not in it.",
        "ja": "{kind}「{label}」：公開中の写真{of:,}枚のうち{rows:,}枚が入っていません。",
    },
    "other": {
        "en": "{rows:,} of {of:,} vectors are not what the eyes saw in the picture.",
        "ja": "{of:,}件のベクトルのうち{rows:,}件が、画像モデルの出力と一致しません。",
    },
    "slow": {
        "en": "A question takes {ours:.2f} ms, {times:.1f} times as long as the live index.",
        "ja": "1回の検索に{ours:.2f}ミリ秒かかり、現行の{times:.1f}倍です。",
    },
    "slow_exact": {
        "en": "A question takes {ours:.2f} ms; comparing with every picture takes {theirs:.2f} ms.",
        "ja": "1回の検索に{ours:.2f}ミリ秒かかります。全件との比較でも{theirs:.2f}ミリ秒です。",
    },
    "large": {
        "en": "It has {found:.1f} MB; at most {most:.1f} MB are right for its pictures.",
        "ja": "大きさが{found:.1f} MBあります。写真の数に対して{most:.1f} MBまでが妥当です。",
    },
    "worse_small": {
        "en": "{kind} {label}: {ours:.0%} of the nearest are missed, the live index misses {theirs:.0%} ({rows} pictures, all of them asked for).",
        "ja": "{kind}「{label}」：近い写真の{ours:.0%}を見落とします（現行は{theirs:.0%}、全{rows}枚で確認）。",
    },
}


def words(reason: Mapping[str, Any], lang: str) -> str:
    """A reason as a sentence."""
    return evaluation.words(reason, lang, more=WORDS, kinds=SLICES, measures=MEASURES)

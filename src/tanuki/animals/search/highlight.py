"""Highlights: a title, or a snippet of a description, cut into parts that are hits or not.

Nothing is escaped here; templates escape every part.
"""

from collections.abc import Iterable, Sequence

from tanuki.animals.search.index import TokenOffset, token_offsets
from tanuki.animals.search.query_parser import Term

HighlightedText = list[tuple[str, bool]]  # parts of a text in order, and whether each is a hit

SNIPPET_LENGTH = 140  # characters
SNIPPET_LEAD = 30  # characters before the first hit
ELLIPSIS = "…"


def highlight_text(
    text: str, terms: Iterable[Term], offsets: Sequence[TokenOffset] | None = None
) -> HighlightedText:
    """The whole text with its hits. `offsets` are those of its tokens, if they are known."""
    hits = find_hits(token_offsets(text) if offsets is None else offsets, terms)
    return split_at_hits(text, hits, 0, len(text))


def make_snippet(
    text: str, terms: Iterable[Term], offsets: Sequence[TokenOffset] | None = None
) -> HighlightedText:
    """A part of a long text from shortly before its first hit, or its beginning."""
    hits = find_hits(token_offsets(text) if offsets is None else offsets, terms)
    start = max(0, hits[0][0] - SNIPPET_LEAD) if hits else 0
    start = max(0, min(start, len(text) - SNIPPET_LENGTH))
    end = min(len(text), start + SNIPPET_LENGTH)
    before = [(ELLIPSIS, False)] if start else []
    after = [(ELLIPSIS, False)] if end < len(text) else []
    return [*before, *split_at_hits(text, hits, start, end), *after]


def find_hits(offsets: Iterable[TokenOffset], terms: Iterable[Term]) -> list[tuple[int, int]]:
    """Start and end of each place with a token of the terms; overlapping hits are merged."""
    searched = {token for term in terms for tokens in term.alternatives for token in tokens}
    merged: list[tuple[int, int]] = []
    for start, end in sorted(
        (start, end) for start, end, tokens in offsets if not searched.isdisjoint(tokens.split(" "))
    ):
        if merged and start < merged[-1][1]:
            merged[-1] = merged[-1][0], max(end, merged[-1][1])
        else:
            merged.append((start, end))
    return merged


def split_at_hits(text: str, hits: list[tuple[int, int]], start: int, end: int) -> HighlightedText:
    """The part of a text from `start` to `end`, cut at its hits."""
    parts: HighlightedText = []
    place = start
    for hit_start, hit_end in hits:
        first, last = max(hit_start, start), min(hit_end, end)
        if first >= last:
            continue
        parts += [(text[place:first], False)] if place < first else []
        parts.append((text[first:last], True))
        place = last
    return [*parts, (text[place:end], False)] if place < end else parts

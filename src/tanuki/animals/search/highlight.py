"""What of a text is shown for a query: the title and a piece of the description, cut into parts that say whether they were searched for. Nothing is escaped here; templates do that to every part."""

from collections.abc import Iterable, Sequence

from tanuki.animals.search.index import TokenOffset, token_offsets
from tanuki.animals.search.query_parser import Term

HighlightedText = list[tuple[str, bool]]  # parts of a text in order, and whether each is a hit

SNIPPET_LENGTH = 140  # letters of a snippet
SNIPPET_LEAD = 30  # letters before its first hit
ELLIPSIS = "…"


def highlight_text(text: str, terms: Iterable[Term], at: Sequence[TokenOffset] | None = None) -> HighlightedText:
    """The whole text with its hits; `at` is where its tokens stand, if that is known."""
    return split_at_hits(text, find_hits(token_offsets(text) if at is None else at, terms), 0, len(text))


def make_snippet(text: str, terms: Iterable[Term], at: Sequence[TokenOffset] | None = None) -> HighlightedText:
    """So much of a long text as is worth a look: from shortly before the first hit, or its beginning."""
    found = find_hits(token_offsets(text) if at is None else at, terms)
    start = max(0, found[0][0] - SNIPPET_LEAD) if found else 0
    start = max(0, min(start, len(text) - SNIPPET_LENGTH))
    end = min(len(text), start + SNIPPET_LENGTH)
    made = split_at_hits(text, found, start, end)
    return [*([(ELLIPSIS, False)] if start else []), *made, *([(ELLIPSIS, False)] if end < len(text) else [])]


def find_hits(at: Iterable[TokenOffset], terms: Iterable[Term]) -> list[tuple[int, int]]:
    """Where a text has what was searched for; hits that touch within one word are one."""
    wanted = {token for term in terms for tokens in term.alternatives for token in tokens}
    merged: list[tuple[int, int]] = []
    for start, end in sorted(
        (start, end) for start, end, tokens in at if not wanted.isdisjoint(tokens.split(" "))
    ):
        if merged and start < merged[-1][1]:
            merged[-1] = merged[-1][0], max(end, merged[-1][1])
        else:
            merged.append((start, end))
    return merged


def split_at_hits(text: str, found: list[tuple[int, int]], start: int, end: int) -> HighlightedText:
    """A piece of a text cut at its hits."""
    made: HighlightedText = []
    place = start
    for first, last in found:
        first, last = max(first, start), min(last, end)
        if first >= last:
            continue
        made += [(text[place:first], False)] if place < first else []
        made.append((text[first:last], True))
        place = last
    return [*made, (text[place:end], False)] if place < end else made

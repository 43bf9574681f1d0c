"""What of a text is shown for a query: the title and a piece of the description, cut into parts that say whether they were searched for. Nothing is escaped here; templates do that to every part."""

from collections.abc import Iterable, Sequence

from tanuki.animals.search.index import Place, places
from tanuki.animals.search.query_parser import Term

Marked = list[tuple[str, bool]]  # parts of a text in order, and whether each is a hit

LONGEST = 140  # letters of a snippet
BEFORE = 30  # letters before its first hit
GAP = "…"


def marked(text: str, terms: Iterable[Term], at: Sequence[Place] | None = None) -> Marked:
    """The whole text with its hits; `at` is where its tokens stand, if that is known."""
    return parts(text, hits(places(text) if at is None else at, terms), 0, len(text))


def snippet(text: str, terms: Iterable[Term], at: Sequence[Place] | None = None) -> Marked:
    """So much of a long text as is worth a look: from shortly before the first hit, or its beginning."""
    found = hits(places(text) if at is None else at, terms)
    start = max(0, found[0][0] - BEFORE) if found else 0
    start = max(0, min(start, len(text) - LONGEST))
    end = min(len(text), start + LONGEST)
    made = parts(text, found, start, end)
    return [*([(GAP, False)] if start else []), *made, *([(GAP, False)] if end < len(text) else [])]


def hits(at: Iterable[Place], terms: Iterable[Term]) -> list[tuple[int, int]]:
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


def parts(text: str, found: list[tuple[int, int]], start: int, end: int) -> Marked:
    """A piece of a text cut at its hits."""
    made: Marked = []
    place = start
    for first, last in found:
        first, last = max(first, start), min(last, end)
        if first >= last:
            continue
        made += [(text[place:first], False)] if place < first else []
        made.append((text[first:last], True))
        place = last
    return [*made, (text[place:end], False)] if place < end else made

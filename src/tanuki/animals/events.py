"""What people saw and did, as those who learn from it need it: with what else could have been shown, in which order, and how likely each place was.

Nobody is named: a member stands as a random pseudonym, a visitor as nobody. Who did not agree, or whose browser asks not to be followed, leaves no trace here.
"""

from dataclasses import dataclass


@dataclass(frozen=True)
class Placed:
    """A post in its place of a list. `propensity` is how likely the order was to show this post here, given who asked and what they had been shown."""

    post_id: int
    source: str  # why it is there: following, popular, new, chance, search, …
    position: int  # from 0, over all pages
    propensity: float
    order: str
    version: int

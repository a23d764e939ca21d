r"""The spread of a pair's recent block differences, as they come one by one.

$m \leftarrow m + (x - m)/n$, and the sum of squared distances grows by $(x - m_{before})(x - m_{after})$.

Source: Welford, "Note on a method for calculating corrected sums of squares and products" (1962).
"""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from typing import Final

from penstock.kernel.eprocess import BLOCKS_BEFORE, SPREADS

_SMALLEST = 1e-9  # versions that always agree have no spread; a bound of nothing would divide by 0
RECENT: Final = 50
"""Differences after which the older half is dropped: 50 to 100 tell. Measured, it matters little how
many; but those of another time (a fault, a season) make the bound wide and the comparison slow."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Moments:
    """Of numbers.

    Args:
        count: how many.
        mean: of them.
        distances: sum of their squared distances from the mean.
    """

    count: int = 0
    mean: float = 0.0
    distances: float = 0.0

    def add(self, value: float) -> Moments:
        count = self.count + 1
        mean = self.mean + (value - self.mean) / count
        distances = self.distances + (value - self.mean) * (value - mean)
        return Moments(count=count, mean=mean, distances=distances)

    def plus(self, other: Moments) -> Moments:
        count = self.count + other.count
        if not count:
            return self
        apart = other.mean - self.mean
        return Moments(
            count=count,
            mean=self.mean + apart * other.count / count,
            distances=self.distances + other.distances + apart * apart * self.count * other.count / count,
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class Spread:
    """Of block differences, for the bound of a comparison that begins later.

    Args:
        older: of the half that will be dropped next.
        newer: of the half that grows.

    >>> from penstock.kernel.eprocess import bound
    >>> spread = Spread()
    >>> for difference in [0.01, -0.01] * 10:
    ...     spread = spread.add(difference)
    >>> round(spread.bound, 12) == round(bound([0.01, -0.01] * 10), 12)
    True
    """

    older: Moments = Moments()
    newer: Moments = Moments()

    def add(self, difference: float) -> Spread:
        if self.newer.count == RECENT:
            return Spread(older=self.newer, newer=Moments().add(difference))
        return replace(self, newer=self.newer.add(difference))

    @property
    def bound(self) -> float | None:
        """The b of a comparison, as `eprocess.bound` has it; None with too few differences."""
        seen = self.older.plus(self.newer)
        if seen.count < BLOCKS_BEFORE:
            return None
        return max(SPREADS * math.sqrt(seen.distances / (seen.count - 1)), _SMALLEST)

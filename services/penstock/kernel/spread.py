r"""Mean and spread of numbers that come one by one.

$m \leftarrow m + (x - m)/n$, and the sum of squared distances grows by $(x - m_{before})(x - m_{after})$.

Source: Welford, "Note on a method for calculating corrected sums of squares and products" (1962).
"""

from __future__ import annotations

import math
from dataclasses import dataclass

from penstock.kernel.eprocess import BLOCKS_BEFORE, SPREADS

_SMALLEST = 1e-9  # versions that always agree have no spread; a bound of nothing would divide by 0


@dataclass(frozen=True, slots=True, kw_only=True)
class Spread:
    """Of block differences, for the bound of a comparison that begins later.

    Args:
        count: how many were seen.
        mean: of them.
        distances: sum of their squared distances from the mean.

    >>> from penstock.kernel.eprocess import bound
    >>> spread = Spread()
    >>> for difference in [0.01, -0.01] * 10:
    ...     spread = spread.add(difference)
    >>> round(spread.bound, 12) == round(bound([0.01, -0.01] * 10), 12)
    True
    """

    count: int = 0
    mean: float = 0.0
    distances: float = 0.0

    def add(self, value: float) -> Spread:
        count = self.count + 1
        mean = self.mean + (value - self.mean) / count
        distances = self.distances + (value - self.mean) * (value - mean)
        return Spread(count=count, mean=mean, distances=distances)

    @property
    def bound(self) -> float | None:
        """The b of a comparison, as `eprocess.bound` has it; None with too few differences."""
        if self.count < BLOCKS_BEFORE:
            return None
        return max(SPREADS * math.sqrt(self.distances / (self.count - 1)), _SMALLEST)

r"""The moving average that nominates a lane: recent rows weigh more, old ones are never quite forgotten."""

from __future__ import annotations

from dataclasses import dataclass, replace


@dataclass(frozen=True, slots=True, kw_only=True)
class Ewma:
    r"""Exponentially weighted mean per row, where a row's weight halves with every `half_life` rows after it.

    A block of n rows with mean $\bar d$ counts as n rows of $\bar d$: $s \leftarrow w s + (1 - w) \bar d$,
    $w = 2^{-n/h}$; the mean is $s / (1 - 2^{-N/h})$ after N rows, so that the first rows are not drawn
    towards 0.

    Args:
        half_life: h, in rows.
        rows: N, how many were seen.
        sum: s, the weighted sum.

    >>> average = Ewma(half_life=100.0).update(-0.5, rows=1)
    >>> average.mean
    -0.5
    >>> round(average.update(50.0, rows=100).update(0.0, rows=100).mean, 4)
    0.1651
    """

    half_life: float
    rows: int = 0
    sum: float = 0.0

    def update(self, total: float, *, rows: int) -> Ewma:
        """The average after one more block.

        Args:
            total: the sum of the values of its rows.
            rows: how many rows.
        """
        if rows == 0:
            return self
        kept = 2 ** (-rows / self.half_life)
        return replace(self, rows=self.rows + rows, sum=kept * self.sum + (1 - kept) * total / rows)

    @property
    def mean(self) -> float:
        """The average per row; 0 before the first."""
        return self.sum / (1 - 2 ** (-self.rows / self.half_life)) if self.rows else 0.0

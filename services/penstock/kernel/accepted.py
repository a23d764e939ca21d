r"""What loss a version was accepted with: the claim that an e-detector holds it to.

The loss itself rises whenever the label rate nears one half, whatever the model does. So a stretch of rows
is measured by its *excess*: the mean loss less that of the best constant in hindsight, which is the most that
any model without features could have known of these rows. It does not move with the label rate.

The unit of the claim is an alarm block with enough rows. On the units of the hold-out the excess has a mean μ
and a spread s; $x = \mathrm{clip}((Z - (\mu - 3 s)) / 6 s, 0, 1)$ brings it to [0, 1], and p0 is an upper
bound of the mean of x. The bound's error is taken over batches of consecutive units, since neighbours in time
are not independent.
"""

from __future__ import annotations

import math
import statistics
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from penstock.kernel.policy import Objective

ROWS: Final = 10
"""Labelled rows that a unit needs; a block with fewer is taken together with the next ones. Measured: 5 to 10
find a fault equally fast, 20 miss it on a slow stream, and single rows are noise."""
UNITS: Final = 10
"""Units that a claim needs, one for each batch; with fewer there is no error to speak of, and no detector."""
_SPREADS: Final = 3.0  # an excess further from the mean counts as so far: six spreads fill [0, 1]
_BATCHES: Final = 10
_QUANTILE: Final = 1.833  # Student's t with 9 degrees of freedom, 95%
_METRIC: Final = "alarm_{}"


@dataclass(frozen=True, slots=True, kw_only=True)
class Accepted:
    """The claim about a version.

    Args:
        mean: μ of the excess, on the hold-out.
        spread: s of it, above 0.
        p0: upper bound of the mean of x.
        units: that it rests on.

    >>> claim = Accepted(mean=-0.1, spread=0.05, p0=0.53, units=200)
    >>> round(claim.x(-0.1), 2), round(claim.x(0.0), 2), claim.x(9.0)
    (0.5, 0.83, 1.0)
    >>> Accepted.of(claim.metrics()) == claim
    True
    """

    mean: float
    spread: float
    p0: float
    units: int

    def x(self, excess: float) -> float:
        """The excess of a unit, scaled and clipped to [0, 1]."""
        return _x(excess, self.mean, self.spread)

    def metrics(self) -> dict[str, float]:
        """As they stand among the metrics of a manifest."""
        return {
            _METRIC.format("mean"): self.mean,
            _METRIC.format("spread"): self.spread,
            _METRIC.format("p0"): self.p0,
            _METRIC.format("units"): float(self.units),
        }

    @classmethod
    def of(cls, metrics: Mapping[str, float]) -> Accepted | None:
        """What the metrics of a manifest claim; None where they claim nothing."""
        found = [metrics.get(_METRIC.format(name)) for name in ("mean", "spread", "p0", "units")]
        mean, spread, p0, units = found
        if mean is None or spread is None or p0 is None or units is None:
            return None
        return cls(mean=mean, spread=spread, p0=p0, units=int(units))


def accept(excesses: Sequence[float]) -> Accepted | None:
    """The claim that the units of a hold-out allow; None with too few of them, or without any spread.

    Args:
        excesses: of each unit, in the order of event time.

    >>> claim = accept([0.1, -0.1, 0.0, 0.05] * 30)
    >>> round(claim.mean, 4), round(claim.spread, 4), round(claim.p0, 3)
    (0.0125, 0.0743, 0.5)
    >>> accept([0.1, 0.2] * 4) is None
    True
    """
    if len(excesses) < UNITS:
        return None
    mean, spread = statistics.fmean(excesses), statistics.stdev(excesses)
    if not spread > 0:
        return None
    scaled = [_x(excess, mean, spread) for excess in excesses]
    cuts = [len(scaled) * batch // _BATCHES for batch in range(_BATCHES + 1)]
    batches = [statistics.fmean(scaled[start:end]) for start, end in pairwise(cuts)]
    error = statistics.stdev(batches) / math.sqrt(_BATCHES)
    p0 = min(statistics.fmean(scaled) + _QUANTILE * error, 1.0)
    return Accepted(mean=mean, spread=spread, p0=p0, units=len(excesses))


@dataclass(frozen=True, slots=True, kw_only=True)
class LabelSums:
    """What rows' labels come to, in sums that add up: enough to know the best constant for them.

    Args:
        rows: with a label.
        total: sum of the labels.
        squares: sum of their squares.
        counts: rows of each class, in the order of the classes; empty unless the task is multiclass.

    >>> one, other = LabelSums.of([0.0, 2.0], classes=3), LabelSums.of([2.0], classes=3)
    >>> one.plus(other)
    LabelSums(rows=3, total=4.0, squares=8.0, counts=(1, 0, 2))
    """

    rows: int = 0
    total: float = 0.0
    squares: float = 0.0
    counts: tuple[int, ...] = ()

    @classmethod
    def of(cls, labels: Collection[float], *, classes: int) -> LabelSums:
        """Of rows that are at hand.

        Args:
            labels: as `make_label` makes them.
            classes: how many the pipeline lists; 0 unless the task is multiclass.
        """
        counts = [0] * classes
        if classes:
            for label in labels:
                counts[int(label)] += 1
        return cls(
            rows=len(labels),
            total=math.fsum(labels),
            squares=math.fsum(label * label for label in labels),
            counts=tuple(counts),
        )

    def plus(self, other: LabelSums) -> LabelSums:
        """Of both; one of them may be of no rows."""
        counts = self.counts or other.counts
        if self.counts and other.counts:
            counts = tuple(one + two for one, two in zip(self.counts, other.counts, strict=True))
        return LabelSums(
            rows=self.rows + other.rows,
            total=self.total + other.total,
            squares=self.squares + other.squares,
            counts=counts,
        )


NO_LABELS: Final = LabelSums()


def hindsight(objective: Objective, labels: LabelSums) -> float:
    r"""Mean loss of the constant that would have been best for these rows, at least one.

    With the share $r_k$ of each class it is, of the log loss, the entropy $-\sum_k r_k \ln r_k$; of the Brier
    score $1 - \sum_k r_k^2$, and half of it for two classes, as is that score; of the squared error the
    variance of the labels.

    >>> binary = LabelSums.of([0.0, 1.0], classes=0)
    >>> round(hindsight("log_loss", binary), 4), hindsight("brier", binary)
    (0.6931, 0.25)
    >>> three = LabelSums.of([0.0, 1.0, 2.0, 2.0], classes=3)
    >>> round(hindsight("log_loss", three), 4), hindsight("brier", three)
    (1.0397, 0.625)
    >>> hindsight("squared_error", LabelSums.of([1.0, 5.0], classes=0))
    4.0
    """
    mean = labels.total / labels.rows
    if objective == "squared_error":
        return max(labels.squares / labels.rows - mean * mean, 0.0)
    shares = [count / labels.rows for count in labels.counts] or [mean, 1 - mean]
    if objective == "log_loss":
        return -sum(share * math.log(share) for share in shares if share > 0)
    left = 1 - sum(share * share for share in shares)
    return left if labels.counts else left / 2


def _x(excess: float, mean: float, spread: float) -> float:
    low = mean - _SPREADS * spread
    return min(max((excess - low) / (2 * _SPREADS * spread), 0.0), 1.0)

"""Units of evidence over rows: what the policy calls a block, for rows that are at hand one by one.

A unit in rows becomes the stretch of event time that holds so many on average: the gate needs blocks that lie
side by side in time. `auto` becomes the smallest calendar unit in which neighbours say different things:
block means of the loss with a lag-1 autocorrelation of at most .2. Fixed once, before any comparison starts:
choosing the best length afterwards gives 22% false alarms.
"""

from __future__ import annotations

from typing import Final

import numpy as np
from numpy.typing import NDArray

from penstock.kernel.units import EvidenceUnit

FloatArray = NDArray[np.float64]
IntArray = NDArray[np.int64]

CALENDAR: Final = (60_000, 600_000, 3_600_000, 21_600_000, 86_400_000)
"""A minute, ten, an hour, six, a day; in milliseconds."""
ROWS: Final = 20
"""Rows in a block, on average, below which its mean is noise."""
CORRELATION: Final = 0.2
BLOCKS: Final = 20
"""Blocks below which their autocorrelation is a guess."""


def length(unit: EvidenceUnit, times: IntArray) -> int:
    """Milliseconds of a unit for rows with these times; for `auto`, enough rows a block to begin with.

    >>> length(EvidenceUnit.read("6h"), np.array([0, 5])), length(EvidenceUnit.read("10rows"), np.arange(100))
    (21600000, 10)
    """
    if unit.of == "time":
        return unit.size
    if not len(times):
        return CALENDAR[0]
    span = int(times[-1] - times[0]) + 1
    if unit.of == "rows":
        return max(1, span * unit.size // len(times))
    return next((each for each in CALENDAR if len(times) * each >= ROWS * span), CALENDAR[-1])


def independent(times: IntArray, losses: FloatArray) -> int:
    """The calendar unit that `auto` stands for: milliseconds.

    Args:
        times: event times of validation rows, milliseconds, not decreasing.
        losses: of the same rows.

    >>> independent(np.arange(100_000) * 1_000, np.tile([0.0, 1.0], 50_000))
    60000
    """
    longest = next((each for each in CALENDAR if _rows(times, each) >= ROWS), CALENDAR[0])
    for each in CALENDAR:
        means = _means(times // each, losses)
        if len(means) < BLOCKS:
            break
        if _rows(times, each) >= ROWS:
            longest = each
            if abs(_lag_1(means)) <= CORRELATION:
                break
    return longest


def numbered(unit: EvidenceUnit, times: IntArray, *, auto: int) -> IntArray:
    """The unit that each row falls in, as numbers that do not decrease.

    Args:
        unit: what the policy says.
        times: event times, milliseconds, not decreasing.
        auto: what `auto` stands for, milliseconds.
    """
    if unit.of == "rows":
        return np.arange(len(times), dtype=np.int64) // unit.size
    return times // (unit.size if unit.of == "time" else auto)


def gathered(numbers: IntArray, *, rows: int) -> IntArray:
    """Numbers with each block that has too few rows taken together with the next ones; a rest stays alone.

    >>> gathered(np.array([0, 0, 0, 1, 2, 2, 5]), rows=3)
    array([0, 0, 0, 1, 1, 1, 2])
    """
    taken = np.empty_like(numbers)
    unit = count = 0
    for place, number in enumerate(numbers.tolist()):
        if place and number != numbers[place - 1] and count >= rows:
            unit, count = unit + 1, 0
        taken[place] = unit
        count += 1
    return taken


def _rows(times: IntArray, length: int) -> float:
    """Rows in a block that has any, on average."""
    return len(times) / max(1, len(np.unique(times // length)))


def _means(numbers: IntArray, values: FloatArray) -> FloatArray:
    _, places = np.unique(numbers, return_inverse=True)
    means: FloatArray = np.bincount(places, weights=values) / np.bincount(places)
    return means


def _lag_1(means: FloatArray) -> float:
    """Autocorrelation of neighbours; 0 where there is too little to say."""
    away = means - means.mean() if len(means) else means
    total = float((away**2).sum())
    return float((away[1:] * away[:-1]).sum()) / total if len(means) > 2 and total > 0 else 0.0  # noqa: PLR2004 - a pair has no spread

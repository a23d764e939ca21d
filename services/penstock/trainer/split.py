"""Which rows a candidate is fitted to, and on which later ones it is judged; in order of event time."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from penstock.trainer.gate import MIN_BLOCKS

IntArray = NDArray[np.int64]

VALIDATED = 0.2
"""Share of the rows that judge: the last ones."""
FITTED = 0.5
"""Share of the rows that must stay to fit to, where few time blocks would leave too few of them to judge."""


def cut_of(times: IntArray, block: int, *, champion_cut: int | None = None) -> int:
    """The first validation row: rows before it are fitted to. The number of rows where there can be none.

    The cut is where a time block begins, so that no block is on both sides. The last fifth of the rows
    judges; more of them where it takes more to have `MIN_BLOCKS` time blocks and half of the rows still fit.
    Rows that the champion was made from would flatter it: where those it was not made from begin later and
    are enough, they alone judge.

    Args:
        times: event times of the rows, milliseconds, not decreasing, shape (rows,).
        block: length of a time block, milliseconds.
        champion_cut: event time where the rows end that the champion was made from; None without one.

    >>> times = np.arange(100) * 60_000
    >>> cut_of(times, 300_000)
    75
    >>> cut_of(times, 120_000), cut_of(times, 120_000, champion_cut=5_000_000)
    (80, 84)
    >>> cut_of(times, 6_000_000)
    100
    """
    rows = len(times)
    begins = np.flatnonzero(np.diff(times // block)) + 1
    if not len(begins):
        return rows
    cut = int(begins[begins <= (1 - VALIDATED) * rows].max(initial=begins[0]))
    if len(begins) >= MIN_BLOCKS and begins[-MIN_BLOCKS] >= FITTED * rows:
        cut = min(cut, int(begins[-MIN_BLOCKS]))
    if champion_cut is not None:
        after = -(-champion_cut // block) * block
        place = int(np.searchsorted(begins, np.searchsorted(times, after)))
        if place <= len(begins) - MIN_BLOCKS:
            cut = max(cut, int(begins[place]))
    return cut

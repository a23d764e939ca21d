"""The sanity gate: a candidate that does harm on rows it never saw goes no further.

It refuses harm and proves nothing: proving that a refresh is not worse takes months. Who passed is watched.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import NDArray

FloatArray = NDArray[np.float64]
IntArray = NDArray[np.int64]

MIN_BLOCKS = 5
"""Fewer time blocks than this have no standard error worth the name."""
STANDARD_ERRORS = 2.0
"""How much worse is called harm."""

Verdict = Literal["passed", "refused", "undecided"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Difference:
    """How much greater the candidate's loss is than another's on the same rows.

    Args:
        other: mean loss of the other.
        mean: candidate minus other; below 0 where the candidate is better.
        error: standard error of it, with time blocks as the unit; 0 with fewer than two of them.
    """

    other: float
    mean: float
    error: float

    def harm(self, *, errors: float = STANDARD_ERRORS) -> bool:
        """Whether the candidate is worse by more than so many standard errors."""
        return self.mean > errors * self.error


@dataclass(frozen=True, slots=True, kw_only=True)
class Judgement:
    """What the gate says, and the numbers it rests on.

    Args:
        verdict: refused for harm; undecided with fewer than `MIN_BLOCKS` blocks, or where the champion has
            seen the rows; else passed.
        rows: validation rows.
        blocks: time blocks with rows in them.
        candidate: mean loss of the candidate.
        constant: against the best constant of the rows it was fitted to; None without validation rows.
        champion: against the champion; None where there is none, or it has seen these rows.
    """

    verdict: Verdict
    rows: int
    blocks: int
    candidate: float
    constant: Difference | None
    champion: Difference | None


def judge(
    times: IntArray,
    block: int,
    candidate: FloatArray,
    *,
    constant: FloatArray,
    champion: FloatArray | None = None,
    seen: bool = False,
    errors: float = STANDARD_ERRORS,
) -> Judgement:
    """Judge a candidate by its losses on rows later than those it was fitted to.

    Args:
        times: event times of the validation rows, milliseconds, shape (rows,).
        block: length of a time block, milliseconds.
        candidate: the candidate's loss of each row, shape (rows,).
        constant: the constant's.
        champion: the champion's, where there is one to compare with.
        seen: whether there is one that has seen some of these rows: then only the constant can refuse.
        errors: how many standard errors worse is called harm. After an alarm it is 0: few blocks make a gate
            that forgives chance forgive anything, and a false alarm would promote what it made.

    >>> times = np.arange(10) * 3_600_000
    >>> same = np.linspace(0.0, 1.0, 10)
    >>> judge(times, 3_600_000, same, constant=same + 0.1).verdict
    'passed'
    >>> judge(times, 3_600_000, same, constant=same - 0.1).verdict
    'refused'
    >>> judge(times, 86_400_000, same, constant=same - 0.1).verdict
    'undecided'
    """
    numbers = number_blocks(times, block)
    blocks = int(numbers[-1]) + 1 if len(numbers) else 0
    if not blocks:
        return Judgement(verdict="undecided", rows=0, blocks=0, candidate=0.0, constant=None, champion=None)
    against = difference(numbers, candidate, constant)
    beside = None if champion is None else difference(numbers, candidate, champion)
    harm = against.harm(errors=errors) or (beside is not None and beside.harm(errors=errors))
    verdict: Verdict = "refused" if harm else "undecided" if seen else "passed"
    return Judgement(
        verdict=verdict if blocks >= MIN_BLOCKS else "undecided",
        rows=len(times),
        blocks=blocks,
        candidate=float(candidate.mean()),
        constant=against,
        champion=beside,
    )


def number_blocks(times: IntArray, block: int) -> IntArray:
    """The place of each row's time block among those that have rows, from 0; times need not be in order.

    >>> number_blocks(np.array([0, 9, 10, 50]), 10)
    array([0, 0, 1, 2])
    """
    numbers: IntArray = np.unique(times // block, return_inverse=True)[1].astype(np.int64)
    return numbers


def difference(numbers: IntArray, candidate: FloatArray, other: FloatArray) -> Difference:
    r"""The mean difference of two losses over rows, and its standard error over the blocks they lie in.

    Rows of one block are not independent, and blocks differ in size, so the error is the jackknife's: how far
    the mean moves when a block is left out, $\sqrt{\frac{B-1}{B} \sum_b (\bar d_{-b} - \bar d_\cdot)^2}$. A
    mean that rests on a single block is as uncertain as it is far from the mean of the others.

    Args:
        numbers: the block of each row, from 0 without gaps, shape (rows,).
        candidate: losses, shape (rows,).
        other: losses, shape (rows,).

    >>> difference(np.array([0, 0, 1]), np.array([1.0, 1.0, 2.0]), np.array([1.0, 1.0, 0.5]))
    Difference(other=0.8333333333333334, mean=0.5, error=0.75)

    Source: Wolter, Introduction to Variance Estimation (2007), ch. 4: the jackknife over clusters.
    """
    apart = candidate - other
    sums, sizes = np.bincount(numbers, weights=apart), np.bincount(numbers)
    blocks, rows = len(sizes), len(apart)
    error = 0.0
    if blocks > 1:
        without = (sums.sum() - sums) / (rows - sizes)
        error = float(np.sqrt((blocks - 1) * without.var()))
    return Difference(other=float(other.mean()), mean=float(apart.mean()), error=error)

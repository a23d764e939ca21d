"""The reference profile: what the features looked like in the rows that a version learned from."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from penstock.kernel.blocks import ROWS

FloatArray = NDArray[np.float64]
Floats = tuple[float, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Profile:
    """One number a feature in each tuple; 0 where there was nothing to take it from.

    A value x is standardised to z = (x − mean) / spread; where the spread is 0, a constant, to x − mean.
    The statistics of a row block are the means of z and of z² over the values in it that are not missing.
    What they were over the blocks of the reference, with all the autocorrelation there was, is what blocks to
    come are standardised by.

    Args:
        rows: it was made from.
        missing: share of missing values.
        mean: of the values.
        spread: their standard deviation.
        block_mean: mean of the row blocks' means of z.
        block_mean_spread: standard deviation of those.
        block_square: mean of the row blocks' means of z².
        block_square_spread: standard deviation of those.
        blocks: whole row blocks with a value in them; with fewer than two there are no spreads.
    """

    rows: int
    missing: Floats
    mean: Floats
    spread: Floats
    block_mean: Floats
    block_mean_spread: Floats
    block_square: Floats
    block_square_spread: Floats
    blocks: tuple[int, ...]


def profile(rows: FloatArray, *, size: int = ROWS) -> Profile:
    """The profile of rows in the order of their event times; a rest shorter than a row block is in no block.

    Args:
        rows: float64 ``[n, F]``, NaN = missing.
        size: rows in a row block.

    >>> made = profile(np.array([[1.0], [3.0], [3.0], [5.0]]), size=2)
    >>> made.mean, made.block_mean[0], round(made.block_mean_spread[0], 3), made.blocks
    ((3.0,), 0.0, 0.707, (2,))
    """
    count, features = rows.shape
    missing = np.isnan(rows)
    mean, spread, _ = _moments(rows, ~missing)
    standard = np.where(missing, 0.0, (rows - mean) / np.where(spread > 0, spread, 1.0))
    whole = count // size
    shape = (whole, size, features)
    present = (~missing)[: whole * size].reshape(shape).sum(axis=1)
    standard = standard[: whole * size].reshape(shape)
    held = np.maximum(present, 1)
    means, mean_spread, blocks = _moments(standard.sum(axis=1) / held, present > 0)
    squares, square_spread, _ = _moments(np.square(standard).sum(axis=1) / held, present > 0)
    return Profile(
        rows=count,
        missing=tuple((missing.sum(axis=0) / max(count, 1)).tolist()),
        mean=tuple(mean.tolist()),
        spread=tuple(spread.tolist()),
        block_mean=tuple(means.tolist()),
        block_mean_spread=tuple(mean_spread.tolist()),
        block_square=tuple(squares.tolist()),
        block_square_spread=tuple(square_spread.tolist()),
        blocks=tuple(blocks.tolist()),
    )


def _moments(
    values: FloatArray, present: NDArray[np.bool_]
) -> tuple[FloatArray, FloatArray, NDArray[np.int64]]:
    """Mean and standard deviation (of a population) down the columns, and how many values they rest on."""
    count: NDArray[np.int64] = present.sum(axis=0)
    held = np.maximum(count, 1)
    mean: FloatArray = np.where(present, values, 0.0).sum(axis=0) / held
    spread: FloatArray = np.sqrt(np.square(np.where(present, values - mean, 0.0)).sum(axis=0) / held)
    # Sums of equal numbers are off by a rounding: without this a constant would have a spread of it.
    least = np.min(values, axis=0, where=present, initial=np.inf)
    most = np.max(values, axis=0, where=present, initial=-np.inf)
    return mean, np.where(least < most, spread, 0.0), count

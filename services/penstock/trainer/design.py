"""The design matrix of a linear model: numbers standardised, categories one-hot, missing values told.

The ONNX graph does the same (`penstock.trainer.export`), in float32: so centres and scales are rounded to
float32 here, and the difference from a centre is as good as exact there.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

FloatArray = NDArray[np.float64]

FARTHEST = 10.0
"""Standard deviations from the mean beyond which a value says no more: one wild value must not decide."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Design:
    """How a row becomes the numbers that a linear model weighs.

    Its columns are: the numbers, standardised, 0 where missing; a 1 for each of the numbers that was missing
    in some of the training rows, where it is missing; and for each category one column per code, the last of
    them for a missing one.

    Args:
        numbers: the features that are numbers.
        centre: what is taken from each, float32-representable.
        scale: what it is divided by then, float32-representable.
        partial: places in `numbers` of those with some values missing.
        categories: the features that are categories.
        words: how many words each dictionary has; code 0 is any other word.
    """

    numbers: tuple[int, ...]
    centre: FloatArray
    scale: FloatArray
    partial: tuple[int, ...]
    categories: tuple[int, ...]
    words: tuple[int, ...]

    @classmethod
    def of(cls, rows: FloatArray, categories: Sequence[int]) -> Design:
        """The design that training rows call for.

        Args:
            rows: float64 ``[n, F]``, NaN = missing.
            categories: per feature, the words of its dictionary; 0 for a number.

        >>> rows = np.array([[1.0, 1.0], [3.0, np.nan], [np.nan, 0.0]])
        >>> Design.of(rows, [0, 1]).matrix(rows).toarray()
        array([[-1.,  0.,  0.,  1.,  0.],
               [ 1.,  0.,  0.,  0.,  1.],
               [ 0.,  1.,  1.,  0.,  0.]])
        """
        numbers = tuple(place for place, words in enumerate(categories) if not words)
        values = rows[:, numbers]
        missing = np.isnan(values)
        present = np.maximum(len(values) - missing.sum(axis=0), 1)
        mean = np.where(missing, 0.0, values).sum(axis=0) / present
        centre = mean.astype(np.float32).astype(np.float64)
        spread = np.sqrt(np.square(np.where(missing, 0.0, values - centre)).sum(axis=0) / present)
        scale = spread.astype(np.float32).astype(np.float64)
        share = missing.mean(axis=0)
        return cls(
            numbers=numbers,
            centre=centre,
            scale=np.where(scale > 0, scale, 1.0),
            # A number that was never there tells nothing: it would share the intercept.
            partial=tuple(np.flatnonzero((share > 0) & (share < 1)).tolist()),
            categories=tuple(place for place, words in enumerate(categories) if words),
            words=tuple(words for words in categories if words),
        )

    @property
    def offsets(self) -> NDArray[np.int64]:
        """Where the columns of each category begin, from those of the first; then, how many there are."""
        return np.concatenate([[0], np.cumsum([words + 2 for words in self.words])]).astype(np.int64)

    @property
    def width(self) -> int:
        """Columns of the matrix."""
        return len(self.numbers) + len(self.partial) + int(self.offsets[-1])

    def by_feature(self, values: FloatArray, *, features: int) -> FloatArray:
        """Lines for the design's columns, shape (width, k), added up to lines for the features."""
        places = np.concatenate(
            [
                np.array(self.numbers, dtype=np.int64),
                np.array(self.numbers, dtype=np.int64)[list(self.partial)],
                np.repeat(
                    np.array(self.categories, dtype=np.int64), np.array(self.words, dtype=np.int64) + 2
                ),
            ]
        )
        found = np.zeros((features, values.shape[1]))
        np.add.at(found, places, values)
        return found

    def matrix(self, rows: FloatArray) -> Any:
        """The design of rows ``[n, F]``, sparse, shape (n, width): as many entries in every row."""
        # Half a second of imports that whoever only exports does without.
        from scipy.sparse import csr_array  # type: ignore[import-untyped]  # noqa: PLC0415 - see above

        values = rows[:, self.numbers]
        missing = np.isnan(values)
        standard = np.clip((values - self.centre) / self.scale, -FARTHEST, FARTHEST)
        standard[missing] = 0.0
        codes = rows[:, self.categories]
        words = np.array(self.words, dtype=np.float64)
        known = np.where((codes >= 0) & (codes <= words), codes, 0.0).astype(np.int64)
        slots = np.where(np.isnan(codes), words.astype(np.int64) + 1, known)
        first = len(self.numbers) + len(self.partial)
        places = np.broadcast_to(np.arange(first), (len(rows), first))
        indices = np.concatenate([places, first + self.offsets[:-1] + slots], axis=1)
        data = np.concatenate([standard, missing[:, self.partial], np.ones(codes.shape)], axis=1)
        entries = indices.shape[1]
        return csr_array(
            (data.ravel(), indices.ravel(), np.arange(len(rows) + 1) * entries),
            shape=(len(rows), self.width),
        )

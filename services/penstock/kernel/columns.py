"""Columns of values: what a batch of records is taken in as, and its features are coded from."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import overload

import numpy as np
from numpy.typing import NDArray


class Words(Sequence[object]):
    """A column that repeats a few words: each of them once, and for each row which one it is.

    Args:
        words: the different values, the one of a missing word being None.
        codes: the place in `words` of each row's, shape (rows,).

    >>> plans = Words(("free", "pro"), np.array([1, 0, 1]))
    >>> list(plans), plans[2], len(plans)
    (['pro', 'free', 'pro'], 'pro', 3)
    """

    __slots__ = ("codes", "words")

    def __init__(self, words: Sequence[object], codes: NDArray[np.intp]) -> None:
        self.words = words
        self.codes = codes

    def __len__(self) -> int:
        return len(self.codes)

    def __iter__(self) -> Iterator[object]:
        return iter(self.tolist())

    @overload
    def __getitem__(self, place: int) -> object: ...
    @overload
    def __getitem__(self, place: slice) -> Words: ...
    def __getitem__(self, place: int | slice) -> object:
        if isinstance(place, slice):
            return Words(self.words, self.codes[place])
        return self.words[self.codes[place]]

    def take(self, rows: NDArray[np.bool_] | NDArray[np.intp]) -> Words:
        """These rows of it."""
        return Words(self.words, self.codes[rows])

    def tolist(self) -> list[object]:
        """Row by row."""
        words = self.words
        return [words[code] for code in self.codes.tolist()]


Values = Sequence[object] | NDArray[np.generic]
"""One value per row: a list where absent and null are None, an array where all are of one type, or words. In
an array of doubles NaN stands for what is absent or null."""


def plain(values: Values) -> Sequence[object]:
    """Row by row, as Python's own values.

    >>> plain(np.array([1.5, 2.0])), plain(["a", None])
    ([1.5, 2.0], ['a', None])
    """
    return values.tolist() if isinstance(values, np.ndarray | Words) else values


def take(values: Values, rows: NDArray[np.bool_]) -> Values:
    """The rows that are set.

    >>> take(["a", "b", "c"], np.array([True, False, True]))
    ['a', 'c']
    """
    if isinstance(values, np.ndarray):
        return values[rows]
    if isinstance(values, Words):
        return values.take(rows)
    return [values[place] for place in np.flatnonzero(rows).tolist()]


def joined(parts: Sequence[Values]) -> Values:
    """The rows of one part after those of another.

    >>> joined([["a"], Words(("b",), np.array([0, 0]))]), joined([np.array([1.0]), np.array([2.0])])
    (['a', 'b', 'b'], array([1., 2.]))
    """
    arrays = [part for part in parts if isinstance(part, np.ndarray)]
    if arrays and len(arrays) == len(parts):
        return np.concatenate(arrays)
    return [value for part in parts for value in plain(part)]

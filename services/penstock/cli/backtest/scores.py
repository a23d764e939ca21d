"""What every version said of every row, gathered from the topic of predictions while the system runs."""

from __future__ import annotations

from array import array
from typing import TYPE_CHECKING

import numpy as np

from penstock.contracts.records import Origin, Prediction

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from numpy.typing import NDArray

    FloatArray = NDArray[np.float64]

NOBODY = -1


class Scores:
    """The scores of a history.

    Args:
        numbers: of the rows, by id.
        rows: how many there are.
        outputs: scores a row.
    """

    def __init__(self, numbers: Mapping[str, int], *, rows: int, outputs: int) -> None:
        self.answered = np.full(rows, NOBODY, dtype=np.int64)
        """The version that answered, by row."""
        self._numbers = numbers
        self._shape = rows, outputs
        self._rows: dict[int, array[int]] = {}
        self._values: dict[int, array[float]] = {}

    @property
    def versions(self) -> list[int]:
        """That scored anything."""
        return sorted(self._rows)

    def take(self, predictions: Iterable[Prediction]) -> None:
        """Take in what was predicted; the first prediction of a row counts."""
        for each in predictions:
            row = self._numbers.get(each.id)
            if row is None or each.origin is not Origin.STREAM or self.answered[row] != NOBODY:
                continue
            if each.version is not None:
                self.answered[row] = each.version
            for version, values in [(score.version, score.values) for score in each.scores]:
                if values:
                    self._rows.setdefault(version, array("q")).append(row)
                    self._values.setdefault(version, array("d")).extend(values)

    def of(self, version: int) -> FloatArray:
        """What a version said, shape (rows, outputs); NaN where it was not asked."""
        found = np.full(self._shape, np.nan)
        if version in self._rows:
            values = np.frombuffer(self._values[version], dtype=np.float64)
            found[np.frombuffer(self._rows[version], dtype=np.int64)] = values.reshape(-1, self._shape[1])
        return found

    def system(self) -> FloatArray:
        """What each row was answered with."""
        return self._newest({version: self.answered == version for version in self.versions})

    def latest(self, versions: Iterable[int]) -> FloatArray:
        """Of these versions, the last one in order that scored a row."""
        return self._newest({version: np.full(self._shape[0], True) for version in versions})

    def _newest(self, chosen: Mapping[int, NDArray[np.bool_]]) -> FloatArray:
        found = np.full(self._shape, np.nan)
        for version, where in chosen.items():
            said = self.of(version)
            rows = where & ~np.isnan(said).any(axis=1)
            found[rows] = said[rows]
        return found

"""A batch of producers' records, read."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from penstock.kernel.paths import dig

if TYPE_CHECKING:
    from collections.abc import Collection, Iterator, Mapping, Sequence

    from penstock.kernel.errors import Invalid
    from penstock.kernel.features import Values


@dataclass(frozen=True, slots=True, kw_only=True)
class Columns:
    """The fields that were asked for, of the records that could be read.

    Args:
        values: path → one value per row: a list where absent and null are None, or an array where a field
            is always there and of one type.
        places: which records of the batch the rows are, ascending.
        refused: why a record can never be read, by its place in the batch.
    """

    values: Mapping[str, Values]
    places: Sequence[int]
    refused: Mapping[int, Invalid]

    @classmethod
    def gather(
        cls, paths: Collection[str], rows: Mapping[int, Mapping[str, object]], refused: Mapping[int, Invalid]
    ) -> Columns:
        """Of records that were read one by one.

        Args:
            paths: what to take of them.
            rows: their fields, by place in the batch, ascending.
            refused: the others.
        """
        fields = list(rows.values())
        values = {path: _column(fields, path) for path in paths}
        return cls(values=values, places=list(rows), refused=refused)

    def rows(self) -> Iterator[dict[str, object]]:
        """Row by row, as plain values.

        >>> list(Columns.gather(["a", "b"], {0: {"a": 1}, 2: {"b": "x", "c": 3}}, {}).rows())
        [{'a': 1, 'b': None}, {'a': None, 'b': 'x'}]
        """
        names = list(self.values)
        plain = [each.tolist() if isinstance(each, np.ndarray) else each for each in self.values.values()]
        for place in range(len(self.places)):
            yield {name: column[place] for name, column in zip(names, plain, strict=True)}


def _column(rows: Sequence[Mapping[str, object]], path: str) -> list[object]:
    if "." not in path:
        return [each.get(path) for each in rows]
    return [dig(each, path) for each in rows]

"""A batch of producers' records, read."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from penstock.kernel.columns import plain
from penstock.runtime.wire.numbers import number_columns

if TYPE_CHECKING:
    from collections.abc import Collection, Iterator, Mapping, Sequence

    from penstock.kernel.columns import Values
    from penstock.kernel.errors import Invalid


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
        cls,
        paths: Collection[str],
        rows: Mapping[int, Mapping[str, object]],
        refused: Mapping[int, Invalid],
        *,
        numbers: Collection[str] = (),
    ) -> Columns:
        """Of records that were read one by one.

        Args:
            paths: what to take of them.
            rows: their fields, by place in the batch, ascending.
            refused: the others.
            numbers: of the paths, those of which only numbers are wanted.
        """
        fields = list(rows.values())
        met: dict[str, list[object]] = {}
        known = number_columns(fields, [path for path in numbers if "." not in path])
        values = {path: known[path] if path in known else _column(fields, path, met) for path in paths}
        return cls(values=values, places=list(rows), refused=refused)

    @classmethod
    def none(cls, paths: Collection[str], refused: Mapping[int, Invalid]) -> Columns:
        """Of a batch of which nothing could be read."""
        return cls(values={path: [] for path in paths}, places=(), refused=refused)

    @classmethod
    def merged(cls, paths: Collection[str], parts: Collection[Columns]) -> Columns:
        """Of the parts of one batch, each with the places of its own records in it.

        >>> parts = [Columns.gather("a", {1: {"a": "x"}}, {}), Columns.gather("a", {0: {"a": "y"}}, {})]
        >>> Columns.merged("a", parts)
        Columns(values={'a': ['y', 'x']}, places=[0, 1], refused={})
        """
        refused = dict(sorted((place, why) for part in parts for place, why in part.refused.items()))
        filled = [part for part in parts if part.places]
        if len(filled) == 1:
            return cls(values=filled[0].values, places=filled[0].places, refused=refused)
        places = [place for part in filled for place in part.places]
        order = sorted(range(len(places)), key=places.__getitem__)
        values = {}
        for path in paths:
            column = [value for part in filled for value in plain(part.values[path])]
            values[path] = [column[at] for at in order]
        return cls(values=values, places=[places[at] for at in order], refused=refused)

    def moved(self, places: Sequence[int]) -> Columns:
        """The same of a part of a batch, by the places that its records have in the whole."""
        return Columns(
            values=self.values,
            places=[places[at] for at in self.places],
            refused={places[at]: why for at, why in self.refused.items()},
        )

    def rows(self) -> Iterator[dict[str, object]]:
        """Row by row, as plain values.

        >>> list(Columns.gather(["a", "b"], {0: {"a": 1}, 2: {"b": "x", "c": 3}}, {}).rows())
        [{'a': 1, 'b': None}, {'a': None, 'b': 'x'}]
        """
        names = list(self.values)
        columns = [plain(each) for each in self.values.values()]
        for place in range(len(self.places)):
            yield {name: column[place] for name, column in zip(names, columns, strict=True)}


def _column(rows: Sequence[Mapping[str, object]], path: str, met: dict[str, list[object]]) -> list[object]:
    """As `dig` of each row; `met` has what was found on the way, which the next path may share."""
    if (known := met.get(path)) is not None:
        return known
    above, _, name = path.rpartition(".")
    if not above:
        column = [each.get(name) for each in rows]
    else:
        inside = _column(rows, above, met)
        column = [each.get(name) if isinstance(each, dict) else None for each in inside]
        if None in column:
            column = [
                row.get(path) if value is None else value for row, value in zip(rows, column, strict=True)
            ]
    met[path] = column
    return column

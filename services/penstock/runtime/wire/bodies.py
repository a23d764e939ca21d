"""Bodies of Avro records by columns, in the pipeline's names: the one way in for all formats that hold Avro.

A reader's schema is resolved once, not record by record: each path is followed through names and aliases to
what this writer wrote, or to the reader's default. The batch is then decoded field by field where the schema
allows it, and what is unusual, a schema or a record, record by record.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from penstock.kernel.avrotypes import read_type, trace
from penstock.kernel.errors import Invalid
from penstock.runtime.avro import LARGEST
from penstock.runtime.columnar import AvroColumns
from penstock.runtime.wire.columns import Columns
from penstock.runtime.wire.meanings import default_of, meaning

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from penstock.kernel.avrotypes import Leaf
    from penstock.kernel.columns import Values
    from penstock.runtime.avro import Schema
    from penstock.runtime.wire.wanted import Wanted


class Bodies:
    """Reads what was written with one schema.

    Args:
        schema: of the writer.
        wanted: the fields to take, in the reader's names where there is one.
        reader: the schema that the pipeline names, if it names one.

    >>> from penstock.runtime.avro import Schema
    >>> from penstock.runtime.wire.wanted import Wanted
    >>> schema = Schema('{"type": "record", "name": "P", "fields": [{"name": "x", "type": "string"}]}')
    >>> bodies = Bodies(schema, Wanted.of(["x", "y"]))
    >>> columns = bodies.read([b"!" + schema.write({"x": "a"}), b"!?!"], header=b"!")
    >>> columns.values, columns.refused[1].reason
    ({'x': ['a'], 'y': [None]}, 'undecodable')
    """

    def __init__(self, schema: Schema, wanted: Wanted, reader: Schema | None = None) -> None:
        self._schema = schema
        written, named = read_type(schema.raw), None if reader is None else read_type(reader.raw)
        self._leaves = {path: trace(written, path.split("."), named) for path in wanted.paths}
        self._meanings: dict[str, Callable[[Values], Values] | None] = {}
        self._fault: Invalid | None = None
        try:
            self._meanings = {path: meaning(leaf, path) for path, leaf in self._leaves.items()}
        except Invalid as why:
            self._fault = why  # of every record: another writer's may be read
        self._compiled = self._compile(wanted)

    def read(self, payloads: Sequence[bytes], *, header: bytes = b"") -> Columns:
        """Their columns.

        Args:
            payloads: bodies, each behind the header.
            header: what each begins with.
        """
        if self._fault is not None:
            return Columns.none(self._leaves, dict.fromkeys(range(len(payloads)), self._fault))
        if self._compiled is None:
            return self._one_by_one(payloads, range(len(payloads)), len(header))
        found, odd = self._compiled.read(payloads, header)
        left = len(payloads) - int(odd.sum())
        columns = Columns(values=self._named(found, left), places=np.flatnonzero(~odd).tolist(), refused={})
        if left == len(payloads):
            return columns
        others = self._one_by_one(payloads, np.flatnonzero(odd).tolist(), len(header))
        return Columns.merged(self._leaves, [columns, others])

    def _compile(self, wanted: Wanted) -> AvroColumns | None:
        """The decoder by columns, where the schema has one: it knows only what this writer wrote."""
        paths = {path: _dotted(leaf) for path, leaf in self._leaves.items() if leaf.path is not None}
        # Where a number means something else than it says, that is told of whole numbers.
        numbers = [path for path in wanted.numbers if not self._meanings.get(path)]
        return AvroColumns.compile(
            self._schema,
            set(paths.values()),
            numbers={paths[path] for path in numbers if path in paths},
            words={paths[path] for path in wanted.words if path in paths},
            largest=LARGEST,
        )

    def _named(self, found: Mapping[str, Values], count: int) -> dict[str, Values]:
        """The columns by the pipeline's names, and with their meaning."""
        values: dict[str, Values] = {}
        for path, leaf in self._leaves.items():
            column = [default_of(leaf)] * count if leaf.path is None else found[_dotted(leaf)]
            means = self._meanings[path]
            values[path] = column if means is None else means(column)
        return values

    def _one_by_one(self, payloads: Sequence[bytes], places: Sequence[int], skip: int) -> Columns:
        rows: list[Mapping[str, Any]] = []
        there: list[int] = []
        refused: dict[int, Invalid] = {}
        for place in places:
            try:
                rows.append(self._record(payloads[place], skip))
                there.append(place)
            except Invalid as why:
                refused[place] = why
        found = {_dotted(leaf): _column(rows, leaf.path) for leaf in self._leaves.values() if leaf.path}
        return Columns(values=self._named(found, len(rows)), places=there, refused=refused)

    def _record(self, payload: bytes, skip: int) -> Mapping[str, Any]:
        if len(payload) > LARGEST:
            raise Invalid(f"{len(payload)} bytes, at most {LARGEST} are read", reason="too_large")
        record = self._schema.read(payload[skip:])
        if not isinstance(record, dict):
            raise Invalid(f"expected a record, got a {self._schema.name}", reason="undecodable")
        return record


def _dotted(leaf: Leaf) -> str:
    return ".".join(leaf.path or ())


def _column(rows: Sequence[Mapping[str, Any]], path: Sequence[str]) -> list[Any]:
    if len(path) == 1:
        [name] = path
        return [row.get(name) for row in rows]
    return [_at(row, path) for row in rows]


def _at(value: Any, path: Sequence[str]) -> Any:
    for segment in path:
        value = value.get(segment) if isinstance(value, dict) else None
    return value

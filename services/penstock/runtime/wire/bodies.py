"""Bodies of Avro records by columns, in the pipeline's names: the one way in for all formats that hold Avro.

A reader's schema is resolved once, not record by record: each path is followed through names and aliases to
what this writer wrote, or to the reader's default.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from penstock.kernel.avrotypes import read_type, trace
from penstock.kernel.errors import Invalid
from penstock.runtime.avro import LARGEST
from penstock.runtime.wire.columns import Columns
from penstock.runtime.wire.meanings import default_of, meaning

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Mapping, Sequence

    from penstock.kernel.avrotypes import Leaf
    from penstock.kernel.columns import Values
    from penstock.runtime.avro import Schema


class Bodies:
    """Reads what was written with one schema.

    Args:
        schema: of the writer.
        paths: the fields to take, in the reader's names where there is one.
        reader: the schema that the pipeline names, if it names one.

    >>> from penstock.runtime.avro import Schema
    >>> schema = Schema(
    ...     '{"type": "record", "name": "P", "fields": [{"name": "x", "type": "long"}]}'
    ... )
    >>> columns = Bodies(schema, ["x", "y"]).read([b"!" + schema.write({"x": 7}), b"!?!"], skip=1)
    >>> columns.values, columns.refused[1].reason
    ({'x': [7], 'y': [None]}, 'undecodable')
    """

    def __init__(self, schema: Schema, paths: Collection[str], reader: Schema | None = None) -> None:
        self._schema = schema
        writer, wanted = read_type(schema.raw), None if reader is None else read_type(reader.raw)
        leaves = {path: trace(writer, path.split("."), wanted) for path in paths}
        self._leaves = leaves
        self._meanings: dict[str, Callable[[Values], Values] | None] = {}
        self._fault: Invalid | None = None
        try:
            self._meanings = {path: meaning(leaf, path) for path, leaf in leaves.items()}
        except Invalid as why:
            self._fault = why  # of every record: another writer's may be read

    def read(self, payloads: Sequence[bytes], *, skip: int = 0) -> Columns:
        """Their columns; each payload is a body behind `skip` bytes that are known already."""
        if self._fault is not None:
            return Columns.none(self._leaves, dict.fromkeys(range(len(payloads)), self._fault))
        rows: list[Mapping[str, Any]] = []
        places: list[int] = []
        refused: dict[int, Invalid] = {}
        for place, payload in enumerate(payloads):
            try:
                rows.append(self._record(payload, skip))
                places.append(place)
            except Invalid as why:
                refused[place] = why
        values = {}
        for path, leaf in self._leaves.items():
            column = _column(rows, leaf)
            means = self._meanings[path]
            values[path] = column if means is None else means(column)
        return Columns(values=values, places=places, refused=refused)

    def _record(self, payload: bytes, skip: int) -> Mapping[str, Any]:
        if len(payload) > LARGEST:
            raise Invalid(f"{len(payload)} bytes, at most {LARGEST} are read", reason="too_large")
        record = self._schema.read(payload[skip:])
        if not isinstance(record, dict):
            raise Invalid(f"expected a record, got a {self._schema.name}", reason="undecodable")
        return record


def _column(rows: Sequence[Mapping[str, Any]], leaf: Leaf) -> list[Any]:
    if leaf.path is None:
        return [default_of(leaf)] * len(rows)
    if len(leaf.path) == 1:
        [name] = leaf.path
        return [row.get(name) for row in rows]
    return [_at(row, leaf.path) for row in rows]


def _at(value: Any, path: Sequence[str]) -> Any:
    for segment in path:
        value = value.get(segment) if isinstance(value, dict) else None
    return value

"""Reads raw topics: JSON objects or single-object Avro."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import orjson

from penstock.kernel.errors import Invalid
from penstock.runtime.avro import HEADER, LARGEST, Schema, fingerprint_of
from penstock.runtime.wire.columns import Columns

if TYPE_CHECKING:
    from collections.abc import Collection, Mapping, Sequence

    from penstock.kernel.formats import Format
    from penstock.runtime.broker import Record


class Wire:
    """Reads the records of one raw topic.

    Args:
        form: how they are written; an Avro schema has to be inline, as it is in an applied pipeline.
        paths: the fields to take of them.

    Raises:
        Invalid: the schema is none, or one that is refused.

    >>> from penstock.kernel.formats import Format
    >>> from penstock.runtime.broker import Record
    >>> wire = Wire(Format(wire="json"), ["id", "x"])
    >>> columns = wire.read([Record("crm", 0, each, 0, None, b'{"id": "a"}') for each in range(2)])
    >>> columns.values, columns.places, columns.refused
    ({'id': ['a', 'a'], 'x': [None, None]}, [0, 1], {})
    """

    def __init__(self, form: Format, paths: Collection[str]) -> None:
        if form.wire == "avro" and not form.schema:
            raise ValueError(f"the schema {form.file} is not inline")
        self._paths = tuple(dict.fromkeys(paths))
        self._schema = Schema(form.schema) if form.wire == "avro" else None

    def read(self, records: Sequence[Record]) -> Columns:
        """The fields of a batch; what cannot be read is refused, with what is wrong with it."""
        rows: dict[int, Mapping[str, object]] = {}
        refused: dict[int, Invalid] = {}
        for place, record in enumerate(records):
            try:
                rows[place] = self._fields(record.value)
            except Invalid as why:
                refused[place] = why
        return Columns.gather(self._paths, rows, refused)

    def _fields(self, payload: bytes | None) -> Mapping[str, object]:
        if not payload:
            raise Invalid("the record has no value", reason="empty")
        return _json(payload) if self._schema is None else _avro(payload, self._schema)


def _json(payload: bytes) -> Mapping[str, object]:
    if len(payload) > LARGEST:
        raise Invalid(f"{len(payload)} bytes, at most {LARGEST} are read", reason="too_large")
    try:
        fields = orjson.loads(payload)
    except orjson.JSONDecodeError as error:
        raise Invalid(f"not JSON: {error}", reason="undecodable") from error
    if not isinstance(fields, dict):
        raise Invalid(f"expected a JSON object, got a {type(fields).__name__}", reason="undecodable")
    return fields


def _avro(payload: bytes, schema: Schema) -> Mapping[str, object]:
    if (written := fingerprint_of(payload)) != schema.fingerprint:
        message = (
            f"written with the schema {written.hex()}, the pipeline reads {schema.name}"
            f" ({schema.fingerprint.hex()})"
        )
        raise Invalid(message, reason="unknown_schema")
    fields: dict[str, Any] = schema.read(payload[HEADER:])
    return fields

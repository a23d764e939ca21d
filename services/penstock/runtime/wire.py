"""What producers write on their own topics: JSON objects or single-object Avro, taken in as plain fields."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import orjson

from penstock.kernel.errors import Invalid
from penstock.runtime.avro import HEADER, LARGEST, Schema, fingerprint_of

if TYPE_CHECKING:
    from collections.abc import Mapping

    from penstock.kernel.sources import Format


class Wire:
    """Reads the values of one raw topic.

    Args:
        form: how they are written; an Avro schema has to be inline, as it is in an applied pipeline.

    Raises:
        Invalid: the schema is none, or one that is refused.

    >>> from penstock.kernel.sources import Format
    >>> Wire(Format(wire="json")).read(b'{"id": "a", "t": 0}')
    {'id': 'a', 't': 0}
    """

    def __init__(self, form: Format) -> None:
        if form.wire == "avro" and not form.schema:
            raise ValueError(f"the schema {form.file} is not inline")
        self._schema = Schema(form.schema) if form.wire == "avro" else None

    def read(self, payload: bytes | None) -> Mapping[str, object]:
        """The fields of one record.

        Raises:
            Invalid: nothing there, too large, not decodable, or written with another schema.
        """
        if not payload:
            raise Invalid("the record has no value", reason="empty")
        return self._json(payload) if self._schema is None else self._avro(payload, self._schema)

    @staticmethod
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

    @staticmethod
    def _avro(payload: bytes, schema: Schema) -> Mapping[str, object]:
        if (written := fingerprint_of(payload)) != schema.fingerprint:
            message = (
                f"written with the schema {written.hex()}, the pipeline reads {schema.name}"
                f" ({schema.fingerprint.hex()})"
            )
            raise Invalid(message, reason="unknown_schema")
        fields: dict[str, Any] = schema.read(payload[HEADER:])
        return fields

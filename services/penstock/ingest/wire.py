"""Producers' wire formats: bytes to fields."""

from __future__ import annotations

from collections.abc import Callable, Mapping

import orjson

from penstock.kernel.errors import Invalid
from penstock.kernel.sources import Format
from penstock.runtime.avro import HEADER, LARGEST, Schema, fingerprint_of

Decode = Callable[[bytes | None], Mapping[str, object]]


def decoder(source: Format) -> Decode:
    """What reads the values of a topic.

    >>> decoder(Format(wire="json"))(b'{"id": "a", "age": 41}')
    {'id': 'a', 'age': 41}
    """
    read = _json if source.wire == "json" else _avro(Schema(source.schema, logical=True))

    def decode(value: bytes | None) -> Mapping[str, object]:
        if value is None:
            raise Invalid("the record has no value", reason="no_value")
        if len(value) > LARGEST:
            raise Invalid(f"{len(value)} bytes, at most {LARGEST} are read", reason="too_large")
        fields = read(value)
        if not isinstance(fields, dict):
            raise Invalid(
                f"expected an object with fields, got a {type(fields).__name__}", reason="undecodable"
            )
        return fields

    return decode


def _json(value: bytes) -> object:
    try:
        return orjson.loads(value)
    except orjson.JSONDecodeError as error:
        raise Invalid(f"not JSON: {error}", reason="undecodable") from error


def _avro(schema: Schema) -> Callable[[bytes], object]:
    def read(value: bytes) -> object:
        fingerprint = fingerprint_of(value)
        if fingerprint != schema.fingerprint:
            expected = f"{schema.fingerprint.hex()} ({schema.name})"
            message = f"written with schema {fingerprint.hex()}, the pipeline reads {expected}"
            raise Invalid(message, reason="unknown_schema")
        return schema.read(value[HEADER:])

    return read

"""Records as producers write them, in every wire format."""

from __future__ import annotations

import io
import json
import uuid
from typing import Any

import fastavro

from penstock.kernel.formats import Format
from penstock.runtime.avro import Schema
from penstock.runtime.broker import Headers, Record
from penstock.runtime.wire import Columns, Registries, Wire

GUID = "3f2504e0-4f89-41d3-9a0c-0305e82c3301"


def record(value: bytes | None, headers: Headers = (), *, offset: int = 0) -> Record:
    return Record("shop.orders", 0, offset, 0, None, value, headers)


def single(schema: Any, fields: Any) -> bytes:
    made = Schema(json.dumps(schema))
    return made.header + made.write(fields)


def body(schema: Any, fields: Any) -> bytes:
    return Schema(json.dumps(schema)).write(fields)


def numbered(name: int, payload: bytes) -> bytes:
    return b"\0" + name.to_bytes(4, "big") + payload


def guided(name: str, payload: bytes = b"") -> bytes:
    return b"\x01" + uuid.UUID(name).bytes + payload


def container(schema: Any, *records: Any, codec: str = "null") -> bytes:
    file = io.BytesIO()
    fastavro.writer(file, fastavro.parse_schema(schema), records, codec=codec)
    return file.getvalue()


def wire(raw: object, *paths: str, registries: Registries | None = None) -> Wire:
    return Wire(Format.read(raw), paths, registries)


def read(through: Wire, *values: bytes | tuple[bytes | None, Headers] | None) -> Columns:
    """The columns of records with these values, or values and headers."""
    pairs = [each if isinstance(each, tuple) else (each, ()) for each in values]
    return through.read([record(value, headers, offset=at) for at, (value, headers) in enumerate(pairs)])


def rows(columns: Columns) -> list[tuple[object, ...]]:
    return [tuple(each.values()) for each in columns.rows()]

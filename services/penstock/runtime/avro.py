"""Avro as it lies in the log: single-object encoding, `C3 01`, eight bytes of fingerprint, the body.

A schema is lint-checked before it may decode anything: recursion and items of zero bytes let a few bytes of
payload take a process down (5 bytes make 146 MB, a nested megabyte a segmentation fault), and a decoder that
does not end where the payload ends has read something else than was written.
"""

from __future__ import annotations

import io
import json
from typing import TYPE_CHECKING, Any, BinaryIO, Final

import fastavro
from fastavro.schema import SchemaParseException

from penstock.kernel.errors import Invalid

if TYPE_CHECKING:
    from collections.abc import Iterator

MARK: Final = b"\xc3\x01"
HEADER: Final = 10
"""Bytes before the body."""
LARGEST: Final = 256 * 1024
"""Payloads above this are refused before anything is allocated for them."""


class Schema:
    """One Avro schema: its fingerprint, and how to read and write bodies with it.

    Args:
        text: the schema as JSON.

    Raises:
        Invalid: not a schema, or one that is refused.

    >>> point = Schema('{"type": "record", "name": "P", "fields": [{"name": "x", "type": "long"}]}')
    >>> point.read(point.write({"x": 7}))
    {'x': 7}
    """

    __slots__ = ("fingerprint", "header", "name", "parsed", "raw", "text")

    def __init__(self, text: str | bytes) -> None:
        self.text = text if isinstance(text, str) else text.decode()
        try:
            self.raw: Any = json.loads(self.text)
            refuse_bombs(self.raw)
            canonical = fastavro.schema.to_parsing_canonical_form(self.raw)
            self.fingerprint = bytes.fromhex(fastavro.schema.fingerprint(canonical, "CRC-64-AVRO"))
            self.parsed = fastavro.parse_schema(_plain(self.raw))
        except (ValueError, KeyError, TypeError, SchemaParseException) as error:
            raise Invalid(f"not an Avro schema: {error}", reason="schema") from error
        self.name = fastavro.schema.fullname(self.raw) if isinstance(self.raw, dict) else str(self.raw)
        self.header = MARK + self.fingerprint

    def write(self, record: Any) -> bytes:
        """The body of a record, without the header."""
        out = io.BytesIO()
        fastavro.schemaless_writer(out, self.parsed, record)
        return out.getvalue()

    def read(self, body: bytes, reader: Schema | None = None) -> Any:
        """The record in a body; `reader` resolves it to a later or earlier schema.

        Raises:
            Invalid: the body is not of this schema, or does not end where it should.
        """
        stream = io.BytesIO(body)
        try:
            record = fastavro.schemaless_reader(stream, self.parsed, reader.parsed if reader else None)
        except Exception as error:  # fastavro raises a dozen kinds for garbage, MemoryError among them
            raise Invalid(
                f"undecodable as {self.name}: {error or type(error).__name__}", reason="undecodable"
            ) from error
        if left := len(body) - stream.tell():
            raise Invalid(f"{left} bytes are left after the {self.name}", reason="undecodable")
        return record


def fingerprint_of(payload: bytes) -> bytes:
    """The fingerprint a payload names.

    Raises:
        Invalid: too large, too short, or not single-object encoded.

    >>> fingerprint_of(b"hello")
    Traceback (most recent call last):
    ...
    penstock.kernel.errors.Invalid: not single-object Avro: it begins with 68656c6c6f
    """
    if len(payload) > LARGEST:
        raise Invalid(f"{len(payload)} bytes, at most {LARGEST} are read", reason="too_large")
    if payload[:2] != MARK or len(payload) < HEADER:
        raise Invalid(
            f"not single-object Avro: it begins with {payload[:10].hex() or 'nothing'}", reason="undecodable"
        )
    return payload[2:HEADER]


def read_container(file: BinaryIO) -> Iterator[Any]:
    """The records of an Avro container file (not of the log), as plain as the log's: a timestamp is a number.

    Raises:
        Invalid: not a container, or its schema is refused.
    """
    try:
        blocks = fastavro.block_reader(file)
    except (ValueError, EOFError) as error:
        raise Invalid(f"not an Avro container: {error}", reason="undecodable") from error
    refuse_bombs(blocks.writer_schema)
    parsed = fastavro.parse_schema(_plain(blocks.writer_schema))
    for block in blocks:
        body = block.bytes_  # type: ignore[attr-defined] # the records, decompressed; the stubs forget it
        for _ in range(block.num_records):
            yield fastavro.schemaless_reader(body, parsed, None)


def refuse_bombs(schema: Any, inside: tuple[str, ...] = ()) -> int:
    """The least bytes a value of this schema takes; refuses what can grow without bytes.

    Raises:
        Invalid: a type within itself, or an array whose items take no bytes.

    >>> refuse_bombs({"type": "array", "items": "null"})
    Traceback (most recent call last):
    ...
    penstock.kernel.errors.Invalid: items of an array that take no bytes are refused
    """
    if isinstance(schema, str):
        if schema in inside or any(name.rpartition(".")[2] == schema for name in inside):
            raise Invalid(f"type {schema} within itself is refused", reason="schema")
        return {"null": 0, "float": 4, "double": 8}.get(schema, 1)
    if isinstance(schema, list):
        for each in schema:
            refuse_bombs(each, inside)
        return 1
    kind = schema["type"]
    if kind in ("record", "error"):
        within = (*inside, str(schema["name"]))
        return sum(refuse_bombs(field["type"], within) for field in schema["fields"])
    if kind == "array" and not refuse_bombs(schema["items"], inside):
        raise Invalid("items of an array that take no bytes are refused", reason="schema")
    if kind == "map":
        refuse_bombs(schema["values"], inside)
    if kind == "fixed":
        return int(schema["size"])
    return 1 if kind in ("array", "map", "enum") else refuse_bombs(kind, inside)


def _plain(node: Any) -> Any:
    """Without logical types: milliseconds stay a number, as the contracts have them, which is also fast."""
    if isinstance(node, dict):
        return {key: _plain(value) for key, value in node.items() if key != "logicalType"}
    return [_plain(each) for each in node] if isinstance(node, list) else node

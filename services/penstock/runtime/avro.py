"""Avro as it lies in the log: single-object encoding, `C3 01`, eight bytes of fingerprint, the body.

A schema is lint-checked before it may decode anything: recursion and items of zero bytes let a few bytes of
payload take a process down (5 bytes make 146 MB, a nested megabyte a segmentation fault), and a decoder that
does not end where the payload ends has read something else than was written.
"""

from __future__ import annotations

import functools
import io
import json
from typing import TYPE_CHECKING, Any, BinaryIO, Final

import fastavro

from penstock.kernel.avrotypes import read_type
from penstock.kernel.errors import Invalid

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

MARK: Final = b"\xc3\x01"
HEADER: Final = 10
"""Bytes before the body."""
LARGEST: Final = 256 * 1024
"""Producers' payloads above this are refused before anything is allocated for them."""
LARGEST_OWN: Final = 1024 * 1024
"""The same for records of our own: what a topic takes."""
MOST_TYPES: Final = 10_000
"""Types that a schema may have, each counted where it is named: a few lines may name each other so often that
nobody can write them out."""
DEEPEST: Final = 64
"""Types within types."""


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
        try:
            self.text = text if isinstance(text, str) else text.decode()
            self.raw: Any = json.loads(self.text)
            refuse_bombs(self.raw)
            # A logical type that does not fit means nothing: it is no reason to refuse the schema.
            plain = _plain(self.raw)
            self.fingerprint = _fingerprint(fastavro.schema.to_parsing_canonical_form(plain))
            self.parsed = fastavro.parse_schema(plain)
        except Invalid:
            raise
        except Exception as error:  # as below, and nesting without end among them
            raise Invalid(f"not an Avro schema: {error}", reason="schema") from error
        self.name = fastavro.schema.fullname(self.raw) if isinstance(self.raw, dict) else str(self.raw)
        self.header = MARK + self.fingerprint

    def expanded(self) -> Any:
        """The schema with every name of a type replaced by the type, and without logical types."""
        return fastavro.schema.expand_schema(_plain(self.raw))

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


def fingerprint_of(payload: bytes, *, largest: int = LARGEST) -> bytes:
    """The fingerprint a payload names.

    Raises:
        Invalid: too large, too short, or not single-object encoded.

    >>> fingerprint_of(b"hello")
    Traceback (most recent call last):
    ...
    penstock.kernel.errors.Invalid: not single-object Avro: it begins with 68656c6c6f
    """
    if len(payload) > largest:
        raise Invalid(f"{len(payload)} bytes, at most {largest} are read", reason="too_large")
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


def refuse_bombs(schema: Any) -> int:
    """The least bytes a value of this schema takes; refuses what can grow without bytes.

    Raises:
        Invalid: a type within itself, a record that takes no bytes, or an array whose items take none.

    >>> refuse_bombs({"type": "array", "items": "null"})
    Traceback (most recent call last):
    ...
    penstock.kernel.errors.Invalid: items of an array that take no bytes are refused
    """
    _refuse_depths(schema)
    if read_type(schema).nodes > MOST_TYPES:
        raise Invalid(f"a schema of more than {MOST_TYPES} types is refused", reason="schema")
    return _least(schema, {}, "")


def _refuse_depths(schema: Any) -> None:
    """Looks at one level after the other, so it cannot be led too deep itself."""
    level, depth = [schema], 0
    while level:
        if (depth := depth + 1) > 4 * DEEPEST:  # a field of a record is a list, a mapping and its type
            raise Invalid(f"types nested more than {DEEPEST} deep are refused", reason="schema")
        level = [
            inner
            for each in level
            for inner in (each.values() if isinstance(each, dict) else each if isinstance(each, list) else ())
            if isinstance(inner, dict | list)
        ]


_PRIMITIVE: Final = {
    "null": 0, "boolean": 1, "int": 1, "long": 1, "float": 4, "double": 8, "bytes": 1, "string": 1,
}  # fmt: skip


def _least(schema: Any, known: dict[str, int | None], space: str) -> int:
    """As `refuse_bombs`; `known` has the types so far by full name, None for those being looked at."""
    if isinstance(schema, str):
        return _PRIMITIVE[schema] if schema in _PRIMITIVE else _named(schema, known, space)
    if isinstance(schema, list):
        for each in schema:
            _least(each, known, space)
        return 1
    kind = schema["type"]
    if kind == "array":
        if not _least(schema["items"], known, space):
            raise Invalid("items of an array that take no bytes are refused", reason="schema")
        return 1
    if kind == "map":
        _least(schema["values"], known, space)
        return 1
    if kind in ("record", "error", "enum", "fixed"):
        return _least_named(schema, known, space)
    return _least(kind, known, space)


def _least_named(schema: Any, known: dict[str, int | None], space: str) -> int:
    name = str(schema["name"])
    full = name if "." in name else _within(name, str(schema.get("namespace", space)))
    known[full] = None
    match schema["type"]:
        case "enum":
            least = 1
        case "fixed":
            least = int(schema["size"])
        case _:
            inner = full.rpartition(".")[0]
            least = sum(_least(field["type"], known, inner) for field in schema["fields"])
    if least < 1:
        raise Invalid(f"type {full} takes no bytes, which is refused", reason="schema")
    known[full] = least
    return least


def _named(name: str, known: Mapping[str, int | None], space: str) -> int:
    full = name if "." in name else _within(name, space)
    if full not in known:
        raise Invalid(
            f"not an Avro schema: it names the type {name!r} before or without saying what it is",
            reason="schema",
        )
    least = known[full]
    if least is None:
        raise Invalid(f"type {name} within itself is refused", reason="schema")
    return least


def _within(name: str, space: str) -> str:
    return f"{space}.{name}" if space else name


@functools.lru_cache(maxsize=1024)
def _fingerprint(canonical: str) -> bytes:
    """Remembered, as fastavro takes most of a millisecond for one, and a process meets each many times."""
    return bytes.fromhex(fastavro.schema.fingerprint(canonical, "CRC-64-AVRO"))


def _plain(node: Any) -> Any:
    """Without logical types: milliseconds stay a number, as the contracts have them, which is also fast."""
    if isinstance(node, dict):
        return {key: _plain(value) for key, value in node.items() if key != "logicalType"}
    return [_plain(each) for each in node] if isinstance(node, list) else node

"""A whole Avro container as the value of a record: schema, then blocks of records, possibly compressed.

It is read by hand up to the body of its one record, since a library unpacks a block before anybody can say
how large it may be: a kilobyte of zeros makes a megabyte.
"""

from __future__ import annotations

import bz2
import lzma
import zlib
from collections import OrderedDict, defaultdict
from typing import TYPE_CHECKING, Final, Protocol

from penstock.kernel.errors import Invalid
from penstock.runtime.avro import LARGEST, Schema
from penstock.runtime.wire.bodies import Bodies
from penstock.runtime.wire.columns import Columns
from penstock.runtime.wire.payloads import sorted_out

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from penstock.runtime.broker import Record
    from penstock.runtime.wire.wanted import Wanted

_MAGIC: Final = b"Obj\x01"
_SYNC: Final = 16
_LONG: Final = 10
"""Bytes that a long takes at most."""
_MEMORY: Final = 32 * 1024 * 1024
"""What unpacking may take beside its result, where that is said in what is unpacked."""
_CHECKSUM: Final = 4
"""Bytes of a checksum, parts of which Python's writers leave behind what they packed with deflate."""
_MOST_SCHEMAS: Final = 256
"""Schemas whose decoders are kept: containers bring their own, and may bring a new one each time."""


class Containers:
    """Each value is a container of one record.

    Args:
        wanted: the fields to take.
        reader: the schema whose names they are, where the pipeline names one.
    """

    def __init__(self, wanted: Wanted, reader: Schema | None) -> None:
        self._wanted = wanted
        self._paths = wanted.paths
        self._reader = reader
        self._known: OrderedDict[bytes, Bodies | Invalid] = OrderedDict()

    def read(self, records: Sequence[Record]) -> Columns:
        places, values, refused = sorted_out(records)
        groups: defaultdict[bytes, tuple[list[int], list[bytes]]] = defaultdict(lambda: ([], []))
        for place, value in zip(places, values, strict=True):
            try:
                schema, body = opened(value)
            except Invalid as why:
                refused[place] = why
                continue
            where, bodies = groups[schema]
            where.append(place)
            bodies.append(body)
        parts = [Columns.none(self._paths, refused)]
        for schema, (where, bodies) in groups.items():
            reads = self._bodies(schema)
            if isinstance(reads, Invalid):
                parts.append(Columns.none(self._paths, dict.fromkeys(where, reads)))
            else:
                parts.append(reads.read(bodies).moved(where))
        return Columns.merged(self._paths, parts)

    def _bodies(self, schema: bytes) -> Bodies | Invalid:
        known = self._known.get(schema)
        if known is None:
            try:
                known = Bodies(Schema(schema), self._wanted, self._reader)
            except Invalid as why:
                known = why
            self._known[schema] = known
            if len(self._known) > _MOST_SCHEMAS:
                self._known.popitem(last=False)
        else:
            self._known.move_to_end(schema)
        return known


def opened(value: bytes) -> tuple[bytes, bytes]:
    """The schema, as its text, and the body of the one record.

    Raises:
        Invalid: it is no container, holds no or several records, or more than is read.

    >>> opened(b"Obj")
    Traceback (most recent call last):
    ...
    penstock.kernel.errors.Invalid: not an Avro container: it begins with 4f626a
    """
    if not value.startswith(_MAGIC):
        raise Invalid(f"not an Avro container: it begins with {value[:4].hex()}", reason="undecodable")
    cursor = _Cursor(value, len(_MAGIC))
    facts: dict[bytes, bytes] = {}
    while count := cursor.long():
        if count < 0:
            cursor.long()  # bytes of the block, of which nobody has need
        for _ in range(abs(count)):
            name = cursor.take(cursor.long())
            facts[name] = cursor.take(cursor.long())
    if b"avro.schema" not in facts:
        raise _broken("no schema is in it")
    sync = cursor.take(_SYNC)
    records, packed = cursor.long(), cursor.take(cursor.long())
    if records != 1:
        raise Invalid(f"the container holds {records} records, expected one", reason="undecodable")
    if cursor.take(_SYNC) != sync:
        raise _broken("a block does not end with its sync marker")
    if cursor.left:
        raise Invalid(
            f"{cursor.left} bytes are left after the first block: more than one record, or none",
            reason="undecodable",
        )
    return facts[b"avro.schema"], _unpacked(facts.get(b"avro.codec", b"null"), packed)


class _Cursor:
    """Goes through bytes; what would lead beyond them is refused."""

    def __init__(self, data: bytes, at: int) -> None:
        self._data = data
        self._at = at

    @property
    def left(self) -> int:
        return len(self._data) - self._at

    def long(self) -> int:
        value = 0
        for place in range(_LONG):
            [byte] = self.take(1)
            value |= (byte & 0x7F) << 7 * place
            if byte < 0x80:  # noqa: PLR2004 - the last byte has no high bit
                return (value >> 1) ^ -(value & 1)
        raise _broken("a number does not end")

    def take(self, size: int) -> bytes:
        if not 0 <= size <= self.left:
            raise _broken("it ends too early")
        self._at += size
        return self._data[self._at - size : self._at]


def _unpacked(codec: bytes, packed: bytes) -> bytes:
    """A block's bytes, of which there may not be more than a payload may have."""
    if codec == b"null":
        return packed
    make = _CODECS.get(codec)
    if make is None:
        known = ", ".join(["null", *(each.decode() for each in _CODECS)])
        message = f"the container is packed with {codec[:20].decode('utf-8', 'replace')}, expected {known}"
        raise Invalid(message, reason="undecodable")
    unpacker = make()
    try:
        body = unpacker.decompress(packed, LARGEST + 1)
    except (OSError, EOFError, ValueError, zlib.error, lzma.LZMAError, MemoryError) as error:
        raise _broken(str(error) or type(error).__name__) from error
    if len(body) > LARGEST:
        raise Invalid(f"unpacked it has more than the {LARGEST} bytes that are read", reason="too_large")
    if not unpacker.eof or len(unpacker.unused_data) > _CHECKSUM:
        raise _broken("what is packed in it ends too early, or goes on after its end")
    return body


class _Unpacker(Protocol):
    """What the standard library's decompressors have in common."""

    @property
    def eof(self) -> bool: ...

    @property
    def unused_data(self) -> bytes: ...

    def decompress(self, data: bytes, max_length: int, /) -> bytes: ...


_CODECS: Final[dict[bytes, Callable[[], _Unpacker]]] = {
    b"deflate": lambda: zlib.decompressobj(-15),
    b"bzip2": bz2.BZ2Decompressor,
    b"xz": lambda: lzma.LZMADecompressor(memlimit=_MEMORY),
}


def _broken(why: str) -> Invalid:
    return Invalid(f"a broken Avro container: {why}", reason="undecodable")

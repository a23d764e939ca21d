"""The log's records as the contracts' dataclasses, and back.

Events have the schemas of `penstock.contracts`. Rows (`FeatureRow`, `Prediction`, `Outcome`) have one schema
per pipeline and layout of features, made here; their features are a line of a matrix: the last eight bytes
times the number of features of the payload, so that a batch decodes with one `np.frombuffer`.
"""

from __future__ import annotations

import dataclasses
import functools
import json
import operator
import types
import typing
from enum import StrEnum
from typing import TYPE_CHECKING, Any, Final, Generic, NamedTuple, TypeVar

import numpy as np

from penstock.contracts import records
from penstock.contracts.schemas import ROWS, SCHEMAS
from penstock.kernel.errors import Invalid
from penstock.runtime.avro import HEADER, LARGEST_OWN, Schema, fingerprint_of
from penstock.runtime.errors import NotYet

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping, Sequence

    from numpy.typing import NDArray

Row = TypeVar("Row")
_NAMESPACE: Final = "penstock"
_REMEMBERED: Final = 30_000


class UnknownSchema(NotYet):
    """A fingerprint that is not in the fold of `schemas` (yet)."""

    def __init__(self, fingerprint: bytes) -> None:
        super().__init__(f"no schema with the fingerprint {fingerprint.hex()} is on the schemas topic")
        self.fingerprint = fingerprint


class RowCodec(Generic[Row]):
    """Heads and matrix of one row schema.

    >>> rows = Codec().rows(records.FeatureRow, "churn", "00ff", ["age", "plan"])
    >>> head = records.FeatureRow(id="a", time=0, cleared=(), flags=())
    >>> [payload] = rows.encode([head], np.array([[41.0, np.nan]]))
    >>> rows.head(payload) == head, rows.matrix([payload])
    (True, array([[41., nan]]))
    """

    def __init__(self, schema: Schema, head: type[Row]) -> None:
        fields = schema.raw["fields"]
        self.schema = schema
        self.names = tuple(field["name"] for field in fields[-1]["type"]["fields"])
        self.layout = schema.name.rpartition("_")[2]
        self._width = 8 * len(self.names)
        self._head = Schema(json.dumps({**schema.raw, "fields": fields[:-1]}))
        own = json.loads(SCHEMAS[head.__name__])
        own |= {"name": schema.raw["name"], "namespace": schema.raw.get("namespace", "")}
        reader = Schema(json.dumps({**own, "fields": own["fields"][:-1]}))
        self._reader = None if reader.fingerprint == self._head.fingerprint else reader
        kind: Any = head
        self._build = _builder(kind)
        self._plain = _unbuilder(kind)

    def encode(self, heads: Iterable[Row], matrix: NDArray[np.float64]) -> list[bytes]:
        """Payloads of rows; `matrix` has the shape (rows, features), NaN = missing."""
        lines = np.ascontiguousarray(matrix, dtype="<f8")
        return [
            self.schema.header + self._head.write(self._plain(head)) + line.tobytes()
            for head, line in zip(heads, lines, strict=True)
        ]

    def head(self, payload: bytes) -> Row:
        """The row without its features.

        Raises:
            Invalid: not of this schema.
        """
        head: Row = self._build(self.fields(payload))
        return head

    def fields(self, payload: bytes) -> dict[str, Any]:
        """As `head`, but the plain values by name, at half the cost."""
        if len(payload) < HEADER + self._width:
            raise Invalid(f"{len(payload)} bytes are too few for a {self.schema.name}", reason="undecodable")
        fields: dict[str, Any] = self._head.read(payload[HEADER : -self._width], self._reader)
        return fields

    def matrix(self, payloads: Sequence[bytes]) -> NDArray[np.float64]:
        """The features of payloads that `head` accepted, shape (payloads, features)."""
        joined = b"".join(payload[-self._width :] for payload in payloads)
        return np.frombuffer(joined, dtype="<f8").reshape(len(payloads), len(self.names))

    def with_head(self, head: Row, features: bytes) -> bytes:
        """A payload from a head and the features' own bytes, such as `features_of` gives."""
        return self.schema.header + self._head.write(self._plain(head)) + features

    def features_of(self, payload: bytes) -> bytes:
        return payload[-self._width :]


class Decoded(NamedTuple):
    """What a payload is: an event, or the head of a row with the codec that knows its features."""

    value: Any
    rows: RowCodec[Any] | None


class Codec:
    """All schemas one process knows: those it was built with, and those it learned from the log.

    Args:
        memory: the last payloads and what they are; codecs that share one read each record once between them.

    >>> codec = Codec()
    >>> label = records.Label(id="UA-1545", time=0, label=1.0)
    >>> codec.decode(codec.encode(label)).value == label
    True
    """

    def __init__(self, *, memory: dict[bytes, Decoded] | None = None) -> None:
        self._memory = memory
        self._own: dict[str, tuple[Schema, Callable[[Any], Mapping[str, Any]]]] = {}
        self._readers: dict[bytes, Callable[[bytes], Decoded]] = {}
        self._plain: dict[bytes, tuple[str, Callable[[bytes], dict[str, Any]]]] = {}
        self._writers: dict[tuple[str, str, str], RowCodec[Any]] = {}
        self.written: list[Schema] = []
        """What this process writes with: all events, and the rows it has been asked for."""
        for name, text in SCHEMAS.items():
            if name not in ROWS:
                schema = _schema(text)
                self._own[name] = schema, _unbuilder(getattr(records, name))
                self.written.append(schema)
                self._learn_event(schema, name)

    def encode(self, event: Any) -> bytes:
        """An event, by the schema of its class."""
        schema, plain = self._own[type(event).__name__]
        return schema.header + schema.write(plain(event))

    def decode(self, payload: bytes) -> Decoded:
        """An event, or the head of a row.

        Raises:
            Invalid: not decodable.
            UnknownSchema: nothing is known of its fingerprint.
        """
        memory = self._memory
        if memory is not None and (known := memory.get(payload)) is not None:
            return known
        fingerprint = fingerprint_of(payload, largest=LARGEST_OWN)
        read = self._readers.get(fingerprint)
        if read is None:
            raise UnknownSchema(fingerprint)
        decoded = read(payload)
        if memory is not None and decoded.rows is not None:  # events are read once, rows by several tasks
            if len(memory) >= _REMEMBERED:
                memory.clear()
            memory[payload] = decoded
        return decoded

    @property
    def remembers(self) -> bool:
        """Whether to decode a row that was decoded before costs next to nothing."""
        return self._memory is not None

    def plain(self, payload: bytes) -> tuple[str, dict[str, Any]]:
        """The kind of an event or row, and its plain values by name: for who looks at few of them.

        Raises:
            Invalid: not decodable.
            UnknownSchema: nothing is known of its fingerprint.

        >>> codec = Codec()
        >>> codec.plain(codec.encode(records.Label(id="a", time=0, label=1.0)))
        ('Label', {'id': 'a', 'time': 0, 'label': 1.0})
        """
        fingerprint = fingerprint_of(payload, largest=LARGEST_OWN)
        if (known := self._plain.get(fingerprint)) is None:
            raise UnknownSchema(fingerprint)
        kind, read = known
        return kind, read(payload)

    def learn(self, text: bytes | str) -> None:
        """Take in a schema from the log; ones this build has no class for are left alone.

        Raises:
            Invalid: not a schema, or one that is refused.
        """
        schema = _schema(text)
        if schema.fingerprint in self._readers:
            return
        name = schema.name.rpartition(".")[2]
        if name in self._own:
            self._learn_event(schema, name)
        elif (kind := name.partition("_")[0]) in ROWS:
            self._learn_rows(schema, kind)

    def rows(self, kind: type[Row], pipeline: str, layout: str, names: Sequence[str]) -> RowCodec[Row]:
        """The codec that writes rows of this kind for a pipeline's layout of features."""
        key = kind.__name__, pipeline, layout
        codec = self._writers.get(key)
        if codec is None:
            schema = row_schema(kind.__name__, pipeline, layout, names)
            if schema.fingerprint not in self._readers:
                self._learn_rows(schema, kind.__name__)
            codec = self._writers[key] = RowCodec(schema, kind)
            self.written.append(schema)
        return codec

    def texts(self) -> dict[bytes, bytes]:
        """Fingerprint to schema of everything this process writes, for the schemas topic."""
        return {schema.fingerprint: schema.text.encode() for schema in self.written}

    def _learn_event(self, schema: Schema, name: str) -> None:
        own = self._own[name][0]
        reader = None if own.fingerprint == schema.fingerprint else own
        build = _builder(getattr(records, name))
        self._plain[schema.fingerprint] = name, lambda payload: schema.read(payload[HEADER:], reader)
        self._readers[schema.fingerprint] = lambda payload: Decoded(
            build(schema.read(payload[HEADER:], reader)), None
        )

    def _learn_rows(self, schema: Schema, kind: str) -> None:
        if not _ends_in_features(schema.raw):
            raise Invalid(f"{schema.name} does not end in the features of a row", reason="schema")
        rows: RowCodec[Any] = RowCodec(schema, getattr(records, kind))
        self._plain[schema.fingerprint] = kind, rows.fields
        self._readers[schema.fingerprint] = lambda payload: Decoded(rows.head(payload), rows)


def row_schema(kind: str, pipeline: str, layout: str, names: Sequence[str]) -> Schema:
    """The schema of a kind of row for one pipeline and layout of features.

    >>> row_schema("FeatureRow", "churn", "00ff", ["age"]).name
    'penstock.churn.FeatureRow_00ff'
    """
    raw = json.loads(SCHEMAS[kind])
    namespace = f"{_NAMESPACE}.{pipeline.replace('-', '_')}"
    values = {
        "type": "record",
        "name": f"{namespace}.Values_{layout}",
        "fields": [{"name": name, "type": "double"} for name in names],
    }
    raw |= {"name": f"{kind}_{layout}", "namespace": namespace}
    raw["fields"][-1]["type"] = values
    return Schema(json.dumps(raw, separators=(",", ":")))


def _ends_in_features(raw: Any) -> bool:
    """Whether the last field is a record of doubles, as a matrix needs it."""
    fields = raw.get("fields") if isinstance(raw, dict) else None
    values = fields[-1]["type"] if fields else None
    if not isinstance(values, dict) or values["type"] != "record":
        return False
    return all(field["type"] == "double" for field in values["fields"])


@functools.lru_cache(maxsize=1024)
def _schema(text: bytes | str) -> Schema:
    """Remembered: a process has a codec for each of its tasks, and they know the same schemas."""
    return Schema(text)


@functools.cache
def _builder(kind: Any) -> Callable[[Any], Any]:
    """From fastavro's plain values to the annotated type."""
    origin = typing.get_origin(kind)
    if origin in (typing.Union, types.UnionType):
        build = _builder(next(each for each in typing.get_args(kind) if each is not types.NoneType))
        return lambda value: None if value is None else build(value)
    if origin is tuple:
        item = _builder(typing.get_args(kind)[0])
        return tuple if item is _same else lambda values: tuple([item(each) for each in values])
    if dataclasses.is_dataclass(kind):
        make: Callable[..., Any] = typing.cast("Callable[..., Any]", kind)
        needed = [
            (name, build)
            for name, hint in typing.get_type_hints(kind).items()
            if (build := _builder(hint)) is not _same
        ]

        def whole(record: dict[str, Any]) -> Any:
            for name, build in needed:
                record[name] = build(record[name])
            return make(**record)

        return whole
    return kind if isinstance(kind, type) and issubclass(kind, StrEnum) else _same


@functools.cache
def _unbuilder(kind: Any) -> Callable[[Any], Any]:
    """The way back: what fastavro writes."""
    origin = typing.get_origin(kind)
    if origin in (typing.Union, types.UnionType):
        plain = _unbuilder(next(each for each in typing.get_args(kind) if each is not types.NoneType))
        return _same if plain is _same else lambda value: None if value is None else plain(value)
    if origin is tuple:  # which is written as it is
        item = _unbuilder(typing.get_args(kind)[0])
        return _same if item is _same else lambda values: [item(each) for each in values]
    if dataclasses.is_dataclass(kind):
        hints = typing.get_type_hints(kind)
        if len(hints) < 2:  # noqa: PLR2004 - of one attribute its getter gives no tuple
            [(name, hint)] = hints.items()
            plain = _unbuilder(hint)
            return lambda event: {name: plain(getattr(event, name))}
        names, values = tuple(hints), operator.attrgetter(*hints)
        needed = [(name, plain) for name, hint in hints.items() if (plain := _unbuilder(hint)) is not _same]

        def parts(event: Any) -> dict[str, Any]:
            record = dict(zip(names, values(event), strict=True))
            for name, plain in needed:
                record[name] = plain(record[name])
            return record

        return parts
    return _same


def _same(value: Any) -> Any:
    return value

"""Mutated records of every wire format: nothing crashes, nothing leaks, every record is a row or refused.

A few thousand of each in `make test`; PENSTOCK_PROVE=1 makes them 100,000 of each.
"""

from __future__ import annotations

import base64
import json
import os
import random
import zlib
from collections.abc import Callable
from itertools import cycle, islice
from typing import TYPE_CHECKING, Any, Final

import psutil
import pytest

from penstock.ingest.domain.intake import event_paths, take_events
from penstock.kernel.errors import Invalid
from penstock.kernel.formats import Format
from penstock.kernel.pipeline import Pipeline
from penstock.runtime.avro import LARGEST
from penstock.runtime.broker import Headers, Record
from penstock.runtime.wire import Registries, Wire
from tests.wire.fake import NOT_FOUND, FakeRegistry
from tests.wire.written import GUID, body, container, guided, numbered, single

if TYPE_CHECKING:
    from collections.abc import Iterator

    from penstock.runtime.wire.client import Access

    Written = tuple[bytes, Headers]

COUNT: Final = 100_000 if os.environ.get("PENSTOCK_PROVE") else 2_500
BATCH: Final = 500
SEED: Final = int(os.environ.get("PENSTOCK_FUZZ_SEED", "5"))
GROWTH: Final = 24 * 1024 * 1024
"""Bytes by which the process may grow once it has seen a tenth of the records: what allocators keep."""

ORDER: dict[str, Any] = {
    "type": "record",
    "name": "Order",
    "namespace": "shop",
    "fields": [
        {"name": "id", "type": "string"},
        {"name": "at", "type": {"type": "long", "logicalType": "timestamp-micros"}},
        {
            "name": "total",
            "type": ["null", {"type": "bytes", "logicalType": "decimal", "precision": 20, "scale": 2}],
        },
        {"name": "plan", "type": {"type": "enum", "name": "Plan", "symbols": ["FREE", "PRO"]}},
        {"name": "ok", "type": "boolean"},
        {
            "name": "buyer",
            "type": [
                "null",
                {"type": "record", "name": "Buyer", "fields": [{"name": "age", "type": ["null", "int"]}]},
            ],
        },
        {"name": "tags", "type": {"type": "map", "values": "string"}},
        {"name": "lines", "type": {"type": "array", "items": "double"}},
        {"name": "wind", "type": "double"},
        {"name": "rain", "type": "float"},
    ],
}
FLAT: dict[str, Any] = {
    **ORDER,
    "fields": [each for each in ORDER["fields"] if each["name"] not in ("tags", "lines")],
}
"""Without what is not read field by field."""
NAMES: Final = {
    7: ORDER,
    8: FLAT,
    9: "string",
    10: {"type": "record", "name": "T", "fields": [{"name": "id", "type": "long"}]},
}


def pipeline(form: object) -> Pipeline:
    tags = (
        {} if form == {"avro": {"schema": FLAT}} else {"color": {"category": ["red"], "from": "tags.color"}}
    )
    return Pipeline.read(
        {
            "pipeline": "shop",
            "task": "binary",
            "events": {"topic": "orders", "format": form, "id": "id", "time": "at"},
            "labels": {"topic": "ends", "id": "id", "time": "at", "value": "kept", "horizon": "1d"},
            "features": {
                "wind": "number",
                "rain": "number",
                "total": "number",
                "age": {"number": {"from": "buyer.age", "max": 99}},
                "plan": {"category": ["FREE", "PRO"]},
                **tags,
                "ok": "boolean",
                "hour": {"hour": "at"},
            },
        }
    )


def orders(chance: random.Random) -> Iterator[dict[str, Any]]:
    """Records as they should be."""
    while True:
        yield {
            "id": chance.choice(["a", "ü" * 20, "x" * 300]),
            "at": chance.randrange(2**50),
            "total": chance.choice([None, b"\x01\x00", b"\xff" * 9]),
            "plan": chance.choice(["FREE", "PRO"]),
            "ok": chance.random() < 0.5,
            "buyer": chance.choice([None, {"age": None}, {"age": 41}]),
            "tags": {"color": "red"} if chance.random() < 0.5 else {},
            "lines": [1.5] * chance.randrange(4),
            "wind": chance.gauss(0, 1),
            "rain": 0.5,
        }


def plain(order: dict[str, Any]) -> bytes:
    return json.dumps({**order, "total": 12.5, "at": "2024-05-01T12:00:00Z"}).encode()


def _squeezed(data: bytes) -> bytes:
    squeeze = zlib.compressobj(9, zlib.DEFLATED, -15)
    return squeeze.compress(data) + squeeze.flush()


def _packed(schema: bytes, payload: bytes, codec: bytes = b"null", count: bytes = b"\x02") -> bytes:
    def text(value: bytes) -> bytes:
        size, out = len(value) << 1, b""
        while size > 0x7F:
            out, size = out + bytes([size & 0x7F | 0x80]), size >> 7
        return out + bytes([size]) + value

    facts = b"\x04" + text(b"avro.schema") + text(schema) + text(b"avro.codec") + text(codec) + b"\x00"
    return b"Obj\x01" + facts + bytes(16) + count + text(payload) + bytes(16)


def _grown(depth: int) -> bytes:
    """A schema that doubles with each of its lines."""
    kind: dict[str, Any] = {"type": "record", "name": "R0", "fields": [{"name": "id", "type": "int"}]}
    for at in range(1, depth):
        fields = [{"name": "a", "type": kind}, {"name": "b", "type": f"R{at - 1}"}]
        kind = {"type": "record", "name": f"R{at}", "fields": fields}
    return json.dumps(kind).encode()


HUGE: Final = b"\xfe\xff\xff\xff\xff\xff\xff\xff\x7f"  # 2^62 - 1, as a length or a count
RARE: Final = 0.2
"""Of the records that may be one, those that are a bomb: they are large."""
BOMBS: Final = [
    HUGE,
    HUGE * 30,
    b"\x02a" + HUGE,
    b"[" * 100_000,
    b'{"a":' * 20_000,
    b'{"id": ' + b"9" * 5_000 + b"}",
    b'{"id": 1e999, "at": -1e308}',
    b'{"id": "\\ud800"}',
    bytes(LARGEST),
    bytes(LARGEST + 1),
    _packed(
        b'{"type": "record", "name": "B", "fields": [{"name": "id", "type": "bytes"}]}',
        _squeezed(bytes(9_000_000)),
        b"deflate",
    ),
    _packed(b'{"type": "array", "items": "null"}', HUGE),
    _packed(b'{"type": "record", "name": "B", "fields": [{"name": "b", "type": "B"}]}', b"\x02" * 50_000),
    _packed(_grown(14), bytes(100)),
    _packed(_grown(40), bytes(100)),
    _packed(b"[" * 50_000, b""),
    _packed(b'{"type": "fixed", "name": "F", "size": 99999999999}', b""),
    _packed(b'"string"', b"\x02a"),
    _packed(
        b'{"type": "record", "name": "R", "fields": [{"name": "id", "type": "long"}]}', b"\x02", count=HUGE
    ),
    b'{"specversion": "1.0", "data_base64": "' + base64.b64encode(HUGE * 1000) + b'"}',
    b'{"specversion": "1.0", "data": ' + b'{"a":' * 900 + b"1" + b"}" * 900 + b"}",
]


def _flipped(value: bytes, chance: random.Random) -> bytes:
    flipped = bytearray(value)
    for _ in range(chance.randrange(1, 9)):
        flipped[chance.randrange(len(flipped))] ^= 1 << chance.randrange(8)
    return bytes(flipped)


def _cut(value: bytes, chance: random.Random) -> tuple[bytes, bytes, bytes]:
    """A value in three parts, some of them empty."""
    at = chance.randrange(len(value) + 1)
    to = chance.randrange(at, len(value) + 1)
    return value[:at], value[at:to], value[to:]


Mutator = Callable[[bytes, bytes, random.Random], bytes]


def _of_parts(put: Callable[[bytes, bytes, bytes, random.Random], bytes]) -> Mutator:
    return lambda value, _, chance: put(*_cut(value, chance), chance)


MUTATORS: Final[list[Mutator]] = [
    _of_parts(lambda before, *_: before),  # broken off
    _of_parts(lambda before, _, after, __: before + after),
    _of_parts(lambda before, part, after, chance: before + chance.randbytes(9) + part + after),
    _of_parts(lambda before, part, after, chance: before + chance.randbytes(len(part)) + after),
    _of_parts(lambda before, part, after, chance: before + part * chance.randrange(2, 50) + after),
    _of_parts(lambda before, part, after, _: before + HUGE + part + after),
    lambda value, _, chance: value + chance.randbytes(chance.randrange(1, 20)),  # bytes left at the end
    lambda value, _, chance: value[:1] + chance.randbytes(4) + value[5:],  # another id
    lambda value, other, chance: value[: (at := chance.randrange(len(value) + 1))] + other[at:],
    lambda value, _, chance: chance.choice(BOMBS) if chance.random() < RARE else _flipped(value, chance),
    lambda _, __, chance: chance.randbytes(chance.randrange(60)),
    lambda value, _, chance: _flipped(value, chance),
    lambda value, _, chance: _flipped(value, chance),
]


def _mutated(value: bytes, other: bytes, chance: random.Random) -> bytes:
    return chance.choice(MUTATORS)(value, other, chance)


def mutated(written: Written, other: Written, chance: random.Random) -> Written:
    """Mostly the value, now and then a header too."""
    value, headers = written
    if headers and chance.random() < 0.2:
        name, raw = headers[0]
        headers = ((name, _mutated(raw, other[1][0][1], chance)), *headers[1:])
    elif headers and chance.random() < 0.05:
        headers = headers[1:]
    return _mutated(value, other[0], chance), headers


IN_HEADER: Final = "__value_schema_id"
BINARY: Final[Headers] = (
    ("ce_specversion", b"1.0"),
    ("ce_id", b"e-1"),
    ("content-type", b"application/json"),
)
JSON_EVENT: Final[Headers] = (("content-type", b"application/cloudevents+json"),)
REGISTRY: Final = {"confluent": "http://registry"}
FORMATS: Final[dict[str, tuple[object, Callable[[dict[str, Any]], Written]]]] = {
    "json": ("json", lambda order: (plain(order), ())),
    "single object": ({"avro": {"schema": ORDER}}, lambda order: (single(ORDER, order), ())),
    "single object, flat": ({"avro": {"schema": FLAT}}, lambda order: (single(FLAT, order), ())),
    "magic 0": (REGISTRY, lambda order: (numbered(7, body(ORDER, order)), ())),
    "magic 0, flat": (REGISTRY, lambda order: (numbered(8, body(FLAT, order)), ())),
    "magic 1": (REGISTRY, lambda order: (guided(GUID, body(FLAT, order)), ())),
    "GUID in a header": (REGISTRY, lambda order: (body(FLAT, order), ((IN_HEADER, guided(GUID)),))),
    "container": ({"avro": "container"}, lambda order: (container(FLAT, order), ())),
    "container, deflate": (
        {"avro": "container"},
        lambda order: (container(FLAT, order, codec="deflate"), ()),
    ),
    "reader": (
        {**REGISTRY, "reader": {"schema": ORDER}},
        lambda order: (numbered(7, body(ORDER, order)), ()),
    ),
    "CloudEvents, binary": ({"cloudevents": "json"}, lambda order: (plain(order), BINARY)),
    "CloudEvents, structured": (
        {"cloudevents": "json"},
        lambda order: (b'{"specversion": "1.0", "id": "e", "data": ' + plain(order) + b"}", JSON_EVENT),
    ),
    "CloudEvents of Avro": (
        {"cloudevents": REGISTRY},
        lambda order: (
            b'{"specversion": "1.0", "data_base64": "'
            + base64.b64encode(numbered(8, body(FLAT, order)))
            + b'"}',
            JSON_EVENT,
        ),
    ),
}


@pytest.fixture
def asked(monkeypatch: pytest.MonkeyPatch) -> None:
    """A registry that knows a few ids and answers at once."""
    answers = {
        f"http://registry/schemas/ids/{name}": FakeRegistry.written(schema) for name, schema in NAMES.items()
    }
    answers[f"http://registry/schemas/guids/{GUID}"] = FakeRegistry.written(FLAT)

    def ask(url: str, _: Access) -> tuple[int, bytes]:
        return answers.get(url, NOT_FOUND)

    monkeypatch.setattr("penstock.runtime.wire.registry.ask", ask)


@pytest.mark.usefixtures("asked")
@pytest.mark.timeout(1800 if COUNT > 10_000 else 300)
@pytest.mark.parametrize("name", FORMATS)
def test_no_mutation_is_lost_or_does_harm(name: str) -> None:
    raw, write = FORMATS[name]
    chance = random.Random(f"{SEED} {name}")  # noqa: S311 - the same each time
    spec = pipeline(raw)
    through = Wire(Format.read(raw), event_paths(spec), Registries(wait=0))
    sound = [write(order) for order in islice(orders(chance), 200)]
    assert _rows(through, spec, [Record("orders", 0, 0, 2**45, None, *each) for each in sound])[0] == len(
        sound
    )
    process, sizes, refusals, rows = psutil.Process(), [], dict[str, int](), 0
    stream = cycle(sound)
    for _ in range(0, COUNT, BATCH):
        batch = [
            Record("orders", 0, 0, 2**45, None, *mutated(each, chance.choice(sound), chance))
            for each in islice(stream, BATCH)
        ]
        kept, refused = _rows(through, spec, batch)
        rows += kept
        for why in refused:
            refusals[why.reason] = refusals.get(why.reason, 0) + 1
        sizes.append(process.memory_info().rss)
    settled = max(sizes[: max(1, len(sizes) // 10)])
    print(f"{name}: {rows} rows, {refusals}, grew {(sizes[-1] - settled) / 1e6:+.1f} MB (seed {SEED})")
    assert rows + sum(refusals.values()) == len(sizes) * BATCH
    assert rows > 0
    assert refusals["undecodable"] > 0
    assert sizes[-1] - settled < GROWTH


def _rows(through: Wire, spec: Pipeline, batch: list[Record]) -> tuple[int, list[Invalid]]:
    """How many rows a batch makes, and why the others are none; each record is one or the other, once."""
    columns = through.read(batch)
    assert sorted([*columns.places, *columns.refused]) == list(range(len(batch)))
    assert list(columns.places) == sorted(columns.places)
    assert {len(column) for column in columns.values.values()} == {len(columns.places)}
    intake = take_events(spec, columns.values, [batch[place].timestamp for place in columns.places])
    assert len(intake.ids) + len(intake.refused) + intake.duplicates == len(columns.places)
    assert len(intake.matrix) == len(intake.ids)
    return len(intake.ids), [*columns.refused.values(), *intake.refused.values()]

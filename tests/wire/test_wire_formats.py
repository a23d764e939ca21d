"""Every wire format: what it holds comes out, and what it does not is refused with a reason."""

from __future__ import annotations

import base64
import json
import math
import zlib
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest

from penstock.kernel.errors import Invalid
from penstock.kernel.formats import Format
from penstock.runtime.avro import LARGEST
from penstock.runtime.broker import Headers
from penstock.runtime.wire import Registries, Wire
from tests.wire.fake import FakeRegistry, registry
from tests.wire.written import GUID, body, container, guided, numbered, read, record, rows, single, wire

if TYPE_CHECKING:
    from collections.abc import Iterator

ORDER: dict[str, Any] = {
    "type": "record",
    "name": "Order",
    "fields": [
        {"name": "id", "type": "string"},
        {"name": "total", "type": ["null", "double"]},
        {
            "name": "buyer",
            "type": [
                "null",
                {
                    "type": "record",
                    "name": "Buyer",
                    "fields": [
                        {"name": "age", "type": ["null", "int"]},
                        {
                            "name": "plan",
                            "type": {"type": "enum", "name": "Plan", "symbols": ["FREE", "PRO"]},
                        },
                    ],
                },
            ],
        },
    ],
}
FULL = {"id": "a", "total": 2.5, "buyer": {"age": 41, "plan": "PRO"}}
BARE = {"id": "b", "total": None, "buyer": None}
PATHS = ("id", "total", "buyer.age", "buyer.plan")
OUT = [("a", 2.5, 41, "PRO"), ("b", None, None, None)]
ID_IN_HEADER = "__value_schema_id"


@pytest.fixture
def fake() -> Iterator[FakeRegistry]:
    with registry() as there:
        there.knows(7, ORDER)
        there.knows(GUID, ORDER)
        yield there


def reasons(columns: Any) -> dict[int, str]:
    return {place: why.reason for place, why in columns.refused.items()}


def none_for_nan(found: list[tuple[object, ...]]) -> list[tuple[object, ...]]:
    """A column of doubles says NaN for what is missing."""
    return [
        tuple(None if isinstance(each, float) and math.isnan(each) else each for each in row) for row in found
    ]


# -- the same record in all of them


def written(form: str, fields: Any) -> tuple[bytes, Headers]:
    """How a producer of this format writes a record."""
    avro, plain = body(ORDER, fields), json.dumps(fields).encode()
    event = {"specversion": "1.0", "id": "e-1"}
    in_base64 = {**event, "data_base64": base64.b64encode(numbered(7, avro)).decode()}
    binary: Headers = (("ce_specversion", b"1.0"), ("ce_id", b"e-1"))
    structured: Headers = (("content-type", b"application/cloudevents+json; charset=utf-8"),)
    forms: dict[str, tuple[bytes, Headers]] = {
        "json": (plain, ()),
        "avro": (single(ORDER, fields), ()),
        "magic 0": (numbered(7, avro), ()),
        "magic 1": (guided(GUID, avro), ()),
        "guid header": (avro, ((ID_IN_HEADER, guided(GUID)),)),
        "id header": (avro, ((ID_IN_HEADER, numbered(7, b"")),)),
        "container": (container(ORDER, fields), ()),
        "deflate": (container(ORDER, fields, codec="deflate"), ()),
        "bzip2": (container(ORDER, fields, codec="bzip2"), ()),
        "xz": (container(ORDER, fields, codec="xz"), ()),
        "ce binary": (plain, (*binary, ("content-type", b"application/json"))),
        "ce structured": (json.dumps({**event, "data": fields}).encode(), structured),
        "ce without a content type": (json.dumps({**event, "data": fields}).encode(), ()),
        "ce of avro": (numbered(7, avro), binary),
        "ce of avro in base64": (json.dumps(in_base64).encode(), structured),
    }
    return forms[form]


FORMATS: dict[str, object] = {
    "json": "json",
    "avro": {"avro": {"schema": ORDER}},
    **dict.fromkeys(("magic 0", "magic 1", "guid header", "id header"), "confluent"),
    **dict.fromkeys(("container", "deflate", "bzip2", "xz"), "container"),
    **dict.fromkeys(("ce binary", "ce structured", "ce without a content type"), "cloudevents of json"),
    **dict.fromkeys(("ce of avro", "ce of avro in base64"), "cloudevents"),
}


def raw_format(form: str, fake: FakeRegistry) -> object:
    """As a pipeline file says it."""
    registry = {"confluent": fake.url}
    said = {
        "confluent": registry,
        "cloudevents": {"cloudevents": registry},
        "cloudevents of json": {"cloudevents": "json"},
    }
    return said.get(str(FORMATS[form]), FORMATS[form])


@pytest.mark.parametrize("form", FORMATS)
def test_a_record_is_read_whatever_it_is_written_in(fake: FakeRegistry, form: str) -> None:
    raw = raw_format(form, fake)
    columns = read(wire(raw, *PATHS), written(form, FULL), written(form, BARE), (None, ()), (b"", ()))
    assert none_for_nan(rows(columns)) == OUT
    assert list(columns.places) == [0, 1]
    assert reasons(columns) == {2: "empty", 3: "empty"}


@pytest.mark.parametrize("form", FORMATS)
def test_a_record_that_is_too_large_is_not_looked_at(fake: FakeRegistry, form: str) -> None:
    raw = raw_format(form, fake)
    value, headers = written(form, FULL)
    columns = read(wire(raw, "id"), (value + bytes(LARGEST), headers), (value, headers))
    assert reasons(columns) == {0: "too_large"}
    assert list(columns.places) == [1]


def test_writers_of_all_kinds_on_one_topic(fake: FakeRegistry) -> None:
    old = {**ORDER, "fields": [{"name": "id", "type": "long"}]}
    fake.knows(3, old)
    fake.knows(4, {"type": "object"}, schemaType="JSON")
    columns = read(
        wire({"confluent": fake.url}, *PATHS),
        written("magic 0", FULL),
        b"{}",
        numbered(3, body(old, {"id": 17})),
        numbered(4, b'{"id": "c", "buyer": {"age": 3}}'),
        written("guid header", BARE),
        written("magic 1", FULL),
        numbered(4, b'{"id": '),
    )
    assert none_for_nan(rows(columns)) == [
        OUT[0],
        (17, None, None, None),
        ("c", None, 3, None),
        OUT[1],
        OUT[0],
    ]
    assert list(columns.places) == [0, 2, 3, 4, 5]
    assert reasons(columns) == {1: "undecodable", 6: "undecodable"}


def test_ids_of_files_need_no_registry() -> None:
    through = wire({"confluent": {"7": {"schema": ORDER}, GUID: {"schema": ORDER}}}, *PATHS)
    columns = read(through, written("magic 0", FULL), written("guid header", BARE), numbered(8, b""))
    assert none_for_nan(rows(columns)) == OUT
    assert reasons(columns) == {2: "unknown_schema"}
    assert "schema 8, which the pipeline file does not name" in str(columns.refused[2])


def test_files_win_over_the_registry(fake: FakeRegistry) -> None:
    fake.knows(7, {"type": "object"}, schemaType="JSON")
    through = wire({"confluent": {"url": fake.url, "7": {"schema": ORDER}}}, *PATHS)
    assert none_for_nan(rows(read(through, written("magic 0", FULL)))) == OUT[:1]
    assert fake.asked == []


def test_the_last_of_several_headers_counts(fake: FakeRegistry) -> None:
    value, headers = written("guid header", FULL)
    stale = (ID_IN_HEADER, numbered(99, b""))
    columns = read(wire({"confluent": fake.url}, "id"), (value, (stale, *headers)))
    assert rows(columns) == [("a",)]


@pytest.mark.parametrize(
    "header", [b"", b"\x01", b"\x00\x00", b"\x02" + bytes(16), numbered(7, b"x"), guided(GUID, b"x")]
)
def test_a_header_that_names_no_schema(fake: FakeRegistry, header: bytes) -> None:
    columns = read(wire({"confluent": fake.url}, "id"), (body(ORDER, FULL), ((ID_IN_HEADER, header),)))
    assert reasons(columns) == {0: "undecodable"}


def test_single_objects_of_several_schemas() -> None:
    old = {"type": "record", "name": "Order", "fields": [{"name": "id", "type": "string"}]}
    through = wire({"avro": [{"schema": ORDER}, {"schema": old}]}, *PATHS)
    stranger = {**old, "name": "Other"}
    columns = read(through, single(old, {"id": "o"}), single(ORDER, FULL), single(stranger, {"id": "x"}))
    assert none_for_nan(rows(columns)) == [("o", None, None, None), OUT[0]]
    assert reasons(columns) == {2: "unknown_schema"}


def test_two_schemas_with_one_fingerprint_are_refused() -> None:
    def clock(unit: str) -> dict[str, Any]:
        kind = {"type": "long", "logicalType": f"timestamp-{unit}"}
        return {"schema": {"type": "record", "name": "E", "fields": [{"name": "t", "type": kind}]}}

    with pytest.raises(Invalid, match="two of the schemas E, E have one fingerprint"):
        wire({"avro": [clock("millis"), clock("micros")]}, "t")


# -- containers


@pytest.mark.parametrize(
    ("value", "reason", "told"),
    [
        (b"Obj", "undecodable", "not an Avro container"),
        (b"Obj\x01", "undecodable", "ends too early"),
        (b"Obj\x01" + b"\xff" * 20, "undecodable", "a number does not end"),
        (b"Obj\x01\x00" + bytes(40), "undecodable", "no schema is in it"),
        (container(ORDER), "undecodable", "broken Avro container"),
        (container(ORDER, FULL, BARE), "undecodable", "holds 2 records, expected one"),
        (container(ORDER, FULL)[:-1], "undecodable", "ends too early"),
        (container(ORDER, FULL) + b"!", "undecodable", "1 bytes are left"),
        (container(ORDER, FULL)[:-1] + b"!", "undecodable", "does not end with its sync marker"),
        (
            container(ORDER, FULL, codec="deflate").replace(b"deflate", b"snarfle"),
            "undecodable",
            "packed with",
        ),
        (container(ORDER, FULL).replace(b'"string"', b'"strnig"'), "schema", "not an Avro schema"),
    ],
)
def test_a_container_that_is_not_read(value: bytes, reason: str, told: str) -> None:
    columns = read(wire("container", "id"), value)
    assert reasons(columns) == {0: reason}
    assert told in str(columns.refused[0])


def packed(payload: bytes, codec: bytes, count: int = 1) -> bytes:
    """A container with a block that says what it says."""

    def number(value: int) -> bytes:
        value, out = (value << 1) ^ (value >> 63), b""
        while value > 0x7F:
            out, value = out + bytes([value & 0x7F | 0x80]), value >> 7
        return out + bytes([value])

    def text(value: bytes) -> bytes:
        return number(len(value)) + value

    schema = json.dumps({"type": "record", "name": "B", "fields": [{"name": "id", "type": "bytes"}]}).encode()
    head = b"Obj\x01" + number(2) + text(b"avro.schema") + text(schema) + text(b"avro.codec") + text(codec)
    sync = bytes(range(16))
    return head + number(0) + sync + number(count) + text(payload) + sync


def _deflated(data: bytes) -> bytes:
    squeeze = zlib.compressobj(9, zlib.DEFLATED, -15)
    return squeeze.compress(data) + squeeze.flush()


def test_a_packed_bomb_is_not_unpacked() -> None:
    bomb = _deflated(bytes(200_000_000))
    assert len(bomb) < 200_000
    columns = read(wire("container", "id"), packed(bomb, b"deflate"), packed(b"\x02a", b"null"))
    assert reasons(columns) == {0: "too_large"}
    assert list(columns.places) == [1]


@pytest.mark.parametrize(
    "payload",
    [b"", b"\xff" * 9, _deflated(b"\x02a")[:-1], _deflated(b"\x02a") + b"!" * 5, _deflated(b"\x02a!")],
)
def test_what_is_packed_has_to_be_whole(payload: bytes) -> None:
    columns = read(wire("container", "id"), packed(payload, b"deflate"))
    assert reasons(columns) == {0: "undecodable"}


# -- CloudEvents


def test_an_envelope_has_fields() -> None:
    through = wire({"cloudevents": "json"}, "x", "ce.id", "ce.time", "ce.tenant", "ce.datacontenttype")
    binary: Headers = (
        ("ce_specversion", b"1.0"),
        ("ce_id", b"e-1"),
        ("ce_time", b"2024-05-01T12:00:00Z"),
        ("ce_tenant", b"acme"),
        ("content-type", b"application/json; charset=utf-8"),
        ("traceparent", b"00-1-2-01"),
    )
    event = {"specversion": "1.0", "id": "e-2", "time": "2024-05-01T13:00:00Z", "data": {"x": 2}}
    structured = json.dumps(event).encode(), (("content-type", b"application/cloudevents+json"),)
    assert rows(read(through, (b'{"x": 1}', binary), structured)) == [
        (1, "e-1", "2024-05-01T12:00:00Z", "acme", "application/json; charset=utf-8"),
        (2, "e-2", "2024-05-01T13:00:00Z", None, None),
    ]


CE = {"specversion": "1.0", "id": "e"}
STRUCTURED: Headers = (("content-type", b"application/cloudevents+json"),)


@pytest.mark.parametrize(
    ("value", "headers", "told"),
    [
        (b'{"x": 1}', (), "a JSON object without specversion"),
        (b"\x00\x01", (), "no header ce_specversion"),
        (b'{"x": 1}', (("ce_specversion", b"0.3"),), "specversion is '0.3', expected 1.0"),
        (b'{"x": 1}', (("content-type", b"application/cloudevents-batch+json"),), "expected application"),
        (b'{"x": 1}', (("content-type", b"application/cloudevents+avro"),), "expected application"),
        (b"[", STRUCTURED, "not JSON"),
        (b"[1]", STRUCTURED, "without specversion"),
        (json.dumps({**CE, "specversion": 1}), STRUCTURED, "specversion is '1'"),
        (json.dumps(CE), STRUCTURED, "its data is missing"),
        (json.dumps({**CE, "data": "x"}), STRUCTURED, "its data is a str"),
        (json.dumps({**CE, "data_base64": "?"}), STRUCTURED, "data_base64 is no base64"),
        (json.dumps({**CE, "data_base64": 3}), STRUCTURED, "data_base64 is no base64"),
        (json.dumps({**CE, "data_base64": "é"}), STRUCTURED, "data_base64 is no base64"),
        (json.dumps({**CE, "data_base64": ""}), STRUCTURED, "no value"),
        (b"1", (("ce_specversion", b"1.0"),), "expected a JSON object, got a int"),
    ],
)
def test_what_is_no_cloudevent(value: str | bytes, headers: Headers, told: str) -> None:
    payload = value.encode() if isinstance(value, str) else value
    columns = read(wire({"cloudevents": "json"}, "x"), (payload, headers))
    assert list(columns.places) == []
    assert told in str(columns.refused[0])


# -- what values mean

DAY = 86_400_000
NOON = 1_714_564_800_000  # 2024-05-01T12:00:00Z


def logical(kind: object, word: str, **more: Any) -> dict[str, Any]:
    base = kind if isinstance(kind, dict) else {"type": kind}
    return {**base, "logicalType": word, **more}


FIXED = {"type": "fixed", "name": "F", "size": 16}
UUID = "6f2504e0-4f89-41d3-9a0c-0305e82c3301"
MEANINGS: list[tuple[dict[str, Any], object, object]] = [
    (logical("long", "timestamp-millis"), NOON, NOON),
    (logical("long", "timestamp-micros"), NOON * 1000 + 999, NOON),
    (logical("long", "timestamp-micros"), -1, -1),
    (logical("long", "timestamp-nanos"), NOON * 1_000_000 + 1, NOON),
    (logical("long", "local-timestamp-micros"), NOON * 1000, NOON),
    (logical("int", "date"), 19844, 19844 * DAY),
    (logical("int", "time-millis"), 1500, 1500),
    (logical("long", "time-micros"), 1500, 1.5),
    (logical("bytes", "decimal", precision=9, scale=2), (-12345).to_bytes(3, "big", signed=True), -123.45),
    (logical("bytes", "decimal", precision=9), (12345).to_bytes(2, "big"), 12345),
    (logical("bytes", "decimal", precision=9, scale=2), b"", 0.0),
    (logical(FIXED, "decimal", precision=30, scale=3), (5).to_bytes(16, "big"), 0.005),
    (logical("bytes", "decimal", precision=9, scale=1), b"\x7f" * 600, math.inf),
    (logical("bytes", "decimal", precision=9, scale=1), b"\x80" * 600, -math.inf),
    (logical("string", "uuid"), UUID, UUID),
    (logical(FIXED, "uuid"), bytes.fromhex(UUID.replace("-", "")), UUID),
    (logical("int", "timestamp-micros"), 5, 5),  # Avro takes the plain type where the logical does not fit it
    (logical("bytes", "decimal", precision=2, scale=3), b"\x05", b"\x05"),
]


@pytest.mark.parametrize("nullable", [False, True])
@pytest.mark.parametrize(
    ("kind", "plain", "means"), MEANINGS, ids=[f"{m[0]['logicalType']}" for m in MEANINGS]
)
def test_values_are_what_they_mean(
    kind: dict[str, Any], plain: object, means: object, nullable: bool
) -> None:
    name, x = {"name": "id", "type": "long"}, ["null", kind] if nullable else kind
    schema = {"type": "record", "name": "E", "fields": [name, {"name": "x", "type": x}]}
    bare = {**schema, "fields": [name, {"name": "x", "type": _bare(x)}]}
    values = [body(bare, {"id": at, "x": plain}) for at in range(3)]
    if nullable:
        values.append(body(bare, {"id": 3, "x": None}))
    columns = read(
        wire({"confluent": {"7": {"schema": schema}}}, "id", "x"), *(numbered(7, v) for v in values)
    )
    assert [row[1] for row in rows(columns)] == [means] * 3 + [None] * nullable


def _bare(kind: Any) -> Any:
    if isinstance(kind, list):
        return [_bare(each) for each in kind]
    return (
        {key: value for key, value in kind.items() if key != "logicalType"}
        if isinstance(kind, dict)
        else kind
    )


def test_two_meanings_that_look_the_same_are_told() -> None:
    # A fixed and bytes, both with a meaning: the plain bytes do not say which they are.
    union = [logical("bytes", "decimal", precision=4, scale=2), logical(FIXED, "uuid")]
    schema = {"type": "record", "name": "E", "fields": [{"name": "t", "type": union}]}
    columns = read(wire({"confluent": {"7": {"schema": schema}}}, "t"), numbered(7, b"\x00\x02\x01"))
    assert reasons(columns) == {0: "schema"}
    assert "may be decimal or uuid, which cannot be told apart" in str(columns.refused[0])


# -- a reader's schema

READER = {
    "type": "record",
    "name": "Order",
    "fields": [
        {"name": "key", "type": "string", "aliases": ["ident", "id"]},
        {"name": "amount", "type": "double", "aliases": ["total"], "default": -1.0},
        {"name": "at", "type": logical("long", "timestamp-millis"), "default": 0},
        {
            "name": "price",
            "type": logical("bytes", "decimal", precision=4, scale=2),
            "default": "\u0001\u0000",
        },
        {
            "name": "customer",
            "aliases": ["buyer"],
            "default": {"age": 7, "plan": "FREE"},
            "type": {
                "type": "record",
                "name": "Customer",
                "fields": [
                    {"name": "age", "type": ["null", "long"], "default": None},
                    {
                        "name": "plan",
                        "type": {
                            "type": "enum",
                            "name": "Plan",
                            "symbols": ["FREE", "OTHER"],
                            "default": "OTHER",
                        },
                    },
                ],
            },
        },
    ],
}
NAMES = ("key", "amount", "at", "price", "customer.age", "customer.plan")


@pytest.mark.parametrize("form", ["avro", "magic 0", "guid header", "container"])
def test_a_reader_names_the_fields_of_any_writer(fake: FakeRegistry, form: str) -> None:
    forms: dict[str, dict[str, Any]] = {
        "avro": {"avro": {"schema": ORDER}},
        "container": {"avro": "container"},
    }
    raw = forms.get(form, {"confluent": fake.url})
    through = wire({**raw, "reader": {"schema": READER}}, *NAMES)
    found = rows(read(through, written(form, FULL), written(form, BARE)))
    assert none_for_nan(found) == [
        ("a", 2.5, 0, 2.56, 41, "OTHER"),
        ("b", None, 0, 2.56, None, None),
    ]


def test_a_reader_fills_in_what_an_old_writer_did_not_have() -> None:
    old = {"type": "record", "name": "Order", "fields": [{"name": "ident", "type": "string"}]}
    through = wire({"avro": {"schema": old}, "reader": {"schema": READER}}, *NAMES)
    assert rows(read(through, single(old, {"ident": "a"}))) == [("a", -1.0, 0, 2.56, 7, "FREE")]


def test_a_time_is_what_its_writer_meant_and_not_what_the_reader_says() -> None:
    def event(unit: str) -> dict[str, Any]:
        kind = logical("long", f"timestamp-{unit}")
        return {"type": "record", "name": "E", "fields": [{"name": "t", "type": kind}]}

    bare = {"type": "record", "name": "E", "fields": [{"name": "t", "type": "long"}]}
    through = wire({"avro": {"schema": event("micros")}, "reader": {"schema": event("millis")}}, "t")
    assert rows(read(through, single(bare, {"t": NOON * 1000}))) == [(NOON,)]
    through = wire({"avro": {"schema": bare}, "reader": {"schema": event("micros")}}, "t")
    assert rows(read(through, single(bare, {"t": NOON * 1000}))) == [(NOON,)]


def test_a_word_that_no_reader_knows_stays_where_the_enum_has_no_default() -> None:
    def event(*symbols: str) -> dict[str, Any]:
        kind = {"type": "enum", "name": "Plan", "symbols": list(symbols)}
        return {"type": "record", "name": "E", "fields": [{"name": "plan", "type": kind}]}

    through = wire(
        {"avro": {"schema": event("A", "B", "NEW")}, "reader": {"schema": event("A", "B")}}, "plan"
    )
    writer = event("A", "B", "NEW")
    found = rows(read(through, single(writer, {"plan": "NEW"}), single(writer, {"plan": "A"})))
    assert found == [("NEW",), ("A",)]


# -- paths


def test_paths_lead_through_maps_and_nested_records_but_not_through_lists() -> None:
    schema = {
        "type": "record",
        "name": "E",
        "fields": [
            {"name": "tags", "type": {"type": "map", "values": "string"}},
            {"name": "lines", "type": {"type": "array", "items": "int"}},
        ],
    }
    through = wire({"avro": {"schema": schema}}, "tags.color", "tags.size", "lines.0", "no.where")
    value = single(schema, {"tags": {"color": "red"}, "lines": [1]})
    assert rows(read(through, value)) == [("red", None, None, None)]


def test_a_key_with_dots_is_found_in_json() -> None:
    through = wire("json", "a.b", "c.d.e")
    found = rows(read(through, b'{"a.b": 1, "c": {"d": {"e": 2}}}', b'{"a": {"b": 3}, "c": 4}'))
    assert found == [(1, 2), (3, None)]


def test_hints_change_nothing_but_how_a_column_is_held(fake: FakeRegistry) -> None:
    form = Format.read({"confluent": fake.url})
    through = Wire(form, PATHS, Registries(), numbers=["buyer.age", "total"], words=["id", "buyer.plan"])
    columns = through.read([record(*written("magic 0", each)) for each in (FULL, BARE)])
    assert none_for_nan(rows(columns)) == OUT
    assert isinstance(columns.values["buyer.age"], np.ndarray)

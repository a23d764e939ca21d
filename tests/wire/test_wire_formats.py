"""Every wire format: what it holds comes out, and what it does not is refused with a reason."""

from __future__ import annotations

import json
import zlib
from typing import Any

import numpy as np
import pytest

from penstock.kernel.errors import Invalid
from penstock.kernel.formats import Format
from penstock.runtime.avro import LARGEST
from penstock.runtime.broker import Headers
from penstock.runtime.wire import Registries, Wire
from tests.wire.fake import FakeRegistry
from tests.wire.orders import BARE, FULL, ID_IN_HEADER, ORDER, OUT, PATHS, none_for_nan, reasons, written
from tests.wire.written import GUID, body, container, guided, numbered, read, record, rows, single, wire

# -- the same record in all of them


FORMATS: dict[str, object] = {
    "json": "json",
    "avro": {"avro": {"schema": ORDER}},
    **dict.fromkeys(("magic 0", "magic 1", "guid header", "id header"), "confluent"),
    **dict.fromkeys(("container", "deflate", "bzip2", "xz"), "container"),
    **dict.fromkeys(("ce binary", "ce structured", "ce without a content type"), "cloudevents of json"),
    **dict.fromkeys(("ce of avro", "ce of avro in base64"), "cloudevents"),
}


def raw_format(form: str, shop: FakeRegistry) -> object:
    """As a pipeline file says it."""
    registry = {"confluent": shop.url}
    said = {
        "confluent": registry,
        "cloudevents": {"cloudevents": registry},
        "cloudevents of json": {"cloudevents": "json"},
    }
    return said.get(str(FORMATS[form]), FORMATS[form])


@pytest.mark.parametrize("form", FORMATS)
def test_a_record_is_read_whatever_it_is_written_in(shop: FakeRegistry, form: str) -> None:
    raw = raw_format(form, shop)
    columns = read(wire(raw, *PATHS), written(form, FULL), written(form, BARE), (None, ()), (b"", ()))
    assert none_for_nan(rows(columns)) == OUT
    assert list(columns.places) == [0, 1]
    assert reasons(columns) == {2: "empty", 3: "empty"}


@pytest.mark.parametrize("form", FORMATS)
def test_a_record_that_is_too_large_is_not_looked_at(shop: FakeRegistry, form: str) -> None:
    raw = raw_format(form, shop)
    value, headers = written(form, FULL)
    columns = read(wire(raw, "id"), (value + bytes(LARGEST), headers), (value, headers))
    assert reasons(columns) == {0: "too_large"}
    assert list(columns.places) == [1]


def test_writers_of_all_kinds_on_one_topic(shop: FakeRegistry) -> None:
    old = {**ORDER, "fields": [{"name": "id", "type": "long"}]}
    shop.knows(3, old)
    shop.knows(4, {"type": "object"}, schemaType="JSON")
    columns = read(
        wire({"confluent": shop.url}, *PATHS),
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


def test_files_win_over_the_registry(shop: FakeRegistry) -> None:
    shop.knows(7, {"type": "object"}, schemaType="JSON")
    through = wire({"confluent": {"url": shop.url, "7": {"schema": ORDER}}}, *PATHS)
    assert none_for_nan(rows(read(through, written("magic 0", FULL)))) == OUT[:1]
    assert shop.asked == []


def test_the_last_of_several_headers_counts(shop: FakeRegistry) -> None:
    value, headers = written("guid header", FULL)
    stale = (ID_IN_HEADER, numbered(99, b""))
    columns = read(wire({"confluent": shop.url}, "id"), (value, (stale, *headers)))
    assert rows(columns) == [("a",)]


@pytest.mark.parametrize(
    "header", [b"", b"\x01", b"\x00\x00", b"\x02" + bytes(16), numbered(7, b"x"), guided(GUID, b"x")]
)
def test_a_header_that_names_no_schema(shop: FakeRegistry, header: bytes) -> None:
    columns = read(wire({"confluent": shop.url}, "id"), (body(ORDER, FULL), ((ID_IN_HEADER, header),)))
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


def test_hints_change_nothing_but_how_a_column_is_held(shop: FakeRegistry) -> None:
    form = Format.read({"confluent": shop.url})
    through = Wire(form, PATHS, Registries(), numbers=["buyer.age", "total"], words=["id", "buyer.plan"])
    columns = through.read([record(*written("magic 0", each)) for each in (FULL, BARE)])
    assert none_for_nan(rows(columns)) == OUT
    assert isinstance(columns.values["buyer.age"], np.ndarray)

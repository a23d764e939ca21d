"""Raw records become fields, or say why not."""

from __future__ import annotations

import json
from typing import Any

import pytest

from penstock.kernel.formats import Format
from penstock.runtime.avro import LARGEST, Schema
from penstock.runtime.broker import Record
from penstock.runtime.wire import Columns, Wire

PERSON: dict[str, Any] = {
    "type": "record",
    "name": "Person",
    "fields": [
        {"name": "id", "type": "string"},
        {"name": "born", "type": {"type": "long", "logicalType": "timestamp-millis"}},
    ],
}
SCHEMA = Schema(json.dumps(PERSON))
WRITTEN = SCHEMA.header + SCHEMA.write({"id": "a", "born": 1357028100000})
JSON = Wire(Format(), ["id", "deep"])
AVRO = Wire(Format(wire="avro", schema=json.dumps(PERSON)), ["id", "born"])


def read(wire: Wire, *payloads: bytes | None) -> Columns:
    return wire.read([Record("crm", 0, place, 0, None, payload) for place, payload in enumerate(payloads)])


def test_json_is_read_as_it_is() -> None:
    columns = read(JSON, b'{"id": "a", "deep": {"x": [1, null]}, "more": 1}')
    assert list(columns.rows()) == [{"id": "a", "deep": {"x": [1, None]}}]


def test_a_timestamp_stays_a_number() -> None:
    assert list(read(AVRO, WRITTEN).rows()) == [{"id": "a", "born": 1357028100000}]


def test_what_cannot_be_read_is_told_by_its_place_among_the_others() -> None:
    columns = read(JSON, b"{", b'{"id": 1}', None, b'{"deep": 2}')
    assert list(columns.places) == [1, 3]
    assert {place: why.reason for place, why in columns.refused.items()} == {0: "undecodable", 2: "empty"}
    assert list(columns.rows()) == [{"id": 1, "deep": None}, {"id": None, "deep": 2}]


@pytest.mark.parametrize(
    ("wire", "payload", "reason", "message"),
    [
        (JSON, None, "empty", "no value"),
        (JSON, b"", "empty", "no value"),
        (AVRO, None, "empty", "no value"),
        (JSON, b"{", "undecodable", "not JSON"),
        (JSON, b"[1]", "undecodable", "expected a JSON object, got a list"),
        (JSON, b'{"id": "\xff"}', "undecodable", "not JSON"),
        (JSON, b'"' + b"x" * LARGEST + b'"', "too_large", "at most"),
        (AVRO, b'{"id": "a"}', "undecodable", "not single-object Avro"),
        (AVRO, WRITTEN[:-1], "undecodable", "undecodable as Person"),
        (AVRO, WRITTEN + b"!", "undecodable", "1 bytes are left"),
        (
            AVRO,
            b"\xc3\x01" + bytes(8) + WRITTEN[10:],
            "unknown_schema",
            "written with the schema 0000000000000000",
        ),
    ],
)
def test_what_cannot_be_read_says_why(wire: Wire, payload: bytes | None, reason: str, message: str) -> None:
    columns = read(wire, payload)
    assert (list(columns.places), list(columns.refused)) == ([], [0])
    assert columns.refused[0].reason == reason
    assert message in str(columns.refused[0])


def test_a_schema_that_is_still_a_file_is_a_mistake_of_the_program() -> None:
    with pytest.raises(ValueError, match="not inline"):
        Wire(Format(wire="avro", file="person.avsc"), ())

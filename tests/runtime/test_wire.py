"""Raw records become fields, or say why not."""

from __future__ import annotations

import json
from typing import Any

import pytest

from penstock.kernel.errors import Invalid
from penstock.kernel.sources import Format
from penstock.runtime.avro import LARGEST, Schema
from penstock.runtime.wire import Wire

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
JSON, AVRO = Wire(Format()), Wire(Format(wire="avro", schema=json.dumps(PERSON)))


def test_json_is_read_as_it_is() -> None:
    assert JSON.read(b'{"id": "a", "deep": {"x": [1, null]}}') == {"id": "a", "deep": {"x": [1, None]}}


def test_a_timestamp_stays_a_number() -> None:
    assert AVRO.read(WRITTEN) == {"id": "a", "born": 1357028100000}


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
    with pytest.raises(Invalid, match=message) as invalid:
        wire.read(payload)
    assert invalid.value.reason == reason


def test_a_schema_that_is_still_a_file_is_a_mistake_of_the_program() -> None:
    with pytest.raises(ValueError, match="not inline"):
        Wire(Format(wire="avro", file="person.avsc"))

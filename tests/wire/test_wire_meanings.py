"""What Avro's values mean, and a reader's schema by whose names those of any writer are found."""

from __future__ import annotations

import math
from typing import Any

import pytest

from tests.wire.fake import FakeRegistry
from tests.wire.orders import BARE, FULL, ORDER, none_for_nan, reasons, written
from tests.wire.written import body, numbered, read, rows, single, wire

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
def test_a_reader_names_the_fields_of_any_writer(shop: FakeRegistry, form: str) -> None:
    forms: dict[str, dict[str, Any]] = {
        "avro": {"avro": {"schema": ORDER}},
        "container": {"avro": "container"},
    }
    raw = forms.get(form, {"confluent": shop.url})
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

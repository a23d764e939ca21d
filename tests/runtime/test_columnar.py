"""Avro by columns says what Avro record by record says, whatever the schema and whatever the bytes."""

from __future__ import annotations

import json
import math
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from penstock.kernel.columns import Words, plain
from penstock.kernel.errors import Invalid
from penstock.runtime.avro import Schema
from penstock.runtime.columnar import AvroColumns

TEXT = st.text(max_size=4) | st.text("ab", max_size=20) | st.sampled_from(["é" * 9, "x" * 70, "plus"])
PRIMITIVE: dict[str, st.SearchStrategy[Any]] = {
    "double": st.floats(allow_nan=False),
    "float": st.floats(allow_nan=False, width=32),
    "long": st.integers(-(2**63), 2**63 - 1) | st.integers(-70, 70),
    "int": st.integers(-(2**31), 2**31 - 1),
    "string": TEXT,
    "boolean": st.booleans(),
    "bytes": st.binary(max_size=9),
    "null": st.none(),
}


@st.composite
def types(draw: st.DrawFn, name: str, depth: int = 0) -> tuple[Any, st.SearchStrategy[Any]]:
    """A type that is read by columns, and values of it."""
    kinds = [*PRIMITIVE, "enum", "fixed", *(["nullable", "record"] if depth < 2 else [])]
    match draw(st.sampled_from(kinds)):
        case "enum":
            symbols = draw(st.lists(st.sampled_from("abcdefg"), min_size=1, max_size=4, unique=True))
            return {"type": "enum", "name": f"E{name}", "symbols": symbols}, st.sampled_from(symbols)
        case "fixed":
            size = draw(st.integers(1, 40))
            return {"type": "fixed", "name": f"F{name}", "size": size}, st.binary(
                min_size=size, max_size=size
            )
        case "nullable":
            inner, values = draw(
                types(name, depth + 1).filter(lambda it: it[0] != "null" and not isinstance(it[0], list))
            )
            return draw(st.permutations(["null", inner])), st.none() | values
        case "record":
            schema, values = draw(records(name, depth + 1))
            return schema, values
        case kind:
            return kind, PRIMITIVE[kind]


@st.composite
def records(draw: st.DrawFn, name: str = "", depth: int = 0) -> tuple[Any, st.SearchStrategy[Any]]:
    fields = [draw(types(f"{name}_{place}", depth)) for place in range(draw(st.integers(1, 6)))]
    fields.append(("int", PRIMITIVE["int"]))  # a record that takes no bytes is refused
    schema = {
        "type": "record",
        "name": f"R{name}",
        "fields": [{"name": f"f{place}", "type": kind} for place, (kind, _) in enumerate(fields)],
    }
    return schema, st.fixed_dictionaries({f"f{place}": values for place, (_, values) in enumerate(fields)})


def leaves(schema: Any, path: str = "") -> list[tuple[str, str]]:
    """Paths of values that are taken as they are, with their kinds."""
    if isinstance(schema, list):
        return [leaf for each in schema if each != "null" for leaf in leaves(each, path)]
    kind = schema["type"] if isinstance(schema, dict) else schema
    if kind == "record":
        return [
            leaf
            for each in schema["fields"]
            for leaf in leaves(each["type"], f"{path}.{each['name']}" if path else each["name"])
        ]
    return [(path, kind)]


def at(record: Any, path: str) -> Any:
    for name in path.split("."):
        record = None if record is None else record[name]
    return record


def same(value: Any, expected: Any, *, number: bool = False) -> bool:
    if isinstance(value, float) and math.isnan(value):
        return expected is None or (isinstance(expected, float) and math.isnan(expected))
    if number and expected is not None:
        expected = float(expected)
    return type(value) is type(expected) and value == expected


def check(schema: Schema, payloads: list[bytes], *, hints: bool, repeat: int = 1) -> None:
    """By columns as record by record."""
    kinds = dict(leaves(schema.raw))
    numbers = [path for path, kind in kinds.items() if hints and kind in ("int", "long")]
    words = [path for path, kind in kinds.items() if hints and kind == "string"]
    reader = AvroColumns.compile(schema, [*kinds, "nowhere"], numbers=numbers, words=words)
    assert reader is not None
    for _ in range(repeat):
        columns, odd = reader.read([b"head" + each for each in payloads], b"head")
        expected = []
        for payload, unusual in zip(payloads, odd.tolist(), strict=True):
            try:
                record = schema.read(payload)
            except Invalid:
                assert unusual, payload
            else:
                expected += [] if unusual else [record]
        assert columns.pop("nowhere") == [None] * len(expected)
        assert columns.keys() == kinds.keys()
        for path, values in columns.items():
            found = list(plain(values))
            wanted = [at(record, path) for record in expected]
            assert len(found) == len(wanted)
            assert all(
                same(one, other, number=path in numbers) for one, other in zip(found, wanted, strict=True)
            ), (path, found, wanted)


@settings(max_examples=300, deadline=None)
@given(data=st.data())
def test_records_are_read_by_columns_as_one_by_one(data: st.DataObject) -> None:
    raw, values = data.draw(records())
    schema = Schema(json.dumps(raw))
    payloads = [schema.write(each) for each in data.draw(st.lists(values, max_size=6))]
    check(schema, payloads, hints=data.draw(st.booleans()), repeat=2)
    reader = AvroColumns.compile(schema, [])
    assert reader is not None
    small = [b"\x80" not in each and b"\xff" not in each for each in payloads]
    _, odd = reader.read(payloads)
    assert not odd[small].any(), "what is written well is read by columns"


@settings(max_examples=500, deadline=None)
@given(data=st.data())
def test_mutated_records_are_odd_or_read_as_one_by_one(data: st.DataObject) -> None:
    raw, values = data.draw(records())
    schema = Schema(json.dumps(raw))
    payloads = [bytearray(schema.write(each)) for each in data.draw(st.lists(values, min_size=1, max_size=4))]
    for payload in payloads:
        for _ in range(data.draw(st.integers(0, 2))):
            place = data.draw(st.integers(0, max(0, len(payload) - 1)))
            match data.draw(st.sampled_from(["change", "cut", "insert", "append"])):
                case "change" if payload:
                    payload[place] = data.draw(st.sampled_from([0, 1, 2, 3, 127, 128, 255]))
                case "cut":
                    del payload[place:]
                case "insert":
                    payload[place:place] = data.draw(st.binary(min_size=1, max_size=3))
                case _:
                    payload.extend(data.draw(st.sampled_from([b"\x00", b"\x80", b"\xff" * 12])))
    check(schema, [bytes(each) for each in payloads], hints=data.draw(st.booleans()))


@settings(max_examples=200, deadline=None)
@given(payloads=st.lists(st.binary(max_size=40), max_size=5), data=st.data())
def test_garbage_is_odd_or_read_as_one_by_one(payloads: list[bytes], data: st.DataObject) -> None:
    raw, _ = data.draw(records())
    check(Schema(json.dumps(raw)), payloads, hints=data.draw(st.booleans()))


def record(*fields: Any) -> Schema:
    named = [{"name": f"f{place}", "type": each} for place, each in enumerate(fields)]
    return Schema(json.dumps({"type": "record", "name": "R", "fields": named}))


@pytest.mark.parametrize(
    ("kind", "path"),
    [
        ({"type": "array", "items": "int"}, "f1"),
        ({"type": "map", "values": "int"}, "f1"),
        (["null", "int", "string"], "f1"),
        (["int", "string"], "f1"),
        ({"type": "record", "name": "Inner", "fields": [{"name": "x", "type": "int"}]}, "f0"),
    ],
)
def test_what_is_not_read_by_columns_is_left_to_the_other_way(kind: Any, path: str) -> None:
    assert AvroColumns.compile(record(kind, "int"), [path]) is None


def test_logical_types_are_what_they_are_written_as() -> None:
    money = {"type": "bytes", "logicalType": "decimal", "precision": 9, "scale": 2}
    schema = record(money, {"type": "long", "logicalType": "timestamp-micros"})
    reader = AvroColumns.compile(schema, ["f0", "f1"])
    assert reader is not None
    columns, odd = reader.read([schema.write({"f0": b"12", "f1": 7})])
    assert (columns["f0"], plain(columns["f1"]), odd.tolist()) == ([b"12"], [7], [False])


def test_a_record_that_is_too_large_or_begins_otherwise_is_odd() -> None:
    schema = record("string")
    reader = AvroColumns.compile(schema, ["f0"], largest=20)
    assert reader is not None
    good, large = schema.write({"f0": "a"}), schema.write({"f0": "a" * 20})
    header = b"0123456789"
    _, odd = reader.read([header + good, header + large, b"0123456780" + good, header[:5], b""], header)
    assert odd.tolist() == [False, True, True, True, True]


def test_an_empty_batch_has_empty_columns() -> None:
    reader = AvroColumns.compile(
        record("double", "string", ["null", "long"]), ["f0", "f1", "f2"], words=["f1"]
    )
    assert reader is not None
    columns, odd = reader.read([])
    assert ({path: list(plain(values)) for path, values in columns.items()}, len(odd)) == (
        {"f0": [], "f1": [], "f2": []},
        0,
    )


def test_more_words_than_are_remembered_are_still_read() -> None:
    schema = record("string")
    reader = AvroColumns.compile(schema, ["f0"], words=["f0"])
    assert reader is not None
    for start in range(0, 3000, 700):
        wanted = [
            f"a rather long word, number {each}" if each % 2 else str(each)
            for each in range(start, start + 700)
        ]
        columns, odd = reader.read([schema.write({"f0": each}) for each in wanted])
        assert not odd.any()
        assert isinstance(columns["f0"], Words)
        assert list(columns["f0"]) == wanted
        assert len(columns["f0"].words) < 1024 + 702, "what is remembered is bounded"


def test_numbers_side_by_side_come_in_one_piece() -> None:
    schema = record("string", *["double"] * 30)
    reader = AvroColumns.compile(schema, [f"f{place}" for place in range(1, 31)])
    assert reader is not None
    rows = [
        {"f0": "x" * place} | {f"f{each}": place + each / 8 for each in range(1, 31)} for place in range(3)
    ]
    columns, _ = reader.read([schema.write(row) for row in rows])
    first, last = columns["f1"], columns["f30"]
    assert isinstance(first, np.ndarray)
    assert isinstance(last, np.ndarray)
    assert np.shares_memory(first, last) or first.base is last.base
    assert last.tolist() == [30 / 8, 1 + 30 / 8, 2 + 30 / 8]

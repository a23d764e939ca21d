"""Bytes of the log to dataclasses and back; and whatever else bytes may be, they are refused in one way."""

from __future__ import annotations

import json
import random
from collections import Counter
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from penstock.contracts import records
from penstock.contracts.schemas import ROWS, SCHEMAS
from penstock.kernel.errors import Invalid
from penstock.runtime.avro import HEADER, LARGEST_OWN, Schema
from penstock.runtime.codec import Codec, UnknownSchema, row_schema
from tests.contracts import strategies

FEATURES = ("age", "plan", "days")
CODEC = Codec()
ROW_CODECS = {
    name: CODEC.rows(getattr(records, name), "churn", "00ff", FEATURES)
    for name in ("FeatureRow", "Prediction", "Outcome")
}


def encoded(name: str, value: Any, features: tuple[float, ...] = (1.0, float("nan"), -0.5)) -> bytes:
    if name in ROWS:
        [payload] = ROW_CODECS[name].encode([value], np.array([features]))
        return payload
    return CODEC.encode(value)


@pytest.mark.parametrize("name", SCHEMAS)
def test_a_record_comes_back_as_it_was(name: str) -> None:
    @settings(max_examples=25, deadline=None, suppress_health_check=[HealthCheck.too_slow], database=None)
    @given(value=strategies.of(name))
    def round_trip(value: Any) -> None:
        payload = encoded(name, value)
        decoded = CODEC.decode(payload)
        assert repr(decoded.value) == repr(value)  # as text, where NaN is NaN and 0 is not -0
        assert encoded(name, decoded.value) == payload
        assert (decoded.rows is not None) == (name in ROWS)

    round_trip()


@given(
    matrix=st.lists(st.tuples(*[st.floats(width=32)] * len(FEATURES)), min_size=1, max_size=5),
    head=strategies.of("FeatureRow"),
)
@settings(max_examples=50, deadline=None)
def test_features_are_the_last_bytes_of_a_row(
    matrix: list[tuple[float, ...]], head: records.FeatureRow
) -> None:
    rows = ROW_CODECS["FeatureRow"]
    payloads = rows.encode([head] * len(matrix), np.array(matrix))
    np.testing.assert_array_equal(rows.matrix(payloads), np.array(matrix))
    for payload, values in zip(payloads, matrix, strict=True):
        assert payload[-8 * len(FEATURES) :] == np.array(values, dtype="<f8").tobytes()
        assert rows.with_head(head, rows.features_of(payload)) == payload


def reason_of(act: Callable[[], object]) -> str:
    """Why it is invalid, empty where it is not; anything else is raised."""
    try:
        act()
    except Invalid as why:
        return why.reason
    return ""


# -- evolved writers


def evolved(text: str, **field: Any) -> Schema:
    """The schema with one field more, before the last one (a row ends in its features)."""
    raw = json.loads(text)
    raw["fields"].insert(len(raw["fields"]) - 1, field)
    return Schema(json.dumps(raw))


@pytest.mark.parametrize("name", SCHEMAS)
def test_a_field_that_a_later_writer_adds_is_ignored(name: str) -> None:
    value = strategies.sample(name)
    text = row_schema(name, "churn", "00ff", FEATURES).text if name in ROWS else SCHEMAS[name]
    later = evolved(text, name="added_later", type="string", default="")
    codec = Codec()
    codec.learn(later.text)
    plain = Schema(text).read(encoded(name, value)[HEADER:])
    decoded = codec.decode(later.header + later.write({**plain, "added_later": "x" * 300}))
    assert repr(decoded.value) == repr(value)
    if name in ROWS:
        assert decoded.rows is not None
        assert decoded.rows.names == FEATURES
        assert decoded.rows.layout == "00ff"


# -- what is no record


def mutants(payload: bytes, chance: random.Random) -> Iterator[bytes]:
    """Flipped, cut, stretched, doubled: what disks, networks and other programs make of bytes."""
    for _ in range(100):
        spoilt = bytearray(payload)
        for _ in range(chance.choice([1, 1, 1, 2, 5])):
            place = chance.randrange(HEADER, len(spoilt)) if len(spoilt) > HEADER else 0
            match chance.randrange(5):
                case 0:
                    spoilt[place] ^= 1 << chance.randrange(8)
                case 1:
                    spoilt[place] = chance.choice([0, 1, 127, 128, 255])
                case 2:
                    del spoilt[place : place + chance.randrange(1, 5)]
                case 3:
                    spoilt[place:place] = chance.randbytes(chance.randrange(1, 12))
                case 4:
                    spoilt[place : place + 10] = b"\xff" * 9 + b"\x01"  # the greatest number there is
        yield bytes(spoilt)


def test_spoilt_bytes_are_invalid_or_another_record_and_nothing_else() -> None:
    chance = random.Random(20130101)  # noqa: S311 - the same mutants each time
    reasons = Counter(
        reason_of(lambda mutant=mutant: CODEC.decode(mutant))  # type: ignore[misc] # a default is not inferred
        for name in SCHEMAS
        for mutant in mutants(encoded(name, strategies.sample(name)), chance)
    )
    assert reasons.keys() == {"", "undecodable"}
    assert reasons["undecodable"] > 1000


@pytest.mark.parametrize("name", SCHEMAS)
def test_a_payload_that_ends_too_early_or_too_late_is_invalid(name: str) -> None:
    payload = encoded(name, strategies.sample(name))
    for end in range(len(payload)):
        with pytest.raises(Invalid):
            CODEC.decode(payload[:end])
    for more in (b"\x00", b"\x00" * 8, payload):
        with pytest.raises(Invalid):
            CODEC.decode(payload + more)


@pytest.mark.parametrize(
    "payload",
    [b"", b"\xc3", b"\xc3\x01", b"\xc3\x02" + b"0" * 20, b"{}", b'{"id": 1}', b"\x00\x00\x00\x00\x07"],
)
def test_what_is_not_single_object_avro_is_invalid(payload: bytes) -> None:
    with pytest.raises(Invalid, match="not single-object Avro"):
        CODEC.decode(payload)


def test_what_is_too_large_is_invalid_before_it_is_looked_into() -> None:
    with pytest.raises(Invalid) as refused:
        CODEC.decode(b"\xc3\x01" + bytes(LARGEST_OWN))
    assert refused.value.reason == "too_large"


def test_a_schema_that_may_still_come_is_waited_for() -> None:
    with pytest.raises(UnknownSchema) as unknown:
        CODEC.decode(b"\xc3\x0112345678body")
    assert unknown.value.fingerprint == b"12345678"


# -- what is no schema


def record(*fields: Any, name: str = "R") -> dict[str, Any]:
    return {
        "type": "record",
        "name": name,
        "fields": [{"name": f"f{place}", "type": kind} for place, kind in enumerate(fields)],
    }


EMPTY = record(name="E")
NOTHING = {"type": "fixed", "name": "N", "size": 0}
BOMBS = {
    "array of null": {"type": "array", "items": "null"},
    "array of empty records": {"type": "array", "items": EMPTY},
    "array of an empty record by its name": record(EMPTY, {"type": "array", "items": "E"}),
    "array of records of null": {"type": "array", "items": record("null")},
    "array of fixed(0)": {"type": "array", "items": NOTHING},
    "array of fixed(0) by its name": record(NOTHING, {"type": "array", "items": "N"}),
    "fixed of less than nothing": {"type": "fixed", "name": "N", "size": -1},
    "empty record": EMPTY,
    "recursion": record(["null", "R"]),
    "recursion through an array": record({"type": "array", "items": "R"}),
    "recursion through a map": record({"type": "map", "values": "R"}),
    "recursion by full name": record(["null", "x.R"]) | {"namespace": "x"},
    "recursion by short name": record(["null", "R"], name="x.R"),
    "recursion through another": record(record(["null", "R"], name="S")),
    "a name from nowhere": record("Elsewhere"),
}


@pytest.mark.parametrize("name", BOMBS)
def test_a_schema_that_can_grow_without_bytes_is_refused(name: str) -> None:
    with pytest.raises(Invalid) as refused:
        Schema(json.dumps(BOMBS[name]))
    assert refused.value.reason == "schema"


def test_a_type_may_be_named_where_it_is_no_bomb() -> None:
    point = record("long", name="Point")
    schema = Schema(
        json.dumps(record(point, "Point", {"type": "array", "items": "Point"}, ["null", "Point"]))
    )
    value = {"f0": {"f0": 1}, "f1": {"f0": 2}, "f2": [{"f0": 3}], "f3": None}
    assert schema.read(schema.write(value)) == value


@pytest.mark.parametrize(
    "text",
    [
        b"",
        b"\xff\xfe",
        b"null",
        b"7",
        b'"strng"',
        b"[]",
        b"{}",
        b'{"type": "record"}',
        b'{"type": "record", "name": "R", "fields": 7}',
        b'{"type": "record", "name": "R", "fields": [7]}',
        b'{"type": "enum", "name": "E"}',
        b'{"type": "fixed", "name": "F", "size": "x"}',
        b'{"type": ' * 50_000,
        b'{"type": "array", "items": ' * 500 + b'"int"' + b"}" * 500,
        b'{"type": "record", "name": "Outcome_00", "fields": []}',
        b'{"type": "record", "name": "Outcome_00", "fields": [{"name": "features", "type": "double"}]}',
    ],
)
def test_what_is_no_schema_is_refused_or_left_alone(text: bytes) -> None:
    """The fold of `schemas` logs what is invalid; anything else would stop every service."""
    codec = Codec()
    before = codec._readers.copy()
    assert reason_of(lambda: codec.learn(text)) in ("", "schema")
    assert codec._readers == before


def test_spoilt_schemas_are_invalid_or_schemas_and_nothing_else() -> None:
    chance = random.Random(20130101)  # noqa: S311 - the same mutants each time
    codec = Codec()
    refused = 0
    for text in [SCHEMAS["Summary"], SCHEMAS["Label"], row_schema("Outcome", "churn", "00ff", FEATURES).text]:
        for _ in range(300):
            spoilt = bytearray(text.encode())
            for _ in range(chance.choice([1, 2, 5])):
                start = chance.randrange(len(spoilt))
                spoilt[start : start + chance.randrange(20)] = chance.choice(
                    [b"", b'"', b"{", b"null", b"7", b"[]", b'"Label"', b"\xff"]
                )
            refused += reason_of(lambda spoilt=spoilt: codec.learn(bytes(spoilt))) == "schema"  # type: ignore[misc] # as above
    assert refused > 300

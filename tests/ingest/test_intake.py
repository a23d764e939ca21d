"""Intake: what producers may send, what becomes of it, and that nothing they send stops the stream."""

from __future__ import annotations

import copy
import json
import math
from typing import Any

import numpy as np
import orjson
import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from penstock.contracts.records import DeadLetter, FeatureRow, Label
from penstock.ingest.domain.intake import Intake, event_paths, label_paths, take_events, take_labels
from penstock.ingest.service import TASKS
from penstock.kernel.hashing import partition_of
from penstock.kernel.pipeline import Pipeline
from penstock.runtime.avro import HEADER as HEADER_BYTES
from penstock.runtime.avro import LARGEST, Schema
from penstock.runtime.broker import Message
from penstock.runtime.deadletter import HEADER
from tests.scenarios.system import CHURN, HOUR, System

SPEC: dict[str, Any] = {
    **CHURN,
    "features": {
        "age": {"number": {"min": 0, "max": 150}},
        "plan": {"category": ["free", "plus", "pro"]},
        "active": "boolean",
        "since": {"number": {"required": True}},
    },
}
GOOD: dict[str, object] = {
    "event_id": "c-1",
    "at": "1970-01-01T01:00:00Z",
    "age": 41,
    "plan": "plus",
    "active": True,
    "since": 3,
}
NAN = math.nan
NOW = System().now


class World:
    def __init__(self, spec: dict[str, Any] | None = None) -> None:
        self.system = System({"intake": TASKS["intake"]})
        self.pipeline = self.system.apply(spec or SPEC)

    def event(self, value: bytes | dict[str, object] | None, key: bytes | None = None) -> None:
        self._write("crm.events", value, key)

    def label(self, value: bytes | dict[str, object] | None) -> None:
        self._write("crm.outcomes", value, None)

    def _write(self, topic: str, value: bytes | dict[str, object] | None, key: bytes | None) -> None:
        body = orjson.dumps(value) if isinstance(value, dict) else value
        self.system.broker.append(Message(topic, body, key, (), 0))

    def rows(self) -> list[tuple[FeatureRow, list[float]]]:
        """Heads with their features."""
        self.system.settle()
        found = []
        for record in self.system.broker.records("penstock.churn.features"):
            head, rows = self.decoded(record.value or b"")
            found.append((head, rows.matrix([record.value])[0].tolist()))
        return found

    def labels(self) -> list[Label]:
        self.system.settle()
        return self.system.events("labels", "churn")

    def letters(self) -> list[DeadLetter]:
        self.system.settle()
        records = self.system.broker.records("penstock.churn.dead-letters.ingest")
        return [self.decoded(dict(record.headers)[HEADER])[0] for record in records]

    def decoded(self, payload: bytes) -> tuple[Any, Any]:
        self.system.decode(payload)
        decoded = self.system.codec.decode(payload)
        return decoded.value, decoded.rows


def test_an_event_becomes_a_row_on_the_partition_of_its_id() -> None:
    world = World()
    world.event(GOOD, key=b"any key of the producer's")
    [(head, features)] = world.rows()
    assert head == FeatureRow(id="c-1", time=HOUR, cleared=(), flags=())
    assert features == [41.0, 2.0, 1.0, 3.0]
    [record] = world.system.broker.records("penstock.churn.features")
    assert (record.key, record.partition) == (b"c-1", partition_of(b"c-1", 3))
    assert world.letters() == []


BAD: dict[str, tuple[bytes | dict[str, object] | None, str, str]] = {
    "nothing": (None, "empty", ""),
    "no bytes": (b"", "empty", ""),
    "not JSON": (b"age=41", "undecodable", ""),
    "JSON cut off": (b'{"event_id": "c-1"', "undecodable", ""),
    "not an object": (b'["c-1"]', "undecodable", ""),
    "NaN, which is no JSON": (b'{"event_id": "c-1", "at": 0, "age": NaN}', "undecodable", ""),
    "half a character": (b'{"event_id": "\xff", "at": 0}', "undecodable", ""),
    "half a surrogate pair": (b'{"event_id": "\\ud800", "at": 0}', "undecodable", ""),
    "nested without end": (b"[" * 100_000, "undecodable", ""),
    "too large": (b'{"event_id": "' + b"x" * LARGEST + b'"}', "too_large", ""),
    "no id": ({**GOOD, "event_id": None}, "missing_id", "event_id"),
    "an empty id": ({**GOOD, "event_id": ""}, "missing_id", "event_id"),
    "an id of a wrong type": ({**GOOD, "event_id": 1.5}, "wrong_type", "event_id"),
    "an id that is true": ({**GOOD, "event_id": True}, "wrong_type", "event_id"),
    "an id without end": ({**GOOD, "event_id": "x" * 513}, "too_large", "event_id"),
    "no time": ({**GOOD, "at": None}, "missing_time", "at"),
    "a time that is none": ({**GOOD, "at": "yesterday"}, "wrong_type", "at"),
    "a time that is true": ({**GOOD, "at": True}, "wrong_type", "at"),
    "a time before 1970": ({**GOOD, "at": -1}, "implausible_time", "at"),
    "a time in nanoseconds": ({**GOOD, "at": 1357016400000000000}, "implausible_time", "at"),
    "a time beyond 64 bits": ({**GOOD, "at": 2**64 - 1}, "implausible_time", "at"),
    "a time of 1e300": ({**GOOD, "at": 1e300}, "implausible_time", "at"),
    "a time that has not come": ({**GOOD, "at": NOW + 25 * HOUR}, "future_time", "at"),
    "text for a number": ({**GOOD, "age": "41"}, "wrong_type", "age"),
    "true for a number": ({**GOOD, "age": True}, "wrong_type", "age"),
    "a list for a number": ({**GOOD, "age": [41]}, "wrong_type", "age"),
    "a number for a category": ({**GOOD, "plan": 2}, "wrong_type", "plan"),
    "a number for a boolean": ({**GOOD, "active": 1}, "wrong_type", "active"),
    "a required value missing": ({**GOOD, "since": None}, "missing", "since"),
}


@pytest.mark.parametrize("what", BAD)
def test_a_bad_event_is_a_dead_letter_with_its_reason_and_the_stream_goes_on(what: str) -> None:
    value, reason, field = BAD[what]
    world = World()
    world.event(value)
    world.event({**GOOD, "event_id": "c-2"})
    [letter] = world.letters()
    assert (letter.reason, letter.field) == (reason, field)
    assert letter.message
    assert letter.stage == ("decode" if not isinstance(value, dict) else "validate")
    assert (letter.source.topic, letter.source.offset) == ("crm.events", 0)
    assert [head.id for head, _ in world.rows()] == ["c-2"]


def test_one_batch_with_everything_wrong_and_one_thing_right() -> None:
    world = World()
    for value, *_ in BAD.values():
        world.event(value)
    world.event(GOOD)
    assert [letter.reason for letter in world.letters()[:2]] == ["empty", "empty"]
    assert sorted(letter.reason for letter in world.letters()) == sorted(
        reason for _, reason, _ in BAD.values()
    )
    assert sorted(letter.source.offset for letter in world.letters()) == list(range(len(BAD)))
    assert len(world.rows()) == 1


MISSING: dict[str, tuple[dict[str, object], list[float], tuple[int, ...]]] = {
    "above its range": ({"age": 151}, [NAN, 2, 1, 3], (0,)),
    "below its range": ({"age": -0.5}, [NAN, 2, 1, 3], (0,)),
    "beyond any double": ({"since": 5, "age": 10**19}, [NAN, 2, 1, 5], (0,)),
    "at its edges": ({"age": 150, "since": 0}, [150, 2, 1, 0], ()),
    "an unseen category": ({"plan": "gold"}, [41, 0, 1, 3], ()),
    "null": ({"age": None, "plan": None, "active": None}, [NAN, NAN, NAN, 3], ()),
    "fields that nobody asked for": ({"colour": "red", "age_": {"deep": [1]}}, [41, 2, 1, 3], ()),
}


@pytest.mark.parametrize("what", MISSING)
def test_what_is_out_of_range_or_absent_is_missing_and_counted(what: str) -> None:
    change, features, cleared = MISSING[what]
    world = World()
    world.event({**GOOD, **change})
    [(head, found)] = world.rows()
    np.testing.assert_array_equal(found, features)
    assert head.cleared == cleared
    assert world.letters() == []


def test_an_id_that_is_a_whole_number_is_its_digits() -> None:
    world = World()
    world.event({**GOOD, "event_id": 17})
    world.label({"event_id": 17, "at": 2 * HOUR, "churned": True})
    assert world.rows()[0][0].id == world.labels()[0].id == "17"


BAD_LABELS: dict[str, tuple[bytes | dict[str, object] | None, str]] = {
    "nothing": (None, "empty"),
    "not JSON": (b"churned", "undecodable"),
    "no id": ({"at": 0, "churned": 1}, "missing_id"),
    "no time": ({"event_id": "c-1", "churned": 1}, "missing_time"),
    "no value": ({"event_id": "c-1", "at": 0}, "missing"),
    "neither 0 nor 1": ({"event_id": "c-1", "at": 0, "churned": 2}, "wrong_type"),
    "text": ({"event_id": "c-1", "at": 0, "churned": "yes"}, "wrong_type"),
}


@pytest.mark.parametrize("what", BAD_LABELS)
def test_a_bad_label_is_a_dead_letter_and_the_stream_goes_on(what: str) -> None:
    value, reason = BAD_LABELS[what]
    world = World()
    world.label(value)
    world.label({"event_id": "c-2", "at": HOUR, "churned": False, "why": "moved"})
    [letter] = world.letters()
    assert (letter.reason, letter.source.topic) == (reason, "crm.outcomes")
    assert world.labels() == [Label(id="c-2", time=HOUR, label=0.0)]


# -- whatever JSON may hold


JSON = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-(2**63), 2**64 - 1)
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.text(max_size=8)
    | st.sampled_from(
        ["free", "c-1", "1970-01-01T00:00:00Z", "0001-01-01T00:00:00+23:59", "9999-12-31T23:59:59-23:59"]
    ),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=3), inner, max_size=3),
    max_leaves=4,
)
FULL = Pipeline.read(
    {
        **SPEC,
        "features": {
            **SPEC["features"],
            "hour": {"hour": "at", "timezone": "America/New_York"},
            "started": {"weekday": "began", "shift": "-2h", "timezone": "Europe/Berlin"},
        },
    }
)
EVENT = st.fixed_dictionaries({}, optional=dict.fromkeys((*GOOD, "began", "unknown"), JSON))


def taken(events: list[dict[str, object]]) -> Intake:
    columns = {path: [event.get(path) for event in events] for path in event_paths(FULL)}
    return take_events(FULL, columns, [NOW] * len(events))


@settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(events=st.lists(EVENT | st.just(GOOD), max_size=6))
@example(events=[{**GOOD, "age": 1e308}, {**GOOD, "since": -(2**63)}])
def test_a_row_is_taken_or_refused_and_its_neighbours_are_none_of_its_business(
    events: list[dict[str, object]],
) -> None:
    before = copy.deepcopy(events)
    together = taken(events)
    assert events == before, "what is taken in stays as it was"
    assert len(together.ids) + len(together.refused) == len(events)
    assert together.matrix.shape == (len(together.ids), 6)
    assert np.isfinite(together.matrix[:, 3]).all(), "required"
    alone = [taken([event]) for event in events]
    assert [head for each in alone for head in each.heads()] == together.heads()
    np.testing.assert_array_equal(
        np.concatenate([np.empty((0, 6)), *(each.matrix for each in alone)]), together.matrix
    )
    refused = [str(each.refused.get(0, "")) for each in alone]
    assert refused == [str(together.refused.get(place, "")) for place in range(len(events))]


@settings(max_examples=150, deadline=None)
@given(fields=st.fixed_dictionaries({}, optional=dict.fromkeys(("event_id", "at", "churned"), JSON)))
def test_a_label_is_taken_or_refused(fields: dict[str, object]) -> None:
    columns = {path: [fields.get(path)] for path in label_paths(FULL)}
    labelled = take_labels(FULL, columns, [NOW])
    assert len(labelled.labels) + len(labelled.refused) == 1
    assert all(why.reason for why in labelled.refused.values())
    for label in labelled.labels:
        assert label.label in (0.0, 1.0)
        assert label.id
        assert label.time >= 0


# -- Avro on the wire


AVSC = json.dumps(
    {
        "type": "record",
        "name": "Begun",
        "fields": [
            {"name": "event_id", "type": "string"},
            {"name": "at", "type": {"type": "long", "logicalType": "timestamp-millis"}},
            {"name": "age", "type": ["null", "double"]},
            {"name": "plan", "type": ["null", "string"]},
            {"name": "active", "type": "boolean"},
            {"name": "since", "type": "float"},
        ],
    }
)


@pytest.fixture
def avro_world() -> World:
    return World({**SPEC, "events": {**SPEC["events"], "format": {"avro": {"schema": json.loads(AVSC)}}}})


def test_single_object_avro_is_read_by_the_pipelines_schema(avro_world: World) -> None:
    schema = Schema(AVSC)
    avro_world.event(schema.header + schema.write({**GOOD, "at": HOUR, "age": 41.0}))
    [(head, features)] = avro_world.rows()
    assert (head.id, head.time, features) == ("c-1", HOUR, [41.0, 2.0, 1.0, 3.0])


def test_avro_of_another_schema_or_none_is_a_dead_letter(avro_world: World) -> None:
    schema = Schema(AVSC)
    body = schema.header + schema.write({**GOOD, "at": HOUR, "age": None})
    other = Schema(json.dumps({**json.loads(AVSC), "name": "Ended"}))
    for value in (
        other.header + body[HEADER_BYTES:],
        body[:-1],
        body + b"\x00",
        body[:2],
        orjson.dumps(GOOD),
        b"",
        None,
    ):
        avro_world.event(value)
    avro_world.event(body)
    assert [letter.reason for letter in avro_world.letters()] == [
        "unknown_schema",
        "undecodable",
        "undecodable",
        "undecodable",
        "undecodable",
        "empty",
        "empty",
    ]
    assert len(avro_world.rows()) == 1


# -- several pipelines, several lives


def test_two_pipelines_read_one_topic_each_in_its_own_way() -> None:
    world = World()
    world.system.apply({**CHURN, "pipeline": "renewal", "features": {"since": "number"}})
    world.event(GOOD)
    assert len(world.rows()) == 1
    [row] = world.system.events("features", "renewal")
    assert row.id == "c-1"


def test_a_pipeline_that_is_applied_anew_is_read_by_its_new_spec_from_then_on() -> None:
    world = World()
    world.event({**GOOD, "age": 100})
    world.rows()
    world.system.apply({**SPEC, "features": {**SPEC["features"], "age": {"number": {"max": 90}}}})
    world.event({**GOOD, "event_id": "c-2", "age": 100})
    assert {head.id: head.cleared for head, _ in world.rows()} == {"c-1": (), "c-2": (0,)}

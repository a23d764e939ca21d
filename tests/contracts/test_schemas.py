"""The schemas and what is generated of them: the same, readable for ever, and never to be mistaken."""

from __future__ import annotations

import copy
import json
import subprocess
import sys
from typing import Any

import pytest

from penstock.contracts.schemas import ROWS, SCHEMAS
from penstock.contracts.topics import TOPICS
from penstock.runtime.codec import row_schema
from schemas.generate import CONTRACTS, HERE, generate
from tests.contracts.evolution import breaks, mistakable

RELEASED = HERE / "released"
"""One folder per release, with each record's schema as it was: `released/1.0.0/Outcome.avsc`."""


@pytest.mark.parametrize("name", ["records.py", "schemas.py", "topics.py"])
def test_the_contracts_are_what_the_schemas_say(name: str) -> None:
    path = CONTRACTS / name
    formatted = subprocess.run(
        [sys.executable, "-m", "ruff", "format", "--stdin-filename", str(path), "-"],
        input=generate()[name],
        capture_output=True,
        text=True,
        check=True,
    ).stdout
    assert formatted == path.read_text("utf-8"), "make contracts"


def test_nothing_else_is_generated() -> None:
    assert set(generate()) == {"records.py", "schemas.py", "topics.py"}


def test_topics_name_schemas_that_there_are() -> None:
    named = {schema for topic in TOPICS for schema in topic.schemas}
    assert named <= SCHEMAS.keys()
    assert named >= ROWS


def versions(name: str) -> list[dict[str, Any]]:
    """Every version of a schema: those released, then the one of this build."""
    paths = sorted(RELEASED.glob(f"*/{name}.avsc"))
    texts = [*(path.read_text("utf-8") for path in paths), SCHEMAS[name]]
    return [json.loads(text) for text in texts]


@pytest.mark.parametrize("name", SCHEMAS)
def test_every_version_reads_every_other(name: str) -> None:
    assert breaks(versions(name)) == []


def test_no_two_schemas_can_be_mistaken_for_each_other() -> None:
    everything = [version for name in SCHEMAS for version in versions(name)]
    everything += [
        json.loads(row_schema(kind, pipeline, layout, names).text)
        for kind in ROWS
        for pipeline, layout, names in (
            ("churn", "00", ("a",)),
            ("churn", "01", ("b",)),
            ("other", "00", ("a",)),
        )
    ]
    assert mistakable(everything) == []


# -- that the checks above can fail


BEFORE: dict[str, Any] = {
    "type": "record",
    "name": "Seen",
    "namespace": "penstock",
    "doc": "A version as it was released.",
    "fields": [
        {"name": "id", "type": "string"},
        {"name": "time", "type": {"type": "long", "logicalType": "timestamp-millis"}},
        {"name": "until", "type": ["null", {"type": "long", "logicalType": "timestamp-millis"}]},
        {"name": "kind", "type": {"type": "enum", "name": "Kind", "symbols": ["A", "B"]}},
    ],
}


def changed(place: int, **field: Any) -> dict[str, Any]:
    after = copy.deepcopy(BEFORE)
    if place == len(after["fields"]):
        after["fields"].append({})
    after["fields"][place] |= field
    return after


def without(place: int) -> dict[str, Any]:
    after = copy.deepcopy(BEFORE)
    del after["fields"][place]
    return after


MICROS = {"type": "long", "logicalType": "timestamp-micros"}


@pytest.mark.parametrize(
    "after",
    [
        changed(4, name="new", type="string"),
        without(0),
        changed(0, type="long"),
        changed(1, type=MICROS),
        changed(1, type="long"),
        changed(2, type=["null", MICROS]),
        changed(3, type={"type": "enum", "name": "Kind", "symbols": ["A", "B", "C"]}),
        changed(0, name="identity"),
        changed(0, default="nobody"),
    ],
)
def test_a_change_that_breaks_the_log_is_refused(after: dict[str, Any]) -> None:
    assert breaks([BEFORE, after])
    assert breaks([after, BEFORE])


@pytest.mark.parametrize(
    "after",
    [
        changed(4, name="new", type="string", default=""),
        changed(0, doc="said better"),
        BEFORE | {"doc": "said better"},
    ],
)
def test_a_change_that_every_reader_can_follow_is_none(after: dict[str, Any]) -> None:
    assert breaks([BEFORE, after]) == []


def test_it_is_not_enough_to_get_on_with_the_version_before() -> None:
    """A field that comes, goes, and comes again as something else."""
    first, then = (
        changed(4, name="new", type="string", default=""),
        changed(4, name="new", type="long", default=0),
    )
    assert breaks([first, BEFORE]) == []
    assert breaks([BEFORE, then]) == []
    assert breaks([first, BEFORE, then])

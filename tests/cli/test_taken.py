"""Data quality as an operator sees it."""

from __future__ import annotations

import json
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import pytest

from penstock.cli import drift_status, main
from penstock.cli.exits import Exit
from penstock.cli.taken import lately
from tests.ingest.taking import World, event, spec

if TYPE_CHECKING:
    from collections.abc import Iterator

    from penstock.runtime.broker import Broker


@pytest.fixture
def world(monkeypatch: pytest.MonkeyPatch) -> World:
    world = World(spec())

    @contextmanager
    def connected(_: object) -> Iterator[Broker]:
        world.system.settle()
        yield world.broker

    monkeypatch.setattr(drift_status, "connected", connected)
    return world


def test_what_became_of_the_records_is_told(world: World, capsys: pytest.CaptureFixture[str]) -> None:
    for sent in (event("a"), event("a"), event("b", age=200), event("c", plan="gold"), event(None)):
        world.event(sent)
    world.event(b"{")
    world.label({"event_id": "a", "at": 0, "churned": 1})
    assert main(["drift", "status", "-o", "json"]) == Exit.OK
    told = json.loads(capsys.readouterr().out)["data_quality"]
    assert told["since"].startswith("2096-10-02T")
    events, labels = told["topics"]
    rules: list[dict[str, Any]] = events.pop("rules")
    assert events == {
        "topic": "crm.events",
        "events": True,
        "seen": 6,
        "taken": 3,
        "duplicates": 1,
        "refused": 2,
    }
    assert labels["seen"] == labels["taken"] == 1
    assert sorted((rule["field"], rule["rule"], rule["action"], rule["count"]) for rule in rules) == [
        ("", "undecodable", "dead_letter", 1),
        ("age", "range", "set_missing", 1),
        ("event_id", "required", "dead_letter", 1),
        ("plan", "values", "keep", 1),
    ]
    assert {rule["share"] for rule in rules} == {1 / 6}


def test_people_see_a_short_table(world: World, capsys: pytest.CaptureFixture[str]) -> None:
    world.event(event("a", age=200))
    world.event(event("b"))
    assert main(["drift", "status"]) == Exit.OK
    said = capsys.readouterr().out
    assert said.endswith(
        "  topic       seen  taken  again  refused  share\n"
        "  crm.events     2      2      0        0  0.00%\n"
        "\n"
        "  topic       field  rule   then         records  share\n"
        "  crm.events  age    range  set_missing        1  50.00%\n"
    )


def test_nothing_was_read(world: World, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["drift", "status"]) == Exit.OK
    assert capsys.readouterr().out.endswith("Data quality: no record was read yet\n")
    assert lately(world.broker, "penstock.of-an-older-cluster.quality", bytes).topics == []

"""README.md shows what the code does: its tables, its diagram, its files, its commands."""

from __future__ import annotations

import json
import re
from typing import TYPE_CHECKING

import pytest

from penstock.cli import demo
from penstock.cli.demo import fault, operator
from penstock.cli.specfile import load
from penstock.cli.verbs import find
from penstock.contracts.records import Stage
from penstock.governor.domain import Move
from penstock.kernel.kinds import Number
from tests.docs.readme import PARTS, README, REBUILT, stages
from tests.docs.tables import filled

if TYPE_CHECKING:
    from pathlib import Path

TEXT = README.read_text(encoding="utf-8")


def blocks(language: str) -> list[str]:
    return re.findall(rf"^```{language}\n(.*?)^```$", TEXT, re.MULTILINE | re.DOTALL)


def test_parts_are_those_of_the_code() -> None:
    assert filled(TEXT, PARTS) == TEXT, "run python -m tests.docs.readme"


def test_every_part_has_its_place() -> None:
    assert [name for name in PARTS if TEXT.count(f"<!-- {name} -->\n") != 1] == []


def test_every_service_says_what_it_is_rebuilt_from() -> None:
    assert set(re.findall(r"^\| (\w+) \|.*\|$", PARTS["services"](), re.MULTILINE)) == {"Service", *REBUILT}


def test_the_diagram_shows_every_transition() -> None:
    table: dict[Stage | None, dict[Move, Stage]] = {
        None: {Move.APPLY: Stage.BOOTSTRAPPING},
        Stage.CANARYING: {Move.PROMOTE: Stage.WATCHING, Move.ADVANCE: Stage.CANARYING},
    }
    assert re.findall(r"(\S+) --> (\w+): (.+)", stages(table)) == [
        ("[*]", "bootstrapping", "applied"),
        ("canarying", "watching", "promoted"),
        ("canarying", "canarying", "canary advanced"),
    ]


def test_every_command_is_one() -> None:
    commands = re.findall(r"`penstock ([a-z][^`]*)`|^(?:\$ )?penstock ([a-z].*)$", TEXT, re.MULTILINE)
    words = [(quoted or typed).split() for quoted, typed in commands]
    assert len(words) > 20
    assert [each for each in words if find(each)[0] is None] == []


def test_the_pipeline_is_ten_lines_and_valid(tmp_path: Path) -> None:
    [spec] = blocks("yaml")
    assert len(spec.splitlines()) <= 10
    file = tmp_path / "churn.yaml"
    file.write_text(spec, encoding="utf-8")
    pipeline = load(file)
    assert pipeline.features[0].kind == Number(required=True)


def test_the_story_has_the_days_of_the_demo() -> None:
    first = load(demo.example() / "flights.yaml").policy.first_training // 86_400_000
    days = list(map(int, re.findall(r"^\| (\d+) \|", TEXT, re.MULTILINE)))
    assert days == [0, first, *fault.DAYS, operator.DAY, demo.DAYS]
    assert (demo.EVERY, "every third flight" in TEXT) == (3, True)


@pytest.mark.parametrize("block", blocks("json"))
def test_the_records_are_json_lines(block: str) -> None:
    records = [json.loads(line) for line in block.splitlines()]
    assert {"event_id", "at"} <= set.intersection(*map(set, records))

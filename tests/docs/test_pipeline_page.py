"""docs/pipeline.md names every key of the pipeline file, and its examples are pipeline files."""

from __future__ import annotations

import re
from dataclasses import fields, is_dataclass
from typing import TYPE_CHECKING, Any, get_args

import pytest
from ruamel.yaml import YAML

from penstock.cli.specfile import load
from penstock.kernel.arrivals import DAY, REMEMBERED, Freshness, Window
from penstock.kernel.explain import Explain
from penstock.kernel.kinds import Boolean, Category, Number, Part, TimePart
from penstock.kernel.otherwise import NAMES
from penstock.kernel.pipeline import Pipeline, _Document
from penstock.kernel.policy import Alarm, Canary, Compare, Lane, Policy, Retrain
from penstock.kernel.sources import Events, Labels
from penstock.kernel.validity import DEFAULTS
from tests.docs.tables import DOCS

if TYPE_CHECKING:
    from pathlib import Path

TEXT = (DOCS / "pipeline.md").read_text(encoding="utf-8")
BLOCKS = re.findall(r"^```yaml\n(.*?)^```$", TEXT, re.MULTILINE | re.DOTALL)
WHOLE = [block for block in BLOCKS if block.startswith("pipeline:")]
PARTS = [block for block in BLOCKS if not block.startswith("pipeline:")]
BASE: dict[str, Any] = YAML(typ="safe").load(WHOLE[0])


def test_there_are_examples() -> None:
    assert (len(WHOLE), len(PARTS)) == (2, 3)


@pytest.mark.parametrize("text", WHOLE)
def test_a_whole_example_is_a_pipeline_file(text: str, tmp_path: Path) -> None:
    file = tmp_path / "pipeline.yaml"
    file.write_text(text)
    pipeline = load(file)
    assert Pipeline.read(pipeline.raw()) == pipeline


@pytest.mark.parametrize("text", PARTS)
def test_a_part_fits_into_one(text: str) -> None:
    part = YAML(typ="safe").load(text)
    events = {**BASE["events"], **part.pop("events", {})}
    assert Pipeline.read({**BASE, "events": events, **part})


def test_the_example_of_everything_has_every_key() -> None:
    """Each key of the file is written in it, but for those of other tasks and wire formats."""
    raw = YAML(typ="safe").load(WHOLE[1])
    assert keys_of(_Document) - set(raw) == {"classes"}
    assert keys_of(Events) == set(raw["events"])
    assert keys_of(Labels) == set(raw["labels"])
    assert keys_of(Freshness) == set(raw["events"]["freshness"])
    assert keys_of(Explain) == set(raw["explain"])
    assert keys_of(Policy) == set(raw["policy"])
    for key, kind in (("alarm", Alarm), ("compare", Compare), ("canary", Canary), ("retrain", Retrain)):
        assert keys_of(kind) == set(raw["policy"][key])
    [lane] = raw["lanes"].values()
    assert keys_of(Lane) - {"name"} == set(lane)
    used = {key for feature in raw["features"].values() for key in inner(feature)}
    assert keys_of(Number) | keys_of(Category) | keys_of(Boolean) <= used


def test_the_table_has_every_key() -> None:
    table = dict(re.findall(r"^\| `?([\w ]+?)`? \| ([^|]+) \|$", TEXT, re.MULTILINE))
    named = {where: set(re.findall(r"`(\w+)`", keys)) for where, keys in table.items()}
    for where, kind in (
        ("the top", _Document),
        ("events", Events),
        ("freshness", Freshness),
        ("labels", Labels),
        ("number", Number),
        ("category", Category),
        ("boolean", Boolean),
        ("explain", Explain),
        ("policy", Policy),
        ("alarm", Alarm),
        ("compare", Compare),
        ("canary", Canary),
        ("retrain", Retrain),
    ):
        assert named[where] == keys_of(kind), where
    assert named["a lane"] == keys_of(Lane) - {"name"}
    assert named["a feature"] == {"number", "category", "boolean", *get_args(Part)}
    assert named["a part of a time"] == keys_of(TimePart) - {"part", "field", "at_event_time"}


def test_the_rules_and_their_defaults() -> None:
    told = re.findall(r"^\| `(\w+)` \| [^|]+ \| `?(\w+)[^|]*\|$", TEXT, re.MULTILINE)
    said = {(rule, action if action != "code" else "keep") for rule, action in told if rule in NAMES}
    assert said == {(rule, action) for rules in DEFAULTS.values() for rule, action in rules.items()}


def test_the_window_is_described_as_it_is() -> None:
    assert f"`{Window()}` of event\ntime unless told otherwise" in TEXT
    assert f"At most {REMEMBERED:,} ids" in TEXT
    assert Freshness().ahead == DAY
    assert "a day unless told otherwise" in TEXT


def inner(feature: object) -> set[str]:
    """The keys of a feature and of its type."""
    if not isinstance(feature, dict):
        return set()
    return set(feature) | {key for value in feature.values() if isinstance(value, dict) for key in value}


def keys_of(kind: type) -> set[str]:
    assert is_dataclass(kind)
    return {"from" if field.name == "source" else field.name for field in fields(kind)}

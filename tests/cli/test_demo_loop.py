"""What the demo tells of the loop, while it happens and in the end, of a life on the broker in memory."""

from __future__ import annotations

import functools
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import pytest

from penstock import onnx
from penstock.cli.controllog import ControlLog
from penstock.cli.demo.chapters import decisions_text, versions_text
from penstock.cli.demo.course import Course, course
from penstock.cli.demo.telling import Teller
from penstock.contracts import records as r
from penstock.registry import task as registry
from penstock.runtime.catalog import Catalog, Names
from tests.cli.story import BEGUN, Story

if TYPE_CHECKING:
    from collections.abc import Sequence

    from penstock.kernel.pipeline import Pipeline

NAMES = Names("penstock.")


@pytest.fixture(scope="module")
def life() -> Story:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(registry, "check", functools.cache(onnx.check))
        return Story().whole()


@pytest.fixture(scope="module")
def pipeline(life: Story) -> Pipeline:
    return Catalog(life.system.broker, NAMES).pipelines["churn"]


@pytest.fixture(scope="module")
def whole(life: Story, pipeline: Pipeline) -> Course:
    return course(ControlLog(life.system.broker, NAMES, "churn"), pipeline)


def test_a_version_went_the_whole_way_and_what_was_forced_was_taken_back(whole: Course) -> None:
    assert (whole.went_the_whole_way, whole.forced, whole.taken_back, whole.first) == (True, True, True, 1)


def test_each_version_says_what_it_was_made_from_and_who_made_it_champion(whole: Course) -> None:
    baseline, first, _ = whole.versions
    assert (first["lane"], first["rows"], first["algorithm"], first["verdict"]) == (
        "everything",
        2_800,
        "hist_gradient_boosting",
        "passed",
    )
    assert [(each["type"], each["by"]) for each in first["champion"]] == [
        ("Promoted", "governor"),
        ("RolledBack", "governor"),
    ]
    assert [(each["type"], each["by"]) for each in baseline["champion"]][-1] == ("Promoted", "ada")


def test_each_decision_has_its_day_and_its_causes(whole: Course) -> None:
    last = whole.decisions[-1]
    assert {"id", "type", "version", "lane", "event_time", "day", "causes"} <= last.keys()
    assert last["type"] == "RolledBack"
    assert last["causes"]
    days = [each["day"] for each in whole.decisions if each["day"] is not None]
    assert days == sorted(days)


def test_the_take_back_is_explained_as_why_does(whole: Course) -> None:
    assert whole.why == f"penstock why {whole.decisions[-1]['id'][:8]}"
    assert "RolledBack" in whole.explained.splitlines()[0]
    assert "it took back: Promoted" in whole.explained
    assert "evidence/" in whole.explained


def test_of_a_life_without_a_rollback_the_last_promotion_is_explained(pipeline: Pipeline) -> None:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(registry, "check", functools.cache(onnx.check))
        young = Story()
        young.train()
    found = course(ControlLog(young.system.broker, NAMES, "churn"), pipeline)
    assert (found.went_the_whole_way, found.forced, found.taken_back) == (False, False, False)
    assert (found.first, found.why, found.explained) == (None, "", "")


def test_people_read_versions_and_decisions_in_a_few_lines(whole: Course) -> None:
    versions = versions_text(whole.versions).splitlines()
    assert len(versions) == 1 + len(whole.versions)
    assert "by ada" in versions[1]
    lines = decisions_text(whole.decisions).splitlines()
    assert len(lines) < len(whole.decisions)
    [steps] = [line for line in lines if "CanaryStarted, CanaryAdvanced, Promoted 1 (everything)" in line]
    assert "it went the whole way" in steps
    assert "forced by ada: a drill" in "\n".join(lines)


def told(life: Story, *, without: Sequence[type] = ()) -> list[str]:
    """What the teller says of the whole life, with the models before the decisions."""
    lines: list[str] = []
    teller = Teller(lines.append)
    for event in [*life.system.events("models"), *life.decided()]:
        if not isinstance(event, tuple(without)):
            teller.take(event)
    return lines


def test_the_first_way_to_champion_is_told_step_by_step(life: Story) -> None:
    said = "\n".join(told(life))
    for step in (
        "training of lane everything, the first of all",
        "shadow: version 1 (everything), made from 2,800 rows",
        "canary: version 1 (everything) answers 10% of the ids",
        "canary: version 1 (everything) answers 50% of the ids",
        "promotion: version 1 (everything) becomes the champion instead of version 0",
        "FORCED: version 0 (baseline) becomes the champion instead of version 1, forced by ada: a drill",
        "TAKE-BACK: version 1 (everything) is the champion again instead of version 0, e-value 24.5",
    ):
        assert step in said


def test_a_refresh_is_told_in_one_line(life: Story) -> None:
    lines: list[str] = []
    teller = Teller(lines.append)
    for event in life.decided():
        teller.take(event)
    before = len(lines)
    shadow, canary, promoted = (
        next(each for each in life.decided(kind) if each.version == 1)
        for kind in (r.ShadowStarted, r.CanaryStarted, r.Promoted)
    )
    other = replace(shadow, version=8, lane="recent")
    for event in (shadow, other, canary, promoted):
        known: dict[str, Any] = {} if event is other else {"version": 7}
        teller.take(replace(event, **known))
    [line] = lines[before:]
    assert "refresh: version 7 (everything), a canary since" in line
    assert line.endswith("shadows beside it: version 8 (recent)")


def test_an_alarm_of_the_champion_is_told_with_the_first_training_that_answers_it(life: Story) -> None:
    lines: list[str] = []
    teller = Teller(lines.append)
    for event in life.decided(r.Promoted):
        teller.take(event)
    lines.clear()
    asked = replace(
        life.decided(r.RetrainRequested)[-1], lane="alarm", purpose=r.Purpose.ALARM, champion=1, onset=BEGUN
    )
    for stage in (0, 1):
        teller.take(replace(asked, stage=stage))
    [line] = lines
    assert "ALARM: version 1 (everything) fails since day -0.2" in line

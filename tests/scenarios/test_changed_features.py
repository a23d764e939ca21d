"""The features change while the stream runs: rows of both layouts are scored, joined, summed, learned from.

Who leaves hangs on age and on visits. The first spec knows of age alone; the next one adds visits at the end,
and lets an age that was out of range stand and be marked.
"""

from __future__ import annotations

import random
from typing import Any

import numpy as np
import pytest

from penstock.cli.backtest.system import TASKS
from penstock.contracts import records as r
from penstock.kernel.pipeline import Pipeline
from penstock.onnx import judged_here
from tests.scenarios.system import System
from tests.scenarios.test_the_loop import DELAY, HOUR, LOOP, MINUTE

EVERY = 20_000
HOURS = 5
CHANGED = int(2.5 * HOUR)
NARROW: dict[str, Any] = {
    **LOOP,
    "features": {"age": {"number": {"max": 100}}},
    "lanes": {"trees": {"algorithm": "hist_gradient_boosting", "window": "expanding", "every": "90m"}},
    "policy": {
        **LOOP["policy"],
        "first_training": "1h",
        "retrain": {"cool_down": "10m", "at_most": "8 per 12h"},
    },
}
WIDE: dict[str, Any] = {
    **NARROW,
    "features": {
        "age": {"number": {"max": 100, "otherwise": {"range": "flag"}}},
        "visits": {"number": {"required": True}},
    },
}


def run() -> System:
    system = System(TASKS)
    system.apply(NARROW)
    dice = random.Random(7)  # noqa: S311 - a stream, not a secret
    records: list[tuple[int, str, dict[str, object]]] = []
    for number in range(HOURS * HOUR // EVERY):
        time, age, visits = number * EVERY, dice.randint(18, 120), dice.randint(0, 9)
        event: dict[str, object] = {"event_id": f"c{number}", "at": time, "age": age, "visits": visits}
        records.append((time, "crm.events", event))
        left = dice.random() < (0.9 if age > 60 and visits < 5 else 0.1)
        label: dict[str, object] = {"event_id": f"c{number}", "at": time + DELAY, "churned": left}
        records.append((time + DELAY, "crm.outcomes", label))
    records.sort(key=lambda each: each[:2])
    step = 4 * MINUTE
    due, changed = step, False
    with judged_here():
        system.settle()
        for time, topic, record in records:
            if time >= due:
                system.settle()
                due = (time // step + 1) * step
            if time >= CHANGED and not changed:
                system.apply(WIDE)
                changed = True
            system.produce(topic, record)
        system.settle()
    return system


@pytest.fixture(scope="module")
def system() -> System:
    return run()


def layouts(system: System, topic: str, kind: type) -> dict[str, list[Any]]:
    """The heads on a topic, by the layout of their features."""
    system.events(topic, "churn")  # the schemas are known from here on
    found: dict[str, list[Any]] = {}
    for record in system.broker.records(system.names.of(topic, "churn")):
        decoded = system.codec.decode(record.value or b"")
        if isinstance(decoded.value, kind):
            assert decoded.rows is not None
            found.setdefault(decoded.rows.layout, []).append(decoded.value)
    return found


def test_nothing_is_refused(system: System) -> None:
    letters = [topic for topic in system.broker.topics() if "dead-letters" in topic]
    assert letters
    assert [topic for topic in letters if system.broker.records(topic)] == []


def test_each_row_goes_its_way_in_its_own_layout(system: System) -> None:
    narrow, wide = (Pipeline.read(spec).features_digest for spec in (NARROW, WIDE))
    assert narrow != wide
    total = HOURS * HOUR // EVERY
    for topic, kind in (("features", r.FeatureRow), ("predictions", r.Prediction), ("outcomes", r.Outcome)):
        found = layouts(system, topic, kind)
        assert set(found) == {narrow, wide}, topic
        latest = max(head.time for head in found[narrow])
        assert latest <= min(head.time for head in found[wide]), topic
        if kind is not r.Outcome:  # of which the last still wait for their labels
            assert sum(map(len, found.values())) == total, topic
    for heads in layouts(system, "predictions", r.Prediction).values():
        assert all(head.error is None and head.version is not None for head in heads)


def test_what_was_out_of_range_is_missing_before_and_marked_after(system: System) -> None:
    narrow, wide = layouts(system, "features", r.FeatureRow).values()
    assert {head.cleared for head in narrow} == {(), (0,)}
    assert {head.flags for head in narrow} == {()}
    assert {head.cleared for head in wide} == {()}
    assert {head.flags for head in wide} == {(), ("age:range",)}


def test_both_layouts_are_summed_up(system: System) -> None:
    blocks = [block for each in system.events("summaries") for block in each.row_blocks]
    rows = {
        layout: sum(block.rows for block in blocks if block.layout == layout)
        for layout in {block.layout for block in blocks}
    }
    assert sorted(rows.values()) == sorted(map(len, layouts(system, "features", r.FeatureRow).values()))
    assert {len(block.sums) for block in blocks} == {1, 2}


def test_the_next_version_learns_by_name_from_the_rows_of_both(system: System) -> None:
    manifests = {each.manifest.digest: each.manifest for each in system.events("models")}
    trained = sorted((each for each in manifests.values() if each.rows), key=lambda each: each.rows)
    assert trained[0].features == ("age",)
    last = trained[-1]
    assert last.features == ("age", "visits")
    narrow = layouts(system, "features", r.FeatureRow)[Pipeline.read(NARROW).features_digest]
    assert last.rows > len(narrow), "it learned from rows that have no visits, too"
    versions = [each.version for each in system.events("models") if each.manifest.digest == last.digest]
    scored = [
        head
        for heads in layouts(system, "predictions", r.Prediction).values()
        for head in heads
        if any(score.version in versions and score.values for score in head.scores)
    ]
    assert scored, "and scores"
    told = np.array(
        [score.values[0] for head in scored for score in head.scores if score.version in versions]
    )
    assert told.min() < 0.3
    assert told.max() > 0.6


def test_data_quality_counts_what_each_spec_made_of_it(system: System) -> None:
    taken = [part for each in system.events("summaries") for part in each.taken]
    rules: dict[tuple[str, str], int] = {}
    for part in taken:
        for rule in part.rules:
            assert (rule.field, rule.rule) == ("age", "range")
            rules[rule.rule, rule.action] = rules.get((rule.rule, rule.action), 0) + rule.count
    narrow, wide = layouts(system, "features", r.FeatureRow).values()
    assert rules == {
        ("range", "set_missing"): sum(bool(head.cleared) for head in narrow),
        ("range", "flag"): sum(bool(head.flags) for head in wide),
    }
    assert sum(part.taken for part in taken if part.events) == HOURS * HOUR // EVERY

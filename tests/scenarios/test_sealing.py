"""A block that the watermark seals is complete: evidence and training may rest on it."""

from __future__ import annotations

import random
from collections import Counter

import pytest

from penstock.contracts.records import JoinAdvanced, Label, Outcome, OutcomeKind, Summary
from penstock.ingest.service import TASKS
from penstock.kernel.blocks import sealed, time_block
from tests.ingest.given import HORIZON, SMALL, Given, prediction
from tests.scenarios.system import HOUR, System

ROWS = 400
PARTITIONS = 3


def replayed(seed: int) -> System:
    """Producers in event-time order, labels too late now and then, any cut into batches, restarts between."""
    chance = random.Random(seed)  # noqa: S311 - a course of events, no secret
    system = System({"join": TASKS["join"], "summarise": TASKS["summarise"]})
    given = Given(system, system.apply(SMALL))
    rows = [(number * HOUR // 4, f"c-{number}") for number in range(ROWS)]
    labels = sorted(
        (time + chance.randrange(HORIZON * 12 // 10), name) for time, name in rows if chance.random() < 0.8
    )
    while rows or labels:
        until = min(time for time, _ in rows[:1] + labels[:1]) + chance.randrange(1, 6 * HOUR)
        while rows and rows[0][0] <= until:
            time, name = rows.pop(0)
            given.predictions([prediction(name, time)])
        while labels and labels[0][0] <= until:
            time, name = labels.pop(0)
            given.labels(Label(id=name, time=time, label=1.0))
        if chance.random() < 0.2:
            system.restart(chance.choice(["join", "summarise"]))
        system.settle()
    return system


def is_sealed(block: int, watermarks: dict[int, int]) -> bool:
    low = min(watermarks.values()) if len(watermarks) == PARTITIONS else None
    return sealed(block, HOUR, horizon=HORIZON, watermark=low)


@pytest.mark.parametrize("seed", range(3))
def test_a_sealed_block_has_its_verdicts_and_no_label_comes_in_time_any_more(seed: int) -> None:
    system = replayed(seed)
    expected = Counter(time_block(number * HOUR // 4, HOUR) for number in range(ROWS))
    decided: dict[str, int] = {}
    watermarks: dict[int, int] = {}
    checked = 0
    for record in sorted(system.broker.records("penstock.churn.outcomes"), key=lambda each: each.timestamp):
        event = system.decode(record.value or b"")
        if isinstance(event, Outcome):
            block = time_block(event.time, HOUR)
            if event.id not in decided or event.kind is not OutcomeKind.LATE:
                assert not is_sealed(block, watermarks), event
            decided[event.id] = block
        elif isinstance(event, JoinAdvanced) and event.watermark is not None:
            watermarks[record.partition] = event.watermark
            complete = Counter(decided.values())
            now = [block for block in expected if is_sealed(block, watermarks)]
            assert {block: complete[block] for block in now} == {block: expected[block] for block in now}
            checked += len(now)
    assert checked > 100
    summaries = [each for each in system.events("summaries") if isinstance(each, Summary)]
    assert {each.partition: each.watermark for each in summaries} == watermarks

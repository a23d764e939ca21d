"""The alarm: silent while a version is what it was accepted as, one episode when it is not."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import replace

import numpy as np
import pytest

from penstock.contracts.records import PerformanceDegraded, PerformanceRecovered, VersionStage
from penstock.kernel.accepted import ROWS, LabelSums, accept, hindsight
from penstock.kernel.pipeline import Pipeline
from penstock.kernel.policy import Objective, Task
from penstock.monitor.domain.block import Block, parts
from penstock.monitor.domain.state import dump, load
from penstock.trainer.trial import tried
from penstock.trainer.units import gathered
from tests.monitor.stream import (
    CLAIM,
    DAY,
    EVEN,
    HORIZON,
    HOUR,
    Row,
    hourly,
    pipeline,
    registered,
    staged,
    summaries,
    told,
    world,
)
from tests.trainer.learning import job

PIPELINE = pipeline()
TRAINED = [registered(0, asked=None), registered(1, asked=0)]


def alarms(
    rows: Sequence[Row], events: Sequence[object] = TRAINED, *, of: Pipeline = PIPELINE
) -> list[PerformanceDegraded | PerformanceRecovered]:
    rows = [*rows, Row(time=rows[-1].time + 3 * DAY)]
    _, evidence = told(summaries(rows, [], of=of), world(events, of=of))  # type: ignore[arg-type] # lists of either
    return [each for each in evidence if isinstance(each, PerformanceDegraded | PerformanceRecovered)]


def days(count: float, loss: float, start: float, *, rows: int = 12, seed: int = 1) -> list[Row]:
    return hourly(round(24 * count), {1: loss}, start=round(start * DAY), rows=rows, seed=seed)


def test_a_version_as_good_as_accepted_raises_no_alarm() -> None:
    assert alarms(days(60, EVEN, 0)) == []


def test_a_version_that_fails_is_told_of_once_with_onset_and_loss() -> None:
    [degraded] = alarms([*days(10, EVEN, 0), *days(3, EVEN + 0.3, 10, seed=2)])
    assert isinstance(degraded, PerformanceDegraded)
    assert (degraded.version, degraded.lane, degraded.threshold) == (1, "everything", 1000)
    assert degraded.statistic >= 1000
    assert abs(degraded.onset - 10 * DAY) <= 6 * HOUR
    assert degraded.time - HORIZON - degraded.onset == pytest.approx(degraded.blocks * HOUR, abs=2 * HOUR)
    assert degraded.loss == pytest.approx(EVEN + 0.3, abs=0.05)
    assert degraded.accepted == pytest.approx(EVEN, abs=1e-9)
    assert degraded.time < 11 * DAY + HORIZON


def test_an_episode_ends_a_watch_after_its_last_alarm() -> None:
    found = alarms([*days(10, EVEN, 0), *days(3, EVEN + 0.3, 10, seed=2), *days(20, EVEN, 13, seed=3)])
    assert [type(each) for each in found] == [PerformanceDegraded, PerformanceRecovered]
    assert 12 * DAY + 7 * DAY < found[1].time - HORIZON <= 13 * DAY + 7 * DAY
    again = [*days(2, EVEN, 0), *days(2, EVEN + 0.3, 2, seed=2), *days(20, EVEN, 4), *days(2, EVEN + 0.3, 24)]
    assert [type(each).__name__[11:] for each in alarms(again)] == ["Degraded", "Recovered", "Degraded"]


def test_a_label_rate_that_changes_is_no_failure() -> None:
    """Fewer positives cost less to guess; the version's excess over the best guess stays what it was."""

    def entropy(rate: float) -> float:
        return -rate * math.log(rate) - (1 - rate) * math.log(1 - rate)

    rows = [
        *hourly(10 * 24, {1: entropy(0.25)}, rate=0.25, rows=12),
        *hourly(10 * 24, {1: EVEN}, rate=0.5, rows=12, start=10 * DAY, seed=3),
    ]
    assert EVEN - entropy(0.25) > CLAIM["alarm_spread"], "that would be an alarm"
    assert alarms(rows) == []


def test_hours_with_few_rows_are_taken_together() -> None:
    """At two rows an hour a unit is five hours; single hours would be noise, none would be blindness."""
    [degraded] = alarms([*days(10, EVEN, 0, rows=2), *days(5, EVEN + 0.4, 10, rows=2, seed=2)])
    assert isinstance(degraded, PerformanceDegraded)
    assert abs(degraded.onset - 10 * DAY) <= 12 * HOUR
    assert degraded.blocks % 5 == 0


def test_an_alarm_with_no_game_ahead_began_with_its_own_unit() -> None:
    impatient = pipeline(alarm={"average_run_length": 3, "block": "1h"})
    first, *_ = alarms(days(2, EVEN, 0), of=impatient)  # accepted were .55, these are all .5
    assert isinstance(first, PerformanceDegraded)
    assert first.blocks == 1
    assert first.time == first.onset + HOUR + HORIZON


def test_versions_without_a_claim_are_not_guarded() -> None:
    events = [registered(0, asked=None), registered(1, asked=0, metrics={})]
    assert alarms([*days(10, EVEN, 0), *days(3, EVEN + 0.3, 10)], events) == []


def test_an_archived_version_is_left_alone_and_begins_anew_when_it_comes_back() -> None:
    failing = [*days(5, EVEN, 0), *days(20, EVEN + 0.3, 5, seed=2)]
    archived = staged(1, VersionStage.ARCHIVED, 5 * DAY, epoch=2)
    back = staged(1, VersionStage.SHADOW, 15 * DAY, epoch=3)
    assert alarms(failing, [*TRAINED, archived]) == []
    [degraded] = alarms(failing, [*TRAINED, archived, back])
    assert isinstance(degraded, PerformanceDegraded)
    assert degraded.onset >= 15 * DAY + HORIZON


@pytest.mark.parametrize("rows", [12, 3])
def test_the_claim_of_a_holdout_holds_on_rows_like_it(rows: int) -> None:
    rng = np.random.default_rng(5)
    false = 0
    for _ in range(3):
        probabilities = np.clip(rng.beta(2, 4, size=rows * 24 * 60), 0.02, 0.98)
        labels = (rng.random(len(probabilities)) < probabilities).astype(float)
        losses = -np.where(labels == 1, np.log(probabilities), np.log1p(-probabilities))
        times = np.arange(len(losses)) * (HOUR // rows)
        held = rows * 24 * 20
        units = gathered(times[:held] // HOUR, rows=ROWS)
        means = np.bincount(units, weights=losses[:held]) / np.bincount(units)
        parts = np.split(labels[:held], np.flatnonzero(np.diff(units)) + 1)
        claim = accept(
            [
                mean - hindsight("log_loss", LabelSums.of(part.tolist(), classes=0))
                for mean, part in zip(means.tolist(), parts, strict=True)
            ]
        )
        assert claim is not None
        events = [registered(0, asked=None), registered(1, asked=0, metrics=claim.metrics())]
        stream = [
            Row(time=int(time), losses={1: float(loss)}, label=float(label))
            for time, loss, label in zip(times[held:], losses[held:], labels[held:], strict=True)
        ]
        false += len([each for each in alarms(stream, events) if isinstance(each, PerformanceDegraded)])
    told = 3 * 40 * 24 * rows / max(rows, 12)
    assert false <= told / 1000, "the average run length is the promise"


def test_of_two_versions_each_has_its_own_detector() -> None:
    rows = hourly(10 * 24, {1: EVEN, 2: EVEN}) + hourly(4 * 24, {1: EVEN + 0.3, 2: EVEN}, start=10 * DAY)
    found = alarms(rows, [*TRAINED, registered(2, "recent", asked=0)])
    assert [each.version for each in found if isinstance(each, PerformanceDegraded)] == [1]
    moved = [replace(row, losses={1: row.losses[1]}) for row in rows]
    assert [(type(each), each.time) for each in alarms(moved)] == [(type(each), each.time) for each in found]


# -- more than two classes, and numbers


def of_task(task: Task) -> Pipeline:
    raw = PIPELINE.raw()
    policy = {**PIPELINE.policy.raw(), "objective": "squared_error" if task == "regression" else "log_loss"}
    lanes = {"everything": {}, "recent": {"window": "56d"}}
    classes = {"classes": ["none", "some", "all"]} if task == "multiclass" else {}
    return Pipeline.read({**raw, "task": task, "policy": policy, "lanes": lanes, **classes})


def steady(task: Task, hours: int, *, mix: int, excess: float, seed: int) -> list[Row]:
    """Rows of a version whose loss exceeds that of the hour's best constant by this much.

    Args:
        task: what the labels are.
        hours: so many, from the first one on.
        mix: of the labels; they cost a constant less in mix 1 than in mix 0.
        excess: on average.
        seed: of the noise.
    """
    rng = np.random.default_rng(seed)
    labels = {
        "multiclass": [[0, 1, 2] * 4, [0] * 10 + [1, 2]],
        "regression": [[90, 110] * 6, [9, 11] * 6],
    }[task][mix]
    classes = 3 if task == "multiclass" else 0
    objective: Objective = "squared_error" if task == "regression" else "log_loss"
    constant = hindsight(objective, LabelSums.of([float(each) for each in labels], classes=classes))
    return [
        Row(
            time=hour * HOUR + place * (HOUR // len(labels)),
            losses={1: float(constant + excess + rng.normal(0, 0.05))},
            label=float(label),
        )
        for hour in range(hours)
        for place, label in enumerate(labels)
    ]


def after(days: int, rows: Sequence[Row]) -> list[Row]:
    return [replace(row, time=row.time + days * DAY) for row in rows]


@pytest.mark.parametrize("task", ["multiclass", "regression"])
def test_labels_that_are_easier_to_guess_hide_no_failure_and_are_none(task: Task) -> None:
    """In the second mix a constant is so much better that the loss alone falls, whatever the model does."""
    of = of_task(task)
    healthy = [
        *steady(task, 10 * 24, mix=0, excess=0.0, seed=1),
        *after(10, steady(task, 4 * 24, mix=1, excess=0.0, seed=2)),
        *after(14, steady(task, 4 * 24, mix=0, excess=0.0, seed=3)),
    ]
    assert alarms(healthy, of=of) == []
    failing = [*healthy[: 10 * 24 * 12], *after(10, steady(task, 4 * 24, mix=1, excess=0.3, seed=2))]
    losses = np.array([row.losses[1] for row in failing])
    assert losses[10 * 24 * 12 :].mean() < losses[: 10 * 24 * 12].mean()
    [degraded] = alarms(failing, of=of)
    assert isinstance(degraded, PerformanceDegraded)
    assert abs(degraded.onset - 10 * DAY) <= 6 * HOUR
    assert degraded.accepted == pytest.approx(degraded.loss - 0.3, abs=0.05)


@pytest.mark.parametrize("task", ["binary", "multiclass", "regression"])
def test_trainer_and_monitor_compute_the_same_excess(task: Task) -> None:
    """The claim made of the rows at hand is the claim made of what the summaries of these rows say."""
    request = job(3000, task=task)
    trial = tried(request)
    held = slice(trial.cut, None)
    rows = [
        Row(time=time, losses={1: loss}, label=label)
        for time, loss, label in zip(
            request.times[held].tolist(), trial.losses.tolist(), request.labels[held].tolist(), strict=True
        )
    ]
    of = of_task(task)
    blocks: dict[int, Block] = {}
    for each in summaries(rows, [len(rows) // 7, len(rows) // 3], of=of):
        for part in parts(each.time_blocks):
            start = part.start // HOUR
            blocks[start] = blocks[start].plus(part) if start in blocks else part
    judged = [blocks[start].judged(1) for start in sorted(blocks)]
    assert min(each.rows for each in judged) >= ROWS, "each block is a unit"
    claim = accept([each.loss / each.rows - hindsight(of.policy.objective, each.labels) for each in judged])
    assert claim is not None
    assert claim.metrics() == pytest.approx(
        {name: trial.metrics[name] for name in claim.metrics()}, rel=1e-6, abs=1e-9
    )
    state, _ = told(summaries(rows, [], of=of), world(TRAINED, of=of))
    assert load(dump(state)) == state
    assert state.guards

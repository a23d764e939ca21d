"""The alarm: silent while a version is what it was accepted as, one episode when it is not."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import replace

import numpy as np
import pytest

from penstock.contracts.records import PerformanceDegraded, PerformanceRecovered, VersionStage
from penstock.kernel.accepted import ROWS, accept, hindsight
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

PIPELINE = pipeline()
TRAINED = [registered(0, asked=None), registered(1, asked=0)]


def alarms(
    rows: Sequence[Row], events: Sequence[object] = TRAINED
) -> list[PerformanceDegraded | PerformanceRecovered]:
    rows = [*rows, Row(time=rows[-1].time + 3 * DAY)]
    _, evidence = told(summaries(rows, [], of=PIPELINE), world(events, of=PIPELINE))  # type: ignore[arg-type] # lists of either
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
        sizes, sums = np.bincount(units), np.bincount(units, weights=labels[:held])
        means = np.bincount(units, weights=losses[:held]) / sizes
        claim = accept(
            [
                mean - hindsight("log_loss", outputs=1, rows=size, labels=each)
                for mean, size, each in zip(means.tolist(), sizes.tolist(), sums.tolist(), strict=True)
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

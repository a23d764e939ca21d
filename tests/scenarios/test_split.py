"""An operator lets a shadow answer a share of a running stream: only who answers changes."""

from __future__ import annotations

from dataclasses import asdict
from typing import TYPE_CHECKING, Any

import pytest

from penstock.cli.backtest.system import TASKS
from penstock.contracts import records as r
from penstock.governor.domain import replay
from penstock.onnx import judged_here
from penstock.runtime.broker import Message
from tests.scenarios.system import System
from tests.scenarios.test_the_loop import HOUR, LOOP, MINUTE, stream

if TYPE_CHECKING:
    from collections.abc import Mapping

SHARE = 0.4
SPLIT, END = 2.75 * HOUR, 3.25 * HOUR


def command(system: System, version: int | None) -> None:
    asked = r.SplitTraffic(
        id=f"split-{version}",
        pipeline="churn",
        time=0,
        operator="ann",
        reason="",
        version=version,
        share=0.0 if version is None else SHARE,
    )
    [applied, *_] = system.broker.records("penstock.pipelines")  # all of a pipeline is on one number
    system.broker.append(
        Message("penstock.commands", system.codec.encode(asked), b"churn", (), applied.partition)
    )


@pytest.fixture(scope="module")
def split() -> System:
    """The first trained version is champion; then version 0 answers a share for half an hour."""
    system = System(TASKS)
    system.apply(LOOP)
    due, orders = 2 * MINUTE, {SPLIT: 0, END: None}
    calm = (99 * HOUR, 99 * HOUR)
    with judged_here():
        system.settle()
        for time, topic, record in stream(3.75, calm):
            if time >= due:
                system.settle()
                due = (time // (2 * MINUTE) + 1) * 2 * MINUTE
                for at in [at for at in orders if at <= time]:
                    command(system, orders.pop(at))
                    system.settle()
            system.produce(topic, record)
        system.settle()
    return system


def answered(system: System) -> dict[str, r.Prediction]:
    return {each.id: each for each in system.events("predictions", "churn")}


def test_a_share_of_the_ids_is_answered_by_it_for_as_long_as_it_lasts(split: System) -> None:
    begun, ended = (each for each in split.events("decisions") if isinstance(each, r.TrafficSplit))
    assert (begun.version, ended.version, begun.route.champion) == (0, None, 1)
    during = [
        each for each in answered(split).values() if begun.route.epoch <= each.epoch < ended.route.epoch
    ]
    roles = [each.role for each in during]
    assert len(roles) > 100
    assert abs(roles.count(r.Role.SPLIT) / len(roles) - SHARE) < 0.12
    assert {each.version for each in during if each.role is r.Role.SPLIT} == {0}
    # Both go on scoring every row.
    assert {tuple(sorted(score.version for score in each.scores)) for each in during} == {(0, 1)}
    after = [each.role for each in answered(split).values() if each.epoch >= ended.route.epoch]
    assert after
    assert set(after) == {r.Role.CHAMPION}


def test_the_lifecycle_tells_of_it(split: System) -> None:
    stages = [
        each.stage
        for each in split.events("lifecycle")
        if isinstance(each, r.VersionStaged) and each.version == 0
    ]
    assert stages == [r.VersionStage.SHADOW, r.VersionStage.SPLIT, r.VersionStage.SHADOW]


def test_each_command_is_the_cause_of_its_decision(split: System) -> None:
    for decision in (each for each in split.events("decisions") if isinstance(each, r.TrafficSplit)):
        assert [cause.topic for cause in decision.causes] == ["penstock.commands"]


def test_a_replay_decides_the_same_to_the_byte(split: System) -> None:
    journal = [(taken, split.decode(taken.value)) for taken in split.events("governor-journal")]
    made = [split.codec.encode(each) for each in replay(journal)]
    assert made == [record.value for record in split.broker.records("penstock.decisions")]


def test_a_governor_that_begins_anew_knows_of_the_split(split: System) -> None:
    before = _state(split)
    split.restart("governor")
    split.settle()
    assert _state(split) == before


def _state(system: System) -> Mapping[str, Any]:
    states = [each for each in system.events("governor-state") if isinstance(each, r.GovernorState)]
    return asdict(states[-1])

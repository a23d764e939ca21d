"""The core in the generic loop on the broker in memory: what it follows, writes, refuses and survives."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np
import pytest

from penstock.contracts.records import (
    DriftWarned,
    Heartbeat,
    Manifest,
    ModelRegistered,
    Purpose,
    QualityMeasured,
    Summary,
    Verdict,
    VersionStage,
)
from penstock.kernel.errors import Invalid
from penstock.kernel.hashing import partition_of
from penstock.monitor.core import MonitorCore
from penstock.monitor.domain.findings import Evidence
from penstock.monitor.task import MonitorTask
from penstock.runtime.broker import Message, Record
from penstock.runtime.catalog import Catalog
from tests.monitor.stream import DAY, EVEN, HORIZON, HOUR, hourly, pipeline, registered, staged, summaries
from tests.monitor.test_features import blocks, reference
from tests.scenarios.system import System

PIPELINE = pipeline()
EVENTS = [
    registered(0, asked=None),
    registered(1, asked=0),
    staged(1, VersionStage.CHAMPION, 0, epoch=2),
    staged(0, VersionStage.SHADOW, 0, epoch=2),
]


class Monitored:
    """The monitor alone, with one pipeline."""

    def __init__(self) -> None:
        self.system = System(
            {"monitor": lambda catalog, broker: MonitorTask(catalog, broker, MonitorCore(catalog, broker))}
        )
        self.system.apply(PIPELINE.raw())
        self.control = self.system.broker.topics()["penstock.summaries"]

    def given(self, topic: str, *events: object) -> None:
        key = PIPELINE.name.encode()
        for event in events:
            payload = self.system.codec.encode(event)
            self.system.broker.append(
                Message(self.system.names.of(topic), payload, key, (), partition_of(key, self.control))
            )

    def evidence(self) -> list[Evidence]:
        self.system.settle()
        return self.system.events("evidence")

    def core(self) -> MonitorCore:
        return MonitorCore(Catalog(self.system.broker, self.system.names), self.system.broker)

    def record(self, event: object) -> Record:
        key = PIPELINE.name.encode()
        return Record("penstock.summaries", 0, 0, 0, key, self.system.codec.encode(event))


def story() -> list[Summary]:
    """Three days on partition 0; the other two have nothing and come as far."""
    rows = hourly(72, {0: EVEN + 0.05, 1: EVEN}, rows=4)
    return [
        replace(each, partition=partition, time_blocks=each.time_blocks if partition == 0 else ())
        for each in summaries(rows, range(20, len(rows), 20), of=PIPELINE)
        for partition in (2, 1, 0)
    ]


def test_summaries_become_evidence_of_what_is_known_of_the_versions() -> None:
    world = Monitored()
    world.given("lifecycle", *EVENTS)
    world.given("summaries", *story())
    evidence = world.evidence()
    assert [each.ordinal for each in evidence] == list(range(len(evidence)))
    assert [each.version for each in evidence if isinstance(each, QualityMeasured)] == [0, 0, 1]
    beats = [each for each in evidence if isinstance(each, Heartbeat)]
    assert [each.sealed for each in beats] == [hour * HOUR for hour in range(1, 72)]
    assert {each.epoch for each in beats} == {2}
    assert {(where.topic, where.partition) for where in beats[-1].ranges} == {
        ("penstock.churn.outcomes", partition) for partition in range(3)
    }
    [places] = {(record.partition, record.key) for record in world.system.broker.records("penstock.evidence")}
    assert places == (partition_of(b"churn", world.control), b"churn")
    [cause] = beats[0].causes
    assert cause.topic == "penstock.summaries"


def test_a_restart_at_any_place_leaves_the_same_evidence() -> None:
    undisturbed = Monitored()
    undisturbed.given("lifecycle", *EVENTS)
    undisturbed.given("summaries", *story())
    expected = undisturbed.evidence()
    world = Monitored()
    world.given("lifecycle", *EVENTS)
    chain = story()
    for start in range(0, len(chain), 7):
        world.given("summaries", *chain[start : start + 7])
        world.system.settle()
        world.system.restart("monitor")
    assert world.evidence() == expected


def test_what_is_decided_while_it_runs_is_followed() -> None:
    world, chain = Monitored(), story()
    world.given("lifecycle", *EVENTS[:1])
    world.given("summaries", *chain[:12])
    assert {each.version for each in world.evidence() if isinstance(each, QualityMeasured)} == set()
    world.given("lifecycle", *EVENTS[1:])
    world.given("summaries", *chain[12:])
    assert {each.version for each in world.evidence() if isinstance(each, QualityMeasured)} == {0, 1}


def model(version: int) -> ModelRegistered:
    rng = np.random.default_rng(1)
    known = reference(rng.normal(size=(5000, 2)), PIPELINE.feature_names)
    manifest = Manifest(
        digest="",
        size=0,
        features=known.names,
        layout="layout",
        scores=1,
        lane="everything",
        ranges=(),
        golden=(),
        libraries={},
        parent=None,
        purpose=Purpose.FIRST,
        algorithm="constant",
        asked=0,
        since=None,
        cut=0,
        rows=0,
        content="",
        seed=0,
        verdict=Verdict.PASSED,
        metrics={},
        profile=known.profile if version else None,
    )
    return ModelRegistered(pipeline="churn", version=version, candidate="", manifest=manifest, causes=())


def test_the_champions_profile_is_what_features_are_compared_with() -> None:
    world = Monitored()
    world.given("models", model(0), model(1))
    world.given("lifecycle", *EVENTS)
    rows = np.random.default_rng(2).normal(size=(9000, 2)) + np.array([0.0, 1.0])
    for place, each in enumerate(story()):
        told = tuple(blocks(rows[place * 200 : place * 200 + 200], place * 200))
        world.given("summaries", replace(each, row_blocks=told))
    warned = [each for each in world.evidence() if isinstance(each, DriftWarned)]
    assert [(each.version, each.feature, each.statistic) for each in warned] == [(1, "calls", "mean")]


def test_what_is_no_summary_or_of_no_pipeline_is_refused() -> None:
    world = Monitored()
    core = world.core()
    with pytest.raises(Invalid) as refused:
        core.take(None, world.record(EVENTS[0]))
    assert refused.value.reason == "unexpected"
    with pytest.raises(Invalid) as refused:
        core.take(None, world.record(replace(story()[0], pipeline="nobodys")))
    assert refused.value.reason == "unknown_pipeline"
    core.close()


def test_it_waits_for_versions_before_it_is_asked_anything() -> None:
    """A core that begins late knows at once what was decided before."""
    world = Monitored()
    world.given("lifecycle", *EVENTS)
    core = world.core()
    state, outputs = None, list[Message]()
    for each in story():
        state, new = core.take(state, world.record(each))
        outputs += new
    told: Sequence[Evidence] = [world.system.decode(each.value or b"") for each in outputs]
    assert any(isinstance(each, QualityMeasured) and each.version == 1 for each in told)
    assert state is not None
    assert core.load(core.dump(state)) == state
    assert state.watermark is not None
    assert state.watermark > 2 * DAY + HORIZON
    core.close()

"""The demo's watch on what the system says of itself, on the broker in memory."""

from __future__ import annotations

import threading
from collections.abc import Callable
from typing import Any

import pytest

from penstock.cli.apply import apply
from penstock.cli.demo.arrivals import ALL
from penstock.cli.demo.pace import AHEAD, BEHIND, Pace
from penstock.cli.demo.script import Script
from penstock.cli.demo.watch import Watch
from penstock.contracts import records as r
from penstock.governor.domain.governed import begun
from penstock.kernel.hashing import partition_of
from penstock.kernel.pipeline import Pipeline
from penstock.runtime.broker import Message
from penstock.runtime.catalog import Catalog, Names
from penstock.runtime.memory import MemoryBroker
from tests.scenarios.system import CHURN

SOON = 20.0
DAY = 86_400_000
NAMES = Names("penstock.")
PIPELINE = Pipeline.read(CHURN)
PENDING = r.Pending(
    decision="d",
    lane="everything",
    purpose=r.Purpose.REFRESH,
    asked=0,
    source=r.Source(topic="t", partition=0, offset=0),
)


class World:
    """A pipeline whose governor and inference are played by hand."""

    def __init__(self) -> None:
        self.broker = MemoryBroker(now=lambda: 0)
        apply(PIPELINE, self.broker, NAMES)
        self.catalog = Catalog(self.broker, NAMES)
        self.pace = Pace(start=DAY, first=0)
        self.told: list[Any] = []
        self.marks = 0
        self.heard = threading.Condition()
        times = [DAY * number for number in range(1, 4)]
        messages = [Message("crm.events", b"", str(number).encode()) for number in range(3)]
        script = Script(
            flights=(),
            days=4,
            horizon=DAY,
            unit=DAY,
            event_times=times,
            events=messages,
            label_times=times,
            labels=messages,
        )
        self.watch = Watch(self.broker, NAMES, "churn", script, self.pace, tell=self.tell)

    def tell(self, event: Any) -> None:
        with self.heard:
            self.told.append(event)
            self.heard.notify_all()

    def says(self, topic: str, event: Any, key: str = "churn") -> None:
        self.broker.append(self.catalog.control_message(topic, "churn", event, key=key))

    def governs(self, judged: int | None, **changes: Any) -> None:
        governed = begun(PIPELINE, PIPELINE.canonical().decode())
        self.says("governor-state", governed.but(judged=judged, champion=0, **changes).state)

    def loads(self, *versions: int, slot: str = "0") -> None:
        report = r.ReplicaReported(pipeline="churn", slot=slot, epoch=1, loaded=versions, refused=())
        self.says("replicas", report, key=f"{slot}/churn")

    def predicts(self, name: str) -> None:
        partition = partition_of(name.encode(), 3)
        self.broker.append(Message("penstock.churn.predictions", b"", name.encode(), (), partition))

    def labels(self, name: str) -> None:
        partition = partition_of(name.encode(), 3)
        self.broker.append(Message("penstock.churn.labels", b"", name.encode(), (), partition))

    def refuses(self, name: str) -> None:
        partition = partition_of(name.encode(), 3)
        self.broker.append(Message("penstock.churn.dead-letters.ingest", b"", name.encode(), (), partition))

    def watched(self, *steps: Callable[[], None]) -> None:
        """Take these steps, one after the other, each once the watch has read the one before."""
        thread = threading.Thread(target=self.watch.run)
        thread.start()
        try:
            for step in (None, *steps):
                if step is not None:
                    step()
                self.governs(None)  # judges nothing: it only shows that what stands before it was read
                self.marks += 1
                with self.heard:
                    assert self.heard.wait_for(self._seen, SOON)
        finally:
            self.watch.stop()
            thread.join(SOON)

    def _seen(self) -> bool:
        seen = sum(isinstance(event, r.GovernorState) and event.judged is None for event in self.told)
        return seen == self.marks


@pytest.fixture
def world() -> World:
    return World()


def test_the_governors_clock_sets_the_pace_once_what_is_routed_is_loaded(world: World) -> None:
    world.pace.predicted(ALL)
    world.loads(0)
    world.governs(5 * DAY)
    world.watched()
    assert world.pace.labels.time == 5 * DAY + AHEAD


@pytest.mark.parametrize(
    "changes", [{"pending": PENDING}, {"shadows": (1,)}, {"canary": 1}, {"champion": 1}], ids=str
)
def test_the_pace_stands_while_a_training_or_a_version_is_awaited(
    world: World, changes: dict[str, Any]
) -> None:
    world.pace.predicted(ALL)
    world.loads(0)
    governed = begun(PIPELINE, PIPELINE.canonical().decode())
    known = {"judged": 5 * DAY, "champion": 0, **changes}
    world.says("governor-state", governed.but(**known).state)
    world.watched()
    assert world.pace.labels.time == DAY


def test_every_replica_has_to_have_loaded_it(world: World) -> None:
    world.pace.predicted(ALL)
    world.loads(0, 1, slot="0")
    world.loads(0, slot="1")
    world.watched(lambda: world.governs(5 * DAY, shadows=(1,)))
    assert world.pace.labels.time == DAY


def test_labels_follow_the_predictions_as_far_as_there_is_no_hole(world: World) -> None:
    world.loads(0)
    world.governs(30 * DAY)
    for name in ("2", "0", "grpc-1"):
        world.predicts(name)
    world.watched()
    assert world.pace.labels.time == 2 * DAY - 1 + AHEAD


def test_events_follow_the_labels_as_far_as_there_is_no_hole(world: World) -> None:
    world.loads(0)
    world.governs(30 * DAY)
    for name in ("2", "0"):
        world.labels(name)
    world.watched()
    assert world.pace.events.time == 2 * DAY - 1 + BEHIND


def test_what_was_refused_is_not_waited_for(world: World) -> None:
    world.loads(0)
    world.governs(30 * DAY)
    world.predicts("0")
    world.refuses("1")
    world.watched()
    assert world.pace.labels.time == 3 * DAY - 1 + AHEAD


def test_decisions_are_told_and_kept(world: World) -> None:
    decision = r.Alerted(
        id="a", pipeline="churn", time=0, event_time=DAY, policy="", previous="", causes=(), reason="r"
    )
    world.says("decisions", decision)
    world.says("decisions", r.Alerted(**{**_fields(decision), "pipeline": "other"}))
    world.watched()
    assert world.watch.decisions == [decision]
    assert decision in world.told


def _fields(decision: r.Alerted) -> dict[str, Any]:
    return {name: getattr(decision, name) for name in r.Alerted.__slots__}

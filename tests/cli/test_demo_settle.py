"""What the demo reads of the topics, and how it makes sure that every gRPC answer is among it."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, cast

import numpy as np
import pytest

from penstock.cli.apply import apply
from penstock.cli.demo import settle
from penstock.cli.demo.gather import Gatherer
from penstock.contracts.records import FeatureRow, Origin, Prediction
from penstock.kernel.pipeline import Pipeline
from penstock.runtime.broker import Message
from penstock.runtime.catalog import Catalog, Names
from penstock.runtime.memory import MemoryBroker

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from penstock.cli.demo.replay import Replay

NAMES = Names("penstock.")
CHURN = Pipeline.read(
    {
        "pipeline": "churn",
        "task": "binary",
        "events": {"topic": "crm.events", "id": "id", "time": "at"},
        "labels": {"topic": "crm.ends", "id": "id", "time": "at", "value": "churned", "horizon": "30d"},
        "features": {"age": "number"},
    }
)


class World:
    """A pipeline on a broker in memory, and whoever writes to its topics."""

    def __init__(self) -> None:
        self.broker = MemoryBroker(now=lambda: 0)
        apply(CHURN, self.broker, NAMES)
        catalog = Catalog(self.broker, NAMES)
        layout = CHURN.features_digest, CHURN.feature_names
        self.features = catalog.codec.rows(FeatureRow, "churn", *layout)
        self.predictions = catalog.codec.rows(Prediction, "churn", *layout)
        self.gatherer = Gatherer(self.broker, NAMES, CHURN)

    def write(self, topic: str, value: bytes) -> None:
        self.broker.producer().send(Message(topic, value, b"key"))

    def predict(self, name: str, origin: Origin) -> None:
        head = Prediction(
            id=name,
            origin=origin,
            time=0,
            epoch=1,
            version=0,
            role=None,
            scores=(),
            error=None,
            cleared=(),
        )
        [payload] = self.predictions.encode([head], np.array([[1.0]]))
        self.write("penstock.churn.predictions", payload)


@pytest.fixture
def world() -> World:
    return World()


def test_each_record_is_gathered_once_however_often_one_looks(world: World) -> None:
    world.write("crm.events", b'{"id": "a", "at": 0, "age": 1}')
    [row] = world.features.encode([FeatureRow(id="a", time=0, cleared=(), flags=())], np.array([[1.0]]))
    world.write("penstock.churn.features", row)
    world.write("penstock.churn.dead-letters.ingest", b"{}")
    world.predict("a", Origin.STREAM)
    for _ in range(2):
        seen = world.gatherer.gather()
    assert (seen.events, seen.features, seen.dead_letters, seen.repeats) == ({"a"}, {"a"}, 1, 0)
    world.predict("a", Origin.STREAM)
    assert world.gatherer.gather().repeats == 1


@dataclass
class FakeAsker:
    """A client whose questions are logged only when they are asked again."""

    world: World
    ids: frozenset[str]
    again: list[str] = field(default_factory=list)

    def ask_again(self, names: Iterable[str]) -> None:
        for name in names:
            self.again.append(name)
            self.world.predict(name, Origin.GRPC)


@dataclass
class FakeReplay:
    asker: FakeAsker

    @staticmethod
    def until(done: Callable[[], bool], *, moving: Callable[[], object]) -> None:
        for _ in range(10):
            if done():
                return
            moving()
        raise AssertionError("not done after ten looks")


def test_an_answer_that_was_lost_before_it_was_logged_is_asked_for_once_more(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(settle, "LOGGED_SECONDS", 0.0)
    world.predict("grpc-0", Origin.GRPC)
    asker = FakeAsker(world, frozenset({"grpc-0", "grpc-1"}))
    settle.log_answers(cast("Replay", FakeReplay(asker)), world.gatherer)
    assert asker.again == ["grpc-1"]


def test_logged_answers_are_not_asked_for_again(world: World) -> None:
    world.predict("grpc-0", Origin.GRPC)
    asker = FakeAsker(world, frozenset({"grpc-0"}))
    settle.log_answers(cast("Replay", FakeReplay(asker)), world.gatherer)
    assert asker.again == []

"""Lag: the distance to the end, asked for now and then."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, cast

from penstock.runtime.broker import Message, Position, Topic, TopicPartition
from penstock.runtime.lag import EVERY, Lag
from penstock.runtime.memory import MemoryBroker
from penstock.runtime.telemetry import Off, off

if TYPE_CHECKING:
    from penstock.runtime.telemetry import Telemetry

FIRST, SECOND = (TopicPartition("penstock.flights.features", number) for number in (0, 1))


@dataclass
class Told(Off):
    """Keeps what it is told."""

    on: bool = True
    gauges: list[tuple[str, float, dict[str, Any]]] = field(default_factory=list)

    def gauge(self, metric: Any, value: float, **attributes: Any) -> None:
        self.gauges.append((metric.name, value, attributes))


def broker() -> MemoryBroker:
    cluster = MemoryBroker(now=lambda: 0)
    cluster.create([Topic(name=FIRST.topic, partitions=2)])
    for _ in range(5):
        cluster.append(Message(FIRST.topic, b"row", partition=0))
    return cluster


def test_the_distance_to_the_end_every_ten_seconds() -> None:
    clock, told, cluster = [100.0], Told(), broker()
    lag = Lag(cluster, cast("Telemetry", told), group="penstock.inference", now=lambda: clock[0])
    positions = {FIRST: Position(2), SECOND: Position(0)}
    lag.look(positions)
    lag.look(positions)
    cluster.append(Message(FIRST.topic, b"row", partition=1))
    clock[0] += EVERY
    lag.look(positions)
    seen = [(name, value, attributes["partition"]) for name, value, attributes in told.gauges]
    name = "penstock.consumer.lag"
    assert seen == [(name, 3, 0), (name, 0, 1), (name, 3, 0), (name, 1, 1)]
    assert told.gauges[0][2] == {"topic": FIRST.topic, "partition": 0, "group": "penstock.inference"}


def test_nobody_is_asked_where_telemetry_is_off() -> None:
    class Asked(MemoryBroker):
        def ends(self, partitions: Any) -> Any:
            raise AssertionError(partitions)

    Lag(Asked(now=lambda: 0), off(), group="g").look({FIRST: Position(0)})

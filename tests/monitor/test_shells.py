"""One core, two shells: on Faust, killed twice, the monitor says what it says in the loop in memory."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterable, Iterator
from typing import Any

import pytest

from penstock.contracts.records import (
    Heartbeat,
    LanesCompared,
    PerformanceDegraded,
    QualityMeasured,
    VersionStage,
)
from penstock.kernel.pipeline import Pipeline
from penstock.monitor.core import MonitorCore
from penstock.monitor.task import MonitorTask
from penstock.runtime.broker import Broker, Message, Record, Topic, TopicPartition
from penstock.runtime.catalog import Catalog, Names, apply_messages
from penstock.runtime.codec import Codec
from penstock.runtime.fold import read_range
from penstock.runtime.kafka import KafkaBroker
from penstock.runtime.loop import Loop, settle
from penstock.runtime.memory import MemoryBroker
from penstock.runtime.telemetry import off
from penstock.runtime.topics import topics
from tests.monitor.stream import DAY, EVEN, Row, hourly, pipeline, registered, staged, summaries

PIPELINE: Pipeline = pipeline()
VERSIONS = (
    registered(0, asked=None),
    registered(1, asked=0),
    registered(2, "recent", asked=0),
    staged(1, VersionStage.CHAMPION, 0, epoch=2),
    staged(2, VersionStage.SHADOW, 0, epoch=3),
)
PATIENCE = 60.0


def given(broker: Broker, names: Names) -> Iterator[Message]:
    """A pipeline, two versions, and twenty days of summaries in which one of them begins to fail."""
    broker.create(topics(names.prefix))
    broker.create([Topic(name=names.of("outcomes", PIPELINE.name), partitions=1)])
    catalog = Catalog(broker, names)
    yield from apply_messages(names, PIPELINE, catalog.codec, partitions=catalog.control, now=0)
    yield from (catalog.control_message("lifecycle", PIPELINE.name, each) for each in VERSIONS)
    rows = [
        *hourly(10 * 24, {1: EVEN, 2: EVEN - 0.05}),
        *hourly(10 * 24, {1: EVEN + 0.3, 2: EVEN}, start=10 * DAY, seed=8),
    ]
    rows.append(Row(time=rows[-1].time + 3 * DAY))
    for each in summaries(rows, range(40, len(rows), 40), of=PIPELINE):
        yield catalog.control_message("summaries", PIPELINE.name, each)
    catalog.close()


def in_memory(prefix: str) -> list[Record]:
    """The evidence of the generic loop, in the order of its offsets."""
    broker, names = MemoryBroker(now=lambda: 0), Names(prefix)
    for message in list(given(broker, names)):
        broker.append(message)
    catalog = Catalog(broker, names)
    task = MonitorTask(catalog, broker, MonitorCore(catalog, broker))
    settle([Loop(task, broker, service="monitor", prefix=prefix, slot="0", telemetry=off()).step])
    return broker.records(names.of("evidence"))


def firsts(records: Iterable[Record], codec: Codec) -> list[Any]:
    """The evidence that a reader keeps: the first of each id."""
    events: dict[str, Any] = {}
    for record in records:
        event: Any = codec.decode(record.value or b"").value
        events.setdefault(event.id, event)
    return list(events.values())


class OnFaust:
    """The monitor's own process on a Kafka, and what it has written there."""

    def __init__(self, bootstrap: str, prefix: str) -> None:
        self.broker = KafkaBroker(bootstrap)
        self.names = Names(prefix)
        producer = self.broker.producer()
        for message in list(given(self.broker, self.names)):
            assert producer.send(message)
        assert producer.flush(PATIENCE) == 0
        producer.close()
        flags = ("--broker", bootstrap, "--prefix", prefix)
        self._command = (sys.executable, "-m", "penstock", "run", "monitor", *flags)
        self._process = self._started()

    def _started(self) -> subprocess.Popen[bytes]:
        environment = {name: value for name, value in os.environ.items() if not name.startswith("PENSTOCK_")}
        return subprocess.Popen(self._command, env=environment)

    def restart(self) -> None:
        self._process.kill()
        self._process.wait(PATIENCE)
        self._process = self._started()

    def until(self, count: int) -> list[Record]:
        """The records of evidence once there are so many."""
        wanted = [TopicPartition(self.names.of("evidence"), each) for each in range(3)]
        deadline = time.monotonic() + PATIENCE
        while True:
            ranges = self.broker.ends(wanted)
            found = [record for records in read_range(self.broker, ranges) for record in records]
            if len(found) >= count:
                return found
            assert time.monotonic() < deadline, f"{len(found)} of {count} records of evidence"
            assert self._process.poll() is None, "it ended by itself"

    def stop(self) -> int:
        self._process.send_signal(signal.SIGTERM)
        return self._process.wait(PATIENCE)

    def close(self) -> None:
        self._process.kill()
        self._process.wait(PATIENCE)
        self.broker.close()


@pytest.fixture
def faust(kafka: str, prefix: str) -> Iterator[OnFaust]:
    faust = OnFaust(kafka, prefix)
    yield faust
    faust.close()


@pytest.mark.timeout(150)
def test_both_shells_give_the_same_evidence(faust: OnFaust, prefix: str) -> None:
    expected = in_memory(prefix)
    for share in (3, 2):
        faust.until(len(expected) // share)
        faust.restart()
    catalog = Catalog(faust.broker, faust.names)
    found: list[Any] = []
    count = len(expected)
    while len(found) < len(expected):  # repeats count until they are dropped
        records = faust.until(count)
        found = firsts(records, catalog.codec)
        count = len(records) + 1
    assert found == firsts(expected, catalog.codec)
    kinds = {type(event) for event in found}
    assert kinds >= {Heartbeat, LanesCompared, PerformanceDegraded, QualityMeasured}
    assert faust.stop() == 0
    catalog.close()

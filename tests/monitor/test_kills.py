"""Killed again and again, the monitor on Faust neither loses a summary nor takes one twice.

Stock Faust does. PENSTOCK_PROVE=1 kills it many times over, kills the broker too, and stops a process for so
long that another takes its partitions.
"""

from __future__ import annotations

import os
import random
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import orjson
import pytest

from penstock.broker import EmbeddedKafka
from penstock.monitor.ledger import STATE
from penstock.monitor.task import MonitorTask
from penstock.runtime.broker import Record, TopicPartition
from penstock.runtime.catalog import Names
from penstock.runtime.fold import read_range
from penstock.runtime.kafka import KafkaBroker
from penstock.runtime.serve import CONFLICT
from penstock.runtime.topics import topics
from tests.monitor.toy import ToyCore, firsts, summary
from tests.runtime.worlds import KafkaWorld
from tests.scenarios.system import System

PROVE = bool(os.environ.get("PENSTOCK_PROVE"))
KILLS = 30 if PROVE else 3
BATCHES = 1500 if PROVE else 200
KEYS = tuple("abcdef")
ROOT = Path(__file__).parents[2]
PATIENCE = 60.0


class Monitors:
    """Processes of the monitor with the toy core, on topics of a test's own."""

    def __init__(self, bootstrap: str, prefix: str) -> None:
        self.names = Names(prefix)
        self._bootstrap = bootstrap
        self.world = KafkaWorld(prefix, bootstrap)
        self.broker = self.world.broker
        self.broker.create(topics(prefix))
        self.control = self.broker.topics()[self.names.of(STATE)]
        self._environment = {**os.environ, "PENSTOCK_BROKER": bootstrap, "PENSTOCK_PREFIX": prefix}
        self._running: dict[str, subprocess.Popen[bytes]] = {}
        self._told = self.broker.reader(dict.fromkeys(self._partitions("evidence"), 0))
        self.evidence: list[Record] = []

    def start(self, slot: str = "0") -> None:
        environment = {**self._environment, "PENSTOCK_SLOT": slot}
        command = [sys.executable, "-m", "tests.monitor.toy"]
        self._running[slot] = subprocess.Popen(command, cwd=ROOT, env=environment)

    def send(self, number: signal.Signals, slot: str = "0") -> None:
        self._running[slot].send_signal(number)

    def end(self, number: signal.Signals, slot: str = "0") -> int:
        """Send a signal and wait for the end; the exit code."""
        self.send(number, slot)
        return self.wait(slot)

    def wait(self, slot: str = "0") -> int:
        return self._running.pop(slot).wait(PATIENCE)

    def until(self, enough: Callable[[], bool]) -> None:
        """Read evidence until there is enough of it."""
        deadline = time.monotonic() + PATIENCE
        while not enough():
            assert time.monotonic() < deadline, f"only {len(self.evidence)} records of evidence"
            dead = [slot for slot, process in self._running.items() if process.poll() is not None]
            assert not dead, f"ended by itself: {dead}"
            self.evidence += self._told.poll(1000, 0.2).records

    def lose(self, slot: str = "0") -> subprocess.Popen[bytes]:
        """Another may have this slot now; it is the caller's to end."""
        return self._running.pop(slot)

    def said(self) -> dict[str, list[dict[str, object]]]:
        return firsts(self.evidence)

    def records(self, topic: str) -> list[Record]:
        """All that is committed on a topic; by clients that know of no broker before a restart."""
        broker = KafkaBroker(self._bootstrap)
        try:
            ranges = broker.ends(self._partitions(topic))
            return [record for records in read_range(broker, ranges) for record in records]
        finally:
            broker.close()

    def uncommitted(self) -> int:
        """How many summaries the group has not committed past."""
        consumer = self.broker.consumer(group=self.names.of("monitor"), slot="looks on")
        committed = consumer.committed(self._partitions("summaries"))
        consumer.close()
        positions = {where: at.offset if at else 0 for where, at in committed.items()}
        return sum(
            record.offset >= positions[TopicPartition(record.topic, record.partition)]
            for record in self.records("summaries")
        )

    def close(self) -> None:
        for slot in list(self._running):
            self.send(signal.SIGCONT, slot)
            self.end(signal.SIGKILL, slot)
        self._told.close()
        self.broker.close()

    def _partitions(self, topic: str) -> list[TopicPartition]:
        return [TopicPartition(self.names.of(topic), each) for each in range(self.control)]


class Feeder(threading.Thread):
    """Writes numbers in transactions, of which a third are aborted; its own thread, and its own pace.

    Args:
        pace: seconds between two transactions.
    """

    def __init__(self, monitors: Monitors, *, seed: int, batches: int = BATCHES, pace: float = 0.01) -> None:
        super().__init__()
        self._monitors = monitors
        self._chance = random.Random(seed)  # noqa: S311 - a test that can be repeated
        self._batches = batches
        self._pace = pace
        self.written: dict[str, list[int]] = {key: [] for key in KEYS}
        self.error: BaseException | None = None

    def run(self) -> None:
        try:
            self._feed()
        except BaseException as error:  # noqa: BLE001 - raised again by `finish`
            self.error = error

    def _feed(self) -> None:
        names, control = self._monitors.names, self._monitors.control
        producer = self._monitors.broker.transactional(f"{names.prefix}feeder")
        wait = threading.Event()
        for _ in range(self._batches):
            numbers = [
                (self._chance.choice(KEYS), self._chance.randrange(1, 1000))
                for _ in range(self._chance.randrange(1, 20))
            ]
            aborted = self._chance.random() < 1 / 3
            producer.begin()
            producer.send(
                summary(names, control, key, 10**9 if aborted else number) for key, number in numbers
            )
            if aborted:
                self._monitors.world.sent(producer)  # else they would be taken back before they are written
                producer.abort()
            else:
                producer.commit()
                for key, number in numbers:
                    self.written[key].append(number)
            wait.wait(self._pace)
        producer.close()

    def finish(self) -> None:
        self.join(PATIENCE * 5)
        assert self.error is None, self.error


@pytest.fixture
def monitors(kafka: str, prefix: str) -> Iterator[Monitors]:
    monitors = Monitors(kafka, prefix)
    yield monitors
    monitors.close()


def numbers(said: dict[str, list[dict[str, object]]]) -> dict[str, list[object]]:
    return {key: [each["number"] for each in outputs] for key, outputs in sorted(said.items())}


def kept(records: list[Record]) -> dict[bytes, object]:
    """The last state of each key, without its position."""
    return {record.key or b"": orjson.loads((record.value or b"").partition(b"\n")[2]) for record in records}


def exact(monitors: Monitors, written: dict[str, list[int]]) -> None:
    """Everything that was written was taken once and in order, and nothing else."""
    count = sum(map(len, written.values()))
    monitors.until(lambda: sum(map(len, monitors.said().values())) >= count)
    said = monitors.said()
    assert numbers(said) == written
    for key, outputs in said.items():
        assert [each["id"] for each in outputs] == [f"{key}/{n}" for n in range(1, len(outputs) + 1)]
        assert outputs[-1]["total"] == sum(written[key])


def ended_well(monitors: Monitors, written: dict[str, list[int]], slot: str = "0") -> None:
    """All offsets are committed, and SIGTERM leaves them so, and all states written."""
    # The state may be ahead: what was taken before a kill comes again, and is passed over.
    monitors.until(lambda: monitors.uncommitted() == 0)
    assert monitors.end(signal.SIGTERM, slot) == 0
    assert kept(monitors.records(STATE)) == {
        key.encode(): [len(numbers), sum(numbers)] for key, numbers in written.items()
    }
    assert monitors.uncommitted() == 0


@pytest.mark.timeout(1200 if PROVE else 150)
def test_killed_again_and_again_it_takes_each_summary_once(monitors: Monitors) -> None:
    feeder = Feeder(monitors, seed=KILLS)
    monitors.start()
    feeder.start()
    for kill in range(1, KILLS + 1):
        seen = len(monitors.evidence)
        monitors.until(lambda seen=seen, kill=kill: len(monitors.evidence) > seen + 10 * kill)  # type: ignore[misc]
        monitors.end(signal.SIGKILL)
        monitors.start()
    feeder.finish()
    exact(monitors, feeder.written)
    ended_well(monitors, feeder.written)

    # The same summaries through the generic loop, and one at a time at that, lead to the same.
    loop = System({"monitor": lambda catalog, broker: MonitorTask(catalog, broker, ToyCore(catalog, broker))})
    for record in monitors.records("summaries"):
        loop.broker.append(
            summary(loop.names, monitors.control, (record.key or b"").decode(), record.value or b"")
        )
    loop.settle()
    assert firsts(loop.broker.records("penstock.evidence")) == monitors.said()
    assert kept(loop.broker.records("penstock.monitor-state")) == kept(monitors.records(STATE))


@pytest.mark.timeout(150)
def test_a_newer_process_in_its_slot_ends_it(monitors: Monitors) -> None:
    written = fed(monitors, seed=1)
    monitors.start()
    exact(monitors, written)
    older = monitors.lose()
    monitors.start()
    assert older.wait(PATIENCE) == CONFLICT
    written = fed(monitors, seed=2, before=written)
    exact(monitors, written)
    ended_well(monitors, written)


@pytest.mark.skipif(not PROVE, reason="half a minute; PENSTOCK_PROVE=1 runs it")
@pytest.mark.timeout(300)
def test_who_was_stopped_for_too_long_does_no_harm(monitors: Monitors) -> None:
    """It still has summaries in hand that are another's by now, and works on them when it wakes up."""
    written = fed(monitors, seed=3)
    monitors.start("0")
    monitors.until(lambda: len(monitors.evidence) > 100)
    monitors.send(signal.SIGSTOP, "0")
    monitors.start("1")
    exact(monitors, written)
    monitors.send(signal.SIGCONT, "0")
    assert monitors.wait("0") == CONFLICT
    monitors.end(signal.SIGKILL, "1")
    monitors.start("1")
    written = fed(monitors, seed=4, before=written)
    exact(monitors, written)
    ended_well(monitors, written, "1")


@pytest.mark.skipif(not PROVE, reason="half a minute; PENSTOCK_PROVE=1 runs it")
@pytest.mark.kafka
@pytest.mark.timeout(300)
def test_it_outlives_its_broker(tmp_path: Path, prefix: str) -> None:
    with EmbeddedKafka(tmp_path / "kafka") as embedded:
        monitors = Monitors(embedded.bootstrap, prefix)
        try:
            written = fed(monitors, seed=5)
            monitors.start()
            for much in (100, 500):
                monitors.until(lambda much=much: len(monitors.evidence) > much)  # type: ignore[misc]
                embedded.kill()
                embedded.start()
            exact(monitors, written)
            written = fed(monitors, seed=6, before=written)
            exact(monitors, written)
            ended_well(monitors, written)
        finally:
            monitors.close()


def fed(monitors: Monitors, *, seed: int, before: dict[str, list[int]] | None = None) -> dict[str, list[int]]:
    """Write many numbers; what has been written now."""
    feeder = Feeder(monitors, seed=seed, batches=100, pace=0.0)
    feeder.start()
    feeder.finish()
    return {key: [*(before or {}).get(key, []), *feeder.written[key]] for key in KEYS}

"""How fast ingest takes records in: processor time of the real service on the real Kafka, row by row.

    python -m benchmarks.ingest --json

starts the embedded Kafka and `penstock run ingest --only intake` in a process of its own, on two cores that
everything shares. A round writes events in one transaction, so that all of them can be read at once, and ends
when their offsets are committed. What is measured is the processor time of the service, librdkafka's threads
included and Kafka's own not: a row is consumed, decoded, validated, coded, encoded, produced and committed,
exactly once. Rounds of the same events through naive.py (one record after the other) and through the service
at least once (see at_least_once.py) alternate with them, so that whatever else the machine does meets all.
Numbers are medians over the rounds:

    intake_rows_per_s_per_core   rows for a second of one core: 30 numbers and 3 categories, Avro
    intake_vs_naive              how many times the rows of the naive loop, the same events in the same run
    naive_rows_per_s_per_core    the naive loop's
    intake_rows_per_s            rows in a second, with Kafka on the same two cores
    ..._numbers                  the same of 30 numbers alone
    ..._json, ..._numbers_json   the same of JSON
    eos_overhead                 share of the rows per second that exactly once costs, commits 200 ms apart;
                                 the median over pairs of rounds side by side; around 0 it is noise
    decode_vs_fastavro           30 doubles: how many times as fast as fastavro a batch is decoded
    encode_vs_fastavro           the same, encoded
    join_..., restart_...        see ingest_join.py
    seconds                      of the whole run
"""

from __future__ import annotations

import argparse
import importlib.util
import json
import os
import shutil
import signal
import statistics
import subprocess
import sys
import tempfile
import time
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Final

import confluent_kafka as ck
import psutil

from benchmarks.ingest_codecs import codecs
from benchmarks.ingest_load import VARIANTS, Variant
from benchmarks.tenant import CORES, say, two_cores
from penstock.broker import EmbeddedKafka
from penstock.cli.apply import apply
from penstock.contracts.topics import PARTITIONS as PER_PIPELINE
from penstock.runtime.broker import Topic
from penstock.runtime.catalog import Names
from penstock.runtime.kafka import KafkaBroker

if TYPE_CHECKING:
    from collections.abc import Sequence

PARTITIONS: Final = PER_PIPELINE["pipeline"]
BUDGET: Final = 150.0
"""Seconds after which no further round begins, however slow the machine is."""
PATIENCE: Final = 120.0
"""Seconds that a round may take."""
SLOW: Final = 4
"""The naive loop gets so many times fewer rows: its rounds would be as many times longer."""


class _Deaf:
    """Takes librdkafka's log lines: that Kafka is gone when all is over is no news."""

    @staticmethod
    def log(_level: int, _form: str, *_arguments: object) -> None: ...


@dataclass(frozen=True, slots=True, kw_only=True)
class Figures:
    """Of one round."""

    rows: int
    cpu: float
    wall: float


@dataclass(kw_only=True)
class Service:
    """A process that takes events in.

    Args:
        tenant: prefix of its topics and groups.
        argv: what runs it.
        variants: of the events, whose pipelines are applied.
    """

    tenant: str
    argv: tuple[str, ...]
    variants: tuple[Variant, ...]
    bootstrap: str
    folder: Path
    rounds: dict[str, list[Figures]] = field(default_factory=dict)
    _process: subprocess.Popen[bytes] | None = None

    @property
    def environment(self) -> dict[str, str]:
        return {
            **os.environ,
            "PENSTOCK_BROKER": self.bootstrap,
            "PENSTOCK_PREFIX": f"{self.tenant}.",
        }

    def start(self) -> None:
        """Make the topics, apply the pipelines, run."""
        broker = KafkaBroker(self.bootstrap)
        for variant in self.variants:
            apply(variant.applied(self.tenant), broker, Names(f"{self.tenant}."))
        ours = [f"{self.tenant}.{variant.pipeline}.features" for variant in VARIANTS]
        theirs = [variant.topic(self.tenant) for variant in VARIANTS]
        broker.create([Topic(name=name, partitions=PARTITIONS) for name in (*ours, *theirs)])
        broker.close()
        self.folder.mkdir()
        log = (self.folder / "service.log").open("wb")
        self._process = subprocess.Popen(self.argv, env=self.environment, stdout=log, stderr=log)
        common = {"bootstrap.servers": self.bootstrap, "logger": _Deaf}
        self._group = ck.Consumer(
            {**common, "group.id": f"{self.tenant}.intake", "isolation.level": "read_uncommitted"}
        )
        self._producer = ck.Producer(
            {
                **common,
                "transactional.id": f"{self.tenant}.bench",
                "transaction.timeout.ms": 300_000,
                "compression.type": "lz4",
                "partitioner": "murmur2_random",
            }
        )
        self._producer.init_transactions()

    def round(self, variant: Variant, events: Sequence[tuple[bytes, bytes]]) -> Figures:
        """Send these events, and wait until they are through."""
        topic = variant.topic(self.tenant)
        self._producer.begin_transaction()
        for key, value in events:
            while True:
                try:
                    self._producer.produce(topic, value, key)
                    break
                except BufferError:
                    self._producer.poll(0.05)
        self._producer.flush()
        ends = {number: self._end(topic, number) for number in range(PARTITIONS)}
        before = self._cpu()
        self._producer.commit_transaction()
        began = time.perf_counter()
        while not self._through(topic, ends):
            if self._process is None or self._process.poll() is not None:
                raise SystemExit(f"{self.tenant} ended:\n{self.log()}")
            if time.perf_counter() - began > PATIENCE:
                raise SystemExit(f"{self.tenant} does not come to the end of {topic}:\n{self.log()}")
            time.sleep(0.01)
        wall = time.perf_counter() - began
        found = Figures(rows=len(events), cpu=self._cpu() - before, wall=wall)
        self.rounds.setdefault(variant.suffix, []).append(found)
        return found

    def log(self) -> str:
        return (self.folder / "service.log").read_text(errors="replace")[-5000:]

    def close(self) -> None:
        self._group.close()
        self._producer.close()
        if self._process is not None:
            self._process.send_signal(signal.SIGTERM)
            try:
                self._process.wait(20)
            except subprocess.TimeoutExpired:
                self._process.kill()
                self._process.wait()

    def _cpu(self) -> float:
        if self._process is None:
            raise RuntimeError("not started")
        times = psutil.Process(self._process.pid).cpu_times()
        return times.user + times.system

    def _end(self, topic: str, number: int) -> int:
        _, end = self._group.get_watermark_offsets(ck.TopicPartition(topic, number), timeout=10)
        return int(end)

    def _through(self, topic: str, ends: dict[int, int]) -> bool:
        """Whether the offsets of all records are committed."""
        asked = [ck.TopicPartition(topic, number) for number in ends]
        return all(at.offset >= ends[at.partition] for at in self._group.committed(asked, timeout=10))


def measure(*, rounds: int, rows: int, join: bool) -> dict[str, float]:
    """All figures; see the module."""
    began = time.perf_counter()
    two_cores()
    figures = codecs()
    folder = Path(tempfile.mkdtemp(prefix="penstock-bench-"))
    try:
        with ExitStack() as stack:
            kafka = stack.enter_context(EmbeddedKafka(folder / "kafka"))
            python = sys.executable
            intake = ("run", "ingest", "--only", "intake")
            exactly, at_least, naive = services = [
                Service(
                    tenant=tenant,
                    argv=(python, "-m", *argv),
                    variants=variants,
                    bootstrap=kafka.bootstrap,
                    folder=folder / tenant,
                )
                for tenant, argv, variants in (
                    ("exactly", ("penstock", *intake), VARIANTS),
                    ("least", ("benchmarks.at_least_once", *intake), VARIANTS[:1]),
                    ("naive", ("benchmarks.naive", kafka.bootstrap, "naive"), ()),
                )
            ]
            for service in services:
                service.start()
                stack.callback(service.close)
            _alternate(services, rounds=rounds, rows=rows, until=began + BUDGET)
    finally:
        shutil.rmtree(folder, ignore_errors=True)
    for variant in VARIANTS:
        figures |= _figures(variant.suffix, exactly, naive)
    pairs = zip(exactly.rounds[""], at_least.rounds[""], strict=True)
    figures["eos_overhead"] = round(1 - statistics.median(b.wall / a.wall for a, b in pairs), 4)
    figures |= _joined() if join else {}
    return {
        **figures,
        "rounds": len(exactly.rounds[""]),
        "rows_per_round": rows,
        "cores": CORES,
        "seconds": round(time.perf_counter() - began, 1),
    }


def _alternate(services: Sequence[Service], *, rounds: int, rows: int, until: float) -> None:
    """Round after round, each variant through each service; the first one of each warms it up."""
    exactly, at_least, naive = services
    for number in range(-1, rounds):
        if number > 0 and time.perf_counter() > until:
            break
        for variant in VARIANTS:
            count = rows if number >= 0 else rows // 20
            # New ones each time: an id that came lately is a repeat, and becomes nothing.
            events = variant.events(first=(number + 1) * rows, count=count)
            turns = [(exactly, events), (naive, events[: count // SLOW])]
            if not variant.suffix:
                turns.insert(number % 2, (at_least, events))
            for service, sent in turns:
                found = service.round(variant, sent)
                if number < 0:
                    service.rounds[variant.suffix].clear()
                else:
                    cpu, rate = 1e6 * found.cpu / found.rows, found.rows / found.wall
                    what = f"{service.tenant}{variant.suffix}"
                    say(f"round {number + 1}: {what} {cpu:.2f} µs of CPU a row, {rate:,.0f} rows/s")


def _figures(suffix: str, exactly: Service, naive: Service) -> dict[str, float]:
    rates = [[each.rows / each.cpu for each in service.rounds[suffix]] for service in (exactly, naive)]
    ours, theirs = map(statistics.median, rates)
    pairs = zip(*rates, strict=True)
    return {
        f"intake_rows_per_s_per_core{suffix}": round(ours),
        f"intake_vs_naive{suffix}": round(statistics.median(a / b for a, b in pairs), 2),
        f"naive_rows_per_s_per_core{suffix}": round(theirs),
        f"intake_rows_per_s{suffix}": round(
            statistics.median(each.rows / each.wall for each in exactly.rounds[suffix])
        ),
    }


def _joined() -> dict[str, float]:
    """What the join's benchmark has measured, where there is one."""
    if importlib.util.find_spec("benchmarks.ingest_join") is None:
        return {}
    from benchmarks.ingest_join import figures  # noqa: PLC0415 - a part of its own

    return dict(figures())


def main() -> None:
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.ingest", description=__doc__.partition("\n")[0]
    )
    parser.add_argument("--json", action="store_true", help="one JSON object on stdout")
    parser.add_argument("--rounds", type=int, default=5, metavar="N", help="of each kind (%(default)s)")
    parser.add_argument("--rows", type=int, default=120_000, metavar="N", help="in a round (%(default)s)")
    parser.add_argument("--no-join", action="store_true", help="leave the join out")
    args = parser.parse_args()
    figures = measure(rounds=args.rounds, rows=args.rows, join=not args.no_join)
    if args.json:
        print(json.dumps(figures))
    else:
        for name, value in figures.items():
            print(f"{name:<40} {value:>12,}")


if __name__ == "__main__":
    main()

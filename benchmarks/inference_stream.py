"""How fast the stream is scored: processor time of the real inference service on the real Kafka, row by row.

    python -m benchmarks.inference_stream --json

starts the embedded Kafka, `penstock run inference` and the loop of stream_loop.py, each a process of its own
with topics of its own. A round writes feature rows of 30 numbers in one transaction, so that all of them can
be read at once, and ends when their offsets are committed. What is measured is the processor time of the
process, librdkafka's threads included and Kafka's own not: a row is consumed, decoded, scored by a logistic
regression, encoded, produced and committed, exactly once. Rounds of both alternate, so that whatever else the
machine does meets both; numbers are medians over the rounds:

    stream_scoring_rows_per_s_per_core   rows for a second of one core (at least 200,000)
    stream_scoring_vs_loop               how many times the rows of the loop in the same run (at least 2.5)
    stream_scoring_rows_per_s            rows in a second, with Kafka and the writer on the same cores
    stream_scoring_us_per_row            processor time of a row
"""

from __future__ import annotations

import argparse
import json
import shutil
import statistics
import tempfile
import time
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Final

import confluent_kafka as ck
import numpy as np
import psutil

from benchmarks.models import logistic_regression
from benchmarks.replica import Registry, Server, pipeline_of
from benchmarks.tenant import say, two_cores
from penstock.broker import EmbeddedKafka
from penstock.contracts.records import FeatureRow
from penstock.runtime.columnar import write_rows

if TYPE_CHECKING:
    from typing import Self

FEATURES: Final = 30
PATIENCE: Final = 60.0
"""Seconds that a round may take."""
BUDGET: Final = 40.0
"""Seconds after which no further round begins."""
SLOW: Final = 5
"""The loop gets so many times fewer rows: its rounds would be as many times longer."""


class _Deaf:
    """Takes librdkafka's log lines: that Kafka is gone when all is over is no news."""

    @staticmethod
    def log(_level: int, _form: str, *_arguments: object) -> None: ...


@dataclass(frozen=True, slots=True, kw_only=True)
class Round:
    """What some rows took, in seconds."""

    rows: int
    cpu: float
    wall: float


@dataclass(kw_only=True)
class Scorer:
    """A process that scores the stream of its own prefix.

    Args:
        registry: with its pipeline, version and route.
        server: the process, running.
    """

    registry: Registry
    server: Server
    rounds: list[Round] = field(default_factory=list)

    def __enter__(self) -> Self:
        common = {"bootstrap.servers": self.registry.bootstrap, "logger": _Deaf}
        group = f"{self.registry.prefix}inference"
        self._group = ck.Consumer({**common, "group.id": group, "isolation.level": "read_uncommitted"})
        self._producer = ck.Producer(
            {
                **common,
                "transactional.id": f"{self.registry.prefix}bench",
                "transaction.timeout.ms": 300_000,
                "compression.type": "lz4",
                "partitioner": "murmur2_random",
            }
        )
        self._producer.init_transactions()
        pipeline = self.registry.pipeline
        self._rows = self.registry.codec.rows(
            FeatureRow, pipeline.name, pipeline.features_digest, pipeline.feature_names
        )
        self._topic = self.registry.names.of("features", pipeline.name)
        self._process = psutil.Process(self.server.pid)
        self._sent = 0
        return self

    def __exit__(self, *_: object) -> None:
        self._group.close()
        self._producer.close()

    def round(self, rows: int) -> None:
        """Send rows, and wait until all are scored."""
        self._producer.begin_transaction()
        for key, value in self._make(rows):
            while True:
                try:
                    self._producer.produce(self._topic, value, key)
                    break
                except BufferError:
                    self._producer.poll(0.05)
        self._producer.flush()
        partitions = self.registry.partitions[self._topic]
        ends = {number: self._end(number) for number in range(partitions)}
        before = self._cpu()
        self._producer.commit_transaction()
        began = time.perf_counter()
        while not self._through(ends):
            if time.perf_counter() - began > PATIENCE:
                raise SystemExit("\n".join([*self.server.lines[-30:], "the stream is not scored"]))
            time.sleep(0.01)
        wall = time.perf_counter() - began
        # Processor time is told in hundredths of a second.
        self.rounds.append(Round(rows=rows, cpu=max(self._cpu() - before, 0.01), wall=wall))

    def _make(self, rows: int) -> list[tuple[bytes, bytes]]:
        first, self._sent = self._sent, self._sent + rows
        ids = [f"{number:010d}" for number in range(first, first + rows)]
        matrix = np.random.default_rng(first).normal(size=(rows, FEATURES)).astype(np.float32)
        payloads = write_rows(
            self._rows,
            ids=ids,
            times=1_600_000_000_000 + np.arange(first, first + rows),
            cleared=[()] * rows,
            flags=[()] * rows,
            matrix=matrix.astype(np.float64),
        )
        return [(id_.encode(), payload) for id_, payload in zip(ids, payloads, strict=True)]

    def _cpu(self) -> float:
        times = self._process.cpu_times()
        return float(times.user + times.system)

    def _end(self, number: int) -> int:
        _, end = self._group.get_watermark_offsets(ck.TopicPartition(self._topic, number), timeout=10)
        return int(end)

    def _through(self, ends: dict[int, int]) -> bool:
        """Whether the offsets of all rows are committed."""
        asked = [ck.TopicPartition(self._topic, number) for number in ends]
        return all(at.offset >= ends[at.partition] for at in self._group.committed(asked, timeout=10))


def figures(*, rounds: int = 5, rows: int = 100_000) -> dict[str, float]:
    """All figures; see the module."""
    began = time.perf_counter()
    two_cores()
    folder = Path(tempfile.mkdtemp(prefix="penstock-bench-"))
    try:
        with ExitStack() as stack:
            kafka = stack.enter_context(EmbeddedKafka(folder / "kafka"))
            artifact = logistic_regression(FEATURES)
            scorers = []
            for prefix in ("product.", "loop."):
                registry = Registry(kafka.bootstrap, prefix=prefix, pipeline=pipeline_of(FEATURES))
                stack.callback(registry.close)
                registry.register(1, artifact)
                registry.serve(1)
                arguments = (kafka.bootstrap, prefix, str(FEATURES))
                server = (
                    Server.inference(registry)
                    if prefix == "product."
                    else Server(module="benchmarks.stream_loop", arguments=arguments, answering=False)
                )
                stack.enter_context(server)
                scorers.append(stack.enter_context(Scorer(registry=registry, server=server)))
            ours, loop = scorers
            for number in range(-1, rounds):
                if number > 0 and time.perf_counter() - began > BUDGET:
                    break
                for scorer, count in ((ours, rows), (loop, rows // SLOW)):
                    scorer.round(count if number >= 0 else count // 10)
                if number < 0:  # which only warms up
                    ours.rounds.clear()
                    loop.rounds.clear()
                else:
                    cpus = [1e6 * each.rounds[-1].cpu / each.rounds[-1].rows for each in scorers]
                    say(f"round {number + 1}: {cpus[0]:.2f} µs of CPU a row, the loop {cpus[1]:.2f}")
    finally:
        shutil.rmtree(folder, ignore_errors=True)
    return _figures(ours.rounds, loop.rounds)


def _figures(ours: list[Round], loop: list[Round]) -> dict[str, float]:
    def rate(each: Round) -> float:
        return each.rows / each.cpu

    median = statistics.median
    return {
        "stream_scoring_rows_per_s_per_core": round(median(map(rate, ours))),
        "stream_scoring_vs_loop": round(
            median(rate(a) / rate(b) for a, b in zip(ours, loop, strict=True)), 2
        ),
        "stream_scoring_rows_per_s": round(median(each.rows / each.wall for each in ours)),
        "stream_scoring_us_per_row": round(median(1e6 / rate(each) for each in ours), 2),
    }


def main() -> None:
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.inference_stream", description=__doc__.partition("\n")[0]
    )
    parser.add_argument("--json", action="store_true", help="one JSON object on stdout")
    parser.add_argument("--rounds", type=int, default=5, metavar="N", help="of each kind (%(default)s)")
    parser.add_argument("--rows", type=int, default=100_000, metavar="N", help="in a round (%(default)s)")
    args = parser.parse_args()
    found = figures(rounds=args.rounds, rows=args.rows)
    if args.json:
        print(json.dumps(found))
    else:
        for name, value in found.items():
            print(f"{name:<40} {value:>12,}")


if __name__ == "__main__":
    main()

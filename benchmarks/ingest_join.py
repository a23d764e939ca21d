"""What the join costs with few and with many predictions waiting, and how long a restart takes.

Part of `python -m benchmarks.ingest`, or alone: `python -m benchmarks.ingest_join`. The real process,
`penstock run ingest --only join`, on the embedded Kafka, with two cores that everything shares. First it
takes in the predictions that are going to wait. Then it is sent labels for some of them, chosen at random,
and as many new predictions, in one transaction, so that all can be read at once; processor time is counted
until they are committed. Rows are predictions and labels, of which every other one makes an outcome.

    join_rows_per_s_per_core_10k    rows for a second of one core, with 10,000 waiting; also 100k and 1m
    join_rows_per_s_per_core        the one with most waiting
    join_rss_mb_10k                 resident memory then, and with 100k and 1m
    join_rss_mb                     the one with most waiting
    join_folder_mb                  its cache on disk then
    restart_s_with_cache            from the start of a process to the commit of what had come meanwhile
    restart_s_without_cache         the same with its folder removed: all is read from the log
"""

from __future__ import annotations

import json
import os
import shutil
import signal
import struct
import subprocess
import sys
import tempfile
import time
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import confluent_kafka as ck
import numpy as np
import psutil

from benchmarks.tenant import megabytes, say, two_cores
from penstock.broker import EmbeddedKafka
from penstock.contracts.records import Label, Origin, Prediction, Role, Score
from penstock.kernel.pipeline import Pipeline
from penstock.runtime.catalog import Names, apply_messages, publish_schemas
from penstock.runtime.codec import Codec
from penstock.runtime.kafka import KafkaBroker
from penstock.runtime.topics import topics

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator

SIZES: Final = {"10k": 10_000, "100k": 100_000, "1m": 1_000_000}
ROWS: Final = 30_000
"""Labels in a round, and as many predictions."""
ROUNDS: Final = 3
START: Final = 1_600_000_000_000
STEP: Final = 100
FEATURES: Final = 30
PATIENCE: Final = 240.0
SPEC: Final[dict[str, Any]] = {
    "pipeline": "joined",
    "task": "binary",
    "events": {"topic": "raw.events", "id": "id", "time": "t"},
    "labels": {"topic": "raw.labels", "id": "id", "time": "t", "value": "y", "horizon": "90d"},
    "features": {f"n{index:02d}": "number" for index in range(FEATURES)},
}


class Records:
    """Predictions and labels as inference and intake write them, many a second.

    What differs between two of them is put into the bytes of a first one: the id, always ten digits, and the
    event time, always six bytes as a varint.
    """

    def __init__(self, codec: Codec, pipeline: Pipeline) -> None:
        rows = codec.rows(Prediction, pipeline.name, pipeline.features_digest, pipeline.feature_names)
        chance = np.random.default_rng(7)
        prediction = Prediction(
            id="0123456789",
            origin=Origin.STREAM,
            time=START,
            epoch=3,
            version=2,
            role=Role.CHAMPION,
            scores=(Score(version=2, values=(0.25,)), Score(version=1, values=(0.75,))),
            error=None,
            cleared=(),
        )
        matrix = chance.normal(size=(512, FEATURES)).astype(np.float32).astype(np.float64)
        self._predictions = [_split(each) for each in rows.encode([prediction] * len(matrix), matrix)]
        self._label = _split(codec.encode(Label(id="0123456789", time=START, label=1.0)))

    def prediction(self, number: int) -> bytes:
        before, between, after = self._predictions[number % len(self._predictions)]
        return b"%b%010d%b%b%b" % (before, number, between, _varint(START + STEP * number), after)

    def label(self, number: int, value: float) -> bytes:
        before, between, after = self._label
        time = _varint(START + STEP * number + 60_000)
        return b"%b%010d%b%b%b%b" % (before, number, between, time, after[:-8], struct.pack("<d", value))


def _split(payload: bytes) -> tuple[bytes, bytes, bytes]:
    """Around the id and the time."""
    before, _, rest = payload.partition(b"0123456789")
    between, found, after = rest.partition(_varint(START))
    if not found:
        raise RuntimeError("the event time is not where it was")
    return before, between, after


def _varint(value: int) -> bytes:
    value <<= 1
    out = bytearray()
    while value > 0x7F:
        out.append(value & 0x7F | 0x80)
        value >>= 7
    return bytes([*out, value])


@dataclass(kw_only=True)
class Joining:
    """A tenant whose join runs as a process, and whose inputs are written by hand."""

    tenant: str
    bootstrap: str
    folder: Path
    slot: str = "0"
    sent: int = 0
    """Predictions so far."""
    _process: subprocess.Popen[bytes] | None = None
    _topics: dict[str, str] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self.folder.mkdir(parents=True, exist_ok=True)
        self.state = self.folder / "state"
        broker, names, codec = KafkaBroker(self.bootstrap), Names(f"{self.tenant}."), Codec()
        pipeline = Pipeline.read(SPEC)
        broker.create(topics(names.prefix))
        broker.create(topics(names.prefix, pipeline=pipeline.name, horizon=pipeline.labels.horizon))
        self.records = Records(codec, pipeline)
        self._topics = {name: names.of(name, pipeline.name) for name in ("predictions", "labels", "outcomes")}
        self.partitions = broker.topics()[self._topics["predictions"]]
        self._group = ck.Consumer(
            {
                "bootstrap.servers": self.bootstrap,
                "group.id": names.of("join"),
                "isolation.level": "read_uncommitted",  # ends are those of what is written, shown or not
            }
        )
        self._producer = ck.Producer(
            {
                "bootstrap.servers": self.bootstrap,
                "transactional.id": names.of("given"),
                "transaction.timeout.ms": 300_000,
                "compression.type": "lz4",
                "partitioner": "murmur2_random",
                "queue.buffering.max.messages": 100_000,
            }
        )
        self._producer.init_transactions()
        publish_schemas(broker, names, set(), codec.texts())
        partitions = broker.topics()[names.of("pipelines")]
        self._write(
            (message.topic, message.value or b"", message.key or b"")
            for message in apply_messages(names, pipeline, codec, partitions=partitions, now=0)
        )
        self._producer.commit_transaction()

    def start(self) -> None:
        environment = {
            **os.environ,
            "PENSTOCK_BROKER": self.bootstrap,
            "PENSTOCK_PREFIX": f"{self.tenant}.",
            "PENSTOCK_SLOT": self.slot,
            "PENSTOCK_JOIN_STATE": str(self.state),
        }
        argv = (sys.executable, "-m", "penstock", "run", "ingest", "--only", "join")
        with (self.folder / "join.log").open("ab") as log:
            self._process = subprocess.Popen(argv, env=environment, stdout=log, stderr=log)

    def stop(self, number: signal.Signals = signal.SIGTERM) -> None:
        if self._process is not None:
            self._process.send_signal(number)
            try:
                self._process.wait(30)
            except subprocess.TimeoutExpired:
                self._process.kill()
                self._process.wait()
            self._process = None

    def close(self) -> None:
        self.stop()
        self._group.close()

    @property
    def pid(self) -> int:
        if self._process is None or self._process.poll() is not None:
            raise SystemExit(f"the join of {self.tenant} does not run:\n{self.log()}")
        return self._process.pid

    def log(self) -> str:
        return (self.folder / "join.log").read_text(errors="replace")[-5000:]

    def give(self, *, predictions: int, labels: Iterable[int] = ()) -> Callable[[], None]:
        """Write new predictions, and labels for these numbers; what shows them, all at once."""
        last = self.sent
        self.sent += predictions
        key = b"%010d"
        self._write(
            (self._topics["predictions"], self.records.prediction(number), key % number)
            for number in range(last, self.sent)
        )
        self._write(
            ((self._topics["labels"], self.records.label(number, 1.0), key % number) for number in labels),
            begin=False,
        )
        self._producer.flush()
        return self._producer.commit_transaction

    def through(self) -> None:
        """Wait until everything is committed."""
        deadline = time.monotonic() + PATIENCE
        ends = {
            (topic, number): self._end(topic, number)
            for topic in (self._topics["predictions"], self._topics["labels"])
            for number in range(self.partitions)
        }
        asked = [ck.TopicPartition(*where) for where, end in ends.items() if end]
        while True:
            found = self._group.committed(asked, timeout=30)
            # The last offset may be the one before a transaction's marker.
            if all(at.offset >= ends[at.topic, at.partition] - 1 for at in found):
                return
            if time.monotonic() > deadline:
                raise SystemExit(f"the join of {self.tenant} does not come to the end:\n{self.log()}")
            _ = self.pid
            time.sleep(0.01)

    def cpu(self) -> float:
        times = psutil.Process(self.pid).cpu_times()
        return float(times.user + times.system)

    def _write(self, records: Iterator[tuple[str, bytes, bytes]], *, begin: bool = True) -> None:
        if begin:
            self._producer.begin_transaction()
        for record in records:
            while True:
                try:
                    self._producer.produce(*record)
                    break
                except BufferError:
                    self._producer.poll(0.05)

    def _end(self, topic: str, number: int) -> int:
        _, end = self._group.get_watermark_offsets(ck.TopicPartition(topic, number), timeout=10)
        return int(end)


def figures() -> dict[str, float]:
    """All figures; see the module."""
    folder = Path(tempfile.mkdtemp(prefix="penstock-bench-join-"))
    found: dict[str, float] = {}
    try:
        with ExitStack() as stack:
            kafka = stack.enter_context(EmbeddedKafka(folder / "kafka"))
            for name, waiting in SIZES.items():
                joining = Joining(tenant=f"join{name}", bootstrap=kafka.bootstrap, folder=folder / name)
                stack.callback(joining.close)
                rate = _rate(joining, waiting)
                found[f"join_rows_per_s_per_core_{name}"] = found["join_rows_per_s_per_core"] = round(rate)
                found[f"join_rss_mb_{name}"] = found["join_rss_mb"] = megabytes(joining.pid)
                found["join_folder_mb"] = _size(joining.state)
                if waiting < max(SIZES.values()):
                    joining.stop()
            found["restart_s_with_cache"] = _restart(joining)
            shutil.rmtree(joining.state)
            found["restart_s_without_cache"] = _restart(joining)
    finally:
        shutil.rmtree(folder, ignore_errors=True)
    return found


def _rate(joining: Joining, waiting: int) -> float:
    """Rows for a second of one core: the median of some rounds."""
    show = joining.give(predictions=waiting)
    joining.start()
    began = time.perf_counter()
    show()
    joining.through()
    seconds = time.perf_counter() - began
    say(f"{joining.tenant}: {waiting:,} predictions taken in {seconds:.1f} s, {joining.cpu():.1f} s of CPU")
    chance = np.random.default_rng(7)
    labelled = chance.choice(waiting, min(waiting, ROUNDS * ROWS), replace=False).tolist()
    each = len(labelled) // ROUNDS
    rates = []
    for number in range(ROUNDS):
        show = joining.give(predictions=each, labels=labelled[number * each : (number + 1) * each])
        before = joining.cpu()
        show()
        joining.through()
        rates.append(2 * each / (joining.cpu() - before))
    say(f"{joining.tenant}: {', '.join(f'{1e6 / rate:.1f}' for rate in rates)} µs of CPU a row")
    return sorted(rates)[ROUNDS // 2]


def _restart(joining: Joining) -> float:
    """Seconds from the start of a process to the commit of what had come meanwhile."""
    joining.stop()
    joining.give(predictions=1000)()
    began = time.perf_counter()
    joining.start()
    joining.through()
    return round(time.perf_counter() - began, 1)


def _size(folder: Path) -> float:
    return round(sum(file.stat().st_size for file in folder.rglob("*") if file.is_file()) / 1e6, 1)


if __name__ == "__main__":
    two_cores()
    print(json.dumps(figures()))

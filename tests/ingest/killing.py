"""What producers and inference write while an ingest process is killed again and again, and what must be
there in the end.
"""

from __future__ import annotations

import itertools
import os
import signal
import subprocess
import sys
import time
from collections import Counter, defaultdict
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, Final

import numpy as np
import orjson

from penstock.contracts.records import (
    FeatureRow,
    JoinAdvanced,
    Label,
    LabelUnmatched,
    Origin,
    Outcome,
    OutcomeKind,
    Prediction,
    Summary,
)
from penstock.kernel.pipeline import Pipeline
from penstock.runtime.broker import Broker, Message, Topic, TopicPartition
from penstock.runtime.catalog import Names, apply_messages, publish_schemas
from penstock.runtime.codec import Codec
from penstock.runtime.topics import topics
from tests.ingest.given import prediction
from tests.ingest.joining import AFTER, WAITING, WHAT, Fated, oracle

PATIENCE: Final = 240.0
STEP: Final = 100  # milliseconds between two events
HORIZON: Final = 600_000
LATER: Final = 3_000  # events between one and its label
START: Final = 1_700_000_000_000
PARTITIONS: Final = 3


def spec(prefix: str) -> dict[str, object]:
    return {
        "pipeline": "killed",
        "task": "binary",
        "events": {"topic": f"{prefix}raw", "id": "id", "time": "t"},
        "labels": {"topic": f"{prefix}truth", "id": "id", "time": "t", "value": "y", "horizon": "10m"},
        "features": {"n": "number", "plan": {"category": ["free", "plus"]}},
    }


class Feed:
    """So many events, with what inference says of them, and their labels.

    Of twenty events one has no label, one a label that is too late, one the same label twice, and one a
    correction; some labels are of events that never were.
    """

    def __init__(self, broker: Broker, prefix: str, events: int) -> None:
        self.events = events
        self.labels: defaultdict[str, list[Label]] = defaultdict(list)
        self.sent = 0
        self.names = Names(prefix)
        self.codec = Codec()
        self.pipeline = pipeline = Pipeline.read(spec(prefix))
        broker.create(topics(prefix))
        broker.create(topics(prefix, pipeline=pipeline.name, horizon=HORIZON))
        broker.create([Topic(name=each.topic, partitions=2) for each in (pipeline.events, pipeline.labels)])
        layout = pipeline.name, pipeline.features_digest, pipeline.feature_names
        self._rows = self.codec.rows(Prediction, *layout)
        for kind in (FeatureRow, Outcome):
            self.codec.rows(kind, *layout)
        publish_schemas(broker, self.names, set(), self.codec.texts())
        self._producer = broker.producer()
        partitions = broker.topics()[self.names.of("pipelines")]
        self._send(apply_messages(self.names, pipeline, self.codec, partitions=partitions, now=0))

    @staticmethod
    def time(number: int) -> int:
        return START + STEP * number

    def write(self, count: int) -> None:
        """The next events, and the labels whose turn it is."""
        numbers = range(self.sent, min(self.sent + count, self.events))
        self.sent = numbers.stop
        self._send([message for number in numbers for message in self._messages(number)])
        if numbers and self.sent == self.events:
            self._end()

    def close(self) -> None:
        self._producer.close()

    def _end(self) -> None:
        """The labels that are left, and a prediction on each partition from long after all of them."""
        last = range(self.events, self.events + LATER)
        self._send([message for number in last for message in self._truth(number - LATER)])
        heads = [prediction(f"end-{n}", self.time(self.events) + 10 * HORIZON) for n in range(PARTITIONS)]
        payloads = self._rows.encode(heads, np.zeros((PARTITIONS, 2)))
        topic = self.names.of("predictions", self.pipeline.name)
        self._send(
            [
                Message(topic, payload, head.id.encode(), (), number)
                for number, (payload, head) in enumerate(zip(payloads, heads, strict=True))
            ]
        )

    def _messages(self, number: int) -> Iterator[Message]:
        name = f"e-{number}"
        event = {"id": name, "t": self.time(number), "n": number % 7, "plan": "plus"}
        yield Message(self.pipeline.events.topic, orjson.dumps(event), name.encode())
        [payload] = self._rows.encode([prediction(name, self.time(number))], np.array([[number % 7, 2.0]]))
        yield Message(self.names.of("predictions", self.pipeline.name), payload, name.encode())
        if number >= LATER:
            yield from self._truth(number - LATER)

    def _truth(self, number: int) -> Iterator[Message]:
        name, time = f"e-{number}", self.time(number)
        match number % 20:
            case 0:
                return
            case 1:
                yield self._label(name, time + HORIZON + 1 + number % 977, 1)
            case 2:
                yield self._label(name, time + 5, 1)
                yield self._label(name, time + 5, 1)
            case 3:
                yield self._label(name, time + 5, 1)
                yield self._label(name, time + 50, 0)
            case 4:
                yield self._label(f"nobody-{number}", time, 1)
                yield self._label(name, time + HORIZON, 0)
            case _:
                yield self._label(name, time + 5, number % 2)

    def _label(self, name: str, time: int, value: int) -> Message:
        self.labels[name].append(Label(id=name, time=time, label=float(value)))
        raw = orjson.dumps({"id": name, "t": time, "y": value})
        return Message(self.pipeline.labels.topic, raw, name.encode())

    def _send(self, messages: Sequence[Message]) -> None:
        for message in messages:
            while not self._producer.send(message):
                self._producer.flush(0.1)
        assert self._producer.flush(60.0) == 0
        assert self._producer.failed() == 0


class Ingest:
    """The real process, in a slot that it keeps."""

    def __init__(self, bootstrap: str, prefix: str, folder: Path) -> None:
        self.state = folder / "state"
        self._log = folder / "ingest.log"
        self._environment = {
            **os.environ,
            "PENSTOCK_BROKER": bootstrap,
            "PENSTOCK_PREFIX": prefix,
            "PENSTOCK_JOIN_STATE": str(self.state),
            "PENSTOCK_JOIN_MEMORY": "16",
        }
        self._process: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        argv = (sys.executable, "-m", "penstock", "run", "ingest")
        with self._log.open("ab") as log:
            self._process = subprocess.Popen(argv, env=self._environment, stdout=log, stderr=log)

    def lives(self) -> bool:
        return self._process is not None and self._process.poll() is None

    def kill(self) -> None:
        assert self._process is not None
        assert self.lives(), f"it ended by itself:\n{self.said()}"
        self._process.kill()
        self._process.wait(30)

    def stop(self) -> int:
        assert self._process is not None
        self._process.send_signal(signal.SIGTERM)
        return self._process.wait(60)

    def close(self) -> None:
        if self._process is not None and self.lives():
            self._process.kill()
            self._process.wait(30)

    def said(self) -> str:
        return self._log.read_text(errors="replace")[-4000:]


class Found:
    """What stands on the topics, read as it comes."""

    def __init__(self, broker: Broker, feed: Feed) -> None:
        self._feed = feed
        self._names = {
            feed.names.of(name, feed.pipeline.name): name for name in ("features", "labels", "outcomes")
        }
        self._names[feed.names.of("summaries")] = "summaries"
        counts = broker.topics()
        wanted = [TopicPartition(topic, n) for topic in self._names for n in range(counts[topic])]
        self._reader = broker.reader(dict.fromkeys(wanted, 0))
        self.features: Counter[str] = Counter()
        self.labels: Counter[Label] = Counter()
        self.outcomes: defaultdict[str, list[Outcome]] = defaultdict(list)
        self.unmatched: Counter[str] = Counter()
        self.advanced: dict[int, list[JoinAdvanced]] = {n: [] for n in range(PARTITIONS)}
        self.summaries: dict[int, list[Summary]] = {n: [] for n in range(PARTITIONS)}

    def read(self, seconds: float) -> None:
        """Take in what there is, waiting so long for the first of it."""
        for record in self._reader.poll(20_000, seconds).records:
            event = self._feed.codec.decode(record.value or b"").value
            match event:
                case FeatureRow():
                    self.features[event.id] += 1
                case Label():
                    self.labels[event] += 1
                case Outcome():
                    self.outcomes[event.id].append(event)
                case LabelUnmatched():
                    self.unmatched[event.id] += 1
                case JoinAdvanced():
                    self.advanced[record.partition].append(event)
                case Summary():
                    self.summaries[event.partition].append(event)
                case _:
                    raise AssertionError(event)

    def close(self) -> None:
        self._reader.close()

    @property
    def complete(self) -> bool:
        """Whether the end has come to every partition, through all three loops."""
        end = self._feed.time(self._feed.events) + 10 * HORIZON
        return (
            len(self.features) >= self._feed.events
            and all(each and each[-1].watermark == end and each[-1].idle for each in self.advanced.values())
            and all(each and each[-1].watermark == end and each[-1].idle for each in self.summaries.values())
        )

    def wait_for_work(self, ingest: Ingest) -> None:
        """Until the join has written something."""
        deadline = time.monotonic() + PATIENCE
        before = self._joined()
        while self._joined() == before:
            assert time.monotonic() < deadline, f"{self.state()}\n{ingest.said()}"
            assert ingest.lives(), ingest.said()
            self.read(0.1)

    def _joined(self) -> int:
        return sum(map(len, self.advanced.values()))

    def wait(self, ingest: Ingest) -> None:
        deadline = time.monotonic() + PATIENCE
        while not self.complete:
            assert time.monotonic() < deadline, f"{self.state()}\n{ingest.said()}"
            assert ingest.lives(), ingest.said()
            self.read(0.5)

    def state(self) -> dict[str, Any]:
        return {
            "features": len(self.features),
            "outcomes": len(self.outcomes),
            "joined": {n: each[-1:] for n, each in self.advanced.items()},
            "summed": {
                n: [(e.sequence, e.watermark, e.idle) for e in s[-1:]] for n, s in self.summaries.items()
            },
        }

    def check(self) -> None:
        """Nothing is lost and nothing is there twice."""
        feed = self._feed
        names = {f"e-{number}" for number in range(feed.events)}
        assert self.features == Counter(dict.fromkeys(names, 1))
        assert self.labels == Counter(label for labels in feed.labels.values() for label in labels)
        self._check_outcomes(names)
        nobody = {name for name in feed.labels if name.startswith("nobody")}
        assert self.unmatched == Counter(dict.fromkeys(nobody, 1))
        self._check_counts(names)
        self._check_summaries()

    def _check_outcomes(self, names: set[str]) -> None:
        feed = self._feed
        assert self.outcomes.keys() == names, "each has its verdict, and what never was has none"
        watermark = feed.time(feed.events) + 10 * HORIZON
        for number in range(feed.events):
            chain = self.outcomes[f"e-{number}"]
            kinds: list[OutcomeKind | None] = [None, *(each.kind for each in chain)]
            assert all(b in AFTER[a] for a, b in itertools.pairwise(kinds)), (number, kinds)
            assert len({(each.kind, each.label, each.label_time) for each in chain}) == len(chain), number
            last = chain[-1]
            expected = oracle(feed.time(number), feed.labels[f"e-{number}"], HORIZON, watermark)
            assert Fated(WHAT[last.kind], last.label, last.label_time) == expected, number
            assert expected.what != WAITING
            assert last.origin is Origin.STREAM

    def _check_counts(self, names: set[str]) -> None:
        said = [each for its in self.advanced.values() for each in its]
        assert sum(each.repeats for each in said) == 0
        assert sum(each.duplicate_labels for each in said) == self.labels.total() - len(self.labels)
        named = sum(each.label is not None for chain in self.outcomes.values() for each in chain)
        distinct = sum(label.id in names for label in self.labels)
        assert sum(each.stale_labels for each in said) == distinct - named

    def _check_summaries(self) -> None:
        """They are one chain for each partition, and all rows and outcomes are in them once."""
        for its in self.summaries.values():
            assert [each.sequence for each in its] == list(range(len(its)))
            for one, other in itertools.pairwise(its):
                assert (one.predictions.end, one.outcomes.end) == (
                    other.predictions.start,
                    other.outcomes.start,
                )
        every = [each for its in self.summaries.values() for each in its]
        assert sum(each.rows for each in every) == self._feed.events + PARTITIONS
        blocks = sum(block.rows for each in every for block in each.time_blocks)
        assert blocks == sum(map(len, self.outcomes.values()))
        assert sum(each.unmatched_labels for each in every) == self.unmatched.total()

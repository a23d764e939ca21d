"""The log of gRPC answers: written after the answer, bounded, and honest about what it lost.

An answer never waits for Kafka. Its prediction is handed to a producer whose buffer is bounded; what the
buffer does not take, and what the producer could not write in its time, is counted, and a `PredictionsLost`
in the same log says how many and when, as soon as something can be written again.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from penstock.contracts.records import Origin, Prediction, PredictionsLost
from penstock.inference.domain import predictions
from penstock.inference.notices import FLUSH_SECONDS
from penstock.runtime import logs, names
from penstock.runtime.broker import Message
from penstock.runtime.errors import Unavailable

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from penstock.inference.notices import Notices
    from penstock.inference.oip import Served
    from penstock.inference.tally import Tally
    from penstock.runtime.broker import Broker, Headers, Producer
    from penstock.runtime.catalog import Names
    from penstock.runtime.codec import Codec, RowCodec
    from penstock.runtime.telemetry import Telemetry


class _Line:
    """One pipeline's part of the log; its producer is its own, so it is known whose records failed."""

    def __init__(self, broker: Broker, name: str, now: int) -> None:
        self.conditions = logs.Conditions(logs.get(component="prediction-log", pipeline=name))
        self.lost = 0
        """Predictions that no gap record tells of yet."""
        self.clean = now
        """Until when, in milliseconds since 1970, everything is known to be written."""
        self._broker = broker
        self._producer: Producer | None = None
        self._failed = 0

    def send(self, messages: Sequence[Message]) -> None:
        taken = 0
        try:
            self._producer = self._producer or self._broker.producer()
            for message in messages:
                taken += self._producer.send(message)
        except Unavailable:
            self._give_up()
        self.lost += len(messages) - taken

    def tick(self, now: int) -> None:
        """Count what could not be written since the last look."""
        if self._producer is None:
            return
        failed = self._producer.failed()
        self.lost += failed - self._failed
        self._failed = failed
        if not (self.lost or self._producer.waiting()):
            self.clean = now

    def close(self, now: int) -> None:
        if self._producer is not None:
            self._producer.flush(FLUSH_SECONDS)
            self.tick(now)
            self._give_up()

    def _give_up(self) -> None:
        """Let go of a producer; what it still held is lost."""
        producer, self._producer = self._producer, None
        if producer is not None:
            self.lost += producer.waiting() + producer.failed() - self._failed
            self._failed = 0


class PredictionLog:
    """Called with every answer, by one thread; ticked now and then by the same.

    Args:
        broker: makes the producers.
        topics: full names of topics.
        codec: of this thread.
        notices: writes the gap records.
        slot: of this process, for the gap records.
        now: milliseconds since 1970, processing time.
    """

    def __init__(
        self,
        broker: Broker,
        topics: Names,
        codec: Codec,
        notices: Notices,
        *,
        slot: str,
        telemetry: Telemetry,
        tally: Tally,
        now: Callable[[], int],
    ) -> None:
        self._broker = broker
        self._topics = topics
        self._codec = codec
        self._notices = notices
        self._slot = slot
        self._telemetry = telemetry
        self._tally = tally
        self._now = now
        self._lines: dict[str, _Line] = {}
        self._writers: dict[str, RowCodec[Prediction]] = {}

    def __call__(self, served: Served, headers: Headers) -> None:
        """Hand an answer's predictions, one a row, to the buffer."""
        asked, pipeline = served.asked, served.asked.serving.pipeline
        self._tally.add(pipeline.name, Origin.GRPC, served.scored.answers)
        found = predictions(
            asked.serving,
            served.scored,
            origin=Origin.GRPC,
            ids=asked.ids,
            times=asked.times,
            cleared=asked.vectors.cleared,
        )
        topic = self._topics.of("predictions", pipeline.name)
        payloads = self._writer(pipeline).encode(found, asked.vectors.matrix.astype(np.float64))
        self._line(pipeline.name).send(
            [
                Message(topic, payload, prediction.id.encode(), headers)
                for prediction, payload in zip(found, payloads, strict=True)
            ]
        )

    def tick(self) -> None:
        """Count what was lost meanwhile, and leave a gap record for it."""
        now = self._now()
        for name, line in self._lines.items():
            line.tick(now)
            self._mark(name, line, now)

    def close(self) -> None:
        """Write what is in the buffers, for a few seconds."""
        for name, line in self._lines.items():
            now = self._now()
            line.close(now)
            self._mark(name, line, now)

    def _mark(self, name: str, line: _Line, now: int) -> None:
        key = f"lost/{name}"
        if not line.lost or self._notices.holds(key):
            return
        lost, line.lost, since, line.clean = line.lost, 0, line.clean, now
        line.conditions.began("predictions_unlogged", count=lost)
        self._telemetry.count(names.PREDICTIONS_UNLOGGED, lost, pipeline=name)
        gap = PredictionsLost(pipeline=name, slot=self._slot, count=lost, since=since, until=now)
        message = Message(self._topics.of("predictions", name), self._codec.encode(gap), self._slot.encode())
        self._notices.put(key, message, lambda: line.conditions.ended("predictions_unlogged"))

    def _line(self, name: str) -> _Line:
        line = self._lines.get(name)
        if line is None:
            line = self._lines[name] = _Line(self._broker, name, self._now())
        return line

    def _writer(self, pipeline: Any) -> RowCodec[Prediction]:
        digest = pipeline.digest
        writer = self._writers.get(digest)
        if writer is None:
            writer = self._codec.rows(
                Prediction, pipeline.name, pipeline.features_digest, pipeline.feature_names
            )
            self._writers[digest] = writer
        return writer

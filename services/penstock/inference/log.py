"""The log of gRPC answers: written after the answer, bounded, and honest about what it lost.

An answer never waits for Kafka, nor for its own record: it is only noted, and a moment later everything that
was noted is written at once, which is cheaper, and handed to a producer whose buffer is bounded. What the
buffer does not take, and what the producer could not write in its time, is counted, and a `PredictionsLost`
in the same log says how many and when, as soon as something can be written again.
"""

from __future__ import annotations

from collections import deque
from typing import TYPE_CHECKING, Any, Final

from penstock.contracts.records import Origin, Prediction, PredictionsLost
from penstock.inference.gathering import Noted, Part, parts
from penstock.inference.notices import FLUSH_SECONDS
from penstock.inference.writing import Writer
from penstock.runtime import logs, names
from penstock.runtime.broker import HELD_SECONDS, Message
from penstock.runtime.errors import Unavailable

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from penstock.inference.notices import Notices
    from penstock.inference.oip import Served
    from penstock.inference.tally import Tally
    from penstock.runtime.broker import Broker, Headers, Producer
    from penstock.runtime.catalog import Names
    from penstock.runtime.codec import Codec
    from penstock.runtime.telemetry import Telemetry

    Later = Callable[[float, Callable[[], None]], object]

GATHER_SECONDS: Final = 0.02
"""How long answers are gathered. Written each by itself a record takes 25 µs of the serving thread, and wakes
Kafka's; gathered, 2.5."""
SLICE: Final = 256
"""Rows that are written at once: calls wait for half a millisecond at most."""
MOST: Final = 65_536
"""Rows that may be gathered; what comes beyond is lost, and counted."""
STUCK_MS: Final = 2000
"""Where nothing is written for so long, though something waits, that is said."""


class _Line:
    """One pipeline's part of the log; its producer is its own, so it is known whose records failed."""

    def __init__(self, broker: Broker, name: str, now: int) -> None:
        self.conditions = logs.Conditions(logs.get(component="prediction-log", pipeline=name))
        self.lost = 0
        """Predictions that no gap record tells of yet."""
        self.clean = now
        """Until when, in milliseconds since 1970, it is known of everything whether it was written."""
        self.spooled = 0
        """Predictions that wait to be written."""
        self._broker = broker
        self._producer: Producer | None = None
        self._failed = 0
        self._taken = 0
        self._moved = now, 0

    def send(self, messages: Sequence[Message]) -> None:
        taken = 0
        try:
            self._producer = self._producer or self._broker.producer()
            taken = self._producer.send_all(messages)
            self._taken += taken
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
        self.spooled = self._producer.waiting()
        if not (self.lost or self.spooled):
            self.clean = now
        self._look(now)

    def close(self, now: int) -> None:
        if self._producer is not None:
            self._producer.flush(FLUSH_SECONDS)
            self.tick(now)
            self._give_up()

    def _look(self, now: int) -> None:
        """Say that what waits is not written, and when it is again."""
        since, done = self._moved
        written = self._taken - self.spooled
        if written != done or not self.spooled:
            self._moved = now, written
            self.conditions.ended("predictions_spooled")
        elif now - since > STUCK_MS:
            self.conditions.began("predictions_spooled", count=self.spooled)

    def _give_up(self) -> None:
        """Let go of a producer; what it still held is lost."""
        producer, self._producer = self._producer, None
        if producer is not None:
            self.lost += producer.waiting() + producer.failed() - self._failed
            self._failed = self._taken = self.spooled = 0


class PredictionLog:
    """Called with every answer, by one thread; ticked now and then by the same.

    Args:
        broker: makes the producers.
        topics: full names of topics.
        codec: of this thread.
        notices: writes the gap records.
        slot: of this process, for the gap records.
        telemetry: told of what waits and of what was lost.
        tally: told of what was answered.
        now: milliseconds since 1970, processing time.
        later: has something called in this thread after so many seconds; at once where it is left out.
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
        later: Later = lambda _, call: call(),
    ) -> None:
        self._broker = broker
        self._topics = topics
        self._codec = codec
        self._notices = notices
        self._slot = slot
        self._telemetry = telemetry
        self._tally = tally
        self._now = now
        self._later = later
        self._lines: dict[str, _Line] = {}
        self._writers: dict[str, tuple[Any, Writer]] = {}
        self._noted: list[Noted] = []
        self._parts: deque[Part] = deque()
        self._rows = 0
        self._due = False

    def __call__(self, served: Served, headers: Headers) -> None:
        """Note an answer's predictions, one a row."""
        rows = len(served.asked.ids)
        if self._rows + rows > MOST:
            self._line(served.asked.serving.pipeline.name).lost += rows
            return
        self._noted.append(Noted(served, headers))
        self._rows += rows
        if not self._due:
            self._due = True
            self._later(GATHER_SECONDS, self._write_some)

    def tick(self) -> None:
        """Count what was lost meanwhile, and leave a gap record for it."""
        now = self._now()
        for name, line in self._lines.items():
            line.tick(now)
            self._telemetry.gauge(names.PREDICTIONS_SPOOLED, line.spooled, pipeline=name)
            self._mark(name, line, now)

    def close(self) -> None:
        """Write what was noted and what is in the buffers, for a few seconds."""
        self._later = lambda _, __: None
        while self._rows:
            self._write_some()
        for name, line in self._lines.items():
            now = self._now()
            line.close(now)
            self._mark(name, line, now)

    def _write_some(self) -> None:
        """Write one part; the next one in another turn of the loop, so that no call waits for all."""
        self._due = False
        if not self._parts:
            noted, self._noted = self._noted, []
            self._parts.extend(parts(noted, most=SLICE))
        if self._parts:
            part = self._parts.popleft()
            self._rows -= len(part.headers)
            self._write(part)
        if self._rows:
            self._due = True
            self._later(0.0 if self._parts else GATHER_SECONDS, self._write_some)

    def _write(self, part: Part) -> None:
        rows = part.rows
        pipeline = rows.serving.pipeline
        self._tally.add(pipeline.name, Origin.GRPC, rows.scored.answers)
        topic = self._topics.of("predictions", pipeline.name)
        payloads = self._writer(pipeline).write(rows)
        self._line(pipeline.name).send(
            [
                Message(topic, payload, id_.encode(), headers)
                for id_, payload, headers in zip(rows.ids, payloads, part.headers, strict=True)
            ]
        )

    def _mark(self, name: str, line: _Line, now: int) -> None:
        key = f"lost/{name}"
        # A record older than a producer holds one has been written, or is counted by now.
        line.clean = max(line.clean, now - round(HELD_SECONDS * 1000) - STUCK_MS)
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

    def _writer(self, pipeline: Any) -> Writer:
        known = self._writers.get(pipeline.name)
        if (
            known is None or known[0] is not pipeline
        ):  # its digest would be worked out anew: half a millisecond
            rows = self._codec.rows(
                Prediction, pipeline.name, pipeline.features_digest, pipeline.feature_names
            )
            known = self._writers[pipeline.name] = pipeline, Writer(rows, Origin.GRPC)
        return known[1]

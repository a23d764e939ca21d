"""The replay: two producers, a client and a watch, each in a thread of its own, and how far they have
come.
"""

from __future__ import annotations

import threading
import time
from collections import deque
from concurrent.futures import FIRST_EXCEPTION, Future, ThreadPoolExecutor, wait
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Self

from penstock.cli.demo.asker import Asker
from penstock.cli.demo.feed import Feed
from penstock.cli.demo.flights import DAY_MS, START_MS, Flight, day_of
from penstock.cli.demo.pace import Pace, Stopped
from penstock.cli.demo.view import Snapshot
from penstock.cli.demo.watch import Watch
from penstock.cli.exits import Exit, Failure
from penstock.runtime.avro import Schema
from penstock.runtime.broker import Message

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping, Sequence

    from penstock.cli.demo.view import View
    from penstock.kernel.pipeline import Pipeline
    from penstock.kernel.sources import Format
    from penstock.runtime.broker import Broker
    from penstock.runtime.catalog import Names

LOOK_SECONDS = 0.2
"""Between two looks at how it goes."""
STUCK_SECONDS = 180.0
"""What has not moved for so long will not: longer than a killed broker and all services take to come back."""
RATE_SECONDS = 5.0
"""The stretch over which the rate is shown."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Script:
    """What is to be replayed, ready to be sent."""

    flights: Sequence[Flight]
    days: int
    event_times: Sequence[int]
    events: Sequence[Message]
    label_times: Sequence[int]
    labels: Sequence[Message]

    @property
    def end(self) -> int:
        """The last event time of all."""
        return max(self.event_times[-1], self.label_times[-1] if self.label_times else 0)


def script(flights: Sequence[Flight], days: int, pipeline: Pipeline) -> Script:
    """Messages in the order in which the world would have sent them."""
    landed = sorted((flight.landed, flight.id, flight.label) for flight in flights if flight.label)
    departures, arrivals = pipeline.events, pipeline.labels
    return Script(
        flights=flights,
        days=days,
        event_times=[flight.due for flight in flights],
        events=_messages(departures.topic, departures.format, (flight.event for flight in flights)),
        label_times=[when for when, _, _ in landed if when is not None],
        labels=_messages(arrivals.topic, arrivals.format, (label for _, _, label in landed if label)),
    )


def _messages(topic: str, form: Format, records: Iterable[Mapping[str, Any]]) -> list[Message]:
    schema = Schema(form.schema)
    return [Message(topic, schema.header + schema.write(it), it["id"].encode()) for it in records]


class Replay:
    """Runs the script within a ``with`` block; leaving it ends every thread.

    Args:
        script: what to replay.
        broker: where to.
        names: of the topics.
        pipeline: whose summaries set the pace.
        grpc: the address of inference.
        view: shows how it goes.
        restarts: how many processes have died so far.
    """

    def __init__(
        self,
        script: Script,
        *,
        broker: Broker,
        names: Names,
        pipeline: str,
        grpc: str,
        view: View,
        restarts: Callable[[], int],
    ) -> None:
        self.script = script
        self._view = view
        self._restarts = restarts
        self.pace = Pace(start=START_MS + DAY_MS, ahead=DAY_MS)
        self.events = Feed(broker, script.event_times, script.events, self.pace)
        self.labels = Feed(broker, script.label_times, script.labels, self.pace)
        self.asker = Asker(grpc, pipeline, self._current)
        self.watch = Watch(broker, names.of("summaries"), pipeline, self._judged)
        self.judged = START_MS
        """Event time up to which the system has judged."""
        self._pool = ThreadPoolExecutor(max_workers=4, thread_name_prefix="replay")
        self._running: list[Future[None]] = []
        self._rates: deque[tuple[float, int]] = deque([(time.monotonic(), 0)])
        self._tick = threading.Event()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.pace.stop()
        self.asker.abandon()
        self.watch.stop()
        self._pool.shutdown()

    def start(self, *threads: Callable[[], None]) -> None:
        """Start some of the feeds, the asker, the watch."""
        self._running += [self._pool.submit(thread) for thread in threads]

    def until(self, done: Callable[[], bool], *, moving: Callable[[], object] | None = None) -> None:
        """Show how it goes until it is done.

        Args:
            done: whether it is.
            moving: something that changes as long as there is progress; the replay itself where left out.

        Raises:
            Failure: nothing has moved for too long.
            Exception: whatever ended one of the threads.
        """
        moving = moving or self._progress
        mark, since = moving(), time.monotonic()
        while not done():
            busy = [future for future in self._running if not future.done()]
            if busy:
                wait(busy, timeout=LOOK_SECONDS, return_when=FIRST_EXCEPTION)
            else:
                self._tick.wait(LOOK_SECONDS)
            self._raise()
            self._show()
            if (now := moving()) != mark:
                mark, since = now, time.monotonic()
            elif time.monotonic() - since > STUCK_SECONDS:
                raise Failure(
                    f"nothing has moved for {STUCK_SECONDS:.0f} s, at {self.snapshot()}", Exit.TIMEOUT
                )

    @property
    def all_sent(self) -> bool:
        return self.events.sent == self.events.total and self.labels.sent == self.labels.total

    def snapshot(self) -> Snapshot:
        """Where the replay stands."""
        now, sent = time.monotonic(), self.events.sent
        self._rates.append((now, sent))
        while len(self._rates) > 1 and now - self._rates[0][0] > RATE_SECONDS:
            self._rates.popleft()
        then, before = self._rates[0]
        return Snapshot(
            day=max(day_of(self.judged), 0.0),
            days=self.script.days,
            events=sent,
            events_total=self.events.total,
            labels=self.labels.sent,
            rows_per_s=(sent - before) / (now - then) if now > then else 0.0,
            asked=self.asker.asked,
            answered=self.asker.answered,
            restarts=self._restarts(),
        )

    def _progress(self) -> object:
        return self.events.sent, self.labels.sent, self.judged, self.asker.first_answer.is_set()

    def _show(self) -> None:
        self._view.show(self.snapshot())

    def _raise(self) -> None:
        for future in self._running:
            if future.done() and (error := future.exception()) and not isinstance(error, Stopped):
                raise error

    def _current(self) -> Flight:
        return self.script.flights[max(self.events.sent - 1, 0)]

    def _judged(self, watermark: int) -> None:
        self.judged = watermark
        self.pace.judged(watermark)

"""The replay: two producers, a client and a watch, each in a thread of its own, and how far they have
come.
"""

from __future__ import annotations

import threading
import time
from collections import deque
from concurrent.futures import FIRST_EXCEPTION, Future, ThreadPoolExecutor, wait
from typing import TYPE_CHECKING, Self

from penstock.cli.demo.asker import Asker
from penstock.cli.demo.feed import Feed
from penstock.cli.demo.flights import DAY_MS, START_MS, Flight, day_of
from penstock.cli.demo.pace import AHEAD, Pace, Stopped
from penstock.cli.demo.telling import Teller
from penstock.cli.demo.view import Snapshot
from penstock.cli.demo.watch import Watch
from penstock.cli.exits import Exit, Failure

if TYPE_CHECKING:
    from collections.abc import Callable

    from penstock.cli.demo.script import Script
    from penstock.cli.demo.view import View
    from penstock.runtime.broker import Broker
    from penstock.runtime.catalog import Names

LOOK_SECONDS = 0.2
"""Between two looks at how it goes."""
STUCK_SECONDS = 180.0
"""What has not moved for so long will not: longer than a killed broker and all services take to come back."""
RATE_SECONDS = 5.0
"""The stretch over which the rate is shown."""


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
        until: nothing of this event time or a later one is sent before the pace is opened.
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
        until: int | None = None,
    ) -> None:
        self.script = script
        self._view = view
        self._restarts = restarts
        self.pace = Pace(
            # The first block is judged a horizon after it ended.
            start=START_MS + DAY_MS + script.horizon + script.unit + AHEAD,
            first=START_MS + DAY_MS,
            needed=script.needed,
            until=until,
        )
        self.events = Feed(broker, script.event_times, script.events, self.pace.events)
        self.labels = Feed(broker, script.label_times, script.labels, self.pace.labels)
        self.asker = Asker(grpc, pipeline, self._current)
        self.watch = Watch(broker, names, pipeline, script, self.pace, tell=Teller(view.tell).take)
        self._pool = ThreadPoolExecutor(max_workers=4, thread_name_prefix="replay")
        self._running: list[Future[None]] = []
        self.meanwhile: Callable[[], object] = lambda: None
        """What there is to do while a training is under way and the replay stands still."""
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
            if self.watch.waits:
                self.meanwhile()
            if (now := moving()) != mark:
                mark, since = now, time.monotonic()
            elif time.monotonic() - since > STUCK_SECONDS:
                raise Failure(
                    f"nothing has moved for {STUCK_SECONDS:.0f} s, at {self.snapshot()}", Exit.TIMEOUT
                )

    def sent(self, until: int | None = None) -> bool:
        """Whether everything before an event time is sent, or everything."""
        return self.events.sent_before(until) and self.labels.sent_before(until)

    def judged(self, until: int | None = None) -> bool:
        """Whether everything before an event time, or everything, is judged as far as it can be.

        Then the system waits for nothing but what comes next.
        """
        due = self.script.judged(until)
        reached = due is None or (self.watch.now is not None and self.watch.now >= due)
        return reached and not self.watch.waits

    def snapshot(self) -> Snapshot:
        """Where the replay stands."""
        now, sent = time.monotonic(), self.events.sent
        self._rates.append((now, sent))
        while len(self._rates) > 1 and now - self._rates[0][0] > RATE_SECONDS:
            self._rates.popleft()
        then, before = self._rates[0]
        return Snapshot(
            day=0.0 if (judged := self.watch.now) is None else day_of(judged),
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
        state = self.watch.state
        taken = 0 if state is None else state.taken
        return self.events.sent, self.labels.sent, taken, self.watch.waits, self.asker.first_answer.is_set()

    def _show(self) -> None:
        self._view.show(self.snapshot())

    def _raise(self) -> None:
        for future in self._running:
            if future.done() and (error := future.exception()) and not isinstance(error, Stopped):
                raise error

    def _current(self) -> Flight:
        return self.script.flights[max(self.events.sent - 1, 0)]

"""Rows of several calls scored together, for models that are too slow to be run where calls are read.

A model of five microseconds is run where its call is read: handing it over would cost more than it. One of a
millisecond would hold up every other call meanwhile, so it is run in a thread. While it runs, what comes
waits, and the next run takes all of it: a row waits for the run before it and no longer, there is no timer to
tune, and the more calls there are, the more rows share a run. Measured with a network of 0.4 ms a row and 64
calls in flight, client and server on two busy processors: 570 calls a second one by one, 1,200 together.
"""

from __future__ import annotations

import asyncio
import os
from collections import deque
from concurrent.futures import ThreadPoolExecutor
from math import inf
from typing import TYPE_CHECKING, Final, NamedTuple

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Collection, Sequence
    from concurrent.futures import Executor

    from penstock.inference.domain import FloatMatrix, Scorer

MOST_ROWS: Final = 1024
"""Rows of a run that calls share: it holds up those who come next. The rows of one call are never divided."""


class Waits(NamedTuple):
    """Somebody's rows, and who wants to know what is said of them."""

    rows: FloatMatrix
    scores: asyncio.Future[FloatMatrix]
    until: float

    def gone(self, now: float) -> bool:
        """Whether nobody waits any more; whoever does at their deadline is told that it has passed."""
        if now >= self.until and not self.scores.done():
            self.scores.set_exception(Expired())
        return self.scores.done()


class Expired(Exception):  # noqa: N818 - says what is so
    """The deadline passed before a run took the rows."""


class Batches:
    """Scores one model's rows; all calls of it are made in one event loop.

    Args:
        model: scores rows, each by itself.
        executor: whose threads it runs in.
        parallel: runs at once.
    """

    def __init__(self, model: Scorer, executor: Executor, *, parallel: int = 1) -> None:
        self.waiting = 0
        """Rows that no run has taken yet."""
        self._model = model
        self._executor = executor
        self._parallel = parallel
        self._running = 0
        self._queue: deque[Waits] = deque()

    def submit(self, rows: FloatMatrix, until: float = inf) -> asyncio.Future[FloatMatrix]:
        """The scores of the rows, some time; cancel it where nobody waits any more.

        Args:
            rows: of one call.
            until: on the clock of the event loop: what no run has taken by then is `Expired`.
        """
        scores: asyncio.Future[FloatMatrix] = asyncio.get_running_loop().create_future()
        self._queue.append(Waits(rows, scores, until))
        self.waiting += len(rows)
        self._begin()
        return scores

    def _begin(self) -> None:
        while self._running < self._parallel and (taken := self._take()):
            self._running += 1
            run = asyncio.get_running_loop().run_in_executor(
                self._executor, together, self._model, [each.rows for each in taken]
            )
            run.add_done_callback(lambda run, taken=taken: self._end(taken, run))  # type: ignore[misc]  # a default, to bind it

    def _take(self) -> list[Waits]:
        """Those who wait longest, as many as fit into one run; who was given up is passed over."""
        taken: list[Waits] = []
        count, now = 0, asyncio.get_running_loop().time()
        while self._queue:
            first = self._queue[0]
            gone = first.gone(now)
            if taken and not gone and count + len(first.rows) > MOST_ROWS:
                break
            self._queue.popleft()
            self.waiting -= len(first.rows)
            if not gone:
                taken.append(first)
                count += len(first.rows)
        return taken

    def _end(self, taken: Sequence[Waits], run: asyncio.Future[list[FloatMatrix | Exception]]) -> None:
        self._running -= 1
        # A run is cancelled where its executor is shut down before it began.
        said = [RuntimeError("this server stops")] * len(taken) if run.cancelled() else run.result()
        for each, scores in zip(taken, said, strict=True):
            if each.scores.done():
                continue
            if isinstance(scores, Exception):
                each.scores.set_exception(scores)
            else:
                each.scores.set_result(scores)
        self._begin()


def together(model: Scorer, parts: Sequence[FloatMatrix]) -> list[FloatMatrix | Exception]:
    """The scores of each part from one run of all; where that fails, each by itself: some may be fine."""
    if len(parts) > 1:
        try:
            scores = model.run(np.concatenate(parts))
        except Exception:  # noqa: BLE001 - it is raised below, for the part that it belongs to
            return [each for part in parts for each in together(model, [part])]
        ends = np.cumsum([len(part) for part in parts])
        return list(np.split(scores, ends[:-1]))
    try:
        return [model.run(parts[0])]
    except Exception as error:  # noqa: BLE001 - it belongs to whoever asks for the scores
        return [error]


def threads(count: int, cpus: Collection[int] = ()) -> ThreadPoolExecutor:
    """Threads to score in, on these processors alone where some are named."""
    return ThreadPoolExecutor(
        count, thread_name_prefix="score", initializer=_confine, initargs=(frozenset(cpus),)
    )


def _confine(cpus: frozenset[int]) -> None:
    """Keep the thread that calls this on some processors; its children, too."""
    if cpus:
        os.sched_setaffinity(0, cpus)

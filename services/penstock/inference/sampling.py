"""The log of gRPC answers with the share of them explained that the pipeline asks for.

An explanation takes some 100 µs, the first one a second: it is worked out in a thread of its own, behind the
answer, and only then is the prediction logged. Where that thread falls behind, predictions are logged without
one.
"""

from __future__ import annotations

import asyncio
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING, Final

from penstock.inference.explaining import chosen, sampled
from penstock.runtime import logs

if TYPE_CHECKING:
    from collections.abc import Callable

    from penstock.inference.oip import Served
    from penstock.runtime.broker import Headers

MOST_WAITING: Final = 4096
"""Rows that may wait to be explained."""


class Sampling:
    """Called with every answer, by the thread of the event loop.

    Args:
        record: the log.
    """

    def __init__(self, record: Callable[[Served, Headers], None]) -> None:
        self._record = record
        self._executor = ThreadPoolExecutor(1, thread_name_prefix="explain")
        self._waiting = 0
        self._tasks: set[asyncio.Task[None]] = set()
        self._conditions = logs.Conditions(logs.get(component="explain"))

    def __call__(self, served: Served, headers: Headers) -> None:
        asked = served.asked
        rows = 0 if served.attributions else len(chosen(asked.serving, asked.ids))
        if not rows:
            self._record(served, headers)
        elif self._waiting + rows > MOST_WAITING:
            self._conditions.began("predictions_unexplained", pipeline=asked.serving.pipeline.name)
            self._record(served, headers)
        else:
            self._waiting += rows
            task = asyncio.get_running_loop().create_task(self._explain(served, headers, rows))
            self._tasks.add(task)
            task.add_done_callback(self._tasks.discard)

    async def close(self) -> None:
        """Log what still waits."""
        await asyncio.gather(*self._tasks)
        self._executor.shutdown()

    async def _explain(self, served: Served, headers: Headers, rows: int) -> None:
        asked = served.asked
        try:
            found = await asyncio.get_running_loop().run_in_executor(
                self._executor,
                sampled,
                asked.serving,
                served.scored,
                asked.ids,
                asked.serving.layout.names,
                asked.vectors.matrix,
            )
            served = served._replace(attributions=found)
        except Exception as error:  # noqa: BLE001 - an answer is logged whatever becomes of its explanation
            logs.get(component="explain").error("explanation_failed", exc_info=error)
        self._waiting -= rows
        if not self._waiting:
            self._conditions.ended("predictions_unexplained")
        self._record(served, headers)

"""Calls of pipelines with a slow version: who answers is waited for, who only scores beside it is not.

A version that takes more than a tenth of a millisecond for a row, measured when it was loaded here, is run in
a thread, with the rows of all who wait (`penstock.inference.batches`). A fast one is run at once, as ever. So
a slow shadow delays no answer: its scores come when they come, and the prediction is logged then, with all of
them. Where they come so slowly that rows pile up, the rest goes without them, and the log says so.
"""

from __future__ import annotations

import asyncio
from math import inf
from typing import TYPE_CHECKING, Final, NamedTuple
from weakref import WeakKeyDictionary

import numpy as np

from penstock.inference.batches import Batches, Expired, threads
from penstock.inference.domain import Scored, gather, reason_of
from penstock.inference.faults import Fault
from penstock.runtime import logs

if TYPE_CHECKING:
    from collections.abc import Collection

    from penstock.inference.domain import FloatMatrix, Loaded
    from penstock.inference.oip import Asked

    Waiting = dict[int, asyncio.Future[FloatMatrix]]

MOST_BEHIND: Final = 4096
"""Rows that may wait for a version which answers none of them."""
BEHIND: Final = "it is behind by too many rows"


class Said(NamedTuple):
    """What was said of a call's rows.

    Args:
        scored: by those who answer, and by those who are fast.
        whole: by everybody, when they have; None where `scored` is that already.
    """

    scored: Scored
    whole: asyncio.Future[Scored] | None = None


class Slowly:
    """Scores the rows of calls in which a slow version has a part; lives in one event loop.

    Args:
        count: threads.
        cpus: processors they run on; any where left out.
    """

    def __init__(self, count: int = 1, cpus: Collection[int] = ()) -> None:
        self._threads = threads(count, cpus)
        self._count = count
        # By the version as it is loaded: with the last route that names it, both go.
        self._batches: WeakKeyDictionary[Loaded, Batches] = WeakKeyDictionary()
        self._late: set[asyncio.Future[Scored]] = set()
        self._conditions = logs.Conditions(logs.get(component="slowly"))

    async def score(self, asked: Asked, seconds: float | None = None) -> Said:
        """What those who answer say of the rows, and a promise of what all say.

        Args:
            asked: a call whose pipeline has slow versions.
            seconds: that the caller waits yet; None for ever.

        Raises:
            Fault: DEADLINE_EXCEEDED where they were over before the rows were scored.
        """
        until = inf if seconds is None else asyncio.get_running_loop().time() + seconds
        serving, names = asked.serving, asked.serving.layout.names
        answers = serving.answers(asked.ids, asked.pin)
        wanted = {answer.version for answer in answers}
        rows = np.ascontiguousarray(asked.vectors.matrix, dtype=np.float32)
        scores, failed = serving.run(rows, names, serving.models.keys() - serving.slow)
        waiting: Waiting = {}
        for version in serving.slow:
            loaded = serving.models[version]
            batches = self._of(loaded)
            if version in wanted or batches.waiting < MOST_BEHIND:
                deadline = until if version in wanted else inf
                waiting[version] = batches.submit(gather(rows, names, loaded.features), deadline)
                self._conditions.ended(f"version {version} is behind")
            else:
                failed[version] = BEHIND
                pipeline = serving.pipeline.name
                self._conditions.began(f"version {version} is behind", pipeline=pipeline, version=version)
        try:
            await _take_in(waiting, wanted, scores, failed)
        except (asyncio.CancelledError, Expired) as why:
            # Nobody waits any more: what no run has taken yet is not scored.
            for each in waiting.values():
                if not (each.cancel() or each.cancelled()):
                    each.exception()  # else the event loop complains that nobody has asked
            if isinstance(why, Expired):
                text = "the deadline passed while the rows waited to be scored"
                raise Fault("DEADLINE_EXCEEDED", text) from why
            raise
        scored = Scored(answers, scores, failed)
        return Said(scored, self._whole(scored, waiting) if waiting else None)

    async def close(self, seconds: float) -> None:
        """Wait so long for what is still to be said of rows that are answered."""
        if self._late:
            await asyncio.wait(self._late, timeout=seconds)
        self._threads.shutdown(wait=False, cancel_futures=True)
        for late in tuple(self._late):
            late.cancel()

    def _of(self, loaded: Loaded) -> Batches:
        batches = self._batches.get(loaded)
        if batches is None:
            batches = Batches(loaded.model, self._threads, parallel=self._count)
            self._batches[loaded] = batches
        return batches

    def _whole(self, scored: Scored, waiting: Waiting) -> asyncio.Future[Scored]:
        promise = asyncio.ensure_future(_completed(scored, waiting))
        self._late.add(promise)
        promise.add_done_callback(self._late.discard)
        return promise


async def _completed(scored: Scored, waiting: Waiting) -> Scored:
    scores, failed = dict(scored.scores), dict(scored.failed)
    await _take_in(waiting, set(waiting), scores, failed)
    return scored._replace(scores=scores, failed=failed)


async def _take_in(
    waiting: Waiting, wanted: Collection[int], scores: dict[int, FloatMatrix], failed: dict[int, str]
) -> None:
    """Wait for some versions, and put down what each has said, or why it could not."""
    for version in [version for version in waiting if version in wanted]:
        try:
            scores[version] = await waiting[version]
        except Expired:
            raise
        except Exception as error:  # noqa: BLE001 - one version that fails must not take the others with it
            failed[version] = reason_of(error)
        del waiting[version]

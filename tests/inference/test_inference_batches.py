"""Rows of several calls are scored together: nobody's are mixed, and nobody is scored who has gone."""

from __future__ import annotations

import asyncio
import os
import threading
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from penstock.inference.batches import MOST_ROWS, Batches, Expired, threads, together

if TYPE_CHECKING:
    from collections.abc import Coroutine, Iterator
    from typing import Any

    from numpy.typing import NDArray


def rows(*values: float) -> NDArray[np.float32]:
    return np.array([[value] for value in values], dtype=np.float32)


class Gated:
    """Twice the value, once it is let go; a row of -1 cannot be scored."""

    def __init__(self) -> None:
        self.go, self.entered = threading.Semaphore(0), threading.Semaphore(0)
        self.runs: list[list[float]] = []
        self.at_once = self.most_at_once = 0

    def run(self, matrix: NDArray[np.float32]) -> NDArray[np.float32]:
        self.runs.append(matrix[:, 0].tolist())
        self.at_once += 1
        self.most_at_once = max(self.most_at_once, self.at_once)
        self.entered.release()
        assert self.go.acquire(timeout=20)
        self.at_once -= 1
        if (matrix == -1).any():
            raise ValueError("minus one")
        return matrix * 2


@pytest.fixture
def pool() -> Iterator[ThreadPoolExecutor]:
    with threads(2) as made:
        yield made


def play(story: Coroutine[Any, Any, None]) -> None:
    asyncio.run(asyncio.wait_for(story, 30))


def test_what_comes_during_a_run_shares_the_next_one(pool: ThreadPoolExecutor) -> None:
    model = Gated()

    async def story() -> None:
        batches = Batches(model, pool)
        first = batches.submit(rows(1))
        await asyncio.to_thread(model.entered.acquire)
        others = [batches.submit(rows(*values)) for values in ((2, 3), (4,), (5, 6))]
        assert batches.waiting == 5
        model.go.release(2)
        assert (await first).tolist() == [[2]]
        assert [(await each).ravel().tolist() for each in others] == [[4, 6], [8], [10, 12]]
        assert batches.waiting == 0

    play(story())
    assert model.runs == [[1], [2, 3, 4, 5, 6]]


def test_a_run_holds_so_many_rows_and_one_call_is_never_divided(pool: ThreadPoolExecutor) -> None:
    model = Gated()
    model.go.release(9)

    async def story() -> None:
        batches = Batches(model, pool)
        sizes = (1, MOST_ROWS - 1, 1, 1, MOST_ROWS + 5)
        for scores in [batches.submit(rows(*range(size))) for size in sizes]:
            await scores

    play(story())
    assert list(map(len, model.runs)) == [1, MOST_ROWS, 1, MOST_ROWS + 5]


def test_who_has_gone_is_not_scored(pool: ThreadPoolExecutor) -> None:
    model = Gated()

    async def story() -> None:
        batches = Batches(model, pool)
        first, gone, stays = (batches.submit(rows(value)) for value in (1, 2, 3))
        gone.cancel()
        await asyncio.to_thread(model.entered.acquire)
        first.cancel()  # too late: its run is under way, and tells nobody
        model.go.release(2)
        assert (await stays).tolist() == [[6]]

    play(story())
    assert model.runs == [[1], [3]]


def test_a_deadline_that_has_passed_is_told_and_its_rows_are_not_scored(pool: ThreadPoolExecutor) -> None:
    model = Gated()

    async def story() -> None:
        now = asyncio.get_running_loop().time()
        batches = Batches(model, pool)
        first, late, stays = (batches.submit(rows(value), now + value) for value in (100, 0, 200))
        model.go.release(2)
        with pytest.raises(Expired):
            await late
        assert [(await each).tolist() for each in (first, stays)] == [[[200]], [[400]]]

    play(story())
    assert model.runs == [[100], [200]]


def test_a_row_that_breaks_the_model_breaks_no_other_call(pool: ThreadPoolExecutor) -> None:
    model = Gated()
    model.go.release(9)

    async def story() -> None:
        batches = Batches(model, pool)
        _, good, bad, fine = (batches.submit(rows(value)) for value in (1, 2, -1, 4))
        with pytest.raises(ValueError, match="minus one"):
            await bad
        assert [(await each).tolist() for each in (good, fine)] == [[[4]], [[8]]]

    play(story())
    assert model.runs == [[1], [2, -1, 4], [2], [-1], [4]]


def test_so_many_runs_at_once_as_there_are_threads(pool: ThreadPoolExecutor) -> None:
    model = Gated()

    async def story() -> None:
        batches = Batches(model, pool, parallel=2)
        waiting = [batches.submit(rows(value)) for value in range(5)]
        for _ in range(2):
            await asyncio.to_thread(model.entered.acquire)
        assert batches.waiting == 3
        model.go.release(9)
        assert [(await each).item() for each in waiting] == [0, 2, 4, 6, 8]

    play(story())
    assert model.most_at_once == 2


def test_what_waits_when_the_server_stops_is_told_so() -> None:
    model = Gated()

    async def story() -> None:
        pool = threads(1)
        batches, other = Batches(model, pool), Batches(model, pool)
        first, second = batches.submit(rows(1)), other.submit(rows(2))
        await asyncio.to_thread(model.entered.acquire)
        pool.shutdown(wait=False, cancel_futures=True)
        model.go.release(1)
        assert (await first).tolist() == [[2]]
        with pytest.raises(RuntimeError, match="this server stops"):
            await second

    play(story())


class Doubles:
    def run(self, matrix: NDArray[np.float32]) -> NDArray[np.float32]:
        return matrix * 2


@settings(max_examples=50, deadline=None)
@given(st.lists(st.integers(1, 40), min_size=1, max_size=20))
def test_each_call_gets_its_own_rows_back(sizes: list[int]) -> None:
    starts = np.cumsum([0, *sizes])
    parts = [rows(*range(start, start + size)) for start, size in zip(starts[:-1], sizes, strict=True)]
    for part, scores in zip(parts, together(Doubles(), parts), strict=True):
        assert not isinstance(scores, Exception)
        assert (scores == part * 2).all()


def test_threads_stay_on_the_processors_they_are_given() -> None:
    mine = os.sched_getaffinity(0)
    one = min(mine)
    with threads(1, {one}) as pool:
        assert pool.submit(os.sched_getaffinity, 0).result() == {one}
    with threads(1) as pool:
        assert pool.submit(os.sched_getaffinity, 0).result() == mine
    assert os.sched_getaffinity(0) == mine

"""The worker: the same result from a child as at once, and an answer whatever becomes of the child."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import textwrap
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import psutil
import pytest

from penstock.trainer.inline import attempt
from penstock.trainer.request import Failed, Result
from penstock.trainer.worker import COMMAND, Worker
from tests.trainer.learning import job

PATIENCE = 120.0


def until(condition: Callable[[], object], *, what: str) -> None:
    """Look again and again, for what another process does."""
    deadline = time.monotonic() + PATIENCE
    while not condition():
        assert time.monotonic() < deadline, f"{what}: not within {PATIENCE:g} s"
        time.sleep(0.005)


def outcome_of(worker: Worker) -> Result | Failed:
    found: list[Result | Failed] = []

    def told() -> bool:
        if (each := worker.poll()) is not None:
            found.append(each)
        return bool(found)

    until(told, what="an outcome")
    return found[0]


def gone(pid: int) -> bool:
    """Whether there is no such process any more; a zombie is none."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] == "Z"
    except (FileNotFoundError, ProcessLookupError):
        return True


def python(source: str) -> tuple[str, ...]:
    return sys.executable, "-P", "-c", textwrap.dedent(source)


@pytest.fixture
def worker() -> Iterator[Callable[..., Worker]]:
    """Workers that are ended with the test."""
    made: list[Worker] = []

    def make(**options: object) -> Worker:
        made.append(Worker(**options))  # type: ignore[arg-type]  # handed through
        return made[-1]

    yield make
    for each in made:
        each.kill()


def test_one_child_does_job_after_job_as_this_process_would_and_goes_with_its_stdin(
    worker: Callable[..., Worker],
) -> None:
    """Two stories in one, since it takes seconds to start."""
    trains = worker()
    trains.start()
    pid = trains.pid
    assert pid is not None
    champion = attempt(job(300))
    assert isinstance(champion, Result)
    for request in (
        job(300),
        job(60, champion=champion.artifact, champion_cut=0, onset=0),
        job(200, task="multiclass", algorithm="logistic_regression"),
        job(0),
    ):
        trains.submit(request)
        with pytest.raises(RuntimeError, match="under way"):
            trains.submit(request)
        # Equal, and NaN where NaN is.
        assert repr(outcome_of(trains)) == repr(attempt(request))
        assert trains.poll() is None
        assert trains.pid == pid
    # In the middle of a job of many seconds:
    child = psutil.Process(pid)
    before = sum(child.cpu_times()[:2])
    trains.submit(job(200_000))
    until(lambda: sum(child.cpu_times()[:2]) > before + 0.5, what="the middle of it")
    assert trains.poll() is None
    assert trains._child is not None
    trains._child.to.close()
    assert outcome_of(trains) == Failed(reason="died", message="the training ended with code 0")
    assert gone(pid)


def test_the_child_goes_when_its_parent_is_killed() -> None:
    source = """
        import time
        from penstock.trainer.worker import Worker
        worker = Worker()
        worker.start()
        print(worker.pid, flush=True)
        time.sleep(600)
    """
    with subprocess.Popen(python(source), stdout=subprocess.PIPE) as parent:
        assert parent.stdout is not None
        pid = int(parent.stdout.readline())
        assert not gone(pid)
        parent.kill()
    until(lambda: gone(pid), what="the child's end")


def test_an_error_of_ours_ends_the_child_and_is_told(worker: Callable[..., Worker]) -> None:
    trains = worker(
        command=python("""
            from penstock.trainer.child import serve
            def wrong(request):
                print("this is no answer")
                return request.rows[len(request.rows)]
            serve(lambda: wrong)
        """)
    )
    trains.submit(job(20))
    found = outcome_of(trains)
    assert isinstance(found, Failed)
    assert found.message.startswith("the training ended with code 1: IndexError: index 20 is out of bounds")
    assert trains.pid is None


def test_a_killed_child_is_an_outcome(worker: Callable[..., Worker]) -> None:
    trains = worker(command=python("import sys; sys.stdin.buffer.read()"))
    trains.submit(job(5000))
    assert trains.poll() is None
    assert trains.pid is not None
    os.kill(trains.pid, signal.SIGKILL)
    assert outcome_of(trains) == Failed(reason="died", message="the training died of SIGKILL")
    assert not trains.busy


def test_last_words_are_told(worker: Callable[..., Worker]) -> None:
    trains = worker(command=python("raise MemoryError('no room for a histogram')"))
    trains.submit(job(20))
    assert outcome_of(trains) == Failed(
        reason="died", message="the training ended with code 1: MemoryError: no room for a histogram"
    )


def test_a_job_over_its_time_is_ended(worker: Callable[..., Worker]) -> None:
    now = [0.0]
    trains = worker(command=python("import sys; sys.stdin.buffer.read()"), seconds=10, clock=lambda: now[0])
    trains.submit(job(20))
    now[0] = 10.0
    assert trains.poll() is None
    pid = trains.pid
    assert pid is not None
    now[0] = 10.5
    assert trains.poll() == Failed(reason="late", message="the training took more than 10 s")
    assert gone(pid)
    assert trains.pid is None


def test_a_kill_leaves_nothing_behind(worker: Callable[..., Worker]) -> None:
    trains = worker(command=python("import time; time.sleep(600)"))
    # More than a pipe holds: the thread that hands it over is in the middle of it.
    trains.submit(job(20_000))
    pid = trains.pid
    assert pid is not None
    trains.kill()
    assert gone(pid)
    assert not trains.busy
    assert trains.poll() is None
    trains.kill()


def test_a_spare_that_died_is_replaced(worker: Callable[..., Worker]) -> None:
    trains = worker(command=python("import sys; sys.stdin.buffer.read()"))
    trains.start()
    first = trains.pid
    assert first is not None
    trains.start()
    assert trains.pid == first
    os.kill(first, signal.SIGKILL)
    until(lambda: gone(first), what="its end")
    trains.start()
    assert trains.pid not in {None, first}


def test_whoever_only_asks_needs_no_library_that_learns() -> None:
    source = "import sys, penstock.trainer.worker, penstock.trainer.export; print(*sys.modules)"
    found = subprocess.run([sys.executable, "-c", source], check=True, capture_output=True, text=True)
    assert not {"sklearn", "scipy"} & set(found.stdout.split())
    assert COMMAND[-1] == "penstock.trainer.child"

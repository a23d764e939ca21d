"""Training in a child process, so that a long fit, a crash or a kill is nothing to the one that asks.

The child has its imports done before there is a job (they take longer than a fit) and keeps them for the next
one. It has one thread for numbers, and ends when this process does.
"""

from __future__ import annotations

import os
import queue
import signal
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from typing import IO, BinaryIO, cast

from penstock.trainer.request import Failed, Request, Result
from penstock.trainer.wire import read_outcome, write_request

SECONDS = 600.0
"""A job that takes longer has gone wrong: a million rows take a minute."""


LAST_WORDS_SECONDS = 5.0
"""Between the end of its pipe and its own end a child writes down what went wrong."""
COMMAND = (sys.executable, "-P", "-m", "penstock.trainer.child")
# Read when the libraries are loaded: with several threads on busy cores they are many times slower.
ONE_THREAD = {"OMP_NUM_THREADS": "1", "OPENBLAS_NUM_THREADS": "1", "MKL_NUM_THREADS": "1"}


class Worker:
    """One child, one job at a time. Not for several threads.

    Args:
        seconds: how long a job may take.
        clock: seconds, for that.
        command: what the child runs.
    """

    def __init__(
        self,
        *,
        seconds: float = SECONDS,
        clock: Callable[[], float] = time.monotonic,
        command: tuple[str, ...] = COMMAND,
    ) -> None:
        self._seconds = seconds
        self._clock = clock
        self._command = command
        self._child: _Child | None = None
        self._job: _Job | None = None

    @property
    def busy(self) -> bool:
        """Whether a job is under way, or its outcome not taken yet."""
        return self._job is not None

    @property
    def pid(self) -> int | None:
        """Of the child, if there is one."""
        return None if self._child is None else self._child.process.pid

    def start(self) -> None:
        """Have a child waiting for a job; returns at once."""
        self._started()

    def submit(self, request: Request) -> None:
        """Give the child a job; returns at once.

        Raises:
            RuntimeError: there is one already.
        """
        if self.busy:
            raise RuntimeError("a job is under way")
        child = self._started()
        heard: queue.SimpleQueue[Result | Failed | None] = queue.SimpleQueue()
        talk = threading.Thread(target=_converse, args=(child, request, heard), daemon=True)
        self._job = _Job(began=self._clock(), heard=heard, talk=talk)
        talk.start()

    def poll(self) -> Result | Failed | None:
        """What came of the job, once; None while it is under way, or where there is none."""
        job, child = self._job, self._child
        if job is None or child is None:
            return None
        try:
            outcome = job.heard.get_nowait()
        except queue.Empty:
            if self._clock() - job.began <= self._seconds:
                return None
            self.kill()
            return Failed(reason="late", message=f"the training took more than {self._seconds:g} s")
        if outcome is None:
            outcome = child.post_mortem()
            self.kill()
        self._job = None
        return outcome

    def kill(self) -> None:
        """End the child and whatever it is doing; `start` or `submit` makes another."""
        if self._child is not None:
            self._child.kill()
        if self._job is not None:
            self._job.talk.join()  # its pipes have no other end any more
        if self._child is not None:
            self._child.close()
        self._child = self._job = None

    def _started(self) -> _Child:
        if self._child is not None and self._child.process.poll() is not None:
            self.kill()
        if self._child is None:
            self._child = _Child.begun(self._command)
        return self._child


@dataclass(frozen=True, slots=True, kw_only=True)
class _Job:
    """A job under way.

    Args:
        began: when, by the worker's clock.
        heard: what came of it, None where the child went away.
        talk: the thread that gives it to the child and listens.
    """

    began: float
    heard: queue.SimpleQueue[Result | Failed | None]
    talk: threading.Thread


@dataclass(frozen=True, slots=True, kw_only=True)
class _Child:
    """The child and the three pipes to it; what it says in its distress goes to a file without a name."""

    process: subprocess.Popen[bytes]
    to: BinaryIO
    back: BinaryIO
    errors: IO[bytes]

    @classmethod
    def begun(cls, command: tuple[str, ...]) -> _Child:
        errors = tempfile.TemporaryFile()  # noqa: SIM115 - closed by close()
        process = subprocess.Popen(  # noqa: S603 - our own module; the job goes in by stdin
            command,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=errors,
            env=os.environ | ONE_THREAD,
        )
        if process.stdin is None or process.stdout is None:
            raise OSError("the child has no pipes")
        return cls(
            process=process,
            to=cast("BinaryIO", process.stdin),
            back=cast("BinaryIO", process.stdout),
            errors=errors,
        )

    def kill(self) -> None:
        self.process.kill()
        self.process.wait()

    def close(self) -> None:
        for stream in (self.to, self.back, self.errors):
            with suppress(BrokenPipeError):  # what was not written yet never will be
                stream.close()

    def post_mortem(self) -> Failed:
        """Why it said nothing: how it ended, and its last words."""
        try:
            code = self.process.wait(LAST_WORDS_SECONDS)
        except subprocess.TimeoutExpired:
            self.kill()
            code = self.process.returncode
        how = f"died of {signal.Signals(-code).name}" if code < 0 else f"ended with code {code}"
        self.errors.seek(0)
        said = self.errors.read().decode(errors="replace").strip().splitlines()
        return Failed(reason="died", message=f"the training {how}" + (f": {said[-1]}" if said else ""))


def _converse(child: _Child, request: Request, heard: queue.SimpleQueue[Result | Failed | None]) -> None:
    """Hand over a job and wait for what comes of it; None where the child goes away."""
    try:
        write_request(child.to, request)
        heard.put(read_outcome(child.back))
    except (OSError, EOFError):
        heard.put(None)

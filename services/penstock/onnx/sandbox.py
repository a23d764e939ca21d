"""Judge an artifact in another process, so that nothing it does can hurt the one that asks."""

from __future__ import annotations

import atexit
import json
import os
import signal
import struct
import subprocess
import sys
import threading
from contextlib import contextmanager, suppress
from contextvars import ContextVar
from typing import TYPE_CHECKING, Final

from penstock.onnx.model import digest_of
from penstock.onnx.refused import MAX_BYTES, Refused

if TYPE_CHECKING:
    from collections.abc import Iterator

CPU_SECONDS = 5
MEMORY_BYTES = 2**30
STACK_BYTES = 8 * 2**20
WALL_SECONDS = 30
"""A dry run is killed after this long, however little processor time it got."""
HEAD: Final = "<QII"
"""Before each artifact: its size, features, scores."""
TRIES: Final = 2
"""A child that somebody has killed is begun anew, once."""

_ACCEPTED: set[tuple[str, int, int]] = set()
"""Digest and widths of what has passed: the verdict on the same bytes would be the same."""
_HERE: ContextVar[bool] = ContextVar("_HERE", default=False)


@contextmanager
def judged_here() -> Iterator[None]:
    """Within this, artifacts are judged in this process: milliseconds instead of half a second.

    Only for artifacts that this process itself has made, as in a backtest; the verdict is the same.

    >>> from penstock.trainer.export import constant
    >>> with judged_here():
    ...     check(constant(features=3, scores=[0.25]), features=3, scores=1)
    """
    before = _HERE.set(True)
    try:
        yield
    finally:
        _HERE.reset(before)


def check(artifact: bytes, *, features: int, scores: int) -> None:
    """Raise `Refused` unless the artifact is a model of the given width that can be trusted to run.

    A process with 1 GiB of memory and 5 s of processor time reads the file (allowed ops only: see
    `penstock.onnx.structure`), then scores a few rows with it: every row, also one with all values missing,
    must get finite scores that do not depend on the other rows of its batch. Takes some 20 milliseconds, the
    first time about half a second more, and nothing for what this process has accepted before.

    Args:
        artifact: the ONNX bytes, at most `MAX_BYTES`.
        features: F, the columns of its input ``features``.
        scores: K, the columns of its output ``scores``.

    >>> from penstock.trainer.export import constant
    >>> check(constant(features=3, scores=[0.5]), features=3, scores=1)
    >>> check(b"no model", features=3, scores=1)
    Traceback (most recent call last):
    ...
    penstock.onnx.refused.Refused: not an ONNX file
    """
    if len(artifact) > MAX_BYTES:
        raise Refused(f"{len(artifact)} bytes, more than the {MAX_BYTES} allowed")
    known = (digest_of(artifact), features, scores)
    if known not in _ACCEPTED:
        _judge(artifact, features=features, scores=scores)
        _ACCEPTED.add(known)


def _judge(artifact: bytes, *, features: int, scores: int) -> None:
    if _HERE.get():
        from penstock.onnx.dryrun import verdict  # noqa: PLC0415 - the child of this module

        reason = verdict(artifact, features=features, scores=scores)
    else:
        reason = _verdict_of_child(artifact, features=features, scores=scores)
    if reason:
        raise Refused(reason)


def _verdict_of_child(artifact: bytes, *, features: int, scores: int) -> str:
    answer = _CHILD.ask(artifact, features=features, scores=scores)
    if "refused" in answer:
        return str(answer["refused"])
    number = answer.get("signal")
    if number in {signal.SIGXCPU, signal.SIGKILL}:
        raise Refused(f"the dry run took more than {CPU_SECONDS} s of processor time")
    if isinstance(number, int) and number > 0:
        raise Refused(f"the dry run died of {signal.Signals(number).name}")
    raise Refused(f"the dry run gave no verdict: {answer.get('error', 'its process ended')}")


class _Child:
    """The process that judges: begun when there is first something to judge, and again where it died."""

    def __init__(self) -> None:
        self._process: subprocess.Popen[bytes] | None = None
        self._asking = threading.Lock()

    def ask(self, artifact: bytes, *, features: int, scores: int) -> dict[str, object]:
        """What it says; nothing where it died, which no artifact can make it do."""
        with self._asking:
            for _ in range(TRIES):
                try:
                    return self._said(artifact, features=features, scores=scores)
                except (OSError, ValueError):
                    self._end()
            return {}

    def _said(self, artifact: bytes, *, features: int, scores: int) -> dict[str, object]:
        process = self._started()
        if process.stdin is None or process.stdout is None:
            raise OSError("the child has no pipes")
        process.stdin.write(struct.pack(HEAD, len(artifact), features, scores) + artifact)
        process.stdin.flush()
        found: dict[str, object] = json.loads(process.stdout.readline())
        return found

    def _started(self) -> subprocess.Popen[bytes]:
        if self._process is None:
            self._process = subprocess.Popen(
                [sys.executable, "-P", "-m", "penstock.onnx.dryrun"],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                # One thread: with more, the thread stacks alone fill the memory limit, and a fork loses them.
                env=os.environ | {"OPENBLAS_NUM_THREADS": "1", "OMP_NUM_THREADS": "1"},
            )
            # Where it is not killed first, it ends with its stdin; at the end of a test run it is ended.
            atexit.register(self._end)
        return self._process

    def _end(self) -> None:
        process, self._process = self._process, None
        if process is None:
            return
        atexit.unregister(self._end)
        process.kill()
        for pipe in (process.stdin, process.stdout):
            if pipe is not None:
                with suppress(OSError):
                    pipe.close()
        process.wait()


_CHILD = _Child()

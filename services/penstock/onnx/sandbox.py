"""Judge an artifact in a child process, so that nothing it does can hurt the one that asks."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from contextlib import contextmanager
from contextvars import ContextVar
from typing import TYPE_CHECKING

from penstock.onnx.model import digest_of
from penstock.onnx.refused import MAX_BYTES, Refused

if TYPE_CHECKING:
    from collections.abc import Iterator

CPU_SECONDS = 5
MEMORY_BYTES = 2**30
STACK_BYTES = 8 * 2**20
WALL_SECONDS = 30
"""The child is killed after this long, however little processor time it got."""

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

    A child process with 1 GiB of memory and 5 s of processor time reads the file (allowed ops only: see
    `penstock.onnx.structure`), then scores a few rows with it: every row, also one with all values missing,
    must get finite scores that do not depend on the other rows of its batch. Takes about half a second, and
    nothing for what this process has accepted before.

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
    try:
        child = subprocess.run(  # noqa: S603 - our own module; the artifact goes in by stdin
            [sys.executable, "-P", "-m", "penstock.onnx.dryrun", str(features), str(scores)],
            input=artifact,
            capture_output=True,
            timeout=WALL_SECONDS,
            check=False,
            # One thread: with more, the thread stacks alone fill the memory limit.
            env=os.environ | {"OPENBLAS_NUM_THREADS": "1", "OMP_NUM_THREADS": "1"},
        )
    except subprocess.TimeoutExpired as error:
        raise Refused(f"the dry run took more than {WALL_SECONDS} s") from error
    if child.returncode in {-signal.SIGXCPU, -signal.SIGKILL}:
        raise Refused(f"the dry run took more than {CPU_SECONDS} s of processor time")
    if child.returncode < 0:
        raise Refused(f"the dry run died of {signal.Signals(-child.returncode).name}")
    try:
        return str(json.loads(child.stdout.splitlines()[-1])["refused"])
    except (IndexError, ValueError, KeyError, TypeError) as error:
        last = child.stderr[-200:].decode(errors="replace")
        raise Refused(f"the dry run gave no verdict: {last}") from error

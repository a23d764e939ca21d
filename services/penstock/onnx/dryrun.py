"""The child of `check`: ``python -m penstock.onnx.dryrun`` judges the artifacts that come in by stdin.

Its imports are done once, and take most of the time that a dry run takes. Each artifact is judged in a fork
of its own, which ends with it: whatever an artifact does, it does to nobody else.
"""

from __future__ import annotations

import json
import os
import resource
import select
import signal
import struct
import sys
import traceback
from pathlib import Path
from typing import BinaryIO, Final

import numpy as np

from penstock.onnx.model import FloatMatrix, Model, digest_of
from penstock.onnx.refused import Refused
from penstock.onnx.sandbox import CPU_SECONDS, HEAD, MEMORY_BYTES, STACK_BYTES, WALL_SECONDS
from penstock.onnx.structure import inspect

_LARGEST_ANSWER: Final = 65_536
"""Bytes of a pipe: more than a verdict has."""


def confine() -> None:
    """Bound what this process may take from here on; the libraries are loaded by now, the artifact is not."""
    pages = int(Path("/proc/self/statm").read_text().split()[0]) if sys.platform == "linux" else 0
    memory = pages * resource.getpagesize() + MEMORY_BYTES
    resource.setrlimit(resource.RLIMIT_AS, (memory, memory))
    used = resource.getrusage(resource.RUSAGE_SELF)
    cpu = int(used.ru_utime + used.ru_stime) + CPU_SECONDS
    resource.setrlimit(resource.RLIMIT_CPU, (cpu, cpu))
    # onnxruntime walks trees by recursion; with an unlimited stack that would eat the memory instead.
    most = resource.getrlimit(resource.RLIMIT_STACK)[1]
    stack = STACK_BYTES if most == resource.RLIM_INFINITY else min(STACK_BYTES, most)
    resource.setrlimit(resource.RLIMIT_STACK, (stack, most))
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))


def probes(features: int) -> FloatMatrix:
    """Rows that a model meets sooner or later: nothing known, one value missing, small, big, negative.

    >>> probes(2).shape
    (64, 2)
    >>> probes(2)[0].tolist()
    [nan, nan]
    """
    grid = np.arange(64 * features, dtype=np.float64).reshape(64, features)
    rows = np.sin(grid) * 10.0 ** (grid % 7 - 2)
    rows[grid % 11 == 0] = np.nan
    rows[0], rows[1], rows[2], rows[3] = np.nan, 0.0, 1e6, -1e6
    return rows.astype(np.float32)


def dry_run(artifact: bytes, *, features: int, scores: int) -> None:
    """Load and run the artifact here; raises `Refused` as `penstock.onnx.check` promises."""
    model = Model.load(artifact, digest=digest_of(artifact))
    rows = probes(features)
    try:
        together = model.run(rows)
        apart = np.concatenate([model.run(rows[index : index + 1]) for index in range(len(rows))])
    except MemoryError:
        raise
    except Exception as error:
        # onnxruntime's errors share no base class.
        raise Refused(f"onnxruntime cannot run it: {error}") from error
    if together.dtype != np.float32 or together.shape != (len(rows), scores):
        found = f"{together.dtype} {list(together.shape)}"
        raise Refused(f"{len(rows)} rows give {found}, expected float32 [{len(rows)}, {scores}]")
    if not np.isfinite(together).all():
        row = int(np.flatnonzero(~np.isfinite(together).all(axis=1))[0])
        what = "missing values" if np.isnan(rows[row]).any() else "large values"
        raise Refused(f"a row with {what} scores {together[row].tolist()}, expected finite numbers")
    if apart.shape != together.shape or not np.allclose(apart, together, rtol=1e-4, atol=1e-5):
        raise Refused("the scores of a row depend on the other rows of its batch")


def verdict(artifact: bytes, *, features: int, scores: int) -> str:
    """The reason to refuse the artifact, empty if there is none."""
    try:
        inspect(artifact, features=features, scores=scores)
        dry_run(artifact, features=features, scores=scores)
    except Refused as error:
        return str(error)
    except MemoryError:
        return f"the dry run asked for more than {MEMORY_BYTES // 2**20} MiB"
    return ""


def judged(artifact: bytes, *, features: int, scores: int) -> dict[str, object]:
    """What a fork says of the artifact: `refused`, or the `signal` it died of, or the `error` it ended with.

    >>> from penstock.trainer.export import constant
    >>> judged(constant(features=3, scores=[0.5]), features=3, scores=1)
    {'refused': ''}
    >>> judged(b"no model", features=3, scores=1)
    {'refused': 'not an ONNX file'}
    """
    back, answer = os.pipe()
    if (child := os.fork()) == 0:
        _answer(answer, artifact, features=features, scores=scores)
    os.close(answer)
    try:
        in_time = bool(select.select([back], [], [], WALL_SECONDS)[0])
        said = os.read(back, _LARGEST_ANSWER) if in_time else b""
    finally:
        os.close(back)
    if not in_time:
        os.kill(child, signal.SIGKILL)
    code = os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
    if not in_time:
        return {"refused": f"the dry run took more than {WALL_SECONDS} s"}
    if said:
        found: dict[str, object] = json.loads(said)
        return found
    return {"signal": -code}


def _answer(to: int, artifact: bytes, *, features: int, scores: int) -> None:
    """In the fork: say it in one write, and end."""
    try:
        confine()
        said: dict[str, object] = {"refused": verdict(artifact, features=features, scores=scores)}
    except BaseException:  # noqa: BLE001 - whatever it is: nothing here may run on in the fork
        said = {"error": traceback.format_exc()[-200:]}
    try:
        os.write(to, json.dumps(said).encode())
    finally:
        os._exit(0)


def serve(requests: BinaryIO, verdicts: BinaryIO) -> None:
    """Judge one artifact after the other, until whoever asks is gone."""
    while len(head := requests.read(struct.calcsize(HEAD))) == struct.calcsize(HEAD):
        size, features, scores = struct.unpack(HEAD, head)
        artifact = requests.read(size)
        if len(artifact) < size:
            return
        verdicts.write(json.dumps(judged(artifact, features=features, scores=scores)).encode() + b"\n")
        verdicts.flush()


if __name__ == "__main__":
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # a Ctrl-C is for whoever asks
    serve(sys.stdin.buffer, sys.stdout.buffer)

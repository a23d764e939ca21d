"""The child of `check`: ``python -m penstock.onnx.dryrun FEATURES SCORES < model.onnx`` prints a verdict."""

from __future__ import annotations

import json
import resource
import sys
from pathlib import Path

import numpy as np

from penstock.onnx.model import FloatMatrix, Model, digest_of
from penstock.onnx.refused import Refused
from penstock.onnx.sandbox import CPU_SECONDS, MEMORY_BYTES, STACK_BYTES
from penstock.onnx.structure import inspect


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


if __name__ == "__main__":
    confine()
    print(
        json.dumps(
            {"refused": verdict(sys.stdin.buffer.read(), features=int(sys.argv[1]), scores=int(sys.argv[2]))}
        )
    )

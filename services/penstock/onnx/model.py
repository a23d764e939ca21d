"""A loaded model: a matrix of features in, a matrix of scores out."""

from __future__ import annotations

import hashlib
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt
import onnxruntime  # type: ignore[import-untyped]  # it ships no types

from penstock.onnx.refused import INPUT, MAX_BYTES, OUTPUT, Refused

if TYPE_CHECKING:
    from collections.abc import Collection, Sequence

FloatMatrix = npt.NDArray[np.float32]

RELATIVE = 1e-4
ABSOLUTE = 1e-5
"""How far a golden vector may be off: float32 sums in another order on another processor."""


def digest_of(artifact: bytes) -> str:
    """The artifact digest: sha256 of the ONNX bytes, in hex.

    >>> digest_of(b"")[:12]
    'e3b0c44298fc'
    """
    return hashlib.sha256(artifact).hexdigest()


class Model:
    """A model in memory; `run` may be called from several threads.

    >>> from penstock.trainer.export import constant
    >>> artifact = constant(features=3, scores=[0.25])
    >>> model = Model.load(artifact, digest=digest_of(artifact))
    >>> model.features, model.scores
    (3, 1)
    >>> model.run(np.array([[1.0, 2.0, np.nan], [0.0, 0.0, 0.0]], dtype=np.float32)).tolist()
    [[0.25], [0.25]]
    """

    __slots__ = ("_run", "digest", "features", "scores")

    def __init__(self, session: Any, *, digest: str) -> None:
        self._run = session.run
        self.digest = digest
        self.features: int = session.get_inputs()[0].shape[1]
        self.scores: int = session.get_outputs()[0].shape[1]

    @classmethod
    def load(cls, artifact: bytes, *, digest: str, threads: int = 1, cpus: Collection[int] = ()) -> Model:
        """Open the artifact if it is the one whose digest is given; call `check` on foreign bytes first.

        Args:
            artifact: the ONNX bytes.
            digest: their sha256, in hex.
            threads: that one run may use, the caller's among them.
            cpus: processors that the others of them run on; any where left out.

        Raises:
            Refused: too big, other bytes than promised, or nothing onnxruntime can open.
        """
        if len(artifact) > MAX_BYTES:
            raise Refused(f"{len(artifact)} bytes, more than the {MAX_BYTES} allowed")
        if (found := digest_of(artifact)) != digest:
            raise Refused(f"the bytes have digest {found[:12]}…, the manifest says {digest[:12]}…")
        return cls(session_of(artifact, threads=threads, cpus=cpus), digest=digest)

    def run(self, matrix: FloatMatrix) -> FloatMatrix:
        """Score rows: float32 ``[n, features]``, NaN = missing, to float32 ``[n, scores]``."""
        # Plain run(): io binding and ort values gained nothing at these sizes.
        result: FloatMatrix = self._run([OUTPUT], {INPUT: matrix})[0]
        return result

    def reproduce(self, inputs: Sequence[Sequence[float]], outputs: Sequence[Sequence[float]]) -> None:
        """Check golden vectors: rows the trainer scored and what it got, within 1e-5 + 1e-4 of the value.

        Raises:
            Refused: a score differs, or there are not as many outputs as inputs.

        >>> from penstock.trainer.export import constant
        >>> artifact = constant(features=1, scores=[0.25])
        >>> Model.load(artifact, digest=digest_of(artifact)).reproduce([[1.0]], [[0.75]])
        Traceback (most recent call last):
        ...
        penstock.onnx.refused.Refused: golden vector 0 scores [0.25], expected [0.75]
        """
        if len(inputs) != len(outputs):
            raise Refused(f"{len(inputs)} golden inputs with {len(outputs)} outputs")
        for index, (row, expected) in enumerate(zip(inputs, outputs, strict=True)):
            if len(row) != self.features or len(expected) != self.scores:
                raise Refused(f"golden vector {index} has {len(row)} features and {len(expected)} scores")
            found = self.run(np.array([row], dtype=np.float32))[0]
            if not np.allclose(found, np.array(expected), rtol=RELATIVE, atol=ABSOLUTE):
                raise Refused(f"golden vector {index} scores {found.tolist()}, expected {list(expected)}")


def session_of(artifact: bytes, *, threads: int = 1, cpus: Collection[int] = ()) -> Any:
    """An onnxruntime session, on one thread unless told: more of them cost more than most tabular models."""
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = threads
    options.inter_op_num_threads = 1
    if threads > 1:
        # A thread that spins while it waits takes its processor from whoever has something to do.
        options.add_session_config_entry("session.intra_op.allow_spinning", "0")
        if cpus:
            # One group for each thread beside the caller's; onnxruntime counts processors from 1.
            group = ",".join(str(cpu + 1) for cpu in sorted(cpus))
            groups = ";".join([group] * (threads - 1))
            options.add_session_config_entry("session.intra_op_thread_affinities", groups)
    options.log_severity_level = 4  # what is wrong is in the exception; stderr is for our own lines
    # onnxruntime also reads a format of its own, which `check` cannot look into: only ONNX here.
    options.add_session_config_entry("session.load_model_format", "ONNX")
    try:
        return onnxruntime.InferenceSession(
            artifact, options, providers=["CPUExecutionProvider"], enable_fallback=0
        )
    except Exception as error:
        # Its errors share no base class; all of them mean that it cannot be opened.
        raise Refused(f"onnxruntime cannot open it: {error}") from error

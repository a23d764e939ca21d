"""Check, load and run a model: what trainer, registry and inference share.

A model is an ONNX file with one input, ``features`` float32 ``[n, F]`` where NaN means missing, and one
output, ``scores`` float32 ``[n, K]``: K is 1 for a binary task (the probability of the positive class) and
for regression, and the number of classes for a multiclass task.

The bytes come from a topic, so they are not trusted: `check` reads and runs them in a child process with
little memory and time before anything here opens them, and `Model.load` opens only what has the digest its
manifest promised. No pickle anywhere.
"""

from __future__ import annotations

from penstock.onnx.explaining import Explaining
from penstock.onnx.model import Model, digest_of
from penstock.onnx.refused import MAX_BYTES, MEANS, Refused, Unexplainable
from penstock.onnx.sandbox import check, judged_here

__all__ = [
    "MAX_BYTES",
    "MEANS",
    "Explaining",
    "Model",
    "Refused",
    "Unexplainable",
    "check",
    "digest_of",
    "judged_here",
]

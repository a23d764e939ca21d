"""Write models as ONNX files."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

if TYPE_CHECKING:
    from collections.abc import Sequence

OPSET = 17
IR_VERSION = 8
"""Old enough for every onnxruntime of the last years; fixed, so that the same model is the same bytes."""


def constant(features: int, scores: Sequence[float]) -> bytes:
    r"""The model that knows nothing about a row: $f(x) = c$, with `scores` as the constant, one column each.

    It is version 0 of a pipeline, the prior, and goes the way of every other model: real ONNX, any batch
    size, missing values (NaN) answered like any other. The batch size comes from the input by
    ``MatMul(Cast(IsNaN(features)), 0) + c``, which is exact: the product has only zeros in it. The same
    arguments give the same bytes.

    Args:
        features: F, the number of input columns, at least 1.
        scores: the K scores every row gets.

    Returns:
        the ONNX file: ``features`` float32 ``[n, F]`` to ``scores`` float32 ``[n, K]``.

    >>> constant(2, [0.5]) == constant(2, [0.5])
    True
    """
    if features < 1 or not len(scores):
        raise ValueError(f"a model needs features and scores, got {features} and {len(scores)}")
    answer = np.array([scores], dtype=np.float32)
    if not np.isfinite(answer).all():
        raise ValueError(f"the scores must be finite, got {list(scores)}")
    width = answer.shape[1]
    graph = helper.make_graph(
        [
            helper.make_node("IsNaN", ["features"], ["missing"]),
            helper.make_node("Cast", ["missing"], ["counted"], to=TensorProto.FLOAT),
            helper.make_node("MatMul", ["counted", "nothing"], ["zeros"]),
            helper.make_node("Add", ["zeros", "answer"], ["scores"]),
        ],
        "constant",
        [helper.make_tensor_value_info("features", TensorProto.FLOAT, ["rows", features])],
        [helper.make_tensor_value_info("scores", TensorProto.FLOAT, ["rows", width])],
        [
            numpy_helper.from_array(np.zeros((features, width), dtype=np.float32), "nothing"),
            numpy_helper.from_array(answer, "answer"),
        ],
    )
    model = helper.make_model(
        graph,
        producer_name="penstock",
        opset_imports=[helper.make_opsetid("", OPSET)],
        ir_version=IR_VERSION,
    )
    onnx.checker.check_model(model)
    return model.SerializeToString(deterministic=True)

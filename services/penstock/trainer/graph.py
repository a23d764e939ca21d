"""An ONNX graph under construction: nodes with names given in order, constants, and the file it becomes."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import onnx
from numpy.typing import ArrayLike
from onnx import TensorProto, helper, numpy_helper

OPSET = 17
ML_OPSET = 3
IR_VERSION = 8
"""Old enough for every onnxruntime of the last years; fixed, so that the same model is the same bytes."""

ML = "ai.onnx.ml"


class Graph:
    """Nodes from ``features`` float32 ``[n, F]`` on; values are known by the names that `node` gives.

    >>> graph = Graph("doubled", features=1)
    >>> twice = graph.node("Mul", "features", graph.constant([2.0]))
    >>> graph.file(twice, scores=1) == graph.file(twice, scores=1)
    True
    """

    def __init__(self, name: str, *, features: int) -> None:
        self._name = name
        self._features = features
        self._nodes: list[onnx.NodeProto] = []
        self._constants: list[onnx.TensorProto] = []
        self._ml = False

    def constant(self, value: ArrayLike, dtype: type[np.generic] = np.float32) -> str:
        """A tensor in the file; its name."""
        name = f"c{len(self._constants)}"
        self._constants.append(numpy_helper.from_array(np.asarray(value, dtype=dtype), name))
        return name

    def node(self, op: str, *inputs: str, **attributes: Any) -> str:
        """Add a node of ONNX's own; the name of its one output."""
        name = f"v{len(self._nodes)}"
        self._nodes.append(helper.make_node(op, list(inputs), [name], **attributes))
        return name

    def trees(self, **columns: Any) -> str:
        """Add a tree ensemble over the features; the name of its raw values."""
        self._ml = True
        name = f"v{len(self._nodes)}"
        self._nodes.append(
            helper.make_node("TreeEnsembleRegressor", ["features"], [name], domain=ML, **columns)
        )
        return name

    def file(self, answer: str, *, scores: int, metadata: Mapping[str, str] | None = None) -> bytes:
        """The ONNX file whose ``scores`` are the value of that name, float32 ``[n, scores]``.

        Args:
            answer: name of that value.
            scores: K.
            metadata: what is to be known of the model beside its graph.
        """
        nodes = [*self._nodes, helper.make_node("Identity", [answer], ["scores"])]
        graph = helper.make_graph(
            nodes,
            self._name,
            [helper.make_tensor_value_info("features", TensorProto.FLOAT, ["rows", self._features])],
            [helper.make_tensor_value_info("scores", TensorProto.FLOAT, ["rows", scores])],
            self._constants,
        )
        opsets = [helper.make_opsetid("", OPSET)]
        if self._ml:
            opsets.append(helper.make_opsetid(ML, ML_OPSET))
        model = helper.make_model(
            graph, producer_name="penstock", opset_imports=opsets, ir_version=IR_VERSION
        )
        helper.set_model_props(model, dict(metadata or {}))
        return written(model)


def written(model: onnx.ModelProto) -> bytes:
    """The bytes of a model: the same ones for the same model in every process.

    Raises:
        onnx.checker.ValidationError: it is no valid model, which is a mistake of ours.
    """
    onnx.checker.check_model(model)
    return model.SerializeToString(deterministic=True)

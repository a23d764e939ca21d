"""Write models as ONNX files: the only place that does.

Every graph has the signature of `penstock.onnx`, all that a row goes through inside it, and only ops that are
on its list. It is built node by node from what was fitted: a converter in between would be slower, would
choose other ops with every release, and is known to export wrong models without an error.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Any

import numpy as np
import onnx
from numpy.typing import NDArray
from onnx import helper, numpy_helper

from penstock.kernel.losses import EPSILON
from penstock.onnx import MEANS
from penstock.trainer.calibration import Calibration
from penstock.trainer.design import FARTHEST, Design
from penstock.trainer.fitted import Boosted, Fitted, Forest, Head, Linear, Prior, Recalibrated
from penstock.trainer.graph import Graph, written


def export(fitted: Fitted) -> bytes:
    """A fitted model as an ONNX file; the same model gives the same bytes.

    Returns:
        the file: ``features`` float32 ``[n, F]``, NaN = missing, to ``scores`` float32 ``[n, K]``.

    >>> export(Prior(answer=(0.5,), features=2)) == constant(2, [0.5])
    True
    """
    match fitted:
        case Prior():
            return constant(fitted.features, fitted.answer)
        case Boosted():
            return _boosted(fitted)
        case Linear():
            return _linear(fitted)
        case Recalibrated():
            return recalibrated(fitted.champion, fitted.calibration)


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
    graph = Graph("constant", features=features)
    counted = graph.node("Cast", graph.node("IsNaN", "features"), to=onnx.TensorProto.FLOAT)
    zeros = graph.node("MatMul", counted, graph.constant(np.zeros((features, answer.shape[1]))))
    return graph.file(graph.node("Add", zeros, graph.constant(answer)), scores=answer.shape[1])


def recalibrated(champion: bytes, calibration: Calibration) -> bytes:
    """The champion's file with the calibration as more nodes behind its scores; signature as before.

    Args:
        champion: an ONNX file of the signature of `penstock.onnx`, which is trusted by now.
        calibration: of its scores.
    """
    model = onnx.load_from_string(champion)
    graph = model.graph
    names = {name for node in graph.node for name in (*node.input, *node.output)}
    names |= {tensor.name for tensor in graph.initializer}
    turn = next(turn for turn in range(len(names) + 1) if f"calibrated{turn}" not in names)
    before = f"calibrated{turn}"
    for node in graph.node:
        for places in (node.input, node.output):
            places[:] = [before if name == "scores" else name for name in places]

    def add(op: str, *inputs: str | float | NDArray[np.float64], **attributes: Any) -> str:
        name = f"{before}_{len(graph.node)}"
        given = []
        for place, each in enumerate(inputs):
            if isinstance(each, str):
                given.append(each)
            else:
                given.append(f"{name}_{place}")
                graph.initializer.append(
                    numpy_helper.from_array(np.asarray(each, dtype=np.float32), given[-1])
                )
        graph.node.append(helper.make_node(op, given, [name], **attributes))
        return name

    value = before
    if calibration.task != "regression":
        value = add("Clip", value, EPSILON, 1 - EPSILON)
        odds = add("Div", value, add("Sub", 1.0, value)) if calibration.task == "binary" else value
        value = add("Log", odds)
    value = add("Mul", value, calibration.slope)
    value = add("Add", value, np.array([calibration.shifts]))
    match calibration.task:
        case "binary":
            value = add("Sigmoid", value)
        case "multiclass":
            value = add("Softmax", value, axis=1)
    graph.node.append(helper.make_node("Identity", [value], ["scores"]))
    return written(model)


def _boosted(fitted: Boosted) -> bytes:
    graph = Graph("boosted", features=fitted.features)
    raw = _trees(graph, fitted.forest)
    return graph.file(_scored(graph, raw, fitted.head), scores=fitted.head.outputs)


def _trees(graph: Graph, forest: Forest) -> str:
    thresholds = np.where(forest.leaf, 0.0, _at_most(forest.threshold))
    leaves = forest.leaf
    return graph.trees(
        n_targets=len(forest.base),
        base_values=forest.base.astype(np.float32).tolist(),
        nodes_treeids=forest.tree.tolist(),
        nodes_nodeids=forest.node.tolist(),
        nodes_featureids=np.where(leaves, 0, forest.feature).tolist(),
        nodes_modes=np.where(leaves, "LEAF", "BRANCH_LEQ").tolist(),
        nodes_values=thresholds.tolist(),
        nodes_truenodeids=np.where(leaves, 0, forest.yes).tolist(),
        nodes_falsenodeids=np.where(leaves, 0, forest.no).tolist(),
        # What an explanation needs to know of the training rows.
        nodes_hitrates=forest.cover.astype(np.float32).tolist(),
        nodes_missing_value_tracks_true=(forest.missing_to_yes & ~leaves).astype(np.int64).tolist(),
        target_treeids=forest.tree[leaves].tolist(),
        target_nodeids=forest.node[leaves].tolist(),
        target_ids=forest.target[leaves].tolist(),
        target_weights=forest.value[leaves].astype(np.float32).tolist(),
    )


def _at_most(threshold: NDArray[np.float64]) -> NDArray[np.float32]:
    """The greatest float32 that is not above the threshold: for float32 values it parts the same ones.

    Rounding to the nearest would send a value equal to a threshold's neighbour the other way.

    >>> bool(_at_most(np.array([0.1]))[0] <= 0.1 < float(np.float32(0.1)))
    True
    """
    with np.errstate(over="ignore"):
        single = threshold.astype(np.float32)
    return np.where(single > threshold, np.nextafter(single, np.float32(-np.inf)), single)


def _linear(fitted: Linear) -> bytes:
    graph = Graph("linear", features=fitted.features)
    design, weights = fitted.design, fitted.weights
    parts = []
    many, partial = len(design.numbers), len(design.partial)
    if many:
        parts += _numbers(graph, design, weights[:many], weights[many : many + partial])
    if design.categories:
        parts.append(_categories(graph, design, weights[many + partial :]))
    raw = parts[0]
    for part in parts[1:]:
        raw = graph.node("Add", raw, part)
    raw = graph.node("Add", raw, graph.constant([fitted.intercept]))
    means = json.dumps(fitted.means.tolist())
    return graph.file(_scored(graph, raw, fitted.head), scores=fitted.head.outputs, metadata={MEANS: means})


def _numbers(
    graph: Graph, design: Design, weights: NDArray[np.float64], flags: NDArray[np.float64]
) -> list[str]:
    values = graph.node("Gather", "features", graph.constant(design.numbers, np.int64), axis=1)
    missing = graph.node("IsNaN", values)
    centred = graph.node("Sub", values, graph.constant([design.centre]))
    standard = graph.node("Div", centred, graph.constant([design.scale]))
    bounded = graph.node("Clip", standard, graph.constant(-FARTHEST), graph.constant(FARTHEST))
    known = graph.node("Where", missing, graph.constant(0.0), bounded)
    parts = [graph.node("MatMul", known, graph.constant(weights))]
    if design.partial:
        gone = graph.node("Gather", missing, graph.constant(design.partial, np.int64), axis=1)
        counted = graph.node("Cast", gone, to=onnx.TensorProto.FLOAT)
        parts.append(graph.node("MatMul", counted, graph.constant(flags)))
    return parts


def _categories(graph: Graph, design: Design, weights: NDArray[np.float64]) -> str:
    """One-hot times weights is the row of the weights that the code names."""
    codes = graph.node("Gather", "features", graph.constant(design.categories, np.int64), axis=1)
    above = graph.node("GreaterOrEqual", codes, graph.constant(0.0))
    below = graph.node("LessOrEqual", codes, graph.constant([design.words]))
    known = graph.node("Where", graph.node("And", above, below), codes, graph.constant(0.0))
    slot = graph.node("Cast", known, to=onnx.TensorProto.INT64)
    last = graph.constant([[words + 1 for words in design.words]], np.int64)
    slot = graph.node("Where", graph.node("IsNaN", codes), last, slot)
    place = graph.node("Add", slot, graph.constant([design.offsets[:-1]], np.int64))
    picked = graph.node("Gather", graph.constant(weights), place, axis=0)
    return graph.node("ReduceSum", picked, graph.constant([1], np.int64), keepdims=0)


def _scored(graph: Graph, raw: str, head: Head) -> str:
    match head.link:
        case "identity":
            return raw
        case "sigmoid":
            return graph.node("Sigmoid", raw)
        case "softmax":
            probabilities = graph.node("Softmax", raw, axis=1)
            if head.places == tuple(range(head.outputs)):
                return probabilities
            # Exact: each product adds zeros to one probability.
            placed = np.eye(head.outputs)[list(head.places)]
            return graph.node("MatMul", probabilities, graph.constant(placed))

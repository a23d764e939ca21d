"""Why a model says what it says: its raw score as a sum of what each feature adds, read from its own graph.

The graph is read from its end. The last link (sigmoid, softmax or none) is taken off; what is in front of it,
the raw score, must be a sum of constants, of trees over the features, and of columns that hang on one feature
each, times weights. A calibration is such a sum too: it stretches and shifts the champion's raw score.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final, Literal

import numpy as np
import onnx

from penstock.kernel.losses import EPSILON
from penstock.onnx.columns import Weighed, columns
from penstock.onnx.graphread import Graph, attributes
from penstock.onnx.refused import INPUT, MEANS, OUTPUT, Unexplainable
from penstock.onnx.treeread import ensemble

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from penstock.kernel.policy import Task
    from penstock.kernel.shapley import Ensemble

    FloatMatrix = NDArray[np.float32]
    FloatArray = NDArray[np.float64]

Scale = Literal["log-odds", "log-probability", "score"]


@dataclass(frozen=True, slots=True, kw_only=True)
class _Sum:
    """A raw score: parts times factors, and a constant; arrays of shape (outputs,), or (1,) for all alike."""

    parts: tuple[tuple[Ensemble | Weighed, FloatArray], ...]
    constant: FloatArray

    def __add__(self, other: _Sum) -> _Sum:
        return _Sum(parts=self.parts + other.parts, constant=self.constant + other.constant)

    def times(self, factor: FloatArray) -> _Sum:
        parts = tuple((part, before * factor) for part, before in self.parts)
        return _Sum(parts=parts, constant=self.constant * factor)


@dataclass(frozen=True, slots=True, kw_only=True)
class Explainer:
    """What the features of a row add to each of a model's raw scores.

    Args:
        features: F.
        outputs: K.
        scale: of the raw scores.
        base: what they are when nothing is known of a row: their mean over the training rows, shape (K,).
        trees: how many; 0 for a linear model.
        steps: numbers that are worked out for a row: what an explanation costs, some 10 ns each.
    """

    features: int
    outputs: int
    scale: Scale
    base: FloatArray
    trees: int
    steps: int
    parts: tuple[tuple[Ensemble | Weighed, FloatArray], ...]
    means: FloatArray
    places: tuple[int, ...]

    @classmethod
    def of(cls, artifact: bytes, task: Task) -> Explainer:
        """Read from an artifact that has passed `check`.

        Args:
            artifact: ONNX bytes.
            task: what its scores are; decides the scale of a constant, which has no link.

        Raises:
            Unexplainable: the model has another shape than those above, or lacks what must be known of its
                training rows.

        >>> from penstock.trainer.export import constant
        >>> explainer = Explainer.of(constant(2, [0.75]), "binary")
        >>> explainer.attribute(np.zeros((1, 2), dtype=np.float32)).round(3), explainer.scale
        (array([[[0.   , 0.   , 1.099]]], dtype=float32), 'log-odds')
        """
        graph = Graph(artifact)
        name, link, places = _link(graph)
        total = _sum(graph, name)
        if not total.parts and link == "score" and task != "regression":
            link, total = _prior(task, total)
        outputs = len(places) or graph.outputs
        # The parts may be wider than the constant, or the constant than the parts.
        base = total.constant + np.zeros(outputs)
        means = np.zeros((outputs, graph.features))
        for part, factor in total.parts:
            if isinstance(part, Weighed):
                means += factor[:, None] * _means(graph, part.weights.shape[1]).T
                break
        for part, factor in total.parts:
            if not isinstance(part, Weighed):
                base = base + factor * part.base
        return cls(
            features=graph.features,
            outputs=graph.outputs,
            scale=link,
            base=_placed(base + means.sum(axis=1), places, graph.outputs, empty=-np.inf),
            trees=sum(0 if isinstance(part, Weighed) else part.trees for part, _ in total.parts),
            steps=graph.features * outputs + sum(part.steps for part, _ in total.parts),
            parts=total.parts,
            means=means,
            places=places,
        )

    def attribute(self, rows: FloatMatrix) -> FloatMatrix:
        """The attributions of rows, float32 ``[n, features]`` with NaN = missing.

        Returns:
            float32 ``[n, outputs, features + 1]``: what each feature adds, then the base value; along the
            last axis they sum to the raw score. The base of a class that no training row had is minus
            infinity.
        """
        found = np.repeat(0.0 - self.means[None], len(rows), axis=0)
        for part, factor in self.parts:
            found += factor[:, None] * part.attribute(rows)
        placed = _placed(found.transpose(1, 0, 2), self.places, self.outputs, empty=0.0)
        base = np.broadcast_to(self.base[:, None, None], (self.outputs, len(rows), 1))
        return np.concatenate([placed, base], axis=2).transpose(1, 0, 2).astype(np.float32)


def _placed(values: FloatArray, places: tuple[int, ...], outputs: int, *, empty: float) -> FloatArray:
    """Raw outputs, along the first axis, at their places among all outputs."""
    if not places:
        return values
    found = np.full((outputs, *values.shape[1:]), empty)
    found[list(places)] = values
    return found


def _link(graph: Graph) -> tuple[str, Scale, tuple[int, ...]]:
    """The name of the raw score, its scale, and which output each of its columns is, where some have none."""
    node = graph.maker(OUTPUT)
    places: tuple[int, ...] = ()
    if node is not None and node.op_type == "MatMul":
        inner = graph.maker(node.input[0])
        if inner is not None and inner.op_type == "Softmax":
            where = graph.needed(node.input[1])
            if not np.array_equal(where, np.eye(where.shape[1])[where.argmax(axis=1)]):
                raise Unexplainable("its graph mixes the probabilities of classes")
            node, places = inner, tuple(where.argmax(axis=1).tolist())
    if node is not None and node.op_type == "Sigmoid":
        return node.input[0], "log-odds", ()
    if node is not None and node.op_type == "Softmax":
        return node.input[0], "log-probability", places
    return graph.behind(OUTPUT), "score", ()


def _prior(task: Task, total: _Sum) -> tuple[Scale, _Sum]:
    """A constant probability, on the scale that every other version of the task is explained on."""
    share = np.clip(total.constant, EPSILON, 1 - EPSILON)
    if task == "binary":
        return "log-odds", _Sum(parts=(), constant=np.log(share / (1 - share)))
    return "log-probability", _Sum(parts=(), constant=np.log(share))


def _means(graph: Graph, outputs: int) -> FloatArray:
    said = graph.metadata.get(MEANS)
    if said is None:
        raise Unexplainable(
            f"it is linear and does not say what its features add on the mean ({MEANS} in its metadata); a "
            "version that Penstock trains does"
        )
    means = np.array(json.loads(said), dtype=np.float64)
    if means.shape != (graph.features, outputs):
        raise Unexplainable(f"the means in its metadata have shape {list(means.shape)}")
    return means


def _sum(graph: Graph, name: str) -> _Sum:
    """A value of the graph as a sum."""
    name = graph.behind(name)
    constant = graph.constant(name)
    if constant is not None:
        return _Sum(parts=(), constant=constant.astype(np.float64).reshape(-1))
    node = graph.maker(name)
    if node is None:
        raise Unexplainable("its scores are its features")
    read = _READERS.get(node.op_type)
    if read is None:
        raise _strange(node)
    return read(graph, node)


def _strange(node: onnx.NodeProto) -> Unexplainable:
    return Unexplainable(f"its graph has the op {node.op_type} where a linear model or trees were expected")


def _trees(graph: Graph, node: onnx.NodeProto) -> _Sum:
    if graph.behind(node.input[0]) != INPUT:
        raise Unexplainable("its trees look at something other than the features")
    trees = ensemble(node, features=graph.features)
    return _whole(trees, outputs=len(trees.base))


def _product(graph: Graph, node: onnx.NodeProto) -> _Sum:
    weights = graph.needed(node.input[1])
    if not weights.any():  # how a constant model gets its number of rows
        return _Sum(parts=(), constant=np.zeros(weights.shape[1]))
    return _weighed(graph, node.input[0], weights, picks=False)


def _lookup(graph: Graph, node: onnx.NodeProto) -> _Sum:
    picked = graph.maker(node.input[0])
    if picked is None or picked.op_type != "Gather" or attributes(picked).get("axis", 0):
        raise _strange(node)
    return _weighed(graph, picked.input[1], graph.needed(picked.input[0]), picks=True)


def _added(graph: Graph, node: onnx.NodeProto) -> _Sum:
    return _sum(graph, node.input[0]) + _sum(graph, node.input[1])


def _whole(part: Ensemble | Weighed, *, outputs: int) -> _Sum:
    return _Sum(parts=((part, np.ones(outputs)),), constant=np.zeros(outputs))


def _weighed(graph: Graph, name: str, weights: NDArray[Any], *, picks: bool) -> _Sum:
    made = columns(graph, name)
    part = Weighed.of(made, weights, picks=picks, features=graph.features)
    return _whole(part, outputs=weights.shape[1])


def _stretched(graph: Graph, node: onnx.NodeProto) -> _Sum:
    left, right = node.input
    factor = graph.constant(graph.behind(right))
    if factor is None:
        left, factor = right, graph.needed(graph.behind(left))
    return _sum(graph, left).times(factor.astype(np.float64).reshape(-1))


def _evidence(graph: Graph, node: onnx.NodeProto) -> _Sum:
    """What a calibration begins with: the log-odds, or the logarithms of the probabilities, of the champion.

    They are its raw scores; of several classes, less the same number for each, which the softmax behind it
    takes away again. Rounding aside: what is within `EPSILON` of 0 or 1 is held there in the graph.
    """
    inner = graph.maker(node.input[0])
    odds = inner is not None and inner.op_type == "Div"
    clip = graph.maker(inner.input[0]) if odds and inner is not None else inner
    if clip is None or clip.op_type != "Clip":
        raise Unexplainable("its graph takes the logarithm of something other than probabilities")
    name = clip.input[0]
    link = graph.maker(name)
    if link is not None and link.op_type == ("Sigmoid" if odds else "Softmax"):
        return _sum(graph, link.input[0])
    champion = _sum(graph, name)
    if champion.parts:
        raise Unexplainable("its calibration stands behind something other than a link")
    return _prior("binary" if odds else "multiclass", champion)[1]


_READERS: Final[dict[str, Callable[[Graph, onnx.NodeProto], _Sum]]] = {
    "Add": _added,
    "Log": _evidence,
    "MatMul": _product,
    "Mul": _stretched,
    "ReduceSum": _lookup,
    "TreeEnsembleRegressor": _trees,
}

"""The linear part of a graph: columns that each hang on one feature, weighed and added up."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

import numpy as np
import onnx

from penstock.onnx.graphread import Graph, attributes
from penstock.onnx.refused import INPUT, Unexplainable

if TYPE_CHECKING:
    from numpy.typing import NDArray

    FloatMatrix = NDArray[np.float32]
    FloatArray = NDArray[np.float64]

Evaluate = Callable[["FloatMatrix"], "NDArray[Any]"]
_SAME: Final[dict[str, Callable[..., NDArray[Any]]]] = {
    "Add": np.add,
    "Sub": np.subtract,
    "Mul": np.multiply,
    "Div": np.divide,
    "And": np.logical_and,
    "Or": np.logical_or,
    "Greater": np.greater,
    "GreaterOrEqual": np.greater_equal,
    "Less": np.less,
    "LessOrEqual": np.less_equal,
    "Where": np.where,
    "IsNaN": np.isnan,
    "Not": np.logical_not,
    "Neg": np.negative,
    "Abs": np.abs,
}
"""Ops that do to each element what numpy does."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Columns:
    """A matrix of the graph.

    Args:
        evaluate: from rows, float32 ``[n, F]``, to the matrix ``[n, C]``.
        source: the one feature that each column hangs on, shape (C,); None where it hangs on none.
        steps: arrays of its size that are worked out on the way.
    """

    evaluate: Evaluate
    source: NDArray[np.intp] | None
    steps: int = 0


def columns(graph: Graph, name: str) -> Columns:
    """The matrix of that name.

    Raises:
        Unexplainable: one of its columns hangs on several features, or an op is none that is known here.
    """
    name = graph.behind(name)
    if name == INPUT:
        return Columns(evaluate=lambda rows: rows, source=np.arange(graph.features))
    constant = graph.constant(name)
    if constant is not None:
        return Columns(evaluate=lambda _: constant, source=None)
    node = graph.maker(name)
    if node is None:
        raise Unexplainable(f"the value {name!r} of its graph comes from nowhere")
    if node.op_type == "Gather" and attributes(node).get("axis", 0) == 1:
        return _picked(columns(graph, node.input[0]), graph.needed(node.input[1]))
    function, given = _elementwise(graph, node)
    return _joined(function, *(columns(graph, each) for each in given))


def _elementwise(graph: Graph, node: onnx.NodeProto) -> tuple[Callable[..., NDArray[Any]], list[str]]:
    """What an op does to each element, and to the elements of which values."""
    if node.op_type in _SAME:
        return _SAME[node.op_type], list(node.input)
    if node.op_type == "Cast":
        kind = onnx.helper.tensor_dtype_to_np_dtype(attributes(node)["to"])
        return lambda values: values.astype(kind), list(node.input)
    if node.op_type == "Clip":
        low, high = (graph.needed(bound) for bound in node.input[1:3])
        return lambda values: np.clip(values, low, high), list(node.input[:1])
    raise Unexplainable(f"its graph has the op {node.op_type} where a linear model or trees were expected")


def _picked(whole: Columns, places: NDArray[Any]) -> Columns:
    if whole.source is None or places.ndim != 1:
        raise Unexplainable("its graph gathers something other than columns of the row")
    return Columns(
        evaluate=lambda rows: whole.evaluate(rows)[:, places],
        source=whole.source[places],
        steps=whole.steps + 1,
    )


def _joined(function: Callable[..., NDArray[Any]], *parts: Columns) -> Columns:
    """Columns worked out of other ones, each from those of its own place."""
    sources = [part.source for part in parts if part.source is not None]
    # One column beside many would be spread over them, and each would hang on two features.
    if any(not np.array_equal(source, sources[0]) for source in sources):
        raise Unexplainable("a column of its graph hangs on several features at once")
    return Columns(
        evaluate=lambda rows: function(*(part.evaluate(rows) for part in parts)),
        source=sources[0] if sources else None,
        steps=sum(part.steps for part in parts) + 1,
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class Weighed:
    """Columns times weights: what each feature adds to each raw output.

    Args:
        columns: numbers, which the weights multiply; or places, which pick a line of the weights each.
        weights: shape (C, outputs), or (places, outputs).
        picks: whether the columns are places.
        share: which feature each column belongs to, as zeros and ones, shape (C, F).
    """

    columns: Columns
    weights: FloatArray
    picks: bool
    share: FloatArray

    @classmethod
    def of(cls, made: Columns, weights: NDArray[Any], *, picks: bool, features: int) -> Weighed:
        if made.source is None or weights.ndim != 2:  # noqa: PLR2004 - columns and outputs
            raise Unexplainable("its graph weighs something other than columns of the row")
        share = np.zeros((len(made.source), features))
        share[np.arange(len(made.source)), made.source] = 1.0
        return cls(columns=made, weights=weights.astype(np.float64), picks=picks, share=share)

    @property
    def steps(self) -> int:
        """Numbers that are worked out for a row."""
        width: int = self.weights.shape[1]
        return (self.columns.steps + width) * len(self.share)

    def attribute(self, rows: FloatMatrix) -> FloatArray:
        """What each feature adds, shape (n, outputs, F)."""
        values = self.columns.evaluate(rows)
        added = self.weights[values] if self.picks else values[:, :, None] * self.weights
        found: FloatArray = added.transpose(0, 2, 1) @ self.share
        return found

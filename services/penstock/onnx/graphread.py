"""The graph of an artifact that has passed `check`, for whoever looks into it: who makes which value."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

import numpy as np
import onnx
from onnx import numpy_helper

from penstock.onnx.refused import Unexplainable

if TYPE_CHECKING:
    from numpy.typing import NDArray


MOST_LOOKS: Final = 1000
"""At nodes; at those of a calibrated linear model, some 60."""


class Graph:
    """Values by name: constants, and the node that makes each of the others.

    Args:
        artifact: ONNX bytes that may be trusted by now.
    """

    def __init__(self, artifact: bytes) -> None:
        model = onnx.load_from_string(artifact)
        graph = model.graph
        self.metadata = {each.key: each.value for each in model.metadata_props}
        """What the trainer wrote beside the graph."""
        self.features: int = graph.input[0].type.tensor_type.shape.dim[1].dim_value
        self.outputs: int = graph.output[0].type.tensor_type.shape.dim[1].dim_value
        self._constants = {tensor.name: tensor for tensor in graph.initializer}
        self._looks = 0
        self._makers = {name: node for node in graph.node for name in node.output}

    def constant(self, name: str) -> NDArray[Any] | None:
        """The value of that name where it stands in the file."""
        if name in self._constants:
            return np.asarray(numpy_helper.to_array(self._constants[name]))
        node = self._makers.get(name)
        if node is not None and node.op_type == "Constant" and (value := attributes(node).get("value")):
            return np.asarray(numpy_helper.to_array(value))
        return None

    def needed(self, name: str) -> NDArray[Any]:
        """A constant that has to be one.

        Raises:
            Unexplainable: it is worked out of the row.
        """
        value = self.constant(name)
        if value is None:
            raise Unexplainable(
                f"the value {name!r} of its graph is worked out of the row, expected a constant"
            )
        return value

    def maker(self, name: str) -> onnx.NodeProto | None:
        """The node that makes a value, `Identity` passed over; None for an input or a constant.

        Raises:
            Unexplainable: there has been no end to it.
        """
        # A value that is used twice is looked at twice: a chain of such would be looked at for ever.
        self._looks += 1
        if self._looks > MOST_LOOKS:
            raise Unexplainable("its graph is larger than that of a linear model or of trees")
        return self._makers.get(self.behind(name))

    def behind(self, name: str) -> str:
        """The name of the value that this one is, `Identity` passed over."""
        while (node := self._makers.get(name)) is not None and node.op_type == "Identity":
            name = node.input[0]
        return name


def attributes(node: onnx.NodeProto) -> dict[str, Any]:
    """A node's attributes as Python values."""
    return {each.name: onnx.helper.get_attribute_value(each) for each in node.attribute}

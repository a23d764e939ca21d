"""What a model file may contain: an allow-list, since 103 bytes can ask for 6 GB, and 239 can run for ever.

Refused are external data (paths), local functions and custom domains (code we do not know), subgraph ops
(``Loop``, ``If``, ``Scan``) and every op that is not listed here. The lists hold what scikit-learn's linear
models and tree ensembles export to, arithmetic for calibration on top of them, and what a constant model
needs. No op in them makes a tensor whose size is written in the file as a number.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import onnx
from google.protobuf.message import DecodeError

from penstock.onnx.refused import INPUT, OUTPUT, Refused

if TYPE_CHECKING:
    from collections.abc import Iterator

# ruff: noqa: SIM905 - two paragraphs of names are read more easily than seventy quoted strings
OPS = {
    "": frozenset(
        "Abs Add And ArgMax Cast Ceil Clip Concat Constant Div Equal Exp Flatten Floor Gather Gemm Greater "
        "GreaterOrEqual Identity IsInf IsNaN Less LessOrEqual Log LogSoftmax MatMul Max Mean Min Mul Neg "
        "Not Or Pow Reciprocal ReduceMax ReduceMean ReduceSum Relu Reshape Sigmoid Sign Slice Softmax "
        "Softplus Sqrt Squeeze Sub Sum Tanh Transpose Unsqueeze Where Xor".split()
    ),
    "ai.onnx.ml": frozenset(
        "ArrayFeatureExtractor Binarizer Imputer LabelEncoder LinearClassifier LinearRegressor Normalizer "
        "OneHotEncoder Scaler TreeEnsembleClassifier TreeEnsembleRegressor".split()
    ),
}
"""The ops a model may use, by domain."""


def inspect(artifact: bytes, *, features: int, scores: int) -> None:
    """Raise `Refused` unless the file maps float32 ``[n, features]`` to ``[n, scores]`` with allowed ops.

    Reads the file only; nothing is run. Parsing a hostile file may itself take much memory, so `check` calls
    this in its child process.

    >>> inspect(b"no model", features=2, scores=1)
    Traceback (most recent call last):
    ...
    penstock.onnx.refused.Refused: not an ONNX file
    """
    model = onnx.ModelProto()
    try:
        model.ParseFromString(artifact)
    except DecodeError as error:
        raise Refused("not an ONNX file") from error
    if not model.HasField("graph") or not model.graph.node:
        raise Refused("not an ONNX file: it has no graph")
    if model.functions:
        raise Refused("local functions are not allowed")
    if model.training_info:
        raise Refused("training graphs are not allowed")
    for domain in model.opset_import:
        if domain.domain not in {*OPS, "ai.onnx"}:
            raise Refused(f"the domain {domain.domain!r} is not allowed")
    _signature(model.graph, features=features, scores=scores)
    for tensor in _tensors(model.graph):
        if tensor.external_data or tensor.data_location == onnx.TensorProto.EXTERNAL:
            raise Refused(f"tensor {tensor.name!r} lies in another file: external data is not allowed")
    for node in model.graph.node:
        _op(node)
    _checked(model)


def _signature(graph: onnx.GraphProto, *, features: int, scores: int) -> None:
    constants = {tensor.name for tensor in graph.initializer}
    inputs = [value for value in graph.input if value.name not in constants]
    for kind, name, width, values in (
        ("input", INPUT, features, inputs),
        ("output", OUTPUT, scores, list(graph.output)),
    ):
        if [value.name for value in values] != [name]:
            found = ", ".join(repr(value.name) for value in values) or "none"
            raise Refused(f"the model has {kind} {found}, expected one named {name!r}")
        tensor = values[0].type.tensor_type
        dims = tensor.shape.dim
        if tensor.elem_type != onnx.TensorProto.FLOAT or len(dims) != 2:  # noqa: PLR2004 - rows and columns
            raise Refused(f"{kind} {name!r} is not a float32 matrix")
        if dims[0].HasField("dim_value"):
            raise Refused(f"{kind} {name!r} fixes the batch size at {dims[0].dim_value}, expected any")
        if not dims[1].HasField("dim_value") or dims[1].dim_value != width:
            columns = dims[1].dim_value if dims[1].HasField("dim_value") else "any number of"
            raise Refused(f"{kind} {name!r} has {columns} columns, expected {width}")


def _tensors(graph: onnx.GraphProto) -> Iterator[onnx.TensorProto]:
    yield from graph.initializer
    for sparse in graph.sparse_initializer:
        yield from (sparse.values, sparse.indices)
    for node in graph.node:
        for attribute in node.attribute:
            yield from (attribute.t, *attribute.tensors)
            for sparse in (attribute.sparse_tensor, *attribute.sparse_tensors):
                yield from (sparse.values, sparse.indices)


def _op(node: onnx.NodeProto) -> None:
    domain = "" if node.domain == "ai.onnx" else node.domain
    if domain not in OPS:
        raise Refused(f"the domain {node.domain!r} of op {node.op_type!r} is not allowed")
    if node.op_type not in OPS[domain]:
        raise Refused(f"op {node.op_type!r} is not allowed")
    if any(attribute.HasField("g") or attribute.graphs for attribute in node.attribute):
        raise Refused(f"op {node.op_type!r} has a subgraph: that is not allowed")
    if node.op_type.startswith("TreeEnsemble"):
        _trees(node)


def _trees(node: onnx.NodeProto) -> None:
    """Every walk down a tree must end: onnxruntime loads some trees with a cycle, and hangs on some rows."""
    attributes = {attribute.name: attribute for attribute in node.attribute}
    try:
        trees, ids, yes, no = (
            attributes[f"nodes_{name}"].ints for name in ("treeids", "nodeids", "truenodeids", "falsenodeids")
        )
        modes = attributes["nodes_modes"].strings
        position = {key: index for index, key in enumerate(zip(trees, ids, strict=True))}
        if len(position) != len(ids):
            raise Refused(f"op {node.op_type!r} has two nodes of one number")
        children = [
            () if mode == b"LEAF" else (position[tree, left], position[tree, right])
            for tree, mode, left, right in zip(trees, modes, yes, no, strict=True)
        ]
    except KeyError as error:
        raise Refused(f"op {node.op_type!r} has no node or attribute {error}") from error
    except ValueError as error:
        raise Refused(f"op {node.op_type!r} has columns of different length") from error
    # Take away node after node that none leads to any more; what stays leads back to itself.
    parents = [0] * len(children)
    for pair in children:
        for child in pair:
            parents[child] += 1
    free = [index for index, count in enumerate(parents) if not count]
    ended = 0
    while free:
        ended += 1
        for child in children[free.pop()]:
            parents[child] -= 1
            if not parents[child]:
                free.append(child)
    if ended < len(children):
        raise Refused(f"op {node.op_type!r} has a tree with a cycle")


def _checked(model: onnx.ModelProto) -> None:
    try:
        onnx.checker.check_model(model)
    except onnx.checker.ValidationError as error:
        raise Refused(f"not a valid model: {error}") from error

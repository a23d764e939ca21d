"""What `penstock.onnx.check` refuses, and that it says why in one line."""

from __future__ import annotations

import subprocess
import sys
import time

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper

from penstock.onnx import MAX_BYTES, Model, Refused, check, digest_of
from penstock.onnx.structure import inspect
from penstock.trainer.export import constant

FEATURES = 3


def model_of(
    *nodes: onnx.NodeProto,
    constants: dict[str, np.ndarray] | None = None,
    width: int = 1,
    domains: tuple[str, ...] = ("", "ai.onnx.ml"),
) -> onnx.ModelProto:
    """A model of the right signature around these nodes."""
    graph = helper.make_graph(
        nodes,
        "test",
        [helper.make_tensor_value_info("features", TensorProto.FLOAT, [None, FEATURES])],
        [helper.make_tensor_value_info("scores", TensorProto.FLOAT, [None, width])],
        [numpy_helper.from_array(value, name) for name, value in (constants or {}).items()],
    )
    versions = {"": 17, "ai.onnx.ml": 3}
    imports = [helper.make_opsetid(domain, versions.get(domain, 1)) for domain in domains]
    return helper.make_model(graph, opset_imports=imports, ir_version=8)


def linear(weights: np.ndarray | None = None) -> onnx.ModelProto:
    """What a logistic regression is: missing values to 0, weights, sigmoid."""
    if weights is None:
        weights = np.full((FEATURES, 1), 0.1, dtype=np.float32)
    return model_of(
        helper.make_node(
            "Imputer",
            ["features"],
            ["known"],
            domain="ai.onnx.ml",
            imputed_value_floats=[0.0] * FEATURES,
            replaced_value_float=float("nan"),
        ),
        helper.make_node("MatMul", ["known", "weights"], ["logit"]),
        helper.make_node("Sigmoid", ["logit"], ["scores"]),
        constants={"weights": weights},
    )


def tree(yes: list[int], no: list[int], *, leaves: int, feature: int = 0) -> onnx.ModelProto:
    """A regression tree: first the branches, then the leaves, given by the numbers of their children."""
    size = len(yes) + leaves
    return model_of(
        helper.make_node(
            "TreeEnsembleRegressor",
            ["features"],
            ["scores"],
            domain="ai.onnx.ml",
            n_targets=1,
            nodes_treeids=[0] * size,
            nodes_nodeids=list(range(size)),
            nodes_featureids=[feature] * size,
            nodes_values=[0.5] * size,
            nodes_modes=["BRANCH_LEQ"] * len(yes) + ["LEAF"] * leaves,
            nodes_truenodeids=yes + [0] * leaves,
            nodes_falsenodeids=no + [0] * leaves,
            nodes_missing_value_tracks_true=[0] * size,
            target_ids=[0],
            target_nodeids=[size - 1],
            target_treeids=[0],
            target_weights=[1.0],
        )
    )


def refusal(model: onnx.ModelProto, *, features: int = FEATURES, scores: int = 1) -> str:
    with pytest.raises(Refused) as caught:
        check(model.SerializeToString(), features=features, scores=scores)
    assert "\n" not in str(caught.value)
    assert len(str(caught.value)) <= 300
    return str(caught.value)


@pytest.mark.parametrize(
    "model",
    [linear(), tree([1], [2], leaves=2), tree([1, 3], [4, 2], leaves=3)],
    ids=["linear", "stump", "tree"],
)
def test_what_a_trainer_exports_is_accepted(model: onnx.ModelProto) -> None:
    artifact = model.SerializeToString()
    check(artifact, features=FEATURES, scores=1)
    assert Model.load(artifact, digest=digest_of(artifact)).features == FEATURES


def test_the_constant_model_is_accepted() -> None:
    check(constant(17, [0.2, 0.3, 0.5]), features=17, scores=3)


def test_an_op_off_the_list_is_refused() -> None:
    bomb = model_of(
        helper.make_node("ConstantOfShape", ["size"], ["zeros"]),
        helper.make_node("Identity", ["zeros"], ["scores"]),
        constants={"size": np.array([2**30, 1], dtype=np.int64)},
    )
    assert refusal(bomb) == "op 'ConstantOfShape' is not allowed"


def test_a_loop_that_never_ends_is_refused() -> None:
    body = helper.make_graph(
        [helper.make_node("Identity", ["keep"], ["go_on"])],
        "body",
        [
            helper.make_tensor_value_info("turn", TensorProto.INT64, []),
            helper.make_tensor_value_info("keep", TensorProto.BOOL, []),
        ],
        [helper.make_tensor_value_info("go_on", TensorProto.BOOL, [])],
    )
    loop = model_of(
        helper.make_node("Loop", ["", "true"], [], body=body),
        helper.make_node("Identity", ["features"], ["scores"]),
        constants={"true": np.array(True)},
        width=FEATURES,
    )
    assert refusal(loop, scores=FEATURES) == "op 'Loop' is not allowed"


def test_a_subgraph_in_an_allowed_op_is_refused() -> None:
    model = linear()
    model.graph.node[2].attribute.append(helper.make_attribute("body", model.graph))
    with pytest.raises(Refused, match="op 'Sigmoid' has a subgraph"):
        inspect(model.SerializeToString(), features=FEATURES, scores=1)


def test_external_data_is_refused_wherever_it_is() -> None:
    model = linear()
    weights = model.graph.initializer[0]
    weights.ClearField("raw_data")
    weights.data_location = TensorProto.EXTERNAL
    weights.external_data.add(key="location", value="../../etc/passwd")
    assert "external data is not allowed" in refusal(model)

    hidden = linear()
    hidden.graph.node.append(helper.make_node("Constant", [], ["unused"], value=weights))
    assert "external data is not allowed" in refusal(hidden)


def test_a_custom_domain_is_refused() -> None:
    model = model_of(
        helper.make_node("Anything", ["features"], ["scores"], domain="com.example"),
        domains=("", "com.example"),
    )
    assert refusal(model) == "the domain 'com.example' is not allowed"


def test_a_local_function_is_refused() -> None:
    model = linear()
    model.functions.add(name="Sigmoid", domain="")
    assert refusal(model) == "local functions are not allowed"


@pytest.mark.parametrize(
    ("features", "scores", "reason"),
    [
        (4, 1, "input 'features' has 3 columns, expected 4"),
        (3, 2, "output 'scores' has 1 columns, expected 2"),
    ],
)
def test_the_wrong_width_is_refused(features: int, scores: int, reason: str) -> None:
    assert refusal(linear(), features=features, scores=scores) == reason


def test_the_wrong_names_are_refused() -> None:
    model = linear()
    model.graph.node[0].input[0] = model.graph.input[0].name = "x"
    assert refusal(model) == "the model has input 'x', expected one named 'features'"


def test_a_fixed_batch_size_is_refused() -> None:
    model = linear()
    model.graph.input[0].type.tensor_type.shape.dim[0].dim_value = 1
    assert refusal(model) == "input 'features' fixes the batch size at 1, expected any"


def test_a_file_that_lies_about_its_width_is_refused() -> None:
    # The graph says one column and makes two; only running it shows.
    assert "expected" in refusal(linear(np.ones((FEATURES, 2), dtype=np.float32)))


def test_a_model_that_cannot_stand_missing_values_is_refused() -> None:
    model = linear()
    del model.graph.node[0]
    model.graph.node[0].input[0] = "features"
    assert refusal(model) == "a row with missing values scores [nan], expected finite numbers"


def test_a_model_whose_rows_depend_on_each_other_is_refused() -> None:
    model = linear()
    model.graph.node[1].output[0] = "single"
    model.graph.node.insert(2, helper.make_node("ReduceMax", ["single"], ["most"], axes=[0], keepdims=1))
    model.graph.node.insert(3, helper.make_node("Add", ["single", "most"], ["logit"]))
    assert "depend on the other rows" in refusal(model)


@pytest.mark.parametrize(
    ("yes", "no"),
    [
        # onnxruntime loads the first, and hangs on rows that go 0 → 1 → 2 → 1 → …
        ([1, 2, 1], [5, 4, 3]),
        ([0], [2]),
    ],
)
def test_a_tree_with_a_cycle_is_refused(yes: list[int], no: list[int]) -> None:
    assert "has a tree with a cycle" in refusal(tree(yes, no, leaves=6 - len(yes)))


def test_a_tree_with_a_branch_to_nowhere_is_refused() -> None:
    assert "has no node or attribute (0, 9)" in refusal(tree([1], [9], leaves=2))


def test_a_tree_that_asks_for_a_feature_that_is_not_there_is_refused() -> None:
    assert "onnxruntime cannot run it" in refusal(tree([1], [2], leaves=2, feature=10**8))


def test_a_graph_that_asks_for_more_memory_than_allowed_is_refused() -> None:
    # Allowed ops can still multiply: [65536, 1] + [1, 65536] is 16 GiB.
    model = linear()
    tall = numpy_helper.from_array(np.zeros((2**16, 1), dtype=np.float32), "tall")
    wide = numpy_helper.from_array(np.zeros((1, 2**16), dtype=np.float32), "wide")
    model.graph.initializer.extend([tall, wide])
    # Behind the input, or the optimiser would fold it away at load time.
    model.graph.node.insert(1, helper.make_node("ReduceMax", ["known"], ["top"], keepdims=0))
    model.graph.node.insert(2, helper.make_node("Add", ["tall", "top"], ["taller"]))
    model.graph.node.insert(3, helper.make_node("Add", ["taller", "wide"], ["bomb"]))
    model.graph.node.insert(4, helper.make_node("ReduceMax", ["bomb"], ["used"], keepdims=0))
    model.graph.node[5].output[0] = "product"
    model.graph.node.insert(6, helper.make_node("Min", ["product", "used"], ["logit"]))
    assert "memory" in refusal(model).lower() or "alloc" in refusal(model).lower()


def test_a_graph_that_takes_too_much_time_is_refused() -> None:
    # 2,000 multiplications of 1,000 × 1,000 matrices, none of them constant.
    model = linear()
    model.graph.initializer.append(
        numpy_helper.from_array(np.full((1000, 1000), 1e-6, dtype=np.float32), "square")
    )
    model.graph.node.insert(1, helper.make_node("ReduceMax", ["known"], ["top"], keepdims=0))
    model.graph.node.insert(2, helper.make_node("Add", ["square", "top"], ["m0"]))
    for turn in range(2000):
        product = helper.make_node("MatMul", [f"m{turn}", "square"], [f"m{turn + 1}"])
        model.graph.node.insert(3 + turn, product)
    model.graph.node.insert(2003, helper.make_node("ReduceMax", ["m2000"], ["used"], keepdims=0))
    model.graph.node[2004].output[0] = "product"
    model.graph.node.insert(2005, helper.make_node("Min", ["product", "used"], ["logit"]))
    before = time.monotonic()
    assert "more than 5 s of processor time" in refusal(model)
    assert time.monotonic() - before < 30


def test_a_file_that_is_too_big_is_refused_unread() -> None:
    with pytest.raises(Refused, match="bytes, more than"):
        check(bytes(MAX_BYTES + 1), features=1, scores=1)


@pytest.mark.parametrize("junk", [b"", b"\x00" * 100, b"ORTM" * 30, b"\x08\x08"])
def test_junk_is_refused(junk: bytes) -> None:
    with pytest.raises(Refused, match="not an ONNX file"):
        check(junk, features=1, scores=1)


def test_onnxruntimes_own_format_is_not_opened(tmp_path_factory: pytest.TempPathFactory) -> None:
    # What is checked is ONNX; a file that only onnxruntime understands would go past the check.
    import onnxruntime  # type: ignore[import-untyped]  # noqa: PLC0415 - only this test writes that format

    path = tmp_path_factory.mktemp("ort") / "model.ort"
    options = onnxruntime.SessionOptions()
    options.optimized_model_filepath = str(path)
    options.add_session_config_entry("session.save_model_format", "ORT")
    onnxruntime.InferenceSession(constant(3, [0.5]), options, providers=["CPUExecutionProvider"])
    artifact = path.read_bytes()
    with pytest.raises(Refused):
        check(artifact, features=3, scores=1)
    with pytest.raises(Refused, match="onnxruntime cannot open it"):
        Model.load(artifact, digest=digest_of(artifact))


def test_a_model_that_kills_the_process_kills_only_the_child() -> None:
    # onnxruntime walks a tree by recursion: a chain of 200,000 branches overflows its stack.
    size = 200_000
    chain = tree([size + 1] * size, list(range(1, size + 1)), leaves=2)
    assert refusal(chain) == "the dry run died of SIGSEGV"


def test_the_library_onnx_is_not_shadowed() -> None:
    code = "import onnx, penstock.onnx; assert onnx is not penstock.onnx; print(onnx.__version__)"
    assert subprocess.run([sys.executable, "-c", code], check=True, capture_output=True).stdout

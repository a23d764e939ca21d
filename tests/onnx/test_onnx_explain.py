"""Explanations read from an artifact alone: of what the trainer makes, and of what others make."""

from __future__ import annotations

import json
import subprocess
import sys
from itertools import combinations
from math import factorial
from typing import TYPE_CHECKING, Any

import numpy as np
import onnx
import pytest
from numpy.typing import NDArray
from onnx import TensorProto, helper, numpy_helper

from penstock.kernel.policy import Algorithm, Task
from penstock.onnx import MEANS, Explaining, Model, Unexplainable, check, digest_of
from penstock.onnx.explain import Explainer
from penstock.trainer.calibration import calibrate
from penstock.trainer.design import Design
from penstock.trainer.export import constant, export, recalibrated
from penstock.trainer.fit import fit
from penstock.trainer.fitted import Boosted, Linear
from penstock.trainer.recalibrate import recalibrate
from tests.trainer.learning import ALGORITHMS, CATEGORIES, made_up

if TYPE_CHECKING:
    from collections.abc import Callable

    from penstock.trainer.fitted import Fitted

FloatArray = NDArray[np.float64]
LINKS = {"binary": "log-odds", "multiclass": "log-probability", "regression": "score"}


def fitted(algorithm: Algorithm, task: Task, outputs: int, count: int = 600) -> tuple[Fitted, FloatArray]:
    rows, labels = made_up(count, task=task)
    return fit(algorithm, task, rows, labels, categories=CATEGORIES, outputs=outputs, seed=0), rows


def raw_of(task: Task, scores: FloatArray) -> FloatArray:
    """Scores on the raw scale; of classes, each less the mean of all, which softmax cannot tell apart."""
    if task == "regression":
        return scores
    if task == "binary":
        return np.asarray(np.log(scores / (1 - scores)))
    logs = np.log(scores)
    return np.asarray(logs - logs.mean(axis=1, keepdims=True))


def same_raw(task: Task, sums: FloatArray, scores: FloatArray, *, within: float = 1e-4) -> None:
    """The sums are the raw scores: as close as float32 scores can tell, relative for a regression."""
    if task == "multiclass":
        sums = sums - sums.mean(axis=1, keepdims=True)
    raw = raw_of(task, scores)
    np.testing.assert_allclose(sums, raw, rtol=1e-6 if task == "regression" else 0, atol=within)


@pytest.mark.parametrize(("algorithm", "task", "outputs"), ALGORITHMS)
def test_attributions_and_base_sum_to_the_raw_score(algorithm: Algorithm, task: Task, outputs: int) -> None:
    made, rows = fitted(algorithm, task, outputs)
    artifact = export(made)
    check(artifact, features=rows.shape[1], scores=outputs)
    explainer = Explainer.of(artifact, task)
    found = explainer.attribute(rows.astype(np.float32))
    assert found.shape == (len(rows), outputs, rows.shape[1] + 1)
    assert explainer.scale == LINKS[task]
    same_raw(task, found.sum(axis=2, dtype=np.float64), made.scores(rows))
    # What is seldom, or beyond anything there was in training, is explained as it is scored.
    odd = np.array([[np.nan] * 6, [1e30, -1e30, 0, 0, 99, -7], [0, 1e3, 5e-324, 1, 11, 0.5]])
    session = Model.load(artifact, digest=digest_of(artifact))
    sums = explainer.attribute(odd.astype(np.float32)).sum(axis=2, dtype=np.float64)
    same_raw(task, sums, session.run(odd.astype(np.float32)).astype(np.float64), within=5e-3)


@pytest.mark.parametrize(("algorithm", "task", "outputs"), ALGORITHMS)
def test_the_base_is_the_mean_over_the_training_rows(algorithm: Algorithm, task: Task, outputs: int) -> None:
    made, rows = fitted(algorithm, task, outputs)
    explainer = Explainer.of(export(made), task)
    found = explainer.attribute(rows.astype(np.float32)).astype(np.float64)
    scale = np.abs(found).max()
    np.testing.assert_allclose(found.sum(axis=2).mean(axis=0), explainer.base, atol=1e-6 * scale)
    if isinstance(made, Linear):
        np.testing.assert_allclose(found[:, :, :-1].mean(axis=0), 0.0, atol=1e-6 * scale)


def test_of_a_linear_model_they_are_coefficient_times_distance_from_the_mean() -> None:
    chance = np.random.default_rng(5)
    rows = chance.normal([3.0, -100.0, 0.0], [2.0, 30.0, 1.0], size=(500, 3))
    rows[:, 2] = chance.integers(0, 4, 500)
    rows = rows.astype(np.float32).astype(np.float64)
    labels = (rows[:, 0] - 3 + (rows[:, 1] + 100) / 30 + (rows[:, 2] == 2) > 0.3).astype(np.float64)
    made = fit("logistic_regression", "binary", rows, labels, categories=(0, 0, 3), outputs=1, seed=0)
    assert isinstance(made, Linear)
    found = Explainer.of(export(made), "binary").attribute(rows.astype(np.float32))[:, 0, :3]
    standard = (rows[:, :2] - rows[:, :2].mean(axis=0)) / rows[:, :2].std(axis=0)
    np.testing.assert_allclose(found[:, :2], standard * made.weights[:2, 0], atol=1e-5)
    # The columns of a category, one for each word, are one feature.
    hot = (rows[:, 2:] == np.arange(4)) - (rows[:, 2:] == np.arange(4)).mean(axis=0)
    np.testing.assert_allclose(found[:, 2], hot @ made.weights[2:6, 0], atol=1e-5)


def test_a_design_knows_the_feature_of_each_of_its_columns() -> None:
    rows = np.array([[1.0, 1.0, 2.0], [np.nan, 0.0, 3.0]])
    design = Design.of(rows, [0, 1, 0])
    numbered = design.by_feature(np.arange(design.width, dtype=np.float64)[:, None], features=3)
    # Columns: number 0, number 2, whether 0 is missing, and three for the category.
    assert numbered.tolist() == [[0 + 2], [3 + 4 + 5], [1]]


def worth(made: Boosted, row: FloatArray, known: frozenset[int]) -> FloatArray:
    """What a coalition is worth, along the trees as the library has them."""
    forest, found = made.forest, made.forest.base.copy()
    begins = np.flatnonzero(forest.node == 0)
    for begin in begins:
        waiting = [(begin, 1.0)]
        while waiting:
            place, share = waiting.pop()
            if forest.leaf[place]:
                found[forest.target[place]] += share * forest.value[place]
                continue
            children = (begin + forest.yes[place], begin + forest.no[place])
            feature = int(forest.feature[place])
            if feature in known:
                value = row[feature]
                missing = bool(forest.missing_to_yes[place])
                yes = missing if np.isnan(value) else value <= forest.threshold[place]
                waiting.append((children[0] if yes else children[1], share))
            else:
                covers = forest.cover
                waiting += [(child, share * covers[child] / covers[place]) for child in children]
    return found


@pytest.mark.parametrize(("task", "outputs"), [("binary", 1), ("multiclass", 3)])
def test_of_trees_they_are_the_shapley_values_of_the_path_dependent_game(task: Task, outputs: int) -> None:
    made, rows = fitted("hist_gradient_boosting", task, outputs, count=200)
    assert isinstance(made, Boosted)
    explainer = Explainer.of(export(made), task)
    count = rows.shape[1]
    for row in rows[[0, 100, int(np.isnan(rows).sum(axis=1).argmax())]]:
        worths = {
            frozenset(coalition): worth(made, row, frozenset(coalition))
            for size in range(count + 1)
            for coalition in combinations(range(count), size)
        }
        wanted = np.zeros((outputs, count))
        for without, before in worths.items():
            for feature in set(range(count)) - without:
                weight = factorial(len(without)) * factorial(count - len(without) - 1) / factorial(count)
                wanted[:, feature] += weight * (worths[without | {feature}] - before)
        found = explainer.attribute(row[None].astype(np.float32))[0]
        np.testing.assert_allclose(found[:, :-1], wanted, atol=1e-5)
        np.testing.assert_allclose(found[:, -1], worths[frozenset()], atol=1e-5)


@pytest.mark.parametrize(("algorithm", "task", "outputs"), ALGORITHMS)
def test_a_recalibrated_version_is_explained_on_its_own_scale(
    algorithm: Algorithm, task: Task, outputs: int
) -> None:
    made, rows = fitted(algorithm, task, outputs)
    artifact = export(made)
    labels = made_up(600, task=task, seed=9)[1]
    twice = recalibrate(export(recalibrate(artifact, task, rows[:50], labels[:50])), task, rows, labels)
    found = Explainer.of(export(twice), task).attribute(rows.astype(np.float32))
    same_raw(task, found.sum(axis=2, dtype=np.float64), twice.scores(rows), within=2e-4)
    # A calibration stretches what each feature adds, and takes none away.
    before = Explainer.of(artifact, task).attribute(rows.astype(np.float32))[:, :, :-1]
    slope = np.vdot(before, found[:, :, :-1]) / np.vdot(before, before)
    np.testing.assert_allclose(found[:, :, :-1], slope * before, atol=1e-4 * np.abs(before).max())


@pytest.mark.parametrize(
    ("task", "scores", "base"),
    [
        ("binary", [0.75], [np.log(3)]),
        ("binary", [0.0], [np.log(2.0**-23)]),
        ("multiclass", [0.5, 0.25, 0.25], np.log([0.5, 0.25, 0.25])),
        ("regression", [-7.5], [-7.5]),
    ],
)
def test_a_constant_has_a_base_and_nothing_else(task: Task, scores: list[float], base: list[float]) -> None:
    explainer = Explainer.of(constant(3, scores), task)
    found = explainer.attribute(np.full((2, 3), np.nan, dtype=np.float32))
    assert not found[:, :, :-1].any()
    np.testing.assert_allclose(found[:, :, -1], [base, base], atol=1e-5)
    assert explainer.scale == LINKS[task]
    half = recalibrated(constant(3, scores), calibrate(task, np.array([scores]), np.array([0.0])))
    assert not Explainer.of(half, task).attribute(np.zeros((1, 3), dtype=np.float32))[:, :, :-1].any()


def test_a_class_without_rows_has_no_base() -> None:
    rows, labels = made_up(300)
    made = fit(
        "hist_gradient_boosting", "multiclass", rows, 2 * labels, categories=CATEGORIES, outputs=3, seed=0
    )
    found = Explainer.of(export(made), "multiclass").attribute(rows.astype(np.float32))
    assert (found[:, 1, -1] == -np.inf).all()
    assert not found[:, 1, :-1].any()
    sums = found[:, [0, 2]].sum(axis=2, dtype=np.float64)
    same_raw("multiclass", sums, made.scores(rows)[:, [0, 2]])
    calibrated = export(recalibrate(export(made), "multiclass", rows, 2 * labels))
    with pytest.raises(Unexplainable, match="op Softmax"):  # its probability is not 0 any more, but a floor
        Explainer.of(calibrated, "multiclass")


def changed(change: Callable[[onnx.ModelProto], None], algorithm: Algorithm) -> bytes:
    made, _ = fitted(algorithm, "binary", 1, count=200)
    model = onnx.load_from_string(export(made))
    change(model)
    return model.SerializeToString()


def tree_attribute(model: onnx.ModelProto, name: str) -> onnx.AttributeProto:
    (node,) = [node for node in model.graph.node if node.op_type.startswith("Tree")]
    (attribute,) = [each for each in node.attribute if each.name == name]
    return attribute


def without_covers(model: onnx.ModelProto) -> None:
    for node in model.graph.node:
        for index, each in enumerate(node.attribute):
            if each.name == "nodes_hitrates":
                del node.attribute[index]
                break


def all_ones(model: onnx.ModelProto) -> None:
    covers = tree_attribute(model, "nodes_hitrates").floats
    covers[:] = [1.0] * len(covers)


def one_empty(model: onnx.ModelProto) -> None:
    tree_attribute(model, "nodes_hitrates").floats[-1] = 0.0


def by_equality(model: onnx.ModelProto) -> None:
    tree_attribute(model, "nodes_modes").strings[0] = b"BRANCH_EQ"


def far_feature(model: onnx.ModelProto) -> None:
    tree_attribute(model, "nodes_featureids").ints[0] = 6


def shared_node(model: onnx.ModelProto) -> None:
    """Both ways of the first branch lead to one node, so the other subtree hangs in the air."""
    no = tree_attribute(model, "nodes_falsenodeids").ints
    no[0] = tree_attribute(model, "nodes_truenodeids").ints[0]
    covers = tree_attribute(model, "nodes_hitrates").floats
    covers[0] = 2 * covers[1]


def on_top(op: str) -> Callable[[onnx.ModelProto], None]:
    def change(model: onnx.ModelProto) -> None:
        model.graph.node[-1].output[0] = "before"
        model.graph.node.append(helper.make_node(op, ["before"], ["scores"]))

    return change


def no_means(model: onnx.ModelProto) -> None:
    del model.metadata_props[:]


def other_means(text: str) -> Callable[[onnx.ModelProto], None]:
    return lambda model: helper.set_model_props(model, {MEANS: text})


def product(model: onnx.ModelProto) -> None:
    """Interaction: one feature times another, before the weights."""
    (node,) = [node for node in model.graph.node if node.op_type == "Div"]
    gather = next(each for each in model.graph.node if each.output[0] == node.input[0]).input[0]
    model.graph.initializer.append(numpy_helper.from_array(np.array([1, 0, 2, 3]), "swapped"))
    at = list(model.graph.node).index(node)
    swap = helper.make_node("Gather", [gather, "swapped"], ["other"], axis=1)
    multiply = helper.make_node("Mul", [node.output[0], "other"], ["mixed"])
    for later in list(model.graph.node)[at + 1 :]:
        later.input[:] = ["mixed" if each == node.output[0] else each for each in later.input]
    model.graph.node.insert(at + 1, multiply)
    model.graph.node.insert(at, swap)


@pytest.mark.parametrize(
    ("algorithm", "change", "why"),
    [
        ("hist_gradient_boosting", without_covers, r"do not say how many training rows .*nodes_hitrates"),
        ("hist_gradient_boosting", all_ones, "do not say how many training rows"),
        ("hist_gradient_boosting", one_empty, "no training row came to"),
        ("hist_gradient_boosting", by_equality, "branch by BRANCH_EQ, which is no threshold"),
        ("hist_gradient_boosting", far_feature, "a feature, or add to an output, that there is none of"),
        ("hist_gradient_boosting", shared_node, "several ways to them, or none|how many training rows"),
        ("hist_gradient_boosting", on_top("Exp"), "the op Exp where a linear model or trees were expected"),
        ("hist_gradient_boosting", on_top("Log"), "logarithm of something other than probabilities"),
        ("logistic_regression", no_means, r"what its features add on the mean \(penstock.means"),
        ("logistic_regression", other_means("[[1.0]]"), r"have shape \[1, 1\]"),
        ("logistic_regression", other_means("{"), "its file is not what an explanation needs"),
        ("logistic_regression", product, "hangs on several features at once"),
    ],
)
def test_what_cannot_be_explained_is_said(
    algorithm: Algorithm, change: Callable[[onnx.ModelProto], None], why: str
) -> None:
    explaining = Explaining(changed(change, algorithm))
    for _ in range(2):  # the second time it is remembered
        with pytest.raises(Unexplainable, match=why):
            explaining("binary")


def foreign(*nodes: onnx.NodeProto, constants: dict[str, Any] | None = None, scores: int = 1) -> bytes:
    graph = helper.make_graph(
        nodes,
        "foreign",
        [helper.make_tensor_value_info("features", TensorProto.FLOAT, ["n", 2])],
        [helper.make_tensor_value_info("scores", TensorProto.FLOAT, ["n", scores])],
        [numpy_helper.from_array(np.array(value), name) for name, value in (constants or {}).items()],
    )
    opsets = [helper.make_opsetid("", 17), helper.make_opsetid("ai.onnx.ml", 3)]
    return helper.make_model(graph, opset_imports=opsets, ir_version=8).SerializeToString()


def stump(mode: str, **others: Any) -> bytes:
    columns: dict[str, Any] = {
        "n_targets": 1,
        "nodes_treeids": [0, 0, 0],
        "nodes_nodeids": [0, 1, 2],
        "nodes_featureids": [1, 0, 0],
        "nodes_modes": [mode, "LEAF", "LEAF"],
        "nodes_values": [0.5, 0.0, 0.0],
        "nodes_hitrates": [4.0, 1.0, 3.0],
        "nodes_truenodeids": [1, 0, 0],
        "nodes_falsenodeids": [2, 0, 0],
        "nodes_missing_value_tracks_true": [1, 0, 0],
        "target_treeids": [0, 0],
        "target_nodeids": [1, 2],
        "target_ids": [0, 0],
        "target_weights": [1.0, -1.0],
    }
    node = helper.make_node(
        "TreeEnsembleRegressor", ["features"], ["scores"], domain="ai.onnx.ml", **columns | others
    )
    return foreign(node)


@pytest.mark.parametrize("mode", ["BRANCH_LEQ", "BRANCH_LT", "BRANCH_GTE", "BRANCH_GT"])
def test_trees_of_others_may_branch_either_way(mode: str) -> None:
    artifact = stump(mode)
    session = Model.load(artifact, digest=digest_of(artifact))
    rows = np.array([[0, value] for value in (0.0, 0.5, 1.0, np.nan)], dtype=np.float32)
    found = Explainer.of(artifact, "regression").attribute(rows)
    np.testing.assert_allclose(found.sum(axis=2), session.run(rows), atol=1e-6)
    assert (found[:, 0, 2] == -0.5).all()
    assert not found[:, 0, 0].any()


@pytest.mark.parametrize(
    ("others", "why"),
    [
        ({"aggregate_function": "AVERAGE"}, "do not simply add up"),
        ({"post_transform": "LOGISTIC"}, "do not simply add up"),
    ],
)
def test_trees_that_do_not_add_up_are_not_explained(others: dict[str, Any], why: str) -> None:
    with pytest.raises(Unexplainable, match=why):
        Explainer.of(stump("BRANCH_LEQ", **others), "regression")


def test_a_graph_that_doubles_at_every_step_is_not_looked_at_for_ever() -> None:
    doubled = [helper.make_node("Add", [f"v{step}", f"v{step}"], [f"v{step + 1}"]) for step in range(64)]
    first = helper.make_node("MatMul", ["features", "weights"], ["v0"])
    last = helper.make_node("Identity", ["v64"], ["scores"])
    artifact = foreign(first, *doubled, last, constants={"weights": np.ones((2, 1), dtype=np.float32)})
    with pytest.raises(Unexplainable, match="larger than that of a linear model"):
        Explainer.of(artifact, "regression")


def test_a_model_of_another_shape_is_not_explained() -> None:
    mixed = helper.make_node("Tanh", ["features"], ["t"])
    summed = helper.make_node("MatMul", ["t", "weights"], ["scores"])
    artifact = foreign(mixed, summed, constants={"weights": np.ones((2, 1), dtype=np.float32)})
    with pytest.raises(Unexplainable, match="the op Tanh"):
        Explainer.of(artifact, "regression")
    with pytest.raises(Unexplainable, match="its scores are its features"):
        Explainer.of(foreign(helper.make_node("Identity", ["features"], ["scores"]), scores=2), "regression")


def test_whoever_asks_for_no_explanation_does_not_pay_for_it() -> None:
    code = (
        "import sys; from penstock.onnx import Explaining; Explaining(b''); "
        "print(json.dumps('onnx' in sys.modules))"
    )
    ended = subprocess.run(
        [sys.executable, "-c", f"import json; {code}"], check=True, capture_output=True, text=True
    )
    assert json.loads(ended.stdout) is False

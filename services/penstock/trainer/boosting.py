"""Gradient-boosted trees on histograms, and what they look like as plain columns.

Categories go in as their codes, as plain numbers: with the library's own `categorical_features` a branch is
a set of codes, which an exporter that reads thresholds gets wrong without an error (scores off by .67).
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray
from sklearn.ensemble import (  # type: ignore[import-untyped]  # it ships no types
    HistGradientBoostingClassifier,
    HistGradientBoostingRegressor,
)

from penstock.kernel.policy import Task
from penstock.trainer.fitted import Boosted, Fitted, FloatArray, Forest, Head, Link, Prior
from penstock.trainer.refusals import Unfit
from penstock.trainer.threads import one_thread

OPTIONS: dict[str, Any] = {
    # Smaller steps, smaller trees and a penalty: the library's own defaults overfit the few thousand rows of
    # a first training (measured on rows with 17 features: log loss .577 against .540 in the months after).
    "max_iter": 100,
    "learning_rate": 0.05,
    "max_leaf_nodes": 15,
    "min_samples_leaf": 20,
    "l2_regularization": 1.0,
    # It would set rows aside at random, which is no fair test of rows that come later: the gate is.
    "early_stopping": False,
    "categorical_features": None,
}


def boost(task: Task, rows: FloatArray, labels: FloatArray, *, outputs: int, seed: int) -> Fitted:
    """Fit boosted trees; a `Prior` where no split helps.

    Args:
        task: what the labels are.
        rows: float64 ``[n, F]``, NaN = missing.
        labels: float64 ``[n]``; for classes at least two of them.
        outputs: K.
        seed: for the sample that bin edges are taken from when there are very many rows.
    """
    # A column without any value makes the library fail. A constant is never split on.
    rows = np.where(np.isnan(rows).all(axis=0), 0.0, rows)
    with one_thread():
        if task == "regression":
            model = HistGradientBoostingRegressor(**OPTIONS, random_state=seed).fit(rows, labels)
        else:
            model = HistGradientBoostingClassifier(**OPTIONS, random_state=seed).fit(rows, labels)
    head = Head(
        link=_link(task),
        places=tuple(range(outputs)) if task != "multiclass" else tuple(model.classes_.astype(int).tolist()),
        outputs=outputs,
    )
    forest = forest_of(model, two_classes=task == "multiclass" and len(head.places) == 2)  # noqa: PLR2004 - two
    fitted = Boosted(model=model, forest=forest, head=head, features=rows.shape[1])
    if forest.leaf.all():
        answer = fitted.scores(rows[:1])[0]
        return Prior(answer=tuple(answer.tolist()), features=rows.shape[1])
    return fitted


def _link(task: Task) -> Link:
    match task:
        case "binary":
            return "sigmoid"
        case "multiclass":
            return "softmax"
        case "regression":
            return "identity"


def forest_of(model: Any, *, two_classes: bool = False) -> Forest:
    """The trees of a fitted model, those that never branch taken into the base.

    Args:
        model: the library's.
        two_classes: whether its one raw column is to be the second of two, the first being 0.

    Raises:
        Unfit: a branch is a set of categories, which has no threshold.
    """
    # The library keeps its trees private; a test holds this reading to what the library predicts.
    rounds: list[list[NDArray[np.void]]] = [[tree.nodes for tree in each] for each in model._predictors]  # noqa: SLF001 - see above
    base = np.asarray(model._baseline_prediction, dtype=np.float64).ravel()  # noqa: SLF001 - see above
    if two_classes:
        base = np.concatenate([[0.0], base])
    first = len(base) - len(rounds[0])
    base = base.copy()
    kept: list[NDArray[np.void]] = []
    targets: list[int] = []
    for trees in rounds:
        for target, nodes in enumerate(trees, start=first):
            if len(nodes) == 1:
                base[target] += nodes["value"][0]
            else:
                kept.append(nodes)
                targets.append(target)
    sizes = np.array([len(nodes) for nodes in kept], dtype=np.int64)
    nodes = np.concatenate(kept) if kept else rounds[0][0][:0]
    if nodes["is_categorical"].any():
        raise Unfit("a tree branches on a set of categories: only thresholds can be exported")
    begins = np.cumsum(sizes) - sizes
    return Forest(
        tree=np.repeat(np.arange(len(kept)), sizes),
        node=np.arange(len(nodes)) - np.repeat(begins, sizes),
        feature=nodes["feature_idx"].astype(np.int64),
        threshold=nodes["num_threshold"].astype(np.float64),
        missing_to_yes=nodes["missing_go_to_left"].astype(np.bool_),
        yes=nodes["left"].astype(np.int64),
        no=nodes["right"].astype(np.int64),
        leaf=nodes["is_leaf"].astype(np.bool_),
        value=nodes["value"].astype(np.float64),
        target=np.repeat(np.array(targets, dtype=np.int64), sizes),
        cover=nodes["count"].astype(np.int64),
        base=base,
    )

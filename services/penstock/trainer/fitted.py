"""What a fit gives: something that scores rows as the library does, and can be exported.

Rows are float64 ``[n, F]``, float32-representable, NaN = missing. Scores are float64 ``[n, K]``: K is 1 for a
binary task (the probability of the positive class) and for a regression, else one probability per class.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from penstock.onnx import Model
from penstock.trainer.calibration import Calibration
from penstock.trainer.design import Design
from penstock.trainer.threads import one_thread

FloatArray = NDArray[np.float64]
IntArray = NDArray[np.int64]
Link = Literal["identity", "sigmoid", "softmax"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Head:
    """How raw values become scores: the link, then each column to its place among the outputs.

    Args:
        link: from raw values to scores.
        places: the output that each raw column stands for; outputs without one are 0.
        outputs: K.
    """

    link: Link
    places: tuple[int, ...]
    outputs: int

    def place(self, probabilities: FloatArray) -> FloatArray:
        """Probabilities of the classes there were, shape (n, present), to scores."""
        if self.link == "sigmoid":
            return probabilities[:, 1:]
        scores = np.zeros((len(probabilities), self.outputs))
        scores[:, self.places] = probabilities
        return scores


@dataclass(frozen=True, slots=True, kw_only=True)
class Prior:
    """The same scores for every row: what a fit comes down to where nothing tells rows apart."""

    answer: tuple[float, ...]
    features: int

    def scores(self, rows: FloatArray) -> FloatArray:
        """The answer, once a row.

        >>> Prior(answer=(0.25,), features=2).scores(np.zeros((2, 2)))
        array([[0.25],
               [0.25]])
        """
        return np.tile(np.array([self.answer]), (len(rows), 1))


@dataclass(frozen=True, slots=True, kw_only=True)
class Forest:
    """Trees as columns, one entry per node, the nodes of a tree in a row and its root first.

    Args:
        tree: number of the tree.
        node: number of the node in its tree.
        feature: column that a branch looks at.
        threshold: float64; a value at or below it goes to `yes`.
        missing_to_yes: whether a missing value does too.
        yes: number of the child.
        no: number of the other child.
        leaf: whether the node is a leaf.
        value: what a leaf adds.
        target: the raw column that the node's tree adds to.
        cover: how many training rows came to the node.
        base: what a raw column begins with, shape (columns,).
    """

    tree: IntArray
    node: IntArray
    feature: IntArray
    threshold: FloatArray
    missing_to_yes: NDArray[np.bool_]
    yes: IntArray
    no: IntArray
    leaf: NDArray[np.bool_]
    value: FloatArray
    target: IntArray
    cover: IntArray
    base: FloatArray


@dataclass(frozen=True, slots=True, kw_only=True)
class Boosted:
    """Boosted trees, and the library's model that they were read from."""

    model: Any
    forest: Forest
    head: Head
    features: int

    def scores(self, rows: FloatArray) -> FloatArray:
        """What the library answers."""
        with one_thread():
            if self.head.link == "identity":
                return np.asarray(self.model.predict(rows), dtype=np.float64)[:, None]
            return self.head.place(self.model.predict_proba(rows))


@dataclass(frozen=True, slots=True, kw_only=True)
class Linear:
    """A linear model of a design, and the library's model.

    Args:
        model: the library's.
        design: how a row becomes numbers to weigh.
        weights: float64, shape (design columns, raw columns).
        intercept: float64, shape (raw columns,).
        means: what each feature adds on the mean over the training rows, float64, shape (F, raw columns).
        head: how raw values become scores.
        features: F.
    """

    model: Any
    design: Design
    weights: FloatArray
    intercept: FloatArray
    means: FloatArray
    head: Head
    features: int

    def scores(self, rows: FloatArray) -> FloatArray:
        """What the library answers."""
        with one_thread():
            return self.head.place(self.model.predict_proba(self.design.matrix(rows)))


@dataclass(frozen=True, slots=True, kw_only=True)
class Recalibrated:
    """The champion with its scores set right.

    Args:
        champion: the champion's ONNX bytes.
        model: the same, loaded.
        calibration: what sets them right.
    """

    champion: bytes
    model: Model
    calibration: Calibration

    @property
    def features(self) -> int:
        """F."""
        return self.model.features

    def scores(self, rows: FloatArray) -> FloatArray:
        """The champion's scores, calibrated in float64."""
        return self.calibration.apply(self.model.run(rows.astype(np.float32)).astype(np.float64))


Fitted = Prior | Boosted | Linear | Recalibrated

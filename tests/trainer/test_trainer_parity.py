"""An export can be wrong without an error: the parity gate is what notices."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from sklearn.ensemble import (  # type: ignore[import-untyped]  # it ships no types
    HistGradientBoostingClassifier,
)

from penstock.onnx import Model, digest_of
from penstock.trainer.boosting import boost, forest_of
from penstock.trainer.export import constant, export
from penstock.trainer.fitted import Boosted
from penstock.trainer.parity import golden, parity, real_rows
from penstock.trainer.refusals import ParityFailed, Unfit
from penstock.trainer.threads import one_thread
from tests.trainer.learning import made_up


def opened(artifact: bytes) -> Model:
    return Model.load(artifact, digest=digest_of(artifact))


def with_sets_of_categories() -> HistGradientBoostingClassifier:
    rows, labels = made_up(600)
    model = HistGradientBoostingClassifier(categorical_features=[4, 5], max_iter=20, early_stopping=False)
    with one_thread():
        return model.fit(rows, labels)


def test_a_branch_on_a_set_of_categories_is_refused() -> None:
    with pytest.raises(Unfit, match="a set of categories"):
        forest_of(with_sets_of_categories())


def test_the_export_that_reads_such_a_branch_as_a_threshold_is_caught() -> None:
    model = with_sets_of_categories()
    fitted = boost("binary", *made_up(600), outputs=1, seed=0)
    assert isinstance(fitted, Boosted)
    rows = made_up(300, seed=1)[0]
    expected = replace(fitted, model=model).scores(rows)
    for trees in model._predictors:
        trees[0].nodes["is_categorical"] = 0  # as an exporter sees it that does not know of sets
    wrong = export(replace(fitted, model=model, forest=forest_of(model)))
    with pytest.raises(ParityFailed, match="the export is wrong"):
        parity(opened(wrong), rows, expected, task="binary")


def test_one_row_that_is_off_is_enough() -> None:
    expected = np.full((1000, 1), 0.25)
    model = opened(constant(1, [0.25]))
    assert parity(model, np.zeros((1000, 1)), expected, task="binary") == 0
    expected[-1] += 2e-5
    with pytest.raises(ParityFailed, match="row 999 of 1000"):
        parity(model, np.zeros((1000, 1)), expected, task="binary")


def test_no_number_is_no_parity() -> None:
    with pytest.raises(ParityFailed):
        parity(opened(constant(1, [0.25])), np.zeros((2, 1)), np.array([[0.25], [np.nan]]), task="binary")


def test_the_wrong_width_is_no_parity() -> None:
    with pytest.raises(ParityFailed, match="shape"):
        parity(opened(constant(1, [0.25])), np.zeros((2, 1)), np.full((2, 2), 0.25), task="multiclass")


def test_a_regression_is_held_to_its_own_scale() -> None:
    model = opened(constant(1, [1e6]))
    assert parity(model, np.zeros((1, 1)), np.array([[1e6 + 1]]), task="regression") < 2e-6
    with pytest.raises(ParityFailed):
        parity(model, np.zeros((1, 1)), np.array([[1e6 + 100]]), task="regression")


def test_golden_vectors_hold_where_the_model_is_loaded() -> None:
    rows, labels = made_up(300)
    model = opened(export(boost("binary", rows, labels, outputs=1, seed=0)))
    given = golden(model, real_rows(rows))
    assert any(np.isnan(each.features).any() for each in given)
    model.reproduce([each.features for each in given], [each.scores for each in given])

"""A recalibrated champion: the same file with a few nodes more, right where the champion was wrong."""

from __future__ import annotations

import numpy as np
import pytest

from penstock.kernel.losses import log_loss
from penstock.kernel.policy import Task
from penstock.onnx import Model, Refused, digest_of
from penstock.onnx.dryrun import verdict
from penstock.trainer.boosting import OPTIONS
from penstock.trainer.calibration import Calibration, calibrate, sigmoid
from penstock.trainer.export import constant, export
from penstock.trainer.fit import fit
from penstock.trainer.fitted import FloatArray
from penstock.trainer.parity import parity
from penstock.trainer.recalibrate import recalibrate
from penstock.trainer.refusals import Unfit
from tests.trainer.learning import ALGORITHMS, CATEGORIES, made_up

TASKS: list[tuple[Task, int]] = [("binary", 1), ("multiclass", 3), ("regression", 1)]


@pytest.fixture(autouse=True)
def few_trees(monkeypatch: pytest.MonkeyPatch) -> None:
    """Any champion will do."""
    monkeypatch.setitem(OPTIONS, "max_iter", 10)


def champion_of(task: Task, outputs: int) -> tuple[bytes, FloatArray, FloatArray]:
    rows, labels = made_up(200, task=task)
    algorithm = next(each for each, of, _ in ALGORITHMS if of == task)
    fitted = fit(algorithm, task, rows, labels, categories=CATEGORIES, outputs=outputs, seed=0)
    return export(fitted), *made_up(100, task=task, seed=1)


@pytest.mark.parametrize(("task", "outputs"), TASKS)
def test_the_file_answers_what_the_calibration_says(task: Task, outputs: int) -> None:
    champion, rows, labels = champion_of(task, outputs)
    better = recalibrate(champion, task, rows, labels)
    artifact = export(better)
    assert export(better) == artifact
    assert verdict(artifact, features=len(CATEGORIES), scores=outputs) == ""
    model = Model.load(artifact, digest=digest_of(artifact))
    assert parity(model, rows, better.scores(rows), task=task) < 2e-6
    assert not np.allclose(better.scores(rows), better.model.run(rows.astype(np.float32)))
    # It may happen to a champion more than once.
    twice = recalibrate(artifact, task, rows, labels)
    again = export(twice)
    assert verdict(again, features=len(CATEGORIES), scores=outputs) == ""
    model = Model.load(again, digest=digest_of(again))
    assert parity(model, rows, twice.scores(rows), task=task) < 2e-6


def test_what_shifted_is_shifted_back() -> None:
    """The world's log odds are half the champion's, plus one."""
    chance = np.random.default_rng(0)
    logits = chance.normal(0, 2, 5000)
    labels = (chance.random(5000) < sigmoid(0.5 * logits + 1)).astype(np.float64)
    found = calibrate("binary", sigmoid(logits)[:, None], labels)
    assert found.slope == pytest.approx(0.5, abs=0.05)
    assert found.shifts == pytest.approx([1], abs=0.1)


def test_classes_that_became_rare_become_rare() -> None:
    chance = np.random.default_rng(0)
    scores = chance.dirichlet([2, 2, 2], 3000)
    now = scores * [0.1, 1, 1]
    now /= now.sum(axis=1, keepdims=True)
    labels = (chance.random((3000, 1)) > now.cumsum(axis=1)).sum(axis=1).astype(np.float64)
    found = calibrate("multiclass", scores, labels)
    assert found.slope == pytest.approx(1, abs=0.1)
    assert found.shifts[0] - found.shifts[1] == pytest.approx(np.log(0.1), abs=0.2)
    assert log_loss(found.apply(scores), labels).mean() < log_loss(scores, labels).mean() - 0.1


def test_a_changed_scale_of_values_is_found() -> None:
    values = np.linspace(-3, 7, 1000)
    found = calibrate("regression", values[:, None], 3 * values - 20)
    assert found.slope == pytest.approx(3, abs=0.01)
    assert found.apply(values[:, None])[:, 0] == pytest.approx(3 * values - 20, abs=0.1)


@pytest.mark.parametrize(("task", "outputs"), TASKS)
def test_without_rows_nothing_changes(task: Task, outputs: int) -> None:
    found = calibrate(task, np.zeros((0, outputs)), np.zeros(0))
    assert found == Calibration(task=task, slope=1.0, shifts=(0.0,) * outputs)


def test_a_few_rows_of_one_class_do_not_run_away() -> None:
    found = calibrate("binary", np.full((5, 1), 0.01), np.ones(5))
    assert 0.01 < found.apply(np.array([[0.01]]))[0, 0] < 0.5


def test_scores_that_were_sure_are_calibrated_all_the_same() -> None:
    found = calibrate("binary", np.array([[0.0], [1.0]] * 50), np.array([0.0, 1.0, 1.0, 0.0] * 25))
    assert found.apply(np.array([[0.0], [1.0]]))[:, 0] == pytest.approx([0.5, 0.5], abs=0.05)


def test_a_constant_prediction_of_values_moves_to_the_mean() -> None:
    found = calibrate("regression", np.full((10, 1), 2.0), np.arange(10.0))
    assert found.apply(np.array([[2.0]])) == pytest.approx(4.5)


def test_what_does_not_fit_together_is_refused() -> None:
    with pytest.raises(Unfit, match="there are no rows"):
        recalibrate(constant(1, [0.5]), "binary", np.zeros((0, 1)), np.zeros(0))
    with pytest.raises(Unfit, match="has 2 features"):
        recalibrate(constant(2, [0.5]), "binary", np.zeros((1, 1)), np.zeros(1))
    with pytest.raises(Refused):
        recalibrate(b"no model", "binary", np.zeros((1, 1)), np.zeros(1))

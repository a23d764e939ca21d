"""Fits, and what they are exported to: the file answers what the library answers, on whatever rows."""

from __future__ import annotations

import numpy as np
import pytest

from penstock.kernel.losses import log_loss
from penstock.kernel.policy import Algorithm, Task
from penstock.onnx import Model, digest_of
from penstock.onnx.dryrun import verdict
from penstock.trainer.boosting import OPTIONS
from penstock.trainer.export import export
from penstock.trainer.fit import fit, prior_of
from penstock.trainer.fitted import Fitted, FloatArray, Linear, Prior
from penstock.trainer.parity import parity
from penstock.trainer.refusals import Unfit
from tests.trainer.learning import ALGORITHMS, CATEGORIES, made_up


@pytest.fixture(autouse=True)
def few_trees(monkeypatch: pytest.MonkeyPatch) -> None:
    """A fourth of the trees say as much about an export, in a fourth of the time."""
    monkeypatch.setitem(OPTIONS, "max_iter", 25)


def learn(algorithm: Algorithm, task: Task, rows: FloatArray, labels: FloatArray, outputs: int = 1) -> Fitted:
    categories = CATEGORIES[: rows.shape[1]]
    return fit(algorithm, task, rows, labels, categories=categories, outputs=outputs, seed=3)


def loaded(fitted: Fitted) -> Model:
    artifact = export(fitted)
    return Model.load(artifact, digest=digest_of(artifact))


def strange(rows: FloatArray) -> FloatArray:
    """Rows that training never saw: unseen codes, wild values, nothing, and each value's neighbours."""
    most = np.float64(np.finfo(np.float32).max)
    wild = np.array([[np.nan] * 6, [0.0] * 6, [most] * 6, [-most] * 6, [1e6, 1e6, -1e6, 0.0, 99.0, -3.0]])
    single = rows.astype(np.float32)
    near = [np.nextafter(single, np.float32(way)).astype(np.float64) for way in (-np.inf, np.inf)]
    return np.concatenate([wild, rows, *near])


@pytest.mark.parametrize(("algorithm", "task", "outputs"), ALGORITHMS)
def test_the_file_answers_what_the_library_answers(algorithm: Algorithm, task: Task, outputs: int) -> None:
    rows, labels = made_up(500, task=task)
    fitted = learn(algorithm, task, rows, labels, outputs)
    assert not isinstance(fitted, Prior)
    model = loaded(fitted)
    asked = strange(made_up(300, task=task, seed=1)[0])
    expected = fitted.scores(asked)
    assert expected.shape == (len(asked), outputs)
    assert parity(model, asked, expected, task=task) < 1e-6
    if task == "multiclass":
        assert np.allclose(expected.sum(axis=1), 1)


@pytest.mark.parametrize(("algorithm", "task", "outputs"), ALGORITHMS)
def test_it_learns(algorithm: Algorithm, task: Task, outputs: int) -> None:
    rows, labels = made_up(500, task=task)
    later, truth = made_up(500, task=task, seed=1)
    scores = learn(algorithm, task, rows, labels, outputs).scores(later)
    if task == "regression":
        assert np.square(scores[:, 0] - truth).mean() < 0.75 * truth.var()
    else:
        shares = prior_of(task, labels, features=len(CATEGORIES), outputs=outputs).scores(later)
        assert log_loss(scores, truth).mean() < 0.95 * log_loss(shares, truth).mean()


@pytest.mark.parametrize(("algorithm", "task", "outputs"), ALGORITHMS)
def test_every_model_passes_the_check_of_foreign_models(
    algorithm: Algorithm, task: Task, outputs: int
) -> None:
    artifact = export(learn(algorithm, task, *made_up(300, task=task), outputs))
    assert verdict(artifact, features=len(CATEGORIES), scores=outputs) == ""


@pytest.mark.parametrize(("algorithm", "task", "outputs"), ALGORITHMS)
def test_the_same_rows_give_the_same_bytes(algorithm: Algorithm, task: Task, outputs: int) -> None:
    rows, labels = made_up(300, task=task)
    once = export(learn(algorithm, task, rows, labels, outputs))
    assert export(learn(algorithm, task, rows.copy(), labels.copy(), outputs)) == once


@pytest.mark.parametrize("algorithm", ["hist_gradient_boosting", "logistic_regression"])
@pytest.mark.parametrize(("present", "outputs"), [((0, 2, 3), 5), ((1, 3), 4)])
def test_a_class_that_never_occurred_has_no_probability(
    algorithm: Algorithm, present: tuple[int, ...], outputs: int
) -> None:
    rows, binary = made_up(400)
    labels = np.array(present)[(binary + (rows[:, 0] > 1)).astype(int) % len(present)].astype(np.float64)
    fitted = learn(algorithm, "multiclass", rows, labels, outputs)
    model = loaded(fitted)
    assert parity(model, rows, fitted.scores(rows), task="multiclass") < 1e-6
    found = model.run(rows.astype(np.float32))
    absent = [place for place in range(outputs) if place not in present]
    assert not found[:, absent].any()
    assert (found[:, present].argmax(axis=1) == np.searchsorted(present, labels)).mean() > 0.6


@pytest.mark.parametrize("algorithm", ["hist_gradient_boosting", "logistic_regression"])
@pytest.mark.parametrize("label", [0.0, 1.0])
def test_one_class_alone_is_a_prior_that_is_not_sure(algorithm: Algorithm, label: float) -> None:
    rows, _ = made_up(98)
    fitted = learn(algorithm, "binary", rows, np.full(98, label))
    assert isinstance(fitted, Prior)
    assert fitted.answer == pytest.approx((0.99 if label else 0.01,))


@pytest.mark.parametrize(("algorithm", "task", "outputs"), ALGORITHMS)
@pytest.mark.parametrize("count", [1, 2, 30])
def test_few_rows_make_a_valid_model(algorithm: Algorithm, task: Task, outputs: int, count: int) -> None:
    rows, labels = made_up(count, task=task)
    fitted = learn(algorithm, task, rows, labels, outputs)
    asked = strange(rows)
    assert parity(loaded(fitted), asked, fitted.scores(asked), task=task) < 1e-6


@pytest.mark.parametrize(("algorithm", "task", "outputs"), ALGORITHMS)
def test_columns_that_say_nothing_are_no_trouble(algorithm: Algorithm, task: Task, outputs: int) -> None:
    rows, labels = made_up(300, task=task)
    rows[:, 1], rows[:, 2], rows[:, 5] = np.nan, 7.0, np.nan
    fitted = learn(algorithm, task, rows, labels, outputs)
    later = strange(made_up(50, task=task, seed=1)[0])
    assert parity(loaded(fitted), later, fitted.scores(later), task=task) < 1e-6


def test_a_column_that_was_always_missing_changes_nothing_when_it_comes_back() -> None:
    rows, labels = made_up(300)
    rows[:, 1] = np.nan
    back = rows.copy()
    back[:, 1] = 1e3
    for algorithm in ("hist_gradient_boosting", "logistic_regression"):
        fitted = learn(algorithm, "binary", rows, labels)
        assert np.array_equal(fitted.scores(rows), fitted.scores(back))


def test_columns_of_one_kind_alone() -> None:
    rows, labels = made_up(300)
    for columns in ([0, 1, 2, 3], [4, 5]):
        kinds = [CATEGORIES[column] for column in columns]
        part = rows[:, columns]
        fitted = fit("logistic_regression", "binary", part, labels, categories=kinds, outputs=1, seed=0)
        assert parity(loaded(fitted), part, fitted.scores(part), task="binary") < 1e-6


def test_a_missing_value_tells_something() -> None:
    chance = np.random.default_rng(0)
    rows = chance.normal(size=(500, 1)).astype(np.float32).astype(np.float64)
    labels = (chance.random(500) < 0.5).astype(np.float64)
    rows[labels == 1, 0] = np.where(chance.random(int(labels.sum())) < 0.8, np.nan, rows[labels == 1, 0])
    for algorithm in ("hist_gradient_boosting", "logistic_regression"):
        fitted = learn(algorithm, "binary", rows, labels)
        assert fitted.scores(np.array([[np.nan]]))[0, 0] > 0.8


def test_a_wild_value_is_not_believed_without_bound() -> None:
    rows, labels = made_up(500)
    fitted = learn("logistic_regression", "binary", rows, labels)
    assert isinstance(fitted, Linear)
    wild, wilder = rows[:1].copy(), rows[:1].copy()
    wild[0, 0], wilder[0, 0] = 1e4, 1e30
    assert np.array_equal(fitted.scores(wild), fitted.scores(wilder))


@pytest.mark.parametrize(
    ("task", "rows", "labels", "outputs", "why"),
    [
        ("binary", np.zeros((0, 1)), [], 1, "there are no rows"),
        ("binary", np.array([[np.inf]]), [1.0], 1, "no float32 holds"),
        ("binary", np.array([[0.1]]), [1.0], 1, "no float32 holds"),
        ("binary", np.array([[1e300]]), [1.0], 1, "no float32 holds"),
        ("binary", np.array([[1.0]]), [2.0], 1, "expected one of 2 classes"),
        ("binary", np.array([[1.0]]), [np.nan], 1, "expected one of 2 classes"),
        ("multiclass", np.array([[1.0]]), [3.0], 3, "expected one of 3 classes"),
        ("multiclass", np.array([[1.0]]), [0.5], 3, "expected one of 3 classes"),
        ("regression", np.array([[1.0]]), [np.inf], 1, "expected a number"),
    ],
)
def test_what_cannot_be_learned_from_is_refused(
    task: Task, rows: FloatArray, labels: list[float], outputs: int, why: str
) -> None:
    with pytest.raises(Unfit, match=why):
        learn("hist_gradient_boosting", task, rows, np.array(labels), outputs)


def test_a_logistic_regression_of_values_is_refused() -> None:
    with pytest.raises(Unfit, match="the task is a regression"):
        learn("logistic_regression", "regression", np.zeros((2, 1)), np.array([1.0, 2.0]))

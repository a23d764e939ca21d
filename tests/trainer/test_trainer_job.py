"""A training job as a story: what comes of rows, with and without a champion."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from penstock.kernel.policy import Algorithm, Task
from penstock.onnx import Model, digest_of
from penstock.onnx.dryrun import verdict
from penstock.trainer import job as trainer_job
from penstock.trainer.boosting import OPTIONS
from penstock.trainer.export import constant
from penstock.trainer.fit import fit
from penstock.trainer.fitted import Prior
from penstock.trainer.inline import Inline
from penstock.trainer.job import train
from penstock.trainer.refusals import ParityFailed, Unfit
from penstock.trainer.request import Failed
from tests.trainer.learning import ALGORITHMS, CATEGORIES, HOUR, job, made_up


@pytest.fixture(autouse=True)
def few_trees(monkeypatch: pytest.MonkeyPatch) -> None:
    """Enough to learn what `made_up` hides, in half the time."""
    monkeypatch.setitem(OPTIONS, "max_iter", 50)


@pytest.mark.parametrize(("algorithm", "task", "outputs"), ALGORITHMS)
def test_a_first_training_passes_against_the_prior(algorithm: Algorithm, task: Task, outputs: int) -> None:
    request = job(500, task=task, algorithm=algorithm)
    result = train(request)
    assert result.judgement.verdict == "passed"
    assert (result.made, result.rows) == (algorithm, 500)
    assert result.judgement.rows == result.metrics["validation_rows"] == 100
    assert result.judgement.blocks == 10
    if task != "multiclass":  # three classes are much to ask of 400 rows
        assert result.metrics["loss"] < result.metrics["constant_loss"]
    assert all(np.isfinite(value) for value in result.metrics.values())
    assert verdict(result.artifact, features=len(CATEGORIES), scores=outputs) == ""
    model = Model.load(result.artifact, digest=digest_of(result.artifact))
    model.reproduce([each.features for each in result.golden], [each.scores for each in result.golden])
    assert result.profile.rows == 500


def test_the_same_request_gives_the_same_result() -> None:
    first, second = train(job(300)), train(job(300))
    assert first.artifact == second.artifact
    assert (first.judgement, first.metrics, first.profile) == (
        second.judgement,
        second.metrics,
        second.profile,
    )


def test_the_model_learns_from_all_rows_and_its_forerunner_is_judged() -> None:
    request = job(500)
    result = train(request)
    everything = fit(
        request.algorithm,
        request.task,
        request.rows,
        request.labels,
        categories=CATEGORIES,
        outputs=1,
        seed=request.seed,
    )
    model = Model.load(result.artifact, digest=digest_of(result.artifact))
    assert np.allclose(model.run(request.rows.astype(np.float32)), everything.scores(request.rows), atol=1e-6)
    assert abs(result.metrics["loss"] - _loss_in_sample(everything, request.rows, request.labels)) > 0.02


def _loss_in_sample(fitted: object, rows: np.ndarray, labels: np.ndarray) -> float:
    assert hasattr(fitted, "scores")
    p = fitted.scores(rows)[:, 0]
    return float(-np.log(np.where(labels == 1, p, 1 - p)).mean())


def test_a_candidate_worse_than_the_champion_is_refused() -> None:
    # The champion has learned what labels are; those of the last rows before the cut are turned round.
    good = train(job(1500, seed=5)).artifact
    request = job(600)
    labels = request.labels.copy()
    labels[:480] = 1 - labels[:480]
    result = train(replace(request, labels=labels, champion=good))
    assert result.judgement.verdict == "refused"
    assert result.judgement.champion is not None
    assert result.judgement.champion.harm()
    assert result.artifact, "it is made all the same: its version is told of as refused"


def test_what_is_no_longer_true_is_worse_than_a_constant() -> None:
    request = job(600)
    labels = np.where(np.arange(600) < 480, 1 - request.labels, request.labels)
    result = train(replace(request, labels=labels))
    assert result.judgement.verdict == "refused"
    assert result.judgement.constant is not None
    assert result.judgement.constant.harm()
    assert result.judgement.champion is None


def test_rows_that_the_champion_has_not_seen_judge_alone() -> None:
    champion = train(job(400, seed=5)).artifact
    request = job(400, champion=champion)
    # 40 hours of rows: the last 8 would judge.
    assert train(replace(request, champion_cut=10 * HOUR)).judgement.blocks == 8
    later = train(replace(request, champion_cut=34 * HOUR))
    assert (later.judgement.blocks, later.judgement.verdict) == (6, "passed")
    too_late = train(replace(request, champion_cut=37 * HOUR))
    assert (too_late.judgement.blocks, too_late.judgement.verdict) == (8, "undecided")
    assert too_late.judgement.champion is None


def test_after_an_alarm_with_few_blocks_the_champion_is_recalibrated() -> None:
    champion = train(job(400, seed=5)).artifact
    few = job(60, champion=champion, onset=0)
    result = train(few)
    assert (result.made, result.judgement.verdict) == ("recalibrated", "undecided")
    assert verdict(result.artifact, features=len(CATEGORIES), scores=1) == ""
    assert train(replace(few, onset=None)).made == "hist_gradient_boosting"
    assert train(job(120, champion=champion, onset=0)).made == "hist_gradient_boosting"


def test_after_an_alarm_the_rows_since_the_onset_judge_and_chance_is_not_forgiven() -> None:
    """What was true is false from hour 60 on: the window of the lane has more of the old world in it."""
    before = job(1600)
    labels = np.where(np.arange(1600) < 600, before.labels, 1 - before.labels)
    champion = train(job(600)).artifact
    alarmed = replace(before, labels=labels, champion=champion, champion_cut=60 * HOUR, onset=60 * HOUR)
    result = train(alarmed)
    assert result.metrics["since_onset"] == 1
    assert (result.rows, result.judgement.verdict) == (1000, "passed")
    # The same alarm in a world that stayed as it was: what came since is too little to be better.
    false_alarm = train(replace(alarmed, labels=before.labels))
    assert false_alarm.judgement.verdict == "refused" or false_alarm.metrics["champion_difference"] <= 0


def test_rows_of_one_block_are_learned_from_and_nothing_is_judged() -> None:
    result = train(job(10))
    assert (result.judgement.verdict, result.judgement.rows) == ("undecided", 0)
    assert result.metrics["validation_rows"] == 0


@pytest.mark.parametrize("count", [1, 2, 30])
@pytest.mark.parametrize(("algorithm", "task", "outputs"), ALGORITHMS)
def test_few_rows_give_a_result(count: int, algorithm: Algorithm, task: Task, outputs: int) -> None:
    result = train(job(count, task=task, algorithm=algorithm))
    assert verdict(result.artifact, features=len(CATEGORIES), scores=outputs) == ""
    assert all(np.isfinite(value) for value in result.metrics.values())


def test_labels_of_one_class_give_a_constant() -> None:
    result = train(job(100, labels=np.ones(100)))
    assert result.made == "constant"
    assert result.artifact == constant(len(CATEGORIES), [101 / 102])


def test_a_wrong_export_gives_no_model(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(trainer_job, "export", lambda _: constant(len(CATEGORIES), [0.5]))
    with pytest.raises(ParityFailed):
        train(job(300))


def test_nothing_to_learn_from_is_said_so() -> None:
    with pytest.raises(Unfit, match="there are no rows"):
        train(job(0))
    inline = Inline()
    inline.submit(job(0))
    assert inline.busy
    assert inline.poll() == Failed(reason="unfit", message="there are no rows")
    assert inline.poll() is None


def test_a_champion_that_is_none_is_refused() -> None:
    inline = Inline()
    inline.submit(job(300, champion=b"no model"))
    outcome = inline.poll()
    assert isinstance(outcome, Failed)
    assert outcome.reason == "refused"


def test_rows_out_of_order_are_an_error_of_ours() -> None:
    with pytest.raises(ValueError, match="not in order"):
        train(job(10, times=np.arange(10)[::-1].copy()))


def test_a_prior_is_what_it_says() -> None:
    rows, labels = made_up(50)
    assert Prior(answer=(0.5,), features=len(CATEGORIES)).scores(rows).shape == (len(labels), 1)

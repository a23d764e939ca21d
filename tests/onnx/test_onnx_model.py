"""Loading and running a model."""

from __future__ import annotations

import numpy as np
import pytest

from penstock.onnx import MAX_BYTES, Model, Refused, digest_of
from penstock.trainer.export import constant


def test_only_the_promised_bytes_are_opened() -> None:
    artifact, other = constant(2, [0.5]), constant(2, [0.6])
    with pytest.raises(Refused, match="the manifest says"):
        Model.load(other, digest=digest_of(artifact))


def test_too_many_bytes_are_not_opened() -> None:
    artifact = bytes(MAX_BYTES + 1)
    with pytest.raises(Refused, match="more than"):
        Model.load(artifact, digest=digest_of(artifact))


def test_scores_are_float32_rows_by_columns() -> None:
    artifact = constant(2, [0.25, 0.75])
    model = Model.load(artifact, digest=digest_of(artifact))
    scores = model.run(np.zeros((5, 2), dtype=np.float32))
    assert (scores.dtype, scores.shape) == (np.dtype(np.float32), (5, 2))
    assert (model.features, model.scores, model.digest) == (2, 2, digest_of(artifact))


@pytest.mark.parametrize(
    ("inputs", "outputs", "reason"),
    [
        ([[1.0, 2.0]], [[0.5], [0.5]], "1 golden inputs with 2 outputs"),
        ([[1.0]], [[0.5]], "golden vector 0 has 1 features and 1 scores"),
        ([[1.0, 2.0], [1.0, 2.0]], [[0.5], [0.502]], "golden vector 1 scores"),
        ([[1.0, 2.0]], [[float("nan")]], "golden vector 0 scores"),
    ],
)
def test_a_golden_vector_that_is_off_is_refused(
    inputs: list[list[float]], outputs: list[list[float]], reason: str
) -> None:
    artifact = constant(2, [0.5])
    with pytest.raises(Refused, match=reason):
        Model.load(artifact, digest=digest_of(artifact)).reproduce(inputs, outputs)


def test_golden_vectors_hold_within_float32() -> None:
    artifact = constant(2, [0.1])
    Model.load(artifact, digest=digest_of(artifact)).reproduce([[float("nan"), 1.0]], [[0.1]])

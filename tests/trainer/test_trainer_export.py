"""The constant model: version 0 of every pipeline."""

from __future__ import annotations

import os
import subprocess
import sys

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from penstock.onnx import Model, check, digest_of
from penstock.trainer.export import constant

finite = st.floats(width=32, allow_nan=False, allow_infinity=False)


@given(
    features=st.integers(1, 40),
    scores=st.lists(finite, min_size=1, max_size=4),
    rows=st.integers(1, 9),
    fill=st.floats(width=32),
)
def test_every_row_gets_the_constant_whatever_is_in_it(
    features: int, scores: list[float], rows: int, fill: float
) -> None:
    artifact = constant(features, scores)
    model = Model.load(artifact, digest=digest_of(artifact))
    found = model.run(np.full((rows, features), fill, dtype=np.float32))
    assert np.array_equal(found, np.tile(np.array(scores, dtype=np.float32), (rows, 1)))


def test_no_rows_give_no_scores() -> None:
    artifact = constant(2, [0.5])
    model = Model.load(artifact, digest=digest_of(artifact))
    assert model.run(np.zeros((0, 2), dtype=np.float32)).shape == (0, 1)


def test_it_passes_the_check_every_model_passes() -> None:
    check(constant(17, [0.21]), features=17, scores=1)


def test_the_bytes_are_the_same_in_every_process() -> None:
    code = "from penstock.trainer.export import constant; print(constant(17, [0.25, 0.75]).hex())"
    there = [
        subprocess.run(
            [sys.executable, "-c", code],
            check=True,
            capture_output=True,
            text=True,
            env=os.environ | {"PYTHONHASHSEED": seed},
        ).stdout.strip()
        for seed in ("1", "2")
    ]
    assert there == [constant(17, [0.25, 0.75]).hex()] * 2


@pytest.mark.parametrize(
    ("features", "scores"), [(0, [0.5]), (1, []), (1, [float("nan")]), (1, [float("inf")]), (1, [1e300])]
)
def test_nonsense_is_an_error(features: int, scores: list[float]) -> None:
    with (
        np.errstate(over="ignore"),
        pytest.raises(ValueError, match=r"must be finite|needs features and scores"),
    ):
        constant(features, scores)

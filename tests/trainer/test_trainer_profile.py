"""The reference profile: what blocks to come will be standardised by."""

from __future__ import annotations

import numpy as np
import pytest

from penstock.kernel.blocks import ROWS
from penstock.trainer.profile import profile


def test_independent_rows_have_the_spreads_of_the_textbook() -> None:
    rows = np.random.default_rng(0).normal(5, 3, (ROWS * 2000 + 7, 1))
    found = profile(rows)
    assert (found.rows, found.blocks) == (len(rows), (2000,))
    assert found.mean == pytest.approx([5], abs=0.05)
    assert found.spread == pytest.approx([3], abs=0.05)
    assert found.block_mean == pytest.approx([0], abs=0.01)
    assert found.block_mean_spread == pytest.approx([1 / np.sqrt(ROWS)], rel=0.05)
    assert found.block_square == pytest.approx([1], abs=0.01)
    assert found.block_square_spread == pytest.approx([np.sqrt(2 / ROWS)], rel=0.05)


def test_what_lasts_longer_than_a_block_widens_the_spread_of_block_means() -> None:
    chance = np.random.default_rng(0)
    levels = np.repeat(chance.normal(size=200), ROWS)[:, None]
    found = profile(levels + 0.01 * chance.normal(size=levels.shape))
    assert found.block_mean_spread == pytest.approx([1], abs=0.01)


def test_missing_values_are_left_out_and_counted() -> None:
    rows = np.random.default_rng(0).normal(size=(ROWS * 100, 3))
    rows[::2, 0] = np.nan
    rows[:, 1] = np.nan
    rows[ROWS:, 2] = np.nan
    found = profile(rows)
    assert found.missing == (0.5, 1.0, 0.99)
    assert found.blocks == (100, 0, 1)
    assert found.mean[0] == pytest.approx(np.nanmean(rows[:, 0]))
    assert found.block_mean_spread[0] == pytest.approx(1 / np.sqrt(ROWS / 2), rel=0.2)
    assert (found.mean[1], found.spread[1], found.block_mean[1], found.block_square_spread[1]) == (0, 0, 0, 0)


def test_a_constant_has_no_spread_at_all() -> None:
    found = profile(np.full((1000, 1), 0.1))
    assert found.spread == found.block_mean_spread == found.block_square_spread == (0.0,)
    assert found.mean == pytest.approx([0.1])


@pytest.mark.parametrize("count", [0, 1, ROWS - 1])
def test_fewer_rows_than_a_block_make_no_blocks(count: int) -> None:
    found = profile(np.ones((count, 2)))
    assert (found.rows, found.blocks, found.block_mean_spread) == (count, (0, 0), (0.0, 0.0))

"""The gate refuses harm, by time blocks; and the cut before it keeps a block on one side."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from penstock.trainer.gate import MIN_BLOCKS, judge
from penstock.trainer.split import cut_of

HOUR = 3_600_000


def test_noise_is_not_harm() -> None:
    chance = np.random.default_rng(0)
    times = np.repeat(np.arange(50) * HOUR, 20)
    base = chance.random(1000)
    judged = judge(times, HOUR, base + chance.normal(0, 0.1, 1000), constant=base + 0.2, champion=base)
    assert judged.verdict == "passed"
    assert (judged.rows, judged.blocks) == (1000, 50)
    assert judged.champion is not None
    assert abs(judged.champion.mean) < 2 * judged.champion.error


@pytest.mark.parametrize("side", ["constant", "champion"])
def test_harm_against_either_is_refused(side: str) -> None:
    chance = np.random.default_rng(0)
    times = np.repeat(np.arange(50) * HOUR, 20)
    losses = {name: chance.random(1000) + 1 for name in ("constant", "champion")}
    mine = losses[side] + 0.05 + chance.normal(0, 0.01, 1000)
    losses = {name: mine + 0.1 if name != side else each for name, each in losses.items()}
    judged = judge(times, HOUR, mine, constant=losses["constant"], champion=losses["champion"])
    assert judged.verdict == "refused"
    harmful = judged.champion if side == "champion" else judged.constant
    assert harmful is not None
    assert harmful.mean == pytest.approx(0.05, abs=0.002)


def test_rows_of_one_storm_are_one_piece_of_evidence() -> None:
    """One block of 500 bad rows among 20 good ones is a row-by-row certainty, and no evidence by blocks."""
    times = np.concatenate([np.repeat(np.arange(20) * HOUR, 5), np.full(500, 20 * HOUR)])
    worse = np.concatenate([np.full(100, -0.01), np.full(500, 0.1)])
    by_row = worse.mean() / (worse.std() / np.sqrt(len(worse)))
    assert by_row > 10
    assert (
        judge(times, HOUR, 1 + worse, constant=np.full(600, 2.0), champion=np.ones(600)).verdict == "passed"
    )


def test_few_blocks_decide_nothing() -> None:
    times = np.repeat(np.arange(MIN_BLOCKS) * HOUR, 100)
    bad, good = np.ones(len(times)), np.zeros(len(times))
    assert judge(times, HOUR, bad, constant=good).verdict == "refused"
    fewer = slice(None, -100)
    assert judge(times[fewer], HOUR, bad[fewer], constant=good[fewer]).verdict == "undecided"
    assert judge(times[:0], HOUR, bad[:0], constant=good[:0]).verdict == "undecided"


def test_a_champion_that_has_seen_the_rows_cannot_refuse_and_does_not_pass() -> None:
    times = np.arange(10) * HOUR
    mine = np.linspace(0, 1, 10)
    assert judge(times, HOUR, mine, constant=mine + 1, seen=True).verdict == "undecided"
    assert judge(times, HOUR, mine, constant=mine - 1, seen=True).verdict == "refused"


def test_equal_models_pass() -> None:
    times, same = np.arange(10) * HOUR, np.linspace(0, 1, 10)
    judged = judge(times, HOUR, same, constant=same, champion=same)
    assert judged.verdict == "passed"
    assert judged.champion is not None
    assert (judged.champion.mean, judged.champion.error) == (0, 0)


@given(
    steps=st.lists(st.integers(0, 5), min_size=1, max_size=200),
    block=st.integers(1, 20),
    champion=st.none() | st.integers(-10, 600),
)
def test_the_cut_parts_no_block_and_leaves_rows_on_both_sides(
    steps: list[int], block: int, champion: int | None
) -> None:
    times = np.cumsum(np.array(steps, dtype=np.int64))
    cut = cut_of(times, block, champion_cut=champion)
    blocks = times // block
    if blocks[0] == blocks[-1]:
        assert cut == len(times)
        return
    assert 0 < cut < len(times)
    assert blocks[cut - 1] < blocks[cut]
    left, right = len(np.unique(blocks[:cut])), len(np.unique(blocks[cut:]))
    usual = cut_of(times, block)
    assert cut >= usual
    if cut > usual:
        assert champion is not None
        assert times[cut] >= champion > times[usual]
        assert right >= MIN_BLOCKS
    elif right < MIN_BLOCKS:
        assert left < MIN_BLOCKS or np.searchsorted(blocks, np.unique(blocks)[-MIN_BLOCKS]) < 0.5 * len(times)

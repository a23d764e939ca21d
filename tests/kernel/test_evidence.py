"""The evidence against its promises: false alarms are as rare as claimed, true changes are found as fast."""

from __future__ import annotations

import math
import statistics
from collections.abc import Iterable

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from penstock.kernel.edetector import FRACTIONS, EDetector
from penstock.kernel.eprocess import BLOCKS_BEFORE, Claim, EProcess, bound, level_of
from penstock.kernel.ewma import Ewma

SEED = 20131
UNIT = st.floats(0, 1)
DIFFERENCE = st.integers(-2_000, 2_000).map(lambda each: each / 1_000)
MARGIN = st.integers(0, 1_000).map(lambda each: each / 1_000)


def detect(xs: Iterable[float], *, p0: float, arl: float) -> EDetector:
    """Feed until the alarm, or to the end."""
    detector = EDetector.start(p0=p0, arl=arl)
    for x in xs:
        detector = detector.update(float(x))
        if detector.alarmed:
            break
    return detector


def compared(differences: Iterable[float], claim: Claim = "worse", *, b: float, margin: float) -> EProcess:
    process = EProcess.start(claim, bound=b, margin=margin)
    for difference in differences:
        process = process.update(float(difference))
    return process


@pytest.mark.parametrize(("p0", "p1", "median"), [(0.05, 0.5, 14), (0.26, 0.75, 26), (0.12, 0.2, 400)])
def test_a_change_of_the_error_is_found_fast(p0: float, p1: float, median: int) -> None:
    rng = np.random.default_rng(SEED)
    accepted = min(1.2 * p0, p0 + 0.02)  # an upper confidence bound of the accepted error
    delays, misses = [], []
    for _ in range(15):
        healthy = detect(rng.random(300) < p0, p0=accepted, arl=20_000)
        assert not healthy.alarmed
        broken = healthy
        while not broken.alarmed:
            broken = broken.update(float(rng.random() < p1))
        delays.append(broken.blocks - healthy.blocks)
        misses.append(abs(broken.onset - 300))
    assert statistics.median(delays) <= median
    assert statistics.median(misses) <= median / 2


def test_the_average_run_length_is_held_at_the_edge_of_the_claim() -> None:
    rng = np.random.default_rng(SEED)
    arl = 50.0
    runs = [detect(rng.random(2_000) < 0.2, p0=0.2, arl=arl).blocks for _ in range(150)]
    assert statistics.mean(runs) >= arl


def test_alternating_blocks_that_keep_the_mean_never_alarm() -> None:
    assert not detect([0.0, 0.4] * 5_000, p0=0.2, arl=1_000).alarmed


@given(xs=st.lists(UNIT, max_size=40), p0=st.floats(0.01, 1))
def test_the_statistic_is_the_sum_over_all_starts(xs: list[float], p0: float) -> None:
    detector = EDetector.start(p0=p0, arl=1e9)
    for x in xs:
        detector = detector.update(x)
    for fraction, bet in zip(FRACTIONS, detector.bets, strict=True):
        factors = [1 + fraction / p0 * (x - p0) for x in xs]
        games = [math.prod(factors[start:]) for start in range(len(xs))]
        assert bet == pytest.approx(math.fsum(games))
    assert 0 <= detector.onset <= detector.blocks == len(xs)


def test_the_onset_is_where_the_loss_rose() -> None:
    detector = detect([0.1] * 500 + [0.5] * 50, p0=0.15, arl=1_000)
    assert detector.alarmed
    assert detector.onset == 500


@pytest.mark.parametrize("x", [-0.1, 1.1, math.nan])
def test_a_loss_outside_its_range_is_refused(x: float) -> None:
    with pytest.raises(ValueError, match="outside"):
        EDetector.start(p0=0.5, arl=100).update(x)


@pytest.mark.parametrize(("p0", "arl"), [(0.0, 100), (1.5, 100), (0.5, 1), (math.nan, 100)])
def test_a_detector_needs_a_bound_it_can_bet_against(p0: float, arl: float) -> None:
    with pytest.raises(ValueError, match="must be in"):
        EDetector.start(p0=p0, arl=arl)


@pytest.mark.parametrize("claim", ["worse", "not_worse"])
def test_a_false_claim_is_rarely_shown_whenever_one_looks(claim: Claim) -> None:
    rng = np.random.default_rng(SEED)
    margin = 0.005
    false = 0
    for _ in range(300):
        before, after = rng.normal(margin, 0.02, 30), rng.normal(margin, 0.02, 300)
        b = bound(list(before))
        assert b is not None
        process = EProcess.start(claim, bound=b, margin=margin)
        for difference in after:
            process = process.update(difference)
            if process.shown(0.05):
                false += 1
                break
    assert false <= 15  # .05 of 300; measured: 3 and 4


@pytest.mark.parametrize(("claim", "sign"), [("worse", 1), ("not_worse", -1)])
def test_a_true_claim_is_shown_in_time(claim: Claim, sign: int) -> None:
    """One standard deviation of a block is shown within some 28 blocks, two within some 15."""
    rng = np.random.default_rng(SEED)
    for shift, median in ((0.02, 35), (0.04, 20)):
        needed = []
        for _ in range(25):
            b = bound(list(rng.normal(0, 0.02, 40)))
            assert b is not None
            process = EProcess.start(claim, bound=b, margin=0.0)
            while not process.shown(0.05) and process.blocks < 1_000:
                process = process.update(rng.normal(sign * shift, 0.02))
            needed.append(process.blocks)
        assert statistics.median(needed) <= median


def test_correlated_blocks_rarely_show_a_false_claim() -> None:
    """Six hours of one storm, then six more: the promise is for independent blocks, and bends little."""
    rng = np.random.default_rng(SEED)
    false, runs = 0, 200
    for _ in range(runs):
        noise = rng.normal(size=148)
        for each in range(1, len(noise)):
            noise[each] = 0.4 * noise[each - 1] + math.sqrt(1 - 0.4**2) * noise[each]
        b = bound(list(0.1 * noise[:28]))
        assert b is not None
        process = EProcess.start("worse", bound=b, margin=0.0)
        for difference in 0.1 * noise[28:]:
            process = process.update(difference)
            if process.shown(0.05):
                false += 1
                break
    assert false <= 0.06 * runs  # bets of up to .75 on the bare mean: .08


def test_equal_versions_are_never_told_apart() -> None:
    b = bound([0.0] * BLOCKS_BEFORE)
    assert b is not None
    claims: tuple[Claim, ...] = ("worse", "not_worse")
    for claim in claims:
        same = compared([0.0] * 2_000, claim, b=b, margin=0.0)
        assert same.log_e == 0
    assert compared([0.0] * 2_000, "worse", b=b, margin=0.005).log_e == 0


def test_clipping_voids_only_a_claim_that_it_favours() -> None:
    """A version ruined on every block is worse for certain; one ruined on a few is not shown to be better."""
    assert compared([5.0] * 40, "worse", b=0.1, margin=0.005).shown(0.05)
    rare = [-0.05] * 19 + [5.0]
    better = compared(rare * 10, "not_worse", b=0.1, margin=0.0)
    assert better.e_value > 1_000
    assert not better.shown(0.05)


@given(st.lists(DIFFERENCE, max_size=60), st.floats(1e-6, 1), MARGIN)
def test_bets_are_made_before_the_block_and_never_lose_the_stake(
    differences: list[float], b: float, margin: float
) -> None:
    signs: dict[Claim, int] = {"worse": 1, "not_worse": -1}
    for claim, sign in signs.items():
        process, expected, past = EProcess.start(claim, bound=b, margin=margin), 0.0, list[float]()
        for difference in differences:
            x = sign * (min(max(difference, -b), b) - margin) / (b + margin)
            mean = statistics.fmean(past) if past else 0.0
            variance = statistics.pvariance(past) if past else 0.0
            surely = mean - math.sqrt(variance / max(len(past), 1))
            bet = min(surely / (variance + mean**2), 0.75) if surely > 1e-9 and len(past) > 1 else 0.0
            assert process.bet == pytest.approx(bet, abs=1e-3)
            expected += math.log1p(process.bet * x)
            process = process.update(difference)
            past.append(x)
        assert process.log_e == pytest.approx(expected)
        assert process.blocks == len(differences)


def test_levels_of_all_epochs_and_lanes_add_up_to_the_promise() -> None:
    spent = sum(3 * level_of(epoch, lanes=3, level=0.05) for epoch in range(1, 10_000))
    assert 0.0499 < spent <= 0.05


@pytest.mark.parametrize(("b", "margin"), [(0.0, 0.1), (-1.0, 0.0), (1.0, -0.1), (math.nan, 0.0)])
def test_a_comparison_needs_a_bound(b: float, margin: float) -> None:
    with pytest.raises(ValueError, match="expected a bound"):
        EProcess.start("worse", bound=b, margin=margin)


@given(st.lists(st.tuples(st.floats(-1, 1), st.integers(0, 50)), max_size=20), st.floats(1, 1_000))
def test_an_average_of_blocks_is_that_of_their_rows(
    blocks: list[tuple[float, int]], half_life: float
) -> None:
    average, rows = Ewma(half_life=half_life), list[float]()
    for value, count in blocks:
        average = average.update(value * count, rows=count)
        rows += [value] * count
    weights = [2 ** (-age / half_life) for age in range(len(rows))][::-1]
    expected = sum(w * x for w, x in zip(weights, rows, strict=True)) / sum(weights) if rows else 0.0
    assert average.mean == pytest.approx(expected, abs=1e-6)
    assert average.rows == len(rows)

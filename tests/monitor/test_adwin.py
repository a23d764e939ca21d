"""What we rely on of river's private ADWIN: it is the public one, and its state is all there is of it."""

from __future__ import annotations

import struct

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from river.drift import ADWIN

from penstock.monitor.domain.adwin import CLOCK, Adwin

DELTA = 0.002 / 34


def stream(seed: int, shift: float) -> list[float]:
    rng = np.random.default_rng(seed)
    values: list[float] = np.concatenate([rng.normal(0, 1, 300), rng.normal(shift, 1, 300)]).tolist()
    return values


@pytest.mark.parametrize("seed", range(5))
def test_it_is_rivers_adwin_up_to_the_first_change(seed: int) -> None:
    ours, theirs = Adwin(delta=DELTA), ADWIN(delta=DELTA, clock=CLOCK)  # type: ignore[no-untyped-call] # river has none here
    for value in stream(seed, 2.0):
        theirs.update(value)  # type: ignore[no-untyped-call]
        assert ours.update(value) is theirs.drift_detected
        assert ours.mean == theirs.estimation
        if theirs.drift_detected:
            return
    pytest.fail("two spreads were not seen")


@settings(max_examples=25, deadline=None)
@given(seed=st.integers(0, 99), cut=st.integers(0, 599), shift=st.sampled_from([0.0, 1.0, 10.0]))
def test_written_down_and_read_again_it_goes_on_as_if_nothing_had_been(
    seed: int, cut: int, shift: float
) -> None:
    through, before = Adwin(delta=DELTA), Adwin(delta=DELTA)
    values = stream(seed, shift)
    for value in values[:cut]:
        through.update(value)
        before.update(value)
    after = Adwin.load(before.dump(), delta=DELTA)
    for value in values[cut:]:
        assert after.update(value) is through.update(value)
        assert after.mean == through.mean
    assert after.dump() == through.dump()


def test_its_state_is_numbers_in_a_row_and_no_pickle() -> None:
    adwin = Adwin(delta=DELTA)
    for value in stream(1, 0.0):
        adwin.update(value)
    state = adwin.dump()
    assert isinstance(state, bytes)
    assert struct.unpack_from("<d", state) == (DELTA,)
    assert len(state) < 1500, "bounded by the logarithm of the window"

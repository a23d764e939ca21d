"""The parts of a proposal: text of YAML, bars, delays, names."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st

from penstock.cli.propose.delays import NICE, bins_of, delays_of, horizon_of
from penstock.cli.propose.document import comment, flow, line
from penstock.cli.propose.fields import look_at
from penstock.cli.propose.histogram import bar, draw
from penstock.cli.propose.paths import MOST, of_values
from penstock.cli.specfile import read_document

TEXT = st.text(st.characters(exclude_categories=["Cs"]), max_size=30)
VALUE = st.recursive(
    TEXT | st.integers(-(10**9), 10**9) | st.booleans(),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(TEXT, inner, max_size=4),
    max_leaves=8,
)


@given(VALUE, TEXT)
def test_what_is_written_is_what_is_read(value: Any, note: str) -> None:
    """By our reader of pipeline files, and by one that reads YAML 1.1."""
    text = line("key", value, note)
    assert "\n" not in text
    document = read_document(text)
    assert (document.raw, document.mistakes) == ({"key": value}, [])
    assert yaml.safe_load(text) == {"key": value}


@pytest.mark.parametrize(
    "word",
    ["no", "Yes", "~", "null", "1e3", "0x1f", "1_000", "12:30", "2024-01-01", ".inf", "=", "a #b", "9E", ""],
)
def test_words_that_would_be_something_else_stay_words(word: str) -> None:
    assert yaml.safe_load(flow([word])) == [word]
    assert read_document(flow([word])).raw == [word]


def test_a_comment_stays_on_its_line() -> None:
    assert comment("a\nfeatures: {}\u2028") == "a�features: {}�"


@given(st.floats(0, 1), st.integers(1, 200), st.booleans())
def test_a_bar_is_as_wide_as_its_share(share: float, width: int, plain: bool) -> None:
    drawn = bar(share, width, plain=plain)
    assert len(drawn) <= width
    assert bool(drawn) == (share > 0)
    assert abs(len(drawn) - share * width) <= 1


@given(
    st.lists(st.integers(0, 3 * 365 * 86_400_000), min_size=1, max_size=200),
    st.integers(30, 140),
    st.booleans(),
)
def test_a_histogram_holds_every_delay_in_its_width(delays: list[int], width: int, colour: bool) -> None:
    bins = bins_of(np.array(delays, dtype=np.int64))
    assert sum(each.count for each in bins) == len(delays)
    assert [each.end for each in bins[:-1]] == [each.start for each in bins[1:]]
    assert len(bins) <= 14
    marks = [(float(max(delays)), "99%"), (float(min(delays)), "half")]
    lines = draw(bins, width=width, marks=marks, colour=False)
    assert len(lines) == len(bins)
    assert max(map(len, lines)) <= max(width, 50)
    assert any("99%" in each for each in lines)
    coloured = draw(bins, width=width, marks=marks, colour=colour)
    assert any("\x1b[36m" in each for each in coloured) == colour
    assert all(each.isascii() for each in draw(bins, width=width, plain=True))


@given(st.lists(st.integers(0, 2 * 365 * 86_400_000), min_size=1, max_size=300))
def test_a_horizon_lets_99_of_100_labels_in(gaps: list[int]) -> None:
    ids = [str(at) for at in range(len(gaps))]
    delays = delays_of(ids, [0] * len(gaps), ids, gaps)
    horizon = horizon_of(delays)
    assert horizon is not None
    assert sum(gap <= horizon for gap in gaps) >= 0.99 * len(gaps) - 1
    assert horizon in NICE or horizon % (365 * 86_400_000) == 0


def test_delays_beyond_the_sample_are_said_to_be_hidden() -> None:
    ids = [str(at) for at in range(100)]
    short = delays_of(ids, list(range(100)), ids, [at + 5 for at in range(100)])
    assert not short.cut_short
    long = delays_of(ids, list(range(100)), ids, [at + 990 for at in range(100)])
    assert long.cut_short


def test_of_too_many_fields_the_commonest_are_looked_at() -> None:
    rows = [{"id": at, f"odd_{at}": 1} for at in range(2 * MOST)]
    found = of_values(rows)
    assert len(found) == MOST
    assert found[0] == "id"


@pytest.mark.parametrize(
    ("values", "stamp", "is_time"),
    [
        (["2026-01-01T00:00:00Z"], 1_770_000_000_000, True),
        ([1_760_000_000_000], 1_770_000_000_000, True),
        ([1_760_000_000], 1_770_000_000_000, False),
        ([41], 1_770_000_000_000, False),
        ([1_790_000_000_000], 1_770_000_000_000, False),  # later than it was written
        (["tomorrow"], 1_770_000_000_000, False),
    ],
)
def test_a_time_is_plausible_and_not_of_the_future(values: list[Any], stamp: int, is_time: bool) -> None:
    assert (look_at("at", values, [stamp] * len(values)).times is not None) == is_time

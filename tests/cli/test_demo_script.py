"""What is replayed, and how far the system can have judged it."""

from __future__ import annotations

from dataclasses import replace

import pytest

from penstock.cli.demo.script import Script
from penstock.runtime.broker import Message

HOUR = 3_600_000


def script(events: list[float], labels: list[float]) -> Script:
    """Events and labels at these hours; the unit is an hour, the horizon ten."""
    return Script(
        flights=(),
        days=1,
        horizon=10 * HOUR,
        unit=HOUR,
        event_times=[int(hour * HOUR) for hour in events],
        events=[Message("events", b"")] * len(events),
        label_times=[int(hour * HOUR) for hour in labels],
        labels=[Message("labels", b"")] * len(labels),
    )


@pytest.mark.parametrize(
    ("until", "judged"),
    [
        (None, 13.0),  # the block from 2 to 3, once the label of hour 14 is there; not the event's of hour 5
        (14.0, 12.0),  # with the event of hour 13 the last: the block from 1 to 2, though it ends at 12
        (12.0, None),  # hour 11.5 is past no block's end and horizon
    ],
)
def test_how_far_everything_is_judged_once_it_is_sent(until: float | None, judged: float | None) -> None:
    play = script([1.5, 2.5, 5.5, 11.5, 13.0], [3.0, 14.0])
    found = play.judged(None if until is None else int(until * HOUR))
    assert found == (None if judged is None else int(judged * HOUR))


def test_a_block_is_judged_only_when_event_time_is_past_its_horizon() -> None:
    assert script([1.5, 12.0], []).judged() is None
    assert script([1.5, 12.001], []).judged() == 12 * HOUR


def test_what_has_to_be_sent_before_more_can_be_judged() -> None:
    play = script([1.5, 2.5, 40.5, 80.0], [30.0, 60.0])
    assert play.needed(10 * HOUR) == 30 * HOUR  # for the block from 1 to 2
    assert play.needed(13 * HOUR) == 60 * HOUR  # for that from 40 to 41
    assert play.needed(51 * HOUR) == 80 * HOUR == play.end  # nothing more will be


def test_where_units_end_with_the_rows_nobody_can_say_how_far_all_is_judged() -> None:
    play = replace(script([1.5, 12.001], []), exact=False)
    assert play.judged() is None
    assert play.needed(10 * HOUR) == int(12.001 * HOUR)

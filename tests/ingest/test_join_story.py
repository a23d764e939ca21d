"""The join on the broker in memory, whatever comes in whatever order, and whoever dies when."""

from __future__ import annotations

import itertools
import os
import shutil
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

import pytest
from hypothesis import HealthCheck, event, given, settings
from hypothesis import strategies as st

from penstock.contracts.records import JoinAdvanced, Label, Origin, Outcome, OutcomeKind
from penstock.runtime.memory import MemoryBroker
from tests.ingest.joining import (
    COME,
    FAIL,
    GO,
    LABEL,
    PREDICT,
    SETTLE,
    STEPS,
    Come,
    Fail,
    Go,
    Kept,
    Predict,
    Settle,
    Step,
    Story,
    check,
)

PROVE = bool(os.environ.get("PENSTOCK_PROVE"))
COURSE = st.lists(
    st.one_of(PREDICT, PREDICT, LABEL, LABEL, LABEL, SETTLE, SETTLE, FAIL, COME, GO), min_size=10, max_size=80
)


@contextmanager
def told(*, cache: bool = True) -> Iterator[Story]:
    """A story on a broker of its own, with its caches where they cost least."""
    ticks = itertools.count(4_000_000_000_000)
    shared = Path("/dev/shm")  # noqa: S108 - memory, where there is such a thing; the folder in it is our own
    folder = Path(tempfile.mkdtemp(dir=shared if shared.is_dir() else None)) if cache else None
    story = Story(MemoryBroker(now=lambda: next(ticks)), folder)
    try:
        yield story
    finally:
        story.close()
        if folder is not None:
            shutil.rmtree(folder)


def tell(story: Story, course: Sequence[object]) -> None:
    for what in course:
        story.happen(what)
    story.rest()
    check(story)
    for fail in story.fate.met:
        event(f"{fail.how} at {fail.step}, cache {fail.kept}")


@settings(max_examples=2000 if PROVE else 60, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(course=COURSE)
def test_two_joins_write_what_the_oracle_says_exactly_once_whatever_fails(course: Sequence[object]) -> None:
    with told() as story:
        story.start("0")
        tell(story, course)


@settings(max_examples=2000 if PROVE else 60, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(course=COURSE)
def test_joins_that_keep_nothing_do_too(course: Sequence[object]) -> None:
    with told(cache=False) as story:
        story.start("0")
        tell(story, course)


@settings(max_examples=500 if PROVE else 30, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(course=COURSE)
def test_a_cache_changes_nothing_that_is_written(course: Sequence[object]) -> None:
    """Byte for byte: who keeps what it knows and who reads it from the log each time decide alike."""
    written = []
    for cache in (True, False):
        with told(cache=cache) as story:
            story.start("0")
            tell(story, course)
            written.append(story.events())
    assert written[0] == written[1]


def beginning(story: Story) -> None:
    """Something on every partition, half of it decided, and more that has just come."""
    for name in "abcdef":
        story.happen(Predict(name=name, origin=Origin.STREAM, time=0))
    story.rest()
    story.happen(Label(id="a", time=1, label=1.0))
    story.happen(Label(id="z", time=1, label=1.0))
    story.happen(Predict(name="g", origin=Origin.GRPC, time=30))
    story.happen(Label(id="b", time=30, label=1.0))


# Before a poll and after it are one moment; and a hand-over is broken off, or has just ended.
WAYS = [(step, done) for step in STEPS for done in (False, True) if (step, done) != ("poll", True)]


@pytest.mark.parametrize("kept", ["kept", "lost", "old"])
@pytest.mark.parametrize(("step", "done"), WAYS)
def test_each_way_to_die_is_met_and_survived(step: Step, done: bool, kept: Kept) -> None:
    """The properties above would hold of joins that never fail, too."""
    with told() as story:
        story.start("0")
        beginning(story)
        fail = Fail(step=step, how="killed", done=done, kept=kept)
        story.happen(fail)
        if step == "restore":
            story.happen(Come(slot="1"))
        story.rest()
        assert story.fate.met == [fail]
        check(story)


@pytest.mark.parametrize("step", ["send", "offsets", "commit"])
def test_each_abort_is_met_and_survived(step: Step) -> None:
    with told() as story:
        story.start("0")
        beginning(story)
        story.happen(Fail(step=step, how="aborted", done=False, kept="kept"))
        story.rest()
        assert len(story.fate.met) == 1
        check(story)


def test_a_rebalance_moves_partitions_with_what_is_known_of_them() -> None:
    with told() as story:
        story.start("0")
        for name in "abcdef":
            story.happen(Predict(name=name, origin=Origin.STREAM, time=0))
        story.rest()
        story.happen(Come(slot="1"))
        story.rest()
        shares = [{place.partition for place in process.task.parts} for process in story.processes.values()]
        assert sorted(map(len, shares)) == [1, 2]
        for name in "abcdef":
            story.happen(Label(id=name, time=1, label=1.0))
        story.rest()
        check(story)
        story.happen(Go(slot="0"))
        story.happen(Label(id="a", time=2, label=0.0))
        story.rest()
        check(story)


def test_what_waits_on_a_quiet_partition_expires_with_the_event_time_of_others() -> None:
    """Whoever has them: here each process has one partition that nothing comes to any more."""
    with told() as story:
        story.start("0")
        for name in "abcdef":
            story.happen(Predict(name=name, origin=Origin.STREAM, time=0))
        story.happen(Come(slot="1"))
        story.rest()
        assert not [event for _, event in story.events() if isinstance(event, Outcome)]
        story.happen(Predict(name="z", origin=Origin.STREAM, time=30))
        story.rest()
        expired = {event.id for _, event in story.events() if isinstance(event, Outcome)}
        assert expired == set("abcdef")
        said = [(number, each) for number, each in story.events() if isinstance(each, JoinAdvanced)]
        marks = {number: each.watermark for number, each in said}
        assert len(marks) == 3
        assert len(set(marks.values())) == 1, "and every partition says how far it is"


def test_what_was_heard_of_others_is_heard_again_after_an_abort() -> None:
    with told() as story:
        story.start("0")
        story.happen(Come(slot="1"))
        story.rest()
        story.happen(Predict(name="a", origin=Origin.STREAM, time=0))
        story.happen(Fail(step="send", how="aborted", done=False, kept="kept"))
        story.rest()
        assert len(story.fate.met) == 1
        check(story)


def test_a_prediction_that_comes_behind_the_watermark_is_expired_at_once() -> None:
    with told() as story:
        story.happen(Predict(name="a", origin=Origin.STREAM, time=30))
        story.rest()
        story.happen(Predict(name="b", origin=Origin.STREAM, time=0))
        story.rest()
        [expired] = [event for _, event in story.events() if isinstance(event, Outcome)]
        assert (expired.id, expired.kind) == ("b", OutcomeKind.EXPIRED)


def test_the_log_says_of_each_partition_when_both_inputs_were_read_to_their_ends() -> None:
    with told() as story:
        story.rest()
        said = [event for _, event in story.events() if isinstance(event, JoinAdvanced)]
        assert [(event.idle, event.watermark) for event in said] == [(True, None)] * 3


def test_a_course_is_run_by_whoever_is_there() -> None:
    """Steps of a process that does not run are nobody's."""
    with told() as story:
        story.happen(Settle(slot="1", rounds=3))
        assert story.processes == {}

"""The join on the real Kafka, told the same stories: fewer of them, since a second there is long.

A process that is gone for good is missing here: Kafka gives its partitions to others after thirty seconds.
"""

from __future__ import annotations

import itertools
import os
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path

import pytest
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st

from penstock.runtime.kafka import KafkaBroker
from tests.ingest.joining import COME, FAIL, LABEL, PREDICT, SETTLE, Story, check

PROVE = bool(os.environ.get("PENSTOCK_PROVE"))
PATIENCE = 90.0
COURSE = st.lists(
    st.one_of(PREDICT, PREDICT, LABEL, LABEL, LABEL, SETTLE, SETTLE, FAIL, COME), min_size=12, max_size=30
)
STORIES = itertools.count()


@pytest.mark.timeout(1500 if PROVE else 280)
@settings(
    max_examples=40 if PROVE else 3,
    deadline=None,
    database=None,
    phases=[Phase.generate],  # a smaller story takes as long
    suppress_health_check=[HealthCheck.too_slow, HealthCheck.function_scoped_fixture],
)
@given(course=COURSE)
def test_two_joins_write_what_the_oracle_says_exactly_once_whatever_fails(
    course: Sequence[object], kafka: str, prefix: str
) -> None:
    with tempfile.TemporaryDirectory() as folder:
        story = Story(KafkaBroker(kafka), Path(folder), prefix=f"{prefix}{next(STORIES)}.")
        try:
            story.start("0")
            for what in course:
                story.happen(what)
            rest(story)
            check(story)
        finally:
            story.close()


def rest(story: Story) -> None:
    """Until everything was read, and every partition says so: what is on its way can be waited for alone."""
    deadline = time.monotonic() + PATIENCE
    while not story.done():
        assert time.monotonic() < deadline, "it does not come to rest"
        for slot in list(story.processes):
            story.step(slot)

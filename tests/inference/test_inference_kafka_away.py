"""Kafka is killed under a real inference process: no answer changes, and the log says what is missing.

PENSTOCK_PROVE=1 keeps it away for 20 seconds; the code is the same.
"""

from __future__ import annotations

import contextlib
import os
import time
from typing import TYPE_CHECKING

import pytest

from benchmarks.replica import Server
from penstock.broker import EmbeddedKafka
from penstock.inference import health
from penstock.runtime.errors import Unavailable
from tests.inference.replicas import Asking, read_log, replica_of, score_of, until

if TYPE_CHECKING:
    from collections.abc import Iterator

pytestmark = pytest.mark.kafka

AWAY = 20.0 if os.environ.get("PENSTOCK_PROVE") else 3.0
"""Seconds."""
ROWS = 512
"""In a request, so that more is answered than the producer's buffer holds."""


@pytest.fixture
def embedded(tmp_path_factory: pytest.TempPathFactory) -> Iterator[EmbeddedKafka]:
    """A Kafka that may be killed."""
    with EmbeddedKafka(tmp_path_factory.mktemp("dark")) as embedded:
        yield embedded


def darkness(embedded: EmbeddedKafka, replica: Server, asking: Asking) -> None:
    """Answers with Kafka, without it, and with it again."""
    until(lambda: len(asking.answers) > 20)
    embedded.kill()
    before = len(asking.answers)
    time.sleep(AWAY)  # it is about being away for so long, and for longer than the buffer lasts
    until(lambda: (len(asking.answers) - before) * ROWS > 150_000)
    assert health.serving(replica.address)
    embedded.start()
    back = len(asking.answers)
    until(lambda: len(asking.answers) > back + 20)


def test_no_answer_changes_and_the_log_says_what_is_missing(embedded: EmbeddedKafka) -> None:
    with replica_of(embedded.bootstrap) as (registry, replica):
        with Asking(replica.address, registry.pipeline.name, in_flight=2, rows=ROWS) as asking:
            darkness(embedded, replica, asking)
        ids = asking.ids()

        def whole() -> bool:
            with contextlib.suppress(Unavailable):  # it has only just come back
                log = read_log(registry)
                return log.ids.total() + log.lost >= ids.total()
            return False

        until(whole, seconds=90)
        log = read_log(registry)
        assert replica.said("predictions_spooled")
        assert replica.said("predictions_unlogged_ended")

    assert not asking.failures
    assert {answer.scores for answer in asking.answers} == {(score_of(1),) * ROWS}
    assert {(answer.version, answer.epoch) for answer in asking.answers} == {(1, 1)}
    assert log.ids.keys() <= ids.keys()
    assert set(log.ids.values()) == {1}, "each at most once"
    missing = ids.keys() - log.ids.keys()
    assert len(missing) == log.lost > 0
    # And when: each that is missing was answered within a gap.
    came = {answer.id: answer.came for answer in asking.answers}
    for id_ in {row.partition("/")[0] for row in missing}:
        assert any(gap.since <= came[id_] <= gap.until + 1000 for gap in log.gaps)

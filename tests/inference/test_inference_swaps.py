"""New versions take over under load, in a real process on a real Kafka: no call is dropped, none is late.

PENSTOCK_PROVE=1 goes on for a minute; the code is the same.
"""

from __future__ import annotations

import os
import time
from typing import TYPE_CHECKING

import pytest

from penstock.contracts.records import Prediction
from tests.inference.replicas import Answered, Asking, model_of, read_log, replica_of, score_of, until

if TYPE_CHECKING:
    from benchmarks.replica import Registry

pytestmark = pytest.mark.kafka

PROVE = bool(os.environ.get("PENSTOCK_PROVE"))
SWAPPING = 60.0 if PROVE else 4.0
"""Seconds."""
PAUSE = 0.25
"""Seconds that a version answers before the next one is asked for."""


def swap(registry: Registry, asking: Asking) -> dict[int, int]:
    """A new version after the other while calls are in flight; epoch → champion."""
    assert registry.route is not None
    champions = {registry.route.epoch: registry.route.champion}
    ends = time.monotonic() + SWAPPING
    while time.monotonic() < ends:
        version = registry.route.champion + 1
        registry.register(version, model_of(version))
        # It is in the list before anybody can be answered by it.
        champions[registry.route.epoch + 1] = version
        epoch = registry.serve(version).epoch
        until(lambda epoch=epoch: asking.answers and asking.answers[-1].epoch == epoch)  # type: ignore[misc]  # a default, to bind it
        time.sleep(PAUSE)  # it is to answer some calls
    return champions


def by_a_version_routed_then(answers: list[Answered], champions: dict[int, int]) -> None:
    """Each by the champion of its epoch, and no answer by an older epoch than one that had come before it
    was asked for.
    """
    latest, done = 0, sorted(answers, key=lambda answer: answer.came)
    finished = iter(done)
    following = next(finished, None)
    for answer in sorted(answers, key=lambda answer: answer.sent):
        while following is not None and following.came < answer.sent:
            latest = max(latest, following.epoch)
            following = next(finished, None)
        assert answer.version == champions[answer.epoch]
        assert answer.scores == (score_of(answer.version),)
        assert answer.epoch >= latest, "an epoch that had ended"


def test_swaps_under_load_drop_nothing(kafka: str) -> None:
    with replica_of(kafka) as (registry, replica):
        with Asking(replica.address, registry.pipeline.name, in_flight=64) as asking:
            champions = swap(registry, asking)
        ids = asking.ids()
        until(lambda: read_log(registry).ids.keys() >= ids.keys())
        log = read_log(registry)

    assert not asking.failures
    assert len(champions) > (30 if PROVE else 3)
    assert len(asking.answers) == asking.asked
    assert set(ids.values()) == {1}
    by_a_version_routed_then(asking.answers, champions)
    assert {answer.epoch for answer in asking.answers} == set(champions)

    # And the log knows each of them, once, as it was answered.
    assert log.ids == ids
    assert not log.gaps
    spec = registry.pipeline
    rows = registry.codec.rows(Prediction, spec.name, spec.features_digest, spec.feature_names)
    logged = {head.id: (head.version, head.epoch) for head in map(rows.head, log.values)}
    assert logged == {answer.id: (answer.version, answer.epoch) for answer in asking.answers}

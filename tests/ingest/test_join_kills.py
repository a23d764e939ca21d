"""`kill -9` of a real ingest process, at random moments, while events and labels come: PENSTOCK_PROVE=1 kills
it fifty times over 200,000 events.
"""

from __future__ import annotations

import os
import random
import shutil
import time
from pathlib import Path

import pytest

from penstock.runtime.kafka import KafkaBroker
from tests.ingest.killing import Feed, Found, Ingest

PROVE = bool(os.environ.get("PENSTOCK_PROVE"))
KILLS, EVENTS = (50, 200_000) if PROVE else (3, 9_000)
YOUNG, BUSY = (0.0, 2.0), (0.0, 1.5)
"""Seconds that a process lives at least and at most: some from their start, most from their first work."""


@pytest.mark.timeout(1500 if PROVE else 280)
def test_a_process_that_is_killed_loses_and_doubles_nothing(kafka: str, prefix: str, tmp_path: Path) -> None:
    seed = int(os.environ.get("PENSTOCK_SEED") or random.SystemRandom().randrange(1 << 30))
    print(f"PENSTOCK_SEED={seed}")
    chance = random.Random(seed)  # noqa: S311 - of a test
    broker = KafkaBroker(kafka)
    feed = Feed(broker, prefix, EVENTS)
    found = Found(broker, feed)
    ingest = Ingest(kafka, prefix, tmp_path)
    began = time.monotonic()
    worked = 0
    try:
        for _ in range(KILLS):
            ingest.start()
            feed.write(EVENTS // KILLS)
            busy = chance.random() < 0.8
            if busy:
                found.wait_for_work(ingest)
            until = time.monotonic() + chance.uniform(*(BUSY if busy else YOUNG))
            while (left := until - time.monotonic()) > 0:
                found.read(min(left, 0.1))
            ingest.kill()
            worked += busy
            if chance.random() < 0.2:
                shutil.rmtree(ingest.state, ignore_errors=True)
        feed.write(EVENTS)
        ingest.start()
        found.wait(ingest)
        assert ingest.stop() == 0
        found.read(1.0)
        took, verdicts = time.monotonic() - began, sum(map(len, found.outcomes.values()))
        print(f"{KILLS} kills in {took:.0f} s, {worked} of them of processes at work")
        print(f"{EVENTS} events, {verdicts} outcomes, {len(found.labels)} labels")
        found.check()
    finally:
        ingest.close()
        found.close()
        feed.close()
        broker.close()

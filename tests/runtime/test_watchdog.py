"""A call that hangs in C ends the process; one that returns in time does not."""

from __future__ import annotations

import subprocess
import sys
import threading

from penstock.runtime.kafka.watchdog import HUNG, Watchdog


def test_a_call_in_time_is_left_alone() -> None:
    cried: list[str] = []
    dog = Watchdog(cried.append, look=0.01)

    for _ in range(3):
        with dog.expects("committing", seconds=60.0):
            threading.Event().wait(0.03)

    dog.close()
    assert cried == []


def test_a_call_that_hangs_is_noticed() -> None:
    cried: list[str] = []
    noticed = threading.Event()

    def cry(what: str) -> None:
        cried.append(what)
        noticed.set()

    dog = Watchdog(cry, look=0.01)
    with dog.expects("committing", seconds=0.05):
        assert noticed.wait(10)

    dog.close()
    assert cried == ["committing"]


def test_the_process_ends() -> None:
    script = (
        "import threading; from penstock.runtime.kafka.watchdog import Watchdog\n"
        "with Watchdog(look=0.01).expects('committing', seconds=0.05): threading.Event().wait(60)"
    )

    done = subprocess.run(
        [sys.executable, "-c", script], capture_output=True, text=True, timeout=60, check=False
    )

    assert done.returncode == HUNG
    assert "committing hangs in librdkafka" in done.stderr

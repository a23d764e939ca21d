"""A real server in another process, for all tests of the client."""

from __future__ import annotations

import json
import subprocess
import sys
import threading
import time
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from collections.abc import Iterator


class Serving:
    """The process, and what it would have logged."""

    def __init__(self) -> None:
        self._process = subprocess.Popen(
            [sys.executable, "-m", "tests.client.process"],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )
        assert self._process.stdout is not None
        self.address = self._process.stdout.readline().strip()
        if not self.address:
            self._process.communicate(timeout=30)
            raise AssertionError("it did not start: what it said is on stderr")
        self.logged: list[tuple[str, dict[str, str], int]] = []
        self._reading = threading.Thread(target=self._read, daemon=True)
        self._reading.start()

    def _read(self) -> None:
        assert self._process.stdout is not None
        for line in self._process.stdout:
            id_, parameters, count = json.loads(line)
            self.logged.append((id_, parameters, count))

    def of(self, *ids: str) -> list[tuple[str, dict[str, str], int]]:
        """What was logged of these ids; waits until there is something of each."""
        deadline = time.monotonic() + 20
        while True:
            found = [each for each in self.logged if each[0] in ids]
            if {each[0] for each in found} == set(ids):
                return found
            assert time.monotonic() < deadline, f"not logged within 20 s: {ids}"
            time.sleep(0.005)

    def close(self) -> None:
        assert self._process.stdin is not None
        self._process.stdin.close()
        assert self._process.wait(30) == 0
        self._reading.join(10)
        assert self._process.stdout is not None
        self._process.stdout.close()


@pytest.fixture(scope="session")
def serving() -> Iterator[Serving]:
    process = Serving()
    yield process
    process.close()

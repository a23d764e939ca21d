"""The demo while its processes are killed: conservation stays exact.

A few days are enough to kill each process once, and the broker, one right after the other. PENSTOCK_PROVE=1
replays every flight and goes on killing to the end, each time the replay has moved on.
"""

from __future__ import annotations

import itertools
import json
import os
import re
import signal
import subprocess
import sys
import threading
from typing import TYPE_CHECKING, Any

import pytest

from penstock.cli.process import Process
from penstock.cli.services import SERVICES
from penstock.cli.stack import BROKER
from penstock.cli.state import State, read_state

if TYPE_CHECKING:
    from pathlib import Path

PROVE = bool(os.environ.get("PENSTOCK_PROVE"))
DAYS = 240 if PROVE else 35
EVERY = 1 if PROVE else 3
VICTIMS = [*(service.name for service in SERVICES), BROKER]
PATIENCE = 120.0 if not PROVE else 600.0
ENDING = "waiting until everything has come home"


class Watched:
    """A demo in a process of its own, with the lines of its stderr."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.lines: list[str] = []
        self._came = threading.Condition()
        self._ended = False
        self.process = subprocess.Popen(
            [
                sys.executable,
                "-m",
                "penstock",
                "demo",
                "--days",
                str(DAYS),
                "--every",
                str(EVERY),
                "--data",
                str(folder),
                "-o",
                "json",
            ],
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        self._reader = threading.Thread(target=self._read)
        self._reader.start()

    def _read(self) -> None:
        assert self.process.stderr is not None
        with self.process.stderr as pipe:
            for line in pipe:
                with self._came:
                    self.lines.append(line.rstrip())
                    self._came.notify_all()
        with self._came:
            self._ended = True
            self._came.notify_all()

    def said(self, text: str) -> bool:
        with self._came:
            return self._said(text)

    def _said(self, text: str) -> bool:
        return any(text in line for line in self.lines)

    def wait_for(self, text: str) -> None:
        """Wait for a line with this text, as long as there may be one."""
        with self._came:
            self._came.wait_for(lambda: self._said(text) or self._ended, PATIENCE)
            assert self._said(text), self.lines[-20:]

    def state(self) -> State:
        """What runs; a demo that has ended has none."""
        state = read_state(self.folder)
        assert state is not None, self.lines[-20:]
        return state

    def events(self) -> int:
        """How many events have been sent, by the last line that says so."""
        with self._came:
            return self._events()

    def wait_for_more(self, than: int) -> None:
        """Wait until more events have been sent, or all."""
        with self._came:
            self._came.wait_for(lambda: self._events() > than or self._said(ENDING) or self._ended, PATIENCE)
            assert not self._ended, self.lines[-20:]

    def _events(self) -> int:
        found = [match for line in self.lines if (match := re.search(r": ([\d,]+) of [\d,]+ events", line))]
        return int(found[-1][1].replace(",", "")) if found else 0

    def end(self) -> tuple[int, dict[str, Any]]:
        assert self.process.stdout is not None
        with self.process.stdout as pipe:
            said = pipe.read()
        code = self.process.wait(PATIENCE)
        self._reader.join(PATIENCE)
        return code, json.loads(said or "{}")


def running(demo: Watched, name: str, *, other_than: Process | None = None) -> Process:
    """The process of this name, once there is one (another one)."""
    patience = threading.Event()
    for _ in range(int(PATIENCE / 0.05)):
        process = demo.state().processes[name].process
        if process is not None and process != other_than:
            return process
        patience.wait(0.05)  # the state is a file: looking is the only way to know
    raise AssertionError((name, demo.lines))


def kill(demo: Watched, name: str) -> Process:
    """SIGKILL a process, and wait until the supervisor has another one; the new one."""
    before = running(demo, name)
    before.signal(signal.SIGKILL)
    assert before.wait(PATIENCE)
    return running(demo, name, other_than=before)


@pytest.mark.e2e
@pytest.mark.timeout(3000 if PROVE else 280)
def test_conservation_is_exact_while_every_process_is_killed(tmp_path: Path) -> None:
    demo = Watched(tmp_path)
    kills = 0
    try:
        demo.wait_for("replaying")
        everyone = [it.process for it in demo.state().processes.values() if it.process]
        for name in itertools.cycle(VICTIMS) if PROVE else VICTIMS:
            if demo.said(ENDING):
                break
            sent = demo.events()
            everyone.append(kill(demo, name))
            kills += 1
            if PROVE:
                demo.wait_for_more(sent)
        code, report = demo.end()
    finally:
        demo.process.kill()
    print(f"{kills} kills")
    assert kills >= len(VICTIMS), "the replay was over before everyone had been killed: give it more days"
    assert code == 0, (report, demo.lines[-20:])
    assert report["conserved"] is True
    assert report["restarts"] >= kills
    assert report["events"] == report["features"] == report["predictions"]
    assert report["dead_letters"] == 0
    assert report["predictions"] == report["outcomes"] + report["waiting"] + report["never_labelled"]
    assert report["grpc"]["asked"] == report["grpc"]["answered"] == report["grpc"]["predictions"] > 0
    assert not [process for process in everyone if process.alive()]

"""The demo while its processes are killed: nothing is lost, and the loop decides what it would have decided.

A slice of two weeks and a half, with a policy that is quicker than the example's, is enough for a version to
go the whole way and be refreshed; each process is killed once, and the broker, at another step of that way.
PENSTOCK_PROVE=1 tells the whole story undisturbed and killed, and then replays every flight and goes on
killing to the end, each time the replay has moved on.
"""

from __future__ import annotations

import itertools
import json
import os
import re
import shutil
import signal
import subprocess
import sys
import threading
from typing import TYPE_CHECKING, Any

import pytest
import yaml

from penstock.cli.demo import example
from penstock.cli.process import Process
from penstock.cli.services import SERVICES
from penstock.cli.stack import BROKER
from penstock.cli.state import State, read_state

if TYPE_CHECKING:
    from pathlib import Path

PROVE = bool(os.environ.get("PENSTOCK_PROVE"))
VICTIMS = [*(service.name for service in SERVICES), BROKER]
PATIENCE = 120.0 if not PROVE else 600.0
ENDING = "waiting until everything has come home"
DAYS = 240 if PROVE else 17
QUICK = {"first_training": "5d", "canary": {"shares": [0.1, 0.5], "each": "1d"}}
EVERY = "6d"
"""Between two versions of a lane."""
BLOWS = (
    ("replaying", ["ingest"]),
    ("training of lane", ["trainer", "registry"]),
    ("shadow: version 1", ["inference"]),
    ("answers 10%", ["monitor"]),
    ("answers 50%", ["governor"]),
    ("promotion: version 1", [BROKER]),
)
"""What is said, and who is killed then."""


class Watched:
    """A demo in a process of its own, with the lines of its stderr."""

    def __init__(self, folder: Path, *options: str) -> None:
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
                *options,
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


def killed_on(demo: Watched) -> list[Process]:
    """Kill one after the other, each time the replay has moved on, to its end; the processes that follow."""
    after = []
    for name in itertools.cycle(VICTIMS):
        if demo.said(ENDING):
            break
        sent = demo.events()
        after.append(kill(demo, name))
        demo.wait_for_more(sent)
    return after


def slice_of(folder: Path) -> list[str]:
    """What to replay: the whole story, or a short one with a quicker policy."""
    if PROVE:
        return ["--days", str(DAYS)]
    folder.mkdir()
    for file in example().glob("*.avsc"):
        shutil.copy(file, folder)
    spec = yaml.safe_load((example() / "flights.yaml").read_text(encoding="utf-8"))
    spec["policy"] |= QUICK
    for lane in spec["lanes"].values():
        lane["every"] = EVERY
    (folder / "flights.yaml").write_text(yaml.safe_dump(spec, sort_keys=False), encoding="utf-8")
    return ["--days", str(DAYS), "--spec", str(folder / "flights.yaml")]


def decided(report: dict[str, Any]) -> list[tuple[Any, ...]]:
    """What was decided, in which order."""
    return [(each["type"], each["version"], each["lane"], each["event_time"]) for each in report["decisions"]]


def conserved(report: dict[str, Any]) -> bool:
    """Whether every record is accounted for."""
    grpc = report["grpc"]
    return (
        report["conserved"] is True
        and report["events"] == report["features"] == report["predictions"]
        and report["dead_letters"] == 0
        and report["predictions"] == report["outcomes"] + report["waiting"] + report["never_labelled"]
        and grpc["asked"] == grpc["answered"] == grpc["predictions"] > 0
    )


@pytest.mark.e2e
@pytest.mark.timeout(1800 if PROVE else 400)
def test_whoever_is_killed_the_same_is_decided(tmp_path: Path) -> None:
    options = slice_of(tmp_path / "spec")
    undisturbed = Watched(tmp_path / "undisturbed", *options)
    try:
        code, calm = undisturbed.end()
    finally:
        undisturbed.process.kill()
    assert code == 0, (calm, undisturbed.lines[-20:])
    assert conserved(calm)
    assert calm["restarts"] == 0
    assert calm["went_the_whole_way"]
    assert calm["taken_back"] or not PROVE

    killed = Watched(tmp_path / "killed", *options)
    everyone = []
    try:
        for said, victims in BLOWS:
            killed.wait_for(said)
            everyone += [kill(killed, name) for name in victims]
        if PROVE:
            everyone += killed_on(killed)
        code, hurt = killed.end()
    finally:
        killed.process.kill()
    assert code == 0, (hurt, killed.lines[-20:])
    assert conserved(hurt)
    assert hurt["restarts"] >= len(VICTIMS)
    assert {name for _, names in BLOWS for name in names} == set(VICTIMS)
    assert decided(hurt) == decided(calm)
    assert hurt["replay"]["identical"]
    assert not [process for process in everyone if process.alive()]


@pytest.mark.e2e
@pytest.mark.skipif(not PROVE, reason="every flight takes many minutes: PENSTOCK_PROVE=1")
@pytest.mark.timeout(3000)
def test_conservation_is_exact_while_every_process_is_killed_again_and_again(tmp_path: Path) -> None:
    demo = Watched(tmp_path, "--every", "1")
    try:
        demo.wait_for("replaying")
        everyone = [it.process for it in demo.state().processes.values() if it.process]
        again = killed_on(demo)
        everyone += again
        code, report = demo.end()
    finally:
        demo.process.kill()
    kills = len(again)
    print(f"{kills} kills")
    assert kills >= len(VICTIMS)
    assert code == 0, (report, demo.lines[-20:])
    assert conserved(report)
    assert report["restarts"] >= kills
    assert not [process for process in everyone if process.alive()]

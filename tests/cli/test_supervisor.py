"""The supervisor with real child processes: they die, hang and are killed."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
import time
from typing import TYPE_CHECKING

import pytest

from penstock.cli.process import Process
from penstock.cli.state import STATE_FILE, Running, State, read_state, remove_state, write_state
from penstock.cli.supervisor import Backoff, Child, Status, Supervisor

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping
    from pathlib import Path

SOON = 20.0  # seconds: only ever waited for in full when something is broken

SERVES = "import signal, time; print('up', flush=True); signal.pause()"
SERVES_POLITELY = """
import signal, sys
signal.signal(signal.SIGTERM, lambda *_: (print("bye", flush=True), sys.exit(0)))
print("up", flush=True)
while True: signal.pause()
"""
IGNORES_SIGTERM = """
import signal
signal.signal(signal.SIGTERM, signal.SIG_IGN)
print("up", flush=True)
while True: signal.pause()
"""
LEAVES_A_CHILD = """
import signal, subprocess, sys
child = subprocess.Popen([sys.executable, "-c", "import signal\\nwhile True: signal.pause()"])
print(child.pid, flush=True)
while True: signal.pause()
"""


class Lines:
    """A log that tests wait on."""

    def __init__(self) -> None:
        self.lines: list[tuple[str, str]] = []
        self._changed = threading.Condition()

    def __call__(self, name: str, line: str) -> None:
        with self._changed:
            self.lines.append((name, line))
            self._changed.notify_all()

    def wait_for(self, name: str, text: str, *, times: int = 1) -> str:
        """The line of that process with that text, the so-manyeth time it comes."""

        def found() -> list[str]:
            return [line for who, line in self.lines if who == name and text in line]

        with self._changed:
            assert self._changed.wait_for(lambda: len(found()) >= times, SOON), self.lines
            return found()[times - 1]


@pytest.fixture
def lines() -> Lines:
    return Lines()


@pytest.fixture
def supervisor(lines: Lines) -> Iterator[Supervisor]:
    with Supervisor(log=lines, backoff=Backoff(first=0.01, most=0.05)) as it:
        yield it


def toy(name: str, code: str, *, grace: float = SOON, **env: str) -> Child:
    return Child(name=name, argv=(sys.executable, "-c", code), env={**os.environ, **env}, grace=grace)


def process(supervisor: Supervisor, name: str) -> Process:
    status = supervisor.states()[name]
    assert status.process is not None
    return status.process


def test_a_child_killed_with_sigkill_is_started_again(supervisor: Supervisor, lines: Lines) -> None:
    supervisor.start(toy("toy", SERVES))
    lines.wait_for("toy", "up")
    first = process(supervisor, "toy")

    os.kill(first.pid, signal.SIGKILL)

    lines.wait_for("toy", "up", times=2)
    assert supervisor.wait_until(lambda states: states["toy"].restarts == 1, SOON)
    status = supervisor.states()["toy"]
    assert status.last_exit == -signal.SIGKILL
    assert status.process not in {None, first}
    assert lines.wait_for("toy", "killed by SIGKILL; starting it again")


def test_a_child_that_ends_by_itself_is_started_again_and_its_exit_code_kept(
    supervisor: Supervisor, lines: Lines
) -> None:
    supervisor.start(toy("toy", "import sys; print('short', flush=True); sys.exit(3)"))
    lines.wait_for("toy", "short", times=3)
    assert supervisor.states()["toy"].last_exit == 3
    assert lines.wait_for("toy", "ended with exit code 3")


def test_children_get_their_environment_and_both_of_their_streams_are_logged(
    supervisor: Supervisor, lines: Lines
) -> None:
    code = "import os, sys, signal; print(os.environ['TOY'], file=sys.stderr, flush=True); signal.pause()"
    supervisor.start(toy("toy", code, TOY="from the environment"))
    lines.wait_for("toy", "from the environment")


def test_a_command_that_cannot_be_started_says_so(supervisor: Supervisor, lines: Lines) -> None:
    supervisor.start(Child(name="toy", argv=("/no/such/program",)))
    assert lines.wait_for("toy", "No such file or directory")


def test_groups_stop_in_the_opposite_order_and_politely(lines: Lines) -> None:
    with Supervisor(log=lines) as supervisor:
        supervisor.start(toy("broker", SERVES_POLITELY))
        lines.wait_for("broker", "up")
        supervisor.start(toy("one", SERVES_POLITELY), toy("two", SERVES_POLITELY))
        lines.wait_for("one", "up")
        lines.wait_for("two", "up")
        children = [process(supervisor, name) for name in ("broker", "one", "two")]
    goodbyes = [name for name, line in lines.lines if line == "bye"]
    assert sorted(goodbyes[:2]) == ["one", "two"]
    assert goodbyes[2:] == ["broker"]
    assert not any(child.alive() for child in children)
    assert not any("again" in line for _, line in lines.lines)


def test_what_ignores_sigterm_is_killed_after_its_grace(lines: Lines) -> None:
    with Supervisor(log=lines) as supervisor:
        supervisor.start(toy("deaf", IGNORES_SIGTERM, grace=0.1))
        lines.wait_for("deaf", "up")
        deaf = process(supervisor, "deaf")
    assert not deaf.alive()
    assert lines.wait_for("deaf", "killed")


def test_closing_during_a_back_off_does_not_wait_for_it(lines: Lines) -> None:
    with Supervisor(log=lines, backoff=Backoff(first=600)) as supervisor:
        supervisor.start(toy("toy", "raise SystemExit(1)"))
        lines.wait_for("toy", "starting it again in 600.0 s")
        began = time.monotonic()
    assert time.monotonic() - began < SOON


def test_what_a_dead_child_left_behind_dies_with_it(supervisor: Supervisor, lines: Lines) -> None:
    supervisor.start(toy("toy", LEAVES_A_CHILD))
    orphan = Process.of(int(lines.wait_for("toy", "")))
    os.kill(process(supervisor, "toy").pid, signal.SIGKILL)
    assert orphan.wait(SOON)


def test_every_change_is_told_in_order(lines: Lines) -> None:
    told: list[tuple[bool, int]] = []

    def changed(states: Mapping[str, Status]) -> None:
        told.append((states["toy"].process is not None, states["toy"].restarts))

    with Supervisor(log=lines, changed=changed, backoff=Backoff(first=0.01)) as supervisor:
        supervisor.start(toy("toy", SERVES))
        lines.wait_for("toy", "up")
        os.kill(process(supervisor, "toy").pid, signal.SIGKILL)
        lines.wait_for("toy", "up", times=2)
        assert supervisor.wait_until(lambda states: states["toy"].process is not None, SOON)
    assert told == [(True, 0), (False, 0), (True, 1), (False, 1)]


OUTER = """
import signal, sys
from penstock.cli.supervisor import Child, Supervisor
supervisor = Supervisor(log=lambda name, line: print(name, line, flush=True))
supervisor.start(Child(name="toy", argv=(sys.executable, "-c", sys.argv[1])))
assert supervisor.wait_until(lambda states: "toy" in states, 20)
while True: signal.pause()
"""


@pytest.mark.skipif(sys.platform != "linux", reason="only Linux ends children with their parent")
def test_nothing_is_left_running_when_the_supervisor_is_killed() -> None:
    code = "import os, signal; print(os.getpid(), flush=True); signal.pause()"
    with subprocess.Popen([sys.executable, "-c", OUTER, code], stdout=subprocess.PIPE, text=True) as outer:
        assert outer.stdout is not None
        child = Process.of(int(outer.stdout.readline().split()[1]))
        assert child.alive()
        outer.kill()
        assert child.wait(SOON)


TOLD = """
import sys
from penstock.cli.interrupts import Terminated, forever, terminable
from penstock.cli.supervisor import Child, Supervisor
log = lambda name, line: print(line, flush=True)
toy = Child(name="toy", argv=(sys.executable, "-c", sys.argv[1]), grace=600)
try:
    with terminable(), Supervisor(log=log) as supervisor:
        supervisor.start(toy)
        forever()
except Terminated:
    sys.exit(7)
except KeyboardInterrupt:
    sys.exit(8)
"""


def told(code: str) -> tuple[subprocess.Popen[str], Process]:
    """A supervisor in a process of its own, and its child, which has said its pid."""
    outer = subprocess.Popen([sys.executable, "-c", TOLD, code], stdout=subprocess.PIPE, text=True)
    assert outer.stdout is not None
    return outer, Process.of(int(outer.stdout.readline()))


SAYS_ITS_PID = "import os, signal; print(os.getpid(), flush=True); signal.pause()"
SAYS_ITS_PID_AND_IS_DEAF = """
import os, signal
def deaf(*_): print("no", flush=True)
signal.signal(signal.SIGTERM, deaf)
print(os.getpid(), flush=True)
while True: signal.pause()
"""


@pytest.mark.parametrize(("number", "code"), [(signal.SIGTERM, 7), (signal.SIGHUP, 7), (signal.SIGINT, 8)])
def test_a_signal_stops_everything_in_good_order(number: signal.Signals, code: int) -> None:
    outer, child = told(SAYS_ITS_PID)
    with outer:
        outer.send_signal(number)
        assert outer.wait(SOON) == code
        assert not child.alive()


def test_a_second_signal_does_not_wait_for_what_does_not_stop() -> None:
    outer, child = told(SAYS_ITS_PID_AND_IS_DEAF)
    with outer:
        outer.send_signal(signal.SIGINT)
        assert outer.stdout is not None
        assert outer.stdout.readline() == "no\n"
        outer.send_signal(signal.SIGINT)
        assert outer.wait(SOON) == 8
        assert not child.alive()


def test_a_pid_is_not_mistaken_for_its_namesake() -> None:
    me = Process.of(os.getpid())
    assert me.alive()
    if me.started is not None:
        assert not Process(pid=me.pid, started=me.started + 1).alive()
    assert not Process(pid=-1).alive()
    with subprocess.Popen([sys.executable, "-c", ""]) as short:
        gone = Process.of(short.pid)
        short.wait()
    assert not gone.alive()
    assert gone.wait(SOON)


def test_state_files_are_read_back_and_damaged_ones_count_as_none(tmp_path: Path) -> None:
    state = State(
        supervisor=Process(pid=1, started=2),
        bootstrap="127.0.0.1:9092",
        grpc="127.0.0.1:8001",
        processes={"ingest": Running(process=None, restarts=3)},
    )
    assert read_state(tmp_path) is None
    write_state(tmp_path, state)
    assert read_state(tmp_path) == state
    (tmp_path / STATE_FILE).write_text('{"supervisor": 1')
    assert read_state(tmp_path) is None
    remove_state(tmp_path)
    assert not list(tmp_path.iterdir())

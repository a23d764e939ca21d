"""Keeps processes running: starts them, starts them again when they die, and leaves nothing behind.

One thread per child starts it, waits for its end and starts it again after a back-off. The thread that
starts a child also outlives it, as the leash demands (see penstock.broker.leash: the kernel ends the child
with the thread that started it), so that nothing is left running even if the supervisor itself is killed.
Every child leads a session of its own, so that Ctrl-C reaches the supervisor alone, and what a dead child
has left in its process group is killed before the next start.
"""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import sys
import threading
import time
from dataclasses import dataclass
from typing import TYPE_CHECKING, Self

from penstock.broker import leashed
from penstock.cli.process import Process

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    Log = Callable[[str, str], None]
    """Called with a child's name and one line of its output, from the child's own threads."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Backoff:
    """How long to wait before a dead child is started again."""

    first: float = 0.2
    factor: float = 2.0
    most: float = 10.0
    settled: float = 10.0
    """A child that was up for so many seconds has settled: its next death counts as the first."""

    def delay(self, *, previous: float | None, uptime: float) -> float:
        """Seconds to wait after a life of `uptime` seconds, `previous` being the wait before that life.

        >>> backoff = Backoff(first=0.2, factor=2, most=0.5, settled=10)
        >>> backoff.delay(previous=None, uptime=1), backoff.delay(previous=0.2, uptime=1)
        (0.2, 0.4)
        >>> backoff.delay(previous=0.4, uptime=1), backoff.delay(previous=0.4, uptime=60)
        (0.5, 0.2)
        """
        if previous is None or uptime >= self.settled:
            return self.first
        return min(previous * self.factor, self.most)


@dataclass(frozen=True, slots=True, kw_only=True)
class Child:
    """What to keep running."""

    name: str
    argv: tuple[str, ...]
    env: Mapping[str, str] | None = None
    """Its whole environment; None for the supervisor's own."""
    grace: float = 10.0
    """Seconds between SIGTERM and SIGKILL when it is stopped."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Status:
    """A child as it is now."""

    process: Process | None
    """None while it is not running."""
    restarts: int = 0
    last_exit: int | None = None
    """How it last ended: an exit code, or minus the number of the signal that killed it."""


class Supervisor:
    """Runs children in groups, each depending on those before it, and stops them in the opposite order.

    Args:
        log: gets every line the children print, and what happens to them.
        changed: called, one call at a time, with all states whenever one changes.
        backoff: the pauses between restarts.
    """

    def __init__(
        self,
        *,
        log: Log,
        changed: Callable[[Mapping[str, Status]], None] = lambda _states: None,
        backoff: Backoff | None = None,
    ) -> None:
        self._log = log
        self._changed = changed
        self._backoff = backoff or Backoff()
        self._groups: list[list[_Keeper]] = []
        self._states: dict[str, Status] = {}
        self._moved = threading.Condition()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def start(self, *children: Child) -> None:
        """Start a group of children and keep them running until `close`."""
        group = [_Keeper(child, self._backoff, self._log, self._publish) for child in children]
        self._groups.append(group)
        for keeper in group:
            keeper.start()

    def close(self) -> None:
        """Stop every child, the group started last first: SIGTERM, its grace, then SIGKILL.

        An interruption while waiting shortens the grace of everything to nothing.
        """
        try:
            while self._groups:
                for keeper in self._groups[-1]:
                    keeper.ask()
                for keeper in self._groups[-1]:
                    keeper.finish()
                self._groups.pop()
        except BaseException:
            for group in reversed(self._groups):
                for keeper in group:
                    keeper.ask()
                    keeper.kill()
            for group in reversed(self._groups):
                for keeper in group:
                    keeper.join()
            self._groups.clear()
            raise

    def states(self) -> dict[str, Status]:
        """Every child as it is now."""
        with self._moved:
            return dict(self._states)

    def wait_until(self, holds: Callable[[Mapping[str, Status]], bool], timeout: float) -> bool:
        """Wait until the states satisfy a condition; whether they do after at most `timeout` seconds."""
        with self._moved:
            return self._moved.wait_for(lambda: holds(self._states), timeout)

    def _publish(self, name: str, status: Status) -> None:
        with self._moved:
            self._states[name] = status
            self._changed(dict(self._states))
            self._moved.notify_all()


class _Keeper(threading.Thread):
    """Keeps one child running."""

    def __init__(
        self, child: Child, backoff: Backoff, log: Log, publish: Callable[[str, Status], None]
    ) -> None:
        # A daemon: should the main thread die of a bug, the process ends, and the kernel ends the children.
        super().__init__(name=f"keep {child.name}", daemon=True)
        self._child = child
        self._backoff = backoff
        self._log = log
        self._publish = publish
        self._asked = threading.Event()
        self._lock = threading.Lock()
        """Held while the pid comes and goes, so that a signal never meets somebody else's process."""
        self._pid: int | None = None

    def run(self) -> None:
        restarts, pause, last_exit = 0, None, None
        while True:
            began = time.monotonic()
            popen = self._spawn()
            if popen is None:
                break
            self._publish(
                self._child.name,
                Status(process=Process.of(popen.pid), restarts=restarts, last_exit=last_exit),
            )
            reader = threading.Thread(target=self._read, args=(popen,), daemon=True)
            reader.start()
            last_exit = self._await_end(popen)
            reader.join(timeout=2)  # its group is dead: only what left the group could hold the pipe
            pause = self._backoff.delay(previous=pause, uptime=time.monotonic() - began)
            if self._asked.is_set():
                break
            self._publish(self._child.name, Status(process=None, restarts=restarts, last_exit=last_exit))
            self._log(self._child.name, f"{_ending(last_exit)}; starting it again in {pause:.1f} s")
            if self._asked.wait(pause):
                break
            restarts += 1
        self._publish(self._child.name, Status(process=None, restarts=restarts, last_exit=last_exit))

    def ask(self) -> None:
        """Ask the child to end and start it no more."""
        self._asked.set()
        self._signal(signal.SIGTERM)

    def finish(self) -> None:
        """Wait for the end of the child, for as long as its grace, then make an end."""
        self.join(self._child.grace)
        if self.is_alive():
            self._log(self._child.name, f"has not stopped within {self._child.grace:.0f} s: killed")
            self.kill()
            self.join()

    def kill(self) -> None:
        """SIGKILL the child and all of its process group."""
        self._signal(signal.SIGKILL)

    def _signal(self, number: signal.Signals) -> None:
        with self._lock:
            if self._pid is not None:
                if number is signal.SIGKILL:
                    _kill_group(self._pid)
                os.kill(self._pid, number)  # reaped only under the lock: it is there, if only as a zombie

    def _spawn(self) -> subprocess.Popen[bytes] | None:
        with self._lock:
            if self._asked.is_set():
                return None
            popen = subprocess.Popen(  # noqa: S603 - our own command line, no shell
                leashed(self._child.argv),
                env=self._child.env,
                stdin=subprocess.DEVNULL,
                stdout=subprocess.PIPE,
                stderr=subprocess.STDOUT,
                start_new_session=True,
            )
            self._pid = popen.pid
            return popen

    def _await_end(self, popen: subprocess.Popen[bytes]) -> int:
        # Wait, but leave the zombie: while it is there its pid names its process group and nothing else.
        if sys.platform != "darwin":  # which cannot: there the pid is free for an instant before the lock
            os.waitid(os.P_PID, popen.pid, os.WEXITED | os.WNOWAIT)
        else:
            popen.wait()
        with self._lock:
            _kill_group(popen.pid)
            self._pid = None
            return popen.wait()

    def _read(self, popen: subprocess.Popen[bytes]) -> None:
        assert popen.stdout is not None  # noqa: S101 - it was asked for above
        with popen.stdout as pipe:
            for line in pipe:
                self._log(self._child.name, line.decode("utf-8", errors="replace").rstrip("\r\n"))


def _kill_group(pid: int) -> None:
    with contextlib.suppress(ProcessLookupError, PermissionError):  # macOS: EPERM for a group of zombies
        os.killpg(pid, signal.SIGKILL)


def _ending(code: int) -> str:
    if code < 0:
        return f"killed by {signal.Signals(-code).name}"
    return f"ended with exit code {code}"

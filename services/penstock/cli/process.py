"""Processes by pid and start time, so that a pid is never taken for its later namesake."""

from __future__ import annotations

import contextlib
import os
import select
import signal
import sys
import time
from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True, slots=True, kw_only=True)
class Process:
    """One process of this machine and boot."""

    pid: int
    started: int | None = None
    """Clock ticks from boot to its start; None where the system does not tell (then the pid alone counts)."""

    @classmethod
    def of(cls, pid: int) -> Process:
        """The process that has this pid now.

        >>> Process.of(os.getpid()).alive()
        True
        """
        return cls(pid=pid, started=_start_ticks(pid))

    def alive(self) -> bool:
        """Whether this very process still runs (a zombie does not)."""
        if self.pid <= 0:
            return False
        try:
            os.kill(self.pid, 0)
        except ProcessLookupError:
            return False
        except PermissionError:  # somebody else's: not one of ours
            return False
        return self.started is None or self.started == _start_ticks(self.pid)

    def signal(self, number: signal.Signals) -> None:
        """Send a signal, if it is still there to get it."""
        if self.alive():
            with contextlib.suppress(ProcessLookupError):
                os.kill(self.pid, number)

    def kill_group(self) -> None:
        """SIGKILL it and what it started in its process group."""
        if self.alive():
            with contextlib.suppress(ProcessLookupError, PermissionError):
                os.killpg(self.pid, signal.SIGKILL)
            with contextlib.suppress(ProcessLookupError):
                os.kill(self.pid, signal.SIGKILL)

    def wait(self, timeout: float) -> bool:
        """Wait at most so many seconds for its end; whether it has ended. It need not be a child of ours."""
        deadline = time.monotonic() + timeout
        if sys.platform == "linux":
            try:
                descriptor = os.pidfd_open(self.pid)
            except ProcessLookupError:
                return True
            try:
                while self.alive() and (left := deadline - time.monotonic()) > 0:
                    select.select([descriptor], [], [], left)
            finally:
                os.close(descriptor)
        else:  # no way to wait for somebody else's child: look at it now and then
            while self.alive() and time.monotonic() < deadline:
                select.select([], [], [], 0.05)
        return not self.alive()


def _start_ticks(pid: int) -> int | None:
    """Field 22 of /proc/PID/stat; the command in field 2 may hold blanks: count from its closing bracket."""
    try:
        fields = (
            Path(f"/proc/{pid}/stat").read_text(encoding="utf-8", errors="replace").rpartition(")")[2].split()
        )
    except OSError:
        return None
    return None if fields[0] == "Z" else int(fields[19])

"""A process that ends when its parent does, however the parent ends.

`leashed` wraps a command line: the wrapper asks the kernel (Linux: prctl PR_SET_PDEATHSIG) to send it SIGTERM
when its parent dies, then *becomes* the command, which keeps that promise, the process id and the standard
streams. It is a wrapper rather than a ``preexec_fn``, which is not safe in a process with threads. Where the
kernel has no such call (macOS) the command runs without a leash.

The kernel means the parent's *thread*: start a leashed process from one that lives as long as the process
should, best the main one.
"""

from __future__ import annotations

import ctypes
import os
import signal
import sys
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Sequence

PR_SET_PDEATHSIG = 1  # linux/prctl.h


def leashed(argv: Sequence[str]) -> tuple[str, ...]:
    """The command line that runs ``argv`` as a child which ends with this process.

    >>> leashed(["/bin/cat"])[-1]
    '/bin/cat'
    """
    # -I -S: neither the environment nor site-packages is read, so it takes 15 ms.
    return (sys.executable, "-I", "-S", __file__, str(os.getpid()), *argv)


def main(parent: int, command: Sequence[str]) -> None:
    """Put this process on the leash of its parent, then become the command."""
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, signal.SIGTERM, 0, 0, 0)
    if os.getppid() != parent:  # it died before the kernel was asked
        sys.exit(1)
    os.execv(command[0], list(command))  # noqa: S606 - no shell: becoming the command is the point


if __name__ == "__main__":
    main(int(sys.argv[1]), sys.argv[2:])

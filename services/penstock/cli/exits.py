"""How a verb ends: the exit codes, which scripts may rely on, and the one error that carries them."""

from __future__ import annotations

from enum import IntEnum


class Exit(IntEnum):
    """The exit codes of every verb; they never change their meaning."""

    OK = 0
    FAILED = 1
    """Unhealthy, or the thing asked for did not succeed."""
    USAGE = 2
    INVALID = 3
    """A pipeline or configuration file is wrong."""
    NOT_FOUND = 4
    CONFLICT = 5
    UNREACHABLE = 6
    """No broker (or server) answers at the address."""
    TIMEOUT = 7
    REFUSED = 8
    """A policy says no."""
    INTERRUPTED = 130


class Failure(Exception):  # noqa: N818 - the end of a verb rather than a programming error
    """Ends a verb with one clear message on stderr and this exit code; no traceback without ``--debug``.

    Args:
        message: what is wrong and what to do about it, for the person at the terminal; usually one line.
        code: one of `Exit`.

    >>> Failure("model 'flights' has no version 7", Exit.NOT_FOUND).code
    <Exit.NOT_FOUND: 4>
    """

    def __init__(self, message: str, code: Exit = Exit.FAILED) -> None:
        super().__init__(message)
        self.code = code

"""Being told to stop: Ctrl-C by a person, SIGTERM by a program, SIGHUP by a terminal that closes."""

from __future__ import annotations

import signal
from contextlib import contextmanager
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator
    from types import FrameType


class Terminated(BaseException):
    """Asked to stop by SIGTERM or SIGHUP; unwinds as KeyboardInterrupt does, so ``with`` blocks clean up."""


@contextmanager
def terminable() -> Iterator[None]:
    """Within it, SIGTERM and SIGHUP raise `Terminated` in the main thread, as Ctrl-C does its own."""

    def stop(_number: int, _frame: FrameType | None) -> None:
        raise Terminated

    before = {number: signal.signal(number, stop) for number in (signal.SIGTERM, signal.SIGHUP)}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def forever() -> None:
    """Wait until a signal raises."""
    while True:
        signal.pause()

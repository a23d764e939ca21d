"""The child of `Worker`: ``python -m penstock.trainer.child`` takes jobs from stdin and answers on stdout.

It ends when stdin does, even in the middle of a job or of its own start: then whoever asked is gone.
"""

from __future__ import annotations

import os
import queue
import signal
import threading
from collections.abc import Callable
from typing import BinaryIO

import numpy as np

from penstock.kernel.units import EvidenceUnit
from penstock.trainer.request import Failed, Request, Result
from penstock.trainer.wire import read_request, write_outcome

Attempt = Callable[[Request], Result | Failed]


def serve(load: Callable[[], Attempt]) -> None:
    """Answer job after job until there is nobody to answer.

    Args:
        load: takes its time to get ready, and gives what does a job.
    """
    # Whoever asked decides when this ends, also when somebody presses Ctrl-C in their terminal.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    answers = os.fdopen(os.dup(1), "wb")
    os.dup2(2, 1)  # what a library prints is no answer
    jobs: queue.SimpleQueue[Request] = queue.SimpleQueue()
    # Not sys.stdin: the interpreter cannot end properly while a thread waits for that.
    asked = os.fdopen(os.dup(0), "rb")
    threading.Thread(target=_take, args=(asked, jobs), daemon=True).start()
    attempt = load()
    while True:
        write_outcome(answers, attempt(jobs.get()))


def _take(stream: BinaryIO, jobs: queue.SimpleQueue[Request]) -> None:
    try:
        while True:
            jobs.put(read_request(stream))
    except EOFError:
        os._exit(0)  # the only way to end a process whose main thread is in the middle of a fit


def _ready() -> Attempt:
    """Import the libraries, and have them do before a job waits what they put off until their first use."""
    from penstock.trainer.inline import attempt  # noqa: PLC0415 - seconds; stdin is listened to meanwhile

    rows = np.linspace(-1.0, 1.0, 64).astype(np.float32).astype(np.float64)[:, None]
    for algorithm in ("hist_gradient_boosting", "logistic_regression"):
        attempt(
            Request(
                algorithm=algorithm,
                task="binary",
                categories=(0,),
                outputs=1,
                objective="log_loss",
                rows=rows,
                labels=(rows[:, 0] > 0).astype(np.float64),
                times=np.arange(64, dtype=np.int64),
                compare=EvidenceUnit.read("8rows"),
                alarm=EvidenceUnit.read("8rows"),
                seed=0,
            )
        )
    return attempt


if __name__ == "__main__":
    serve(_ready)

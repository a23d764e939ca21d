"""Training in this very process: for scenarios and backtests, where nothing else is waiting meanwhile."""

from __future__ import annotations

from penstock.onnx import Refused
from penstock.trainer.job import train
from penstock.trainer.refusals import CannotTrain
from penstock.trainer.request import Failed, Request, Result


def attempt(request: Request) -> Result | Failed:
    """Do the job; a verdict that there can be no model is an outcome, any other error is one of ours."""
    try:
        return train(request)
    except CannotTrain as why:
        return Failed(reason=why.reason, message=str(why))
    except Refused as why:
        return Failed(reason="refused", message=str(why))


class Inline:
    """The interface of `penstock.trainer.worker.Worker`, at once and without a child.

    >>> import numpy as np
    >>> from penstock.kernel.units import EvidenceUnit
    >>> job = Request(
    ...     algorithm="logistic_regression", task="binary", categories=(0,), outputs=1, objective="brier",
    ...     rows=np.zeros((0, 1)), labels=np.zeros(0), times=np.zeros(0, dtype=np.int64), seed=0,
    ...     compare=EvidenceUnit(), alarm=EvidenceUnit(),
    ... )
    >>> inline = Inline()
    >>> inline.submit(job)
    >>> inline.poll(), inline.poll()
    (Failed(reason='unfit', message='there are no rows'), None)
    """

    def __init__(self) -> None:
        self._outcome: Result | Failed | None = None

    @property
    def busy(self) -> bool:
        """Whether there is an outcome to take."""
        return self._outcome is not None

    def start(self) -> None:
        """Nothing to do."""

    def submit(self, request: Request) -> None:
        """Do a job."""
        if self.busy:
            raise RuntimeError("a job is under way")
        self._outcome = attempt(request)

    def poll(self) -> Result | Failed | None:
        """What came of the job, once."""
        outcome, self._outcome = self._outcome, None
        return outcome

    def kill(self) -> None:
        """Forget the job."""
        self._outcome = None

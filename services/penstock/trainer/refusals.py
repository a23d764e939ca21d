"""Why there is no new model: verdicts on rows and exports, not accidents."""

from __future__ import annotations


class CannotTrain(Exception):  # noqa: N818 - a verdict, as in `raise Unfit("…")`
    """No model comes of this job, and asking again with the same rows would give the same answer."""

    reason = "training"


class Unfit(CannotTrain):
    """These rows cannot be learned from this way.

    >>> Unfit("there are no rows").reason
    'unfit'
    """

    reason = "unfit"


class ParityFailed(CannotTrain):
    """The exported file does not answer what the library answers: the export is wrong, whatever it says."""

    reason = "parity"

"""The verdicts on a model, that it may not be used or cannot be explained, and what it is held to."""

from __future__ import annotations

MAX_BYTES = 64 * 2**20
"""The largest artifact that is looked at: what fits through a topic in chunks."""

INPUT = "features"
OUTPUT = "scores"
MEANS = "penstock.means"
"""Key of an artifact's metadata: what each feature of a linear model adds on the mean over its training rows,
as JSON, ``[F, raw outputs]``."""


LONGEST_REASON = 300


class Refused(Exception):  # noqa: N818 - a verdict, as in `raise Refused("…")`
    r"""This artifact may not be loaded; the message is the reason in one line.

    >>> str(Refused("op Loop is\nnot allowed"))
    'op Loop is not allowed'
    """

    def __init__(self, reason: str) -> None:
        # Runtime errors come with stack traces and signatures in them: one line, of a length one can read.
        line = " ".join(reason.split())
        super().__init__(line if len(line) <= LONGEST_REASON else line[: LONGEST_REASON - 1] + "…")


class Unexplainable(Exception):  # noqa: N818 - a verdict too
    """What this model says cannot be shared out among its features; the message is why, in one line."""

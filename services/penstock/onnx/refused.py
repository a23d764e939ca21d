"""The verdict on a model that may not be used, and the sizes it is held to."""

from __future__ import annotations

MAX_BYTES = 64 * 2**20
"""The largest artifact that is looked at: what fits through a topic in chunks."""

INPUT = "features"
OUTPUT = "scores"


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

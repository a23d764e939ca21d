"""Errors that tell the loop what to do; anything else crashes the process, and the supervisor restarts it."""

from __future__ import annotations


class Unavailable(Exception):  # noqa: N818 - it says what is so, not that somebody erred
    """Something outside is away for now: let go of every client, wait, build the service anew."""


class NotYet(Exception):  # noqa: N818
    """Something this record needs is still on its way: the loop rebuilds its state and comes back."""


class Fenced(Exception):  # noqa: N818
    """A newer process has taken this slot: this one must end and never write again."""

"""Whether to ask again, and when: a function of what failed and of the time that is left."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from penstock.client.errors import PenstockError

AGAIN: Final = frozenset({"UNAVAILABLE", "RESOURCE_EXHAUSTED"})
"""Statuses that say nothing was done and may be otherwise a moment later."""
TOO_LARGE: Final = "larger than max"
"""How grpc says of a message that it is too large, which it stays."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Retry:
    """How often a call is tried; never beyond its deadline.

    Args:
        attempts: at most.
        first: seconds before the second one; each further wait is twice as long.
        longest: seconds that a wait may take, where the server asks for none.

    >>> from penstock.client.errors import PenstockError
    >>> error = PenstockError("UNAVAILABLE", "starting")
    >>> [Retry().wait(error, attempt=attempt, left=5.0, chance=1.0) for attempt in (1, 2, 6)]
    [0.05, 0.1, 1.0]
    """

    attempts: int = 10
    first: float = 0.05
    longest: float = 1.0

    def wait(self, error: PenstockError, *, attempt: int, left: float, chance: float) -> float | None:
        """Seconds until the next attempt; None where there is to be none.

        Args:
            error: what became of the last one.
            attempt: how many there were.
            left: seconds until the deadline.
            chance: a number from 0 to 1 by which clients that failed together part.
        """
        if error.code not in AGAIN or attempt >= self.attempts or TOO_LARGE in error.message:
            return None
        longest = min(self.longest, self.first * 2 ** (attempt - 1))
        # Half of a wait is left to chance; a server that says when is not asked sooner.
        wait = longest * (1 + chance) / 2
        if error.retry_after is not None:
            wait = max(error.retry_after, 0.0) + chance * self.first
        # An answer takes a moment too: what could not come in time is not waited for.
        return wait if wait < left else None


ONCE: Final = Retry(attempts=1)
"""No second attempt."""

"""What went wrong with a call, so that whoever wrote it can mend it."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Iterable


class Violation(NamedTuple):
    """One thing to mend: the feature, tensor or parameter at fault, and what was expected of it."""

    field: str
    description: str


class PenstockError(Exception):
    """A call that was not answered.

    Args:
        code: canonical name of the status: INVALID_ARGUMENT, NOT_FOUND, UNAVAILABLE, …
        message: one sentence.
        violations: what to mend in the request, each with its field.
        ids: the rows that were asked for.
        attempts: how often that was.
        retry_after: seconds after which the server asked to be asked again.

    >>> error = PenstockError("UNAVAILABLE", "version 1 is being loaded", attempts=3)
    >>> error.code, str(error)
    ('UNAVAILABLE', 'UNAVAILABLE: version 1 is being loaded (asked 3 times)')
    """

    def __init__(
        self,
        code: str,
        message: str,
        *,
        violations: Iterable[Violation] = (),
        ids: Iterable[str] = (),
        attempts: int = 1,
        retry_after: float | None = None,
    ) -> None:
        self.code = code
        self.message = message
        self.violations = tuple(violations)
        self.ids = tuple(ids)
        self.attempts = attempts
        self.retry_after = retry_after
        super().__init__(code, message)

    def __str__(self) -> str:
        times = f" (asked {self.attempts} times)" if self.attempts > 1 else ""
        return f"{self.code}: {self.message}{times}"

    @property
    def fields(self) -> tuple[str, ...]:
        """The features, tensors or parameters at fault."""
        return tuple(violation.field for violation in self.violations)

"""What a call is refused with: a canonical status and whose fault it was, in words the caller can act on."""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Iterable

Code = Literal[
    "INVALID_ARGUMENT", "NOT_FOUND", "FAILED_PRECONDITION", "UNAVAILABLE", "DEADLINE_EXCEEDED", "INTERNAL"
]


class Violation(NamedTuple):
    """One thing that is wrong with a request: the tensor or field at fault, and a sentence that says what."""

    field: str
    description: str


class Fault(Exception):  # noqa: N818 - it goes to the caller as a status, and is one of several kinds
    """This call is answered with a status instead of scores.

    Args:
        code: the canonical name of the status.
        message: one sentence; made from the violations where it is left out.
        violations: what to mend, for INVALID_ARGUMENT.

    >>> str(wrong("wind", "is BYTES, expected a number"))
    "tensor 'wind' is BYTES, expected a number"
    """

    def __init__(self, code: Code, message: str = "", *, violations: Iterable[Violation] = ()) -> None:
        self.code: Code = code
        self.violations = tuple(violations)
        self.message = message or "; ".join(text for _, text in self.violations[:3])
        super().__init__(self.message)


def wrong(field: str, description: str) -> Fault:
    """A request with one thing wrong in it: something about one tensor."""
    return Fault("INVALID_ARGUMENT", violations=[Violation(field, f"tensor {field!r} {description}")])

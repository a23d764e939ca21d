"""What a call is refused with: a canonical status and whose fault it was, in words the caller can act on."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final, Literal, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

Code = Literal[
    "INVALID_ARGUMENT",
    "UNAUTHENTICATED",
    "PERMISSION_DENIED",
    "NOT_FOUND",
    "FAILED_PRECONDITION",
    "UNAVAILABLE",
    "RESOURCE_EXHAUSTED",
    "DEADLINE_EXCEEDED",
    "INTERNAL",
]


class Violation(NamedTuple):
    """One thing that is wrong with a request: the tensor or field at fault, and a sentence that says what."""

    field: str
    description: str


LONGEST: Final = 400
"""Characters of a message, and of each violation. It all goes into a call's trailing metadata, and a client
gives up on more than 8 kB of that: it would not learn what was wrong."""
MOST: Final = 3000
"""Bytes of all violations together; what comes after them is left out."""


class Fault(Exception):  # noqa: N818 - it goes to the caller as a status, and is one of several kinds
    """This call is answered with a status instead of scores.

    Args:
        code: the canonical name of the status.
        message: one sentence; made from the violations where it is left out.
        violations: what to mend, for INVALID_ARGUMENT; as many as a client can be told.
        retry: seconds after which the same call may be answered, where that is known.

    >>> str(wrong("wind", "is BYTES, expected a number"))
    "tensor 'wind' is BYTES, expected a number"
    """

    def __init__(
        self,
        code: Code,
        message: str = "",
        *,
        violations: Iterable[Violation] = (),
        retry: float | None = None,
    ) -> None:
        self.code: Code = code
        self.retry = retry
        self.violations = tuple(_bounded(violations))
        self.message = _cut(message or "; ".join(text for _, text in self.violations[:3]))
        super().__init__(self.message)


def wrong(field: str, description: str) -> Fault:
    """A request with one thing wrong in it: something about one tensor."""
    return Fault("INVALID_ARGUMENT", violations=[Violation(field, f"tensor {field!r} {description}")])


def _bounded(violations: Iterable[Violation]) -> Iterator[Violation]:
    size = 0
    for field, description in violations:
        told = Violation(_cut(field), _cut(description))
        size += sum(len(text.encode("utf-8", "replace")) for text in told)
        if size > MOST:
            return
        yield told


def _cut(text: str) -> str:
    """At most so many characters, and bytes."""
    if len(text) <= LONGEST and text.isascii():
        return text
    # Letters beyond ASCII are written as six characters each.
    kept = text[: LONGEST if text.isascii() else LONGEST // 2]
    return text if kept == text else kept[:-1] + "…"

"""What can be wrong with a record: the one error every pure function may raise."""

from __future__ import annotations


class Invalid(Exception):  # noqa: N818 - it is a verdict on a record, and reads as one: `raise Invalid(…)`
    """This record can never be processed: dead-letter it with its reason and carry on.

    Args:
        message: one sentence for the person who owns the producer.
        field: the field at fault, where one is.
        reason: a short, stable word to filter by, such as ``undecodable`` or ``wrong_type``.

    >>> raise Invalid("feature 'wind' is 'x', expected a number", field="wind", reason="wrong_type")
    Traceback (most recent call last):
    ...
    penstock.kernel.errors.Invalid: feature 'wind' is 'x', expected a number
    """

    def __init__(self, message: str, *, field: str = "", reason: str = "invalid") -> None:
        super().__init__(message)
        self.field = field
        self.reason = reason

"""What counts as a number in a record."""

from __future__ import annotations

import math

import numpy as np


def as_number(value: object) -> float | None:
    """The value as a double, or None if it is no number. True and '3' are none; what overflows is infinite.

    >>> as_number(3), as_number(0.5), as_number(True), as_number("3"), as_number(-(10**400))
    (3.0, 0.5, None, None, -inf)
    """
    if isinstance(value, bool) or not isinstance(value, int | float | np.integer | np.floating):
        return None
    try:
        return float(value)
    except OverflowError:
        return math.inf if value > 0 else -math.inf

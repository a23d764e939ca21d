"""Processors by their numbers, as people write them."""

from __future__ import annotations

import os
import re
from typing import Final

from penstock.runtime.settings import WrongSetting

_PART: Final = re.compile(r"(\d{1,4})(?:-(\d{1,4}))?")
VARIABLE: Final = "PENSTOCK_SCORING_CPUS"


def cpus_of(text: str) -> frozenset[int]:
    """The processors of a list such as ``2-5,7``; none where it is empty.

    Raises:
        WrongSetting: it is no such list, or this process may not run on one of them.

    >>> sorted(cpus_of("0,0-0"))
    [0]
    >>> cpus_of("0-x")
    Traceback (most recent call last):
    ...
    penstock.runtime.settings.WrongSetting: PENSTOCK_SCORING_CPUS is '0-x', expected processors such as 2-5,7
    """
    found: set[int] = set()
    for part in filter(None, (part.strip() for part in text.split(","))):
        match = _PART.fullmatch(part)
        if match is None or int(match[2] or match[1]) < int(match[1]):
            raise _wrong(f"{VARIABLE} is {text!r}, expected processors such as 2-5,7")
        found |= set(range(int(match[1]), int(match[2] or match[1]) + 1))
    if not found:
        return frozenset()
    if not hasattr(os, "sched_setaffinity"):
        raise _wrong(f"{VARIABLE} is {text!r}, but threads cannot be kept on processors on this system")
    if absent := sorted(found - os.sched_getaffinity(0)):
        here = ",".join(map(str, sorted(os.sched_getaffinity(0))))
        raise _wrong(f"{VARIABLE} names processor {absent[0]}, this process may run on {here}")
    return frozenset(found)


def _wrong(message: str) -> WrongSetting:
    return WrongSetting(message, field=VARIABLE, reason="setting")

"""What one field of a sample holds: types, how many different values, whether they are times or personal."""

from __future__ import annotations

import re
from collections import Counter
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final, Literal

import numpy as np

from penstock.kernel.errors import Invalid
from penstock.kernel.numbers import as_number
from penstock.kernel.times import event_time_ms

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

Kind = Literal["number", "text", "boolean", "list", "mapping", "other"]

NEARLY: Final = 0.99
"""Nearly all: what a few broken records do not change."""
FIRST_TIME, LAST_TIME = 946_684_800_000, 4_102_444_800_000
"""2000 and 2100: a number outside is no event time, although it can be read as one."""
MOST: Final = 0.9
"""Most: what is left is a fault of some producers."""
_DAY: Final = 86_400_000
_MOST_TIMES: Final = 2_000
_MAIL: Final = re.compile(r"[^@\s]+@[^@\s]+\.[A-Za-z]{2,}")
_PERSONAL: Final = re.compile(
    r"(^|_)(e?mail|phone|mobile|first_?name|last_?name|full_?name|surname|birth(day|date)?|dob|ssn|iban|"
    r"passport|street|address|ip(_addr(ess)?)?|user_?name)($|_)"
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Field:
    """One field over the rows of a sample.

    Args:
        path: dotted, into nested records.
        rows: of the sample.
        values: those that are there, in the order of the rows.
        places: the rows that have them.
        kinds: how many values are of which kind.
        counts: how often each value of the kind of most occurs; of texts, numbers and booleans.
        times: values as milliseconds since 1970, where nearly all are plausible times, else None.
        apart: median distance of these from when the records were written, milliseconds.
        seconds: nearly all are numbers that would be times, were they seconds since 1970.
    """

    path: str
    rows: int
    values: Sequence[object]
    places: Sequence[int]
    kinds: Counter[Kind]
    counts: Counter[object]
    times: NDArray[np.int64] | None
    apart: float
    seconds: bool

    @property
    def present(self) -> int:
        return len(self.values)

    @property
    def kind(self) -> Kind | None:
        """Of most values, but for a few broken ones; None where there are several kinds, or no values."""
        return _main(self.kinds)

    @property
    def strange(self) -> int:
        """Values that are not of the kind of most."""
        return self.present - self.kinds[self.kind] if self.kind else 0

    @property
    def distinct(self) -> int:
        return len(self.counts)

    @property
    def whole(self) -> bool:
        """Whether all values are whole numbers."""
        return self.kind == "number" and all(isinstance(value, int) for value in self.counts)

    @property
    def numbers(self) -> NDArray[np.float64]:
        """The values that are finite numbers, shape (some,)."""
        found = (as_number(value) for value in self.values)
        numbers = np.array([number for number in found if number is not None], dtype=np.float64)
        return numbers[np.isfinite(numbers)]

    @property
    def everywhere(self) -> bool:
        """Whether nearly every row has it."""
        return self.rows > 0 and self.present >= NEARLY * self.rows

    @property
    def mails(self) -> bool:
        """Whether its texts are mostly addresses of mail."""
        texts = [value for value in self.values[:_MOST_TIMES] if isinstance(value, str)]
        return bool(texts) and sum(bool(_MAIL.fullmatch(text)) for text in texts) >= len(texts) / 2

    @property
    def personal(self) -> bool:
        """Whether it is, or is called as if it were, about a person."""
        return self.mails or bool(_PERSONAL.search(self.path.rpartition(".")[2].lower()))


def look_at(path: str, column: Sequence[object], stamps: Sequence[int]) -> Field:
    """What a column holds.

    Args:
        path: of the field.
        column: a value for each row, None where there is none.
        stamps: when the records were written, milliseconds since 1970.

    >>> field = look_at("age", [41, None, 29], [0, 0, 0])
    >>> field.kind, field.present, field.distinct, field.whole
    ('number', 2, 2, True)
    """
    places = [place for place, value in enumerate(column) if value is not None]
    values = [column[place] for place in places]
    kinds = Counter(map(kind_of, values))
    main = _main(kinds)
    plain = [value for value in values if kind_of(value) == main and main in {"number", "text", "boolean"}]
    times, apart = _times(values, [stamps[place] for place in places])
    numbers = [value for value in values[:_MOST_TIMES] if kind_of(value) == "number"]
    seconds = sum(FIRST_TIME <= value * 1000 < LAST_TIME for value in numbers)  # type: ignore[operator] # numbers
    return Field(
        path=path,
        rows=len(column),
        values=values,
        places=places,
        kinds=kinds,
        counts=Counter(plain),
        times=times,
        apart=apart,
        seconds=bool(numbers) and seconds >= NEARLY * min(len(values), _MOST_TIMES),
    )


def _main(kinds: Counter[Kind]) -> Kind | None:
    common = kinds.most_common(1)
    return common[0][0] if common and common[0][1] >= MOST * kinds.total() else None


def kind_of(value: object) -> Kind:
    """What a value is.

    >>> [kind_of(value) for value in (True, 1.5, "x", [1], {}, b"")]
    ['boolean', 'number', 'text', 'list', 'mapping', 'other']
    """
    match value:
        case bool():
            return "boolean"
        case int() | float():
            return "number"
        case str():
            return "text"
        case list() | tuple():
            return "list"
        case dict():
            return "mapping"
        case _:
            return "number" if as_number(value) is not None else "other"


def _times(values: Sequence[object], stamps: Sequence[int]) -> tuple[NDArray[np.int64] | None, float]:
    """Values as times, and how far they are from when they were written; None where too many are none."""
    looked = values[:_MOST_TIMES]
    found = [_time(value) for value in looked]
    good = [
        time is not None and time <= stamp + _DAY
        for time, stamp in zip(found, stamps[:_MOST_TIMES], strict=True)
    ]
    if not looked or sum(good) < NEARLY * len(looked):
        return None, 0.0
    gaps = [abs(stamp - time) for time, stamp in zip(found, stamps, strict=False) if time is not None]
    every = found if len(values) == len(looked) else [_time(value) for value in values]
    return np.array([-1 if time is None else time for time in every], dtype=np.int64), float(np.median(gaps))


def _time(value: object) -> int | None:
    if isinstance(value, float | bool):
        return None
    try:
        time = event_time_ms(value)
    except Invalid:
        return None
    return time if FIRST_TIME <= time < LAST_TIME else None

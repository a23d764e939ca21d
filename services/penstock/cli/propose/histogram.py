"""A histogram in the terminal: bars of eighths of a character, as wide as there is room."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Sequence

    from penstock.cli.propose.delays import Bin

_EIGHTHS: Final = " ▏▎▍▌▋▊▉█"
_CYAN, _DIM, _PLAIN = "\x1b[36m", "\x1b[2m", "\x1b[0m"


def bar(share: float, width: int, *, plain: bool = False) -> str:
    """A bar of this share of the width; what is not nothing is seen.

    Args:
        share: from 0 to 1.
        width: of the longest bar, in characters.
        plain: only of characters that every terminal has.

    >>> bar(0.5, 5), bar(0.001, 5), bar(0.0, 5), bar(0.5, 4, plain=True)
    ('██▌', '▏', '', '##')
    """
    if share <= 0:
        return ""
    if plain:
        return "#" * max(1, round(share * width))
    eighths = max(1, round(share * width * 8))
    return _EIGHTHS[8] * (eighths // 8) + _EIGHTHS[eighths % 8].strip()


def draw(
    bins: Sequence[Bin],
    *,
    width: int,
    marks: Sequence[tuple[float, str]] = (),
    colour: bool = False,
    plain: bool = False,
) -> list[str]:
    """A line for each bin, none wider than `width`.

    Args:
        bins: ascending.
        width: of the terminal, in characters.
        marks: a value on the scale of the bins, and what is written at its bin.
        colour: of the bars.
        plain: only characters that every terminal has.
    """
    if not bins:
        return []
    most = max(each.count for each in bins)
    dash = "-" if plain else "–"
    labels = [each.label.replace("–", dash) for each in bins]
    notes = [", ".join(text for value, text in marks if each.start <= value < each.end) for each in bins]
    left = max(map(len, labels))
    counts = [f"{each.count:,}" for each in bins]
    right = max(map(len, counts))
    beside = max((len(note) + 2 for note in notes if note), default=0)
    room = max(width - left - right - beside - 6, 4)
    lines = []
    for each, label, count, note in zip(bins, labels, counts, notes, strict=True):
        drawn = bar(each.count / most if most else 0.0, room, plain=plain)
        padded = drawn.ljust(room) if note else drawn
        coloured = f"{_CYAN}{padded}{_PLAIN}" if colour and drawn else padded
        told = f"  {_DIM}{note}{_PLAIN}" if colour and note else f"  {note}" if note else ""
        lines.append(f"  {label:>{left}}  {count:>{right}}  {coloured}{told}".rstrip())
    return lines

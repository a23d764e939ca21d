"""What is to be taken of each record."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable


@dataclass(frozen=True, slots=True, kw_only=True)
class Wanted:
    """The fields to take, and what may be known of them beforehand.

    Args:
        paths: dotted, each once.
        numbers: those of which nothing but numbers is wanted: whole ones may come as doubles.
        words: those that repeat a few words.
    """

    paths: tuple[str, ...]
    numbers: frozenset[str] = frozenset()
    words: frozenset[str] = frozenset()

    @classmethod
    def of(cls, paths: Iterable[str], numbers: Iterable[str] = (), words: Iterable[str] = ()) -> Wanted:
        return cls(paths=tuple(dict.fromkeys(paths)), numbers=frozenset(numbers), words=frozenset(words))

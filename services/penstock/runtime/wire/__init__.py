"""What producers write on their own topics, taken in by columns: a list of values for each field asked."""

from __future__ import annotations

from penstock.runtime.wire.columns import Columns
from penstock.runtime.wire.reading import Wire
from penstock.runtime.wire.registries import Registries

__all__ = ["Columns", "Registries", "Wire"]

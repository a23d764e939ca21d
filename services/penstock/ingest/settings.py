"""What ingest is told."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from penstock.runtime.settings import Settings


@dataclass(frozen=True, slots=True, kw_only=True)
class IngestSettings(Settings):
    only: Literal["all", "intake", "join", "summarise"] = "all"
    """Which of the three loops to run here; each may have processes of its own."""

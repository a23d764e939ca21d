"""What ingest is told."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Literal

from penstock.runtime.settings import Between
from penstock.runtime.wire.settings import RegistrySettings


@dataclass(frozen=True, slots=True, kw_only=True)
class IngestSettings(RegistrySettings):
    only: Literal["all", "intake", "join", "summarise"] = "all"
    """Which of the three loops to run here; each may have processes of its own."""

    pii_key_file: Path | None = None
    """The file of the key that personal data is hashed with, where a pipeline asks for that: 16 bytes at
    least. With another key, labels no longer meet the predictions of before."""

    join_state: Path | None = None
    """Folder for what the join knows of predictions and labels: a restart goes on from it within seconds. It
    is a cache: where it is lost, or is another cluster's, it is built again from the log. Unset, a temporary
    folder that goes with the process."""

    join_memory: Annotated[int, Between(16)] = 128
    """Megabytes of memory for it, however many predictions wait for their labels."""

"""What the governor is told: nothing that every service is not."""

from __future__ import annotations

from dataclasses import dataclass

from penstock.runtime.settings import Settings


@dataclass(frozen=True, slots=True, kw_only=True)
class GovernorSettings(Settings):
    """No settings of its own: what it decides by is the policy of the pipeline."""

"""What the monitor is told: nothing that every service is not."""

from __future__ import annotations

from dataclasses import dataclass

from penstock.runtime.settings import Settings


@dataclass(frozen=True, slots=True, kw_only=True)
class MonitorSettings(Settings):
    """No settings of its own: what it watches for is the policy of the pipeline."""

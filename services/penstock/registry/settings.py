"""What the registry is told: nothing that every service is not."""

from __future__ import annotations

from dataclasses import dataclass

from penstock.runtime.settings import Settings


@dataclass(frozen=True, slots=True, kw_only=True)
class RegistrySettings(Settings):
    """No settings of its own."""

"""What inference is told."""

from __future__ import annotations

from dataclasses import dataclass

from penstock.runtime.settings import Count, Settings


@dataclass(frozen=True, slots=True, kw_only=True)
class InferenceSettings(Settings):
    listen: str = "127.0.0.1:8001"
    """Where gRPC is served: HOST:PORT. 0.0.0.0:8001 for every interface."""

    concurrency: Count = 1000
    """gRPC calls at once; further ones are refused with RESOURCE_EXHAUSTED."""

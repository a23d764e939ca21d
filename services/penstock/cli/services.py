"""The services `run` can run, in the order in which a record meets them."""

from __future__ import annotations

from dataclasses import dataclass
from importlib import import_module
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from penstock.runtime.settings import Settings


@dataclass(frozen=True, slots=True, kw_only=True)
class Service:
    """One service: `penstock.NAME.service.main(settings)`."""

    name: str
    question: str
    """What it answers."""

    def settings(self) -> type[Settings]:
        """The class of its settings, from `penstock.NAME.settings`."""
        kind: type[Settings] = getattr(
            import_module(f"penstock.{self.name}.settings"), f"{self.name.capitalize()}Settings"
        )
        return kind


SERVICES = (
    Service(name="ingest", question="what came in, and what became of it?"),
    Service(name="inference", question="what does the model say?"),
    Service(name="monitor", question="is the model still right?"),
    Service(name="governor", question="what should be done?"),
    Service(name="trainer", question="what would a new model be?"),
    Service(name="registry", question="which version is what, since when, and why?"),
)

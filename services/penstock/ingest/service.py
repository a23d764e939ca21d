"""Ingest: what came in, and what became of it? Three loops with a consumer group each."""

from __future__ import annotations

from collections.abc import Callable
from typing import Final
from urllib.parse import quote

from penstock.ingest.intake import IntakeTask
from penstock.ingest.join import JoinTask
from penstock.ingest.settings import IngestSettings
from penstock.ingest.store import Rocks
from penstock.ingest.summarise import SummariseTask
from penstock.runtime.broker import Broker
from penstock.runtime.catalog import Catalog
from penstock.runtime.loop import Task
from penstock.runtime.secret import read_key
from penstock.runtime.serve import serve

TASKS: Final[dict[str, Callable[[Catalog, Broker], Task]]] = {
    "intake": lambda catalog, _: IntakeTask(catalog),
    "join": JoinTask,
    "summarise": lambda catalog, _: SummariseTask(catalog),
}


def main(settings: IngestSettings) -> None:
    """Run until told to stop."""
    key = read_key(settings.pii_key_file, variable="PENSTOCK_PII_KEY_FILE")
    registries = settings.registries()
    tasks = {
        **TASKS,
        "intake": lambda catalog, _: IntakeTask(catalog, key=key, registries=registries),
        "join": lambda catalog, broker: JoinTask(catalog, broker, join_cache(settings)),
    }
    chosen = [task for name, task in tasks.items() if settings.only in ("all", name)]
    serve("ingest", settings, chosen)


def join_cache(settings: IngestSettings) -> Rocks:
    """Of this process alone: its slot in its tenant has a folder of its own in the one for all."""
    own = quote(f"{settings.prefix}join-{settings.slot}", safe="")
    folder = None if settings.join_state is None else settings.join_state / own
    return Rocks(folder, megabytes=settings.join_memory)

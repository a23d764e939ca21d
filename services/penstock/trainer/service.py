"""Trainer: what would a new model be?"""

from __future__ import annotations

from penstock.runtime.serve import serve
from penstock.trainer.settings import TrainerSettings
from penstock.trainer.task import TrainerTask
from penstock.trainer.worker import Worker


def main(settings: TrainerSettings) -> None:
    """Run until told to stop."""
    serve("trainer", settings, [lambda catalog, broker: TrainerTask(catalog, broker, Worker())])

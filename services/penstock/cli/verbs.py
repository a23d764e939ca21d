"""The table of verbs: everything `penstock` can be asked, and the module that answers.

A module named here has ``add_arguments(parser)`` and ``run(args) -> int``. It is imported only when its
verb is asked for, so that ``penstock --help`` stays quick however many verbs there are.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol, cast

if TYPE_CHECKING:
    import argparse
    from collections.abc import Sequence


@dataclass(frozen=True, slots=True, kw_only=True)
class Verb:
    """One line of the table."""

    name: str
    """One word, or two where verbs share their first: ``model list``."""
    module: str
    """Below `penstock.cli`."""
    help: str
    group: str


class Module(Protocol):
    """What a verb's module offers."""

    def add_arguments(self, parser: argparse.ArgumentParser) -> None: ...

    def run(self, args: argparse.Namespace) -> int: ...


RUNNING, PIPELINES, RECORDS, MODELS = "Running it", "Pipelines", "Records", "Models"
DECISIONS = "Decisions"

VERBS: tuple[Verb, ...] = (
    Verb(name="demo", module="demo", group=RUNNING, help="replay a year of real flights through everything"),
    Verb(name="up", module="up", group=RUNNING, help="start a Kafka and the services, and keep them running"),
    Verb(name="down", module="down", group=RUNNING, help="stop what `up` started"),
    Verb(name="status", module="status", group=RUNNING, help="processes and how far behind they are"),
    Verb(name="run", module="run", group=RUNNING, help="run one service in this process"),
    Verb(name="init", module="init", group=PIPELINES, help="propose a pipeline file from two topics"),
    Verb(name="check", module="check", group=PIPELINES, help="check a pipeline file, and its topics"),
    Verb(name="apply", module="apply", group=PIPELINES, help="make a pipeline file what is running"),
    Verb(name="backtest", module="backtest", group=PIPELINES, help="try a pipeline on its own history"),
    Verb(name="produce", module="produce", group=RECORDS, help="send the records of a file to a topic"),
    Verb(name="tail", module="tail", group=RECORDS, help="print a topic's records, decoded"),
    Verb(name="predict", module="predict", group=RECORDS, help="ask the model over gRPC"),
    Verb(name="score", module="score", group=RECORDS, help="score a file, or a stretch of a topic"),
    Verb(name="dlq list", module="dlq_list", group=RECORDS, help="records that could not be processed"),
    Verb(name="dlq show", module="dlq_show", group=RECORDS, help="one of them: why, and how it came"),
    Verb(name="dlq retry", module="dlq_retry", group=RECORDS, help="send them once more"),
    Verb(name="dlq drop", module="dlq_drop", group=RECORDS, help="give them up, with a reason"),
    Verb(name="dlq export", module="dlq_export", group=RECORDS, help="write them to a file"),
    Verb(name="model list", module="model_list", group=MODELS, help="the versions of a pipeline's model"),
    Verb(name="model show", module="model_show", group=MODELS, help="one version: manifest and signature"),
    Verb(
        name="model history",
        module="model_history",
        group=MODELS,
        help="who made which version what, and why",
    ),
    Verb(name="model promote", module="model_promote", group=MODELS, help="make a version the champion"),
    Verb(name="model rollback", module="model_rollback", group=MODELS, help="restore the former champion"),
    Verb(name="model split", module="model_split", group=MODELS, help="give a version a share of the ids"),
    Verb(name="drift status", module="drift_status", group=DECISIONS, help="what the monitor sees now"),
    Verb(name="decisions list", module="decisions_list", group=DECISIONS, help="what was decided, and why"),
    Verb(
        name="decisions show", module="decisions_show", group=DECISIONS, help="one decision, with its numbers"
    ),
    Verb(name="why", module="why", group=DECISIONS, help="what led to a decision, down to the offsets"),
    Verb(name="hold", module="hold", group=DECISIONS, help="decide nothing until resumed"),
    Verb(name="resume", module="resume", group=DECISIONS, help="decide again"),
    Verb(
        name="replay", module="replay", group=DECISIONS, help="decide all again from the journal, and compare"
    ),
)


def load(verb: Verb) -> Module:
    """Import the verb's module."""
    from importlib import import_module  # noqa: PLC0415 - `--help` needs no machinery

    return cast("Module", import_module(f"penstock.cli.{verb.module}"))


def find(words: Sequence[str], verbs: Sequence[Verb] = VERBS) -> tuple[Verb | None, list[str]]:
    """The verb the words begin with, and the words left for it.

    >>> verb, rest = find(["model", "list", "flights"])
    >>> verb.module, rest
    ('model_list', ['flights'])
    >>> find(["modle", "list"])
    (None, ['modle', 'list'])
    """
    for size in (2, 1):
        name = " ".join(words[:size])
        for verb in verbs:
            if verb.name == name and len(words) >= size:
                return verb, list(words[size:])
    return None, list(words)


def below(word: str, verbs: Sequence[Verb] = VERBS) -> list[Verb]:
    """The two-word verbs that begin with this word.

    >>> [verb.name for verb in below("model")]
    ['model list', 'model show', 'model history', 'model promote', 'model rollback', 'model split']
    """
    return [verb for verb in verbs if verb.name.startswith(f"{word} ")]


def nearest(words: Sequence[str], verbs: Sequence[Verb] = VERBS) -> str | None:
    """What somebody who typed these words may have meant.

    >>> nearest(["modle", "lst"]), nearest(["stats"]), nearest(["xyzzy"])
    ('model list', 'status', None)
    """
    from difflib import get_close_matches  # noqa: PLC0415 - only after a mistake

    names = [verb.name for verb in verbs]
    for size in (2, 1):
        close = get_close_matches(" ".join(words[:size]), names, n=1, cutoff=0.6)
        if close:
            return close[0]
    return None

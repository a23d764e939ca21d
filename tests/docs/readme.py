"""The parts of README.md that are made from code: `python -m tests.docs.readme` writes them, a test compares.

A part stands between `<!-- NAME -->` and `<!-- /NAME -->`, as in docs/.
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Final

from penstock.cli.services import SERVICES
from penstock.cli.verbs import VERBS
from penstock.contracts.topics import PARTITIONS, TOPICS, Topic
from penstock.governor.domain import TRANSITIONS, Move
from penstock.runtime.topics import OUTAGE
from tests.docs.tables import filled, rows

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from penstock.contracts.records import Stage

README: Final = Path(__file__).parents[2] / "README.md"

# What a restart builds a service's state from; everything else in the tables stands in the code.
REBUILT: Final = {
    "ingest": "the three logs of the join: `P.predictions`, `P.labels`, `P.outcomes`",
    "inference": "`models`, `chunks`, `routes`",
    "monitor": "`monitor-state`",
    "governor": "`governor-state`",
    "trainer": "which jobs had not ended, beside its offsets; a job is a function of its decision",
    "registry": "`lifecycle`, `routes`",
}
# What comes from outside: which topics producers write is for each pipeline's file to say.
RAW: Final = {"ingest": ["raw topics"], "inference": ["gRPC"]}


def services() -> str:
    """Who answers what, from which topics, into which: leaving out what all of them have."""
    return rows(
        ("Service", "Question", "Consumes", "Produces", "Its state is rebuilt from"),
        (
            (
                service.name,
                service.question,
                ", ".join(
                    [*RAW.get(service.name, []), *(_short(topic) for topic in _own(service.name, "readers"))]
                ),
                ", ".join(_short(topic) for topic in _own(service.name, "writer")),
                REBUILT[service.name],
            )
            for service in SERVICES
        ),
    )


def _own(service: str, side: str) -> list[Topic]:
    found = []
    for topic in TOPICS:
        served = topic.readers if side == "readers" else (topic.writer,)
        # Its own state is the last column; dead letters have a section of their own.
        if service in served and topic.format != "dead_letter" and topic.name != f"{service}-state":
            found.append(topic)
    return found


def _short(topic: Topic) -> str:
    return f"`{topic.name.replace('{pipeline}', 'P')}`"


def topics() -> str:
    return rows(
        ("Topic", "Records", "Key", "Partitions", "Kept", "Writer", "Readers"),
        (
            (
                f"`{topic.name}`",
                ", ".join(topic.schemas) or _FORMATS[topic.format],
                topic.key,
                f"{PARTITIONS[topic.partitions]} ({topic.partitions})",
                _kept(topic),
                topic.writer,
                ", ".join(topic.readers),
            )
            for topic in TOPICS
        ),
    )


_FORMATS: Final = {
    "schema": "Avro schemas",
    "bytes": "bytes",
    "dead_letter": "as they came",
    "request": "ModelInferRequest",
    "reply": "ModelInferResponse",
}


def _kept(topic: Topic) -> str:
    if topic.cleanup == "compact":
        return "last of each key"
    days = f"{OUTAGE // 86_400_000} days"
    return {"forever": "for ever", "replay": days, "horizon": f"horizon + {days}"}[topic.retention]


def stages(table: Mapping[Stage | None, Mapping[Move, Stage]] = TRANSITIONS) -> str:
    """A table of transitions as a Mermaid state diagram; `[*]` is a pipeline nobody has applied.

    >>> from penstock.contracts.records import Stage
    >>> print(stages({None: {Move.APPLY: Stage.STEADY}, Stage.STEADY: {}}))
    ```mermaid
    stateDiagram-v2
        [*] --> steady: applied
    ```
    """
    arrows = [
        f"    {'[*]' if stage is None else stage.lower()} --> {follows.lower()}: {move.value}"
        for stage, moves in table.items()
        for move, follows in moves.items()
    ]
    return "\n".join(["```mermaid", "stateDiagram-v2", *arrows, "```"])


def verbs() -> str:
    return rows(("Command", "What it does"), ((f"`penstock {verb.name}`", verb.help) for verb in VERBS))


PARTS: Final[dict[str, Callable[[], str]]] = {
    "services": services,
    "topics": topics,
    "stages": stages,
    "verbs": verbs,
}


if __name__ == "__main__":
    README.write_text(filled(README.read_text(encoding="utf-8"), PARTS), encoding="utf-8")

"""The demo's report, from what the topics say and nothing else: an account of every record, and of the loop.

By origin and distinct id:
    events = features + dead letters
    features = stream predictions, the very same ids
    predictions = outcomes + waiting + never labelled
    asked = answered
A prediction without an outcome waits while its horizon lasts; one whose horizon the watermark has passed
should have been labelled or expired, so it is lost, and conservation does not hold.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from penstock.cli.demo.chapters import decisions_text, quality_text, versions_text
from penstock.cli.demo.quality import Judged, Quality
from penstock.contracts.records import JoinAdvanced, Origin, Outcome, OutcomeKind, Prediction

if TYPE_CHECKING:
    from collections.abc import Mapping

    from penstock.cli.demo.course import Course
    from penstock.cli.replay import Replayed

HOME = frozenset({OutcomeKind.LABELLED, OutcomeKind.REVISED})
"""Kinds of outcomes whose label came in time."""


@dataclass(slots=True, kw_only=True)
class Seen:
    """What the topics hold, gathered record by record."""

    horizon: int
    """Milliseconds."""
    events: set[str] = field(default_factory=set)
    """Ids on the raw topic."""
    features: set[str] = field(default_factory=set)
    dead_letters: int = 0
    predictions: dict[tuple[Origin, str], tuple[int, int]] = field(default_factory=dict)
    """(origin, id) → (event time, partition)."""
    repeats: int = 0
    """Further predictions of an identity: allowed, counted, never joined."""
    outcomes: dict[tuple[Origin, str], set[OutcomeKind]] = field(default_factory=dict)
    watermarks: dict[int, int] = field(default_factory=dict)
    """Partition → event time up to which the join is complete."""
    judged: Judged = field(default_factory=Judged)

    def predicted(self, prediction: Prediction, partition: int) -> None:
        key = prediction.origin, prediction.id
        if key in self.predictions:
            self.repeats += 1
        else:
            self.predictions[key] = prediction.time, partition

    def became(self, event: object, partition: int) -> None:
        """A record of the outcomes topic."""
        match event:
            case Outcome():
                self.outcomes.setdefault((event.origin, event.id), set()).add(event.kind)
                self.judged.became(event)
            case JoinAdvanced(watermark=int() as watermark):
                self.watermarks[partition] = max(watermark, self.watermarks.get(partition, watermark))
            case _:
                pass


@dataclass(frozen=True, slots=True, kw_only=True)
class Account:
    """The predictions of one origin, by distinct id."""

    predictions: int
    outcomes: int
    waiting: int
    never_labelled: int
    lost: int
    """Neither labelled nor expired although their horizon has passed."""
    unasked: int
    """Outcomes of predictions that were never made."""

    @property
    def holds(self) -> bool:
        return not self.lost and not self.unasked


def account(seen: Seen, origin: Origin) -> Account:
    """What became of the predictions of one origin."""
    made = {name: where for (its, name), where in seen.predictions.items() if its is origin}
    known = {name: kinds for (its, name), kinds in seen.outcomes.items() if its is origin}
    home = {name for name, kinds in known.items() if kinds & HOME}
    open_ones = made.keys() - known.keys()
    waiting = {name for name in open_ones if not _overdue(seen, *made[name])}
    return Account(
        predictions=len(made),
        outcomes=len(home & made.keys()),
        waiting=len(waiting),
        never_labelled=len((known.keys() - home) & made.keys()),
        lost=len(open_ones - waiting),
        unasked=len(known.keys() - made.keys()),
    )


def _overdue(seen: Seen, time: int, partition: int) -> bool:
    watermark = seen.watermarks.get(partition)
    return watermark is not None and time + seen.horizon < watermark


@dataclass(frozen=True, slots=True, kw_only=True)
class Expected:
    """What of the story there is time for in the slice that was replayed."""

    champion: bool
    """A trained version can become champion."""
    take_back: bool
    """What the operator forced can be taken back."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Learned:
    """What became of the loop."""

    course: Course
    quality: Quality
    replayed: Replayed
    expected: Expected

    @property
    def told(self) -> bool:
        """Whether everything that there was time for has happened, and follows from the journal."""
        course, expected = self.course, self.expected
        return (
            (course.went_the_whole_way or not expected.champion)
            and (course.taken_back or not expected.take_back)
            and self.replayed.same
        )

    def verdicts(self) -> list[str]:
        """A sentence for each part of the story."""
        course, expected, replayed = self.course, self.expected, self.replayed
        champion = (
            "A trained version went the whole way: shadow, canary, champion."
            if course.went_the_whole_way
            else _missing("a trained version to become champion", expected=expected.champion)
        )
        back = (
            "The forced version was taken back."
            if course.taken_back
            else _missing("an operator's mistake to be taken back", expected=expected.take_back)
        )
        again = (
            f"Replayed from the journal, the {replayed.count:,} decisions on {replayed.facts:,} facts are"
            " the same to the byte."
            if replayed.same
            else f"THE REPLAY DIFFERS: {replayed.difference}."
        )
        return [champion, back, again]


def _missing(what: str, *, expected: bool) -> str:
    return f"THERE WAS TIME for {what}, AND IT DID NOT HAPPEN." if expected else f"Too short for {what}."


@dataclass(frozen=True, slots=True, kw_only=True)
class Report:
    """The whole report."""

    events: int
    features: int
    dead_letters: int
    unpredicted: int
    """Ids with features and no prediction, or the reverse."""
    repeats: int
    stream: Account
    grpc: Account
    asked: int
    answered: int
    asked_again: int
    """Asked once more since the answer's process was killed before it had logged it."""
    restarts: int
    phases: Mapping[str, float]
    """Seconds by phase, in their order."""
    seconds: float
    """Of the replay: from the first event sent until everything had come home."""
    learned: Learned

    @property
    def conserved(self) -> bool:
        """Whether nothing was lost and nothing made up."""
        return (
            self.events == self.features + self.dead_letters
            and not self.unpredicted
            and self.stream.holds
            and self.grpc.holds
            and self.asked == self.answered == self.grpc.predictions
        )

    @property
    def good(self) -> bool:
        """Whether everything that should have happened has, and nothing else."""
        return self.conserved and self.learned.told

    @property
    def rows_per_s(self) -> float:
        return self.events / self.seconds if self.seconds else 0.0

    def as_object(self) -> dict[str, Any]:
        """For ``-o json``; the numbers at the top are those of the stream, by distinct id."""
        stream, grpc = self.stream, self.grpc
        return {
            "conserved": self.conserved,
            "events": self.events,
            "features": self.features,
            "dead_letters": self.dead_letters,
            "predictions": stream.predictions,
            "outcomes": stream.outcomes,
            "waiting": stream.waiting,
            "never_labelled": stream.never_labelled,
            "lost": stream.lost + self.unpredicted,
            "repeats": self.repeats,
            "grpc": {
                "asked": self.asked,
                "answered": self.answered,
                "asked_again": self.asked_again,
                "predictions": grpc.predictions,
                "outcomes": grpc.outcomes,
                "waiting": grpc.waiting,
                "never_labelled": grpc.never_labelled,
                "lost": grpc.lost,
            },
            "restarts": self.restarts,
            "seconds": round(self.seconds, 2),
            "rows_per_s": round(self.rows_per_s, 1),
            "phases": {name: round(seconds, 2) for name, seconds in self.phases.items()},
            **self._loop(),
        }

    def _loop(self) -> dict[str, Any]:
        course, quality, replayed = self.learned.course, self.learned.quality, self.learned.replayed
        return {
            "versions": course.versions,
            "decisions": course.decisions,
            "alarms": course.alarms,
            "scored": quality.rows,
            "log_loss": quality.log_loss,
            "auc": quality.auc,
            "went_the_whole_way": course.went_the_whole_way,
            "forced": course.forced,
            "taken_back": course.taken_back,
            "why": course.why,
            "replay": {"identical": replayed.same, "decisions": replayed.count, "facts": replayed.facts},
        }

    def as_text(self) -> str:
        """For people."""
        stream, grpc = self.stream, self.grpc
        differ = f", but {self.unpredicted:,} ids differ" if self.unpredicted else ""
        again = f" ({self.asked_again:,} asked again, their process having died)" if self.asked_again else ""
        died = f", {self.restarts:,} processes died and came back" if self.restarts else ""
        verdict = (
            "Conservation holds: nothing was lost, nothing was made up."
            if self.conserved
            else "CONSERVATION DOES NOT HOLD."
        )
        dead = f"{self.dead_letters:,}"
        learned = self.learned
        course = learned.course
        explained = ["", f"$ {course.why}", course.explained] if course.why else []
        lines = [
            "",
            versions_text(course.versions),
            "",
            "day           decision  what, and why",
            decisions_text(course.decisions),
            *explained,
            "",
            *([quality_text(learned.quality), ""] if learned.quality.rows else []),
            f"stream  {self.events:,} events = {self.features:,} features + {dead} dead letters",
            f"        {self.features:,} features = {stream.predictions:,} predictions{differ}",
            f"        {_sentence(stream)}",
            f"gRPC    {self.asked:,} asked = {self.answered:,} answered{again}",
            f"        {_sentence(grpc)}",
            "",
            "time    " + ", ".join(f"{name} {seconds:.1f} s" for name, seconds in self.phases.items()),
            f"        {self.rows_per_s:,.0f} events/s{died}",
            "",
            verdict,
            *learned.verdicts(),
        ]
        return "\n".join(lines)


def _sentence(it: Account) -> str:
    lost = f", and {it.lost:,} LOST" if it.lost else ""
    made_up = f", and {it.unasked:,} outcomes of nothing" if it.unasked else ""
    return (
        f"{it.predictions:,} predictions = {it.outcomes:,} outcomes + {it.waiting:,} waiting"
        f" + {it.never_labelled:,} never labelled{lost}{made_up}"
    )

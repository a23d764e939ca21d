"""The demo from beginning to end: everything up, the flights replayed, every record accounted for.

1. up       a Kafka and all services, on free ports, in a folder of their own; the flights are read meanwhile
2. history  the first day's departures are on their topic before anybody has asked for a pipeline
3. apply    the pipeline file becomes what runs; the destinations are learned from the history
4. day 0    the governor asks for a baseline, the trainer makes it, the registry routes it, inference answers
5. replay   two producers, no more than an event-day ahead of what is judged; a client asks all the while;
            for four weeks two fields come with their sign flipped, and one day an operator makes a mistake
6. settle   until every consumer group has read all there is
7. account  from the topics alone: every record, every version and decision, and these once more
"""

from __future__ import annotations

import os
import time
from bisect import bisect_right
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from penstock.broker.ports import free_port
from penstock.cli.apply import apply
from penstock.cli.controllog import ControlLog
from penstock.cli.demo import operator
from penstock.cli.demo.course import course
from penstock.cli.demo.fault import broken
from penstock.cli.demo.flights import DAY_MS, Flight, flights
from penstock.cli.demo.gather import Gatherer
from penstock.cli.demo.quality import quality
from penstock.cli.demo.replay import Replay
from penstock.cli.demo.report import Expected, Learned, Report, Seen, account
from penstock.cli.demo.script import script
from penstock.cli.demo.settle import log_answers, patiently, settle
from penstock.cli.exits import Exit, Failure
from penstock.cli.groups import groups
from penstock.cli.logview import FileLogs
from penstock.cli.replay import replayed as replay_of
from penstock.cli.specfile import load
from penstock.cli.stack import Plan, Stack
from penstock.contracts.records import Origin
from penstock.runtime.avro import read_container
from penstock.runtime.broker import Topic
from penstock.runtime.catalog import Names
from penstock.runtime.kafka import KafkaBroker
from penstock.runtime.settings import Settings

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from penstock.cli.demo.view import View
    from penstock.kernel.pipeline import Pipeline
    from penstock.runtime.broker import Broker

PARTITIONS = 3


@dataclass(frozen=True, slots=True, kw_only=True)
class Slice:
    """Which flights are replayed."""

    days: int
    every: int
    """3 takes one flight in three."""


class Story:
    """One run of the demo.

    Args:
        example: the folder of the example.
        folder: for Kafka's data, the state and the logs.
        part: which flights.
        view: shows how it goes.
        spec: the pipeline file, where it is not the example's.
    """

    def __init__(
        self, example: Path, folder: Path, part: Slice, view: View, *, spec: Path | None = None
    ) -> None:
        self._example = example
        self._spec = spec or example / "flights.yaml"
        self._folder = folder
        self._part = part
        self._view = view
        self._phases: dict[str, float] = {}

    def tell(self) -> Report:
        """The whole story.

        Raises:
            Failure: it could not be told to its end.
        """
        settings = Settings.read(os.environ)
        names = Names(settings.prefix)
        pipeline = load(self._spec)
        with ExitStack() as ends:
            reader = ends.enter_context(ThreadPoolExecutor(1, thread_name_prefix="read"))
            read = reader.submit(lambda: script(self._flights(), self._part.days, pipeline))
            with self._phase("up", "starting Kafka and the services"):  # 1.
                logs = FileLogs(self._folder / "logs")
                ends.callback(logs.close)
                plan = Plan(folder=self._folder, grpc_port=free_port())
                stack = ends.enter_context(Stack(plan, log=logs, say=lambda _what: None))
                broker = KafkaBroker(stack.bootstrap, settings.kafka)
                ends.callback(broker.close)
            with self._phase("read", "reading the flights"):
                play = read.result()
            replay = ends.enter_context(
                Replay(
                    play,
                    broker=broker,
                    names=names,
                    pipeline=pipeline.name,
                    grpc=plan.grpc,
                    view=self._view,
                    restarts=stack.restarts,
                    until=operator.TIME if self._part.days > operator.DAY else None,
                )
            )
            gatherer = self._replay(replay, broker, names, pipeline)
            ends.callback(gatherer.close)
            with self._phase("settle", "waiting until everything has come home"):  # 6.
                log_answers(replay, gatherer)
                settle(replay, broker, groups(names, [pipeline]))
            with self._phase("account", "counting what the topics hold"):  # 7.
                replay.until(patiently(lambda: _complete(gatherer, play.end)))
                learned = self._learned(broker, names, pipeline, gatherer.seen)
            return self._report(gatherer.seen, replay, learned, stack.restarts())

    def _learned(self, broker: Broker, names: Names, pipeline: Pipeline, seen: Seen) -> Learned:
        way = course(ControlLog(broker, names, pipeline.name), pipeline)
        policy, horizon = pipeline.policy, pipeline.labels.horizon
        canary = len(policy.canary.shares) * policy.canary.each
        replayed = self._part.days * DAY_MS
        return Learned(
            course=way,
            quality=quality(seen.judged.rows.values(), static=way.first),
            replayed=replay_of(broker, names, pipeline.name),
            expected=Expected(
                # Labels have to be sealed, the shadow has its horizon, the canary its steps.
                champion=replayed > policy.first_training + 2 * horizon + canary + DAY_MS,
                take_back=replayed > operator.DAY * DAY_MS + policy.watch + horizon + DAY_MS,
            ),
        )

    def _replay(self, replay: Replay, broker: Broker, names: Names, pipeline: Pipeline) -> Gatherer:
        play = replay.script
        with self._phase("history", "sending the first day's departures"):  # 2.
            raw = [pipeline.events.topic, pipeline.labels.topic]
            broker.create([Topic(name=name, partitions=PARTITIONS) for name in raw])
            first_day = bisect_right(play.event_times, replay.pace.events.time)
            replay.start(replay.events.run)
            replay.until(lambda: replay.events.sent >= first_day)
        with self._phase("apply", f"applying {pipeline.name}"):  # 3.
            apply(pipeline, broker, names)
        with self._phase("day 0", "waiting for version 0 to answer"):  # 4.
            replay.start(replay.asker.run, replay.watch.run)
            replay.until(replay.asker.first_answer.is_set)
        gatherer = Gatherer(broker, names, pipeline)
        replay.meanwhile = patiently(lambda: bool(gatherer.gather()))
        with self._phase("replay", f"replaying {self._part.days} days: {len(play.events):,} flights"):  # 5.
            replay.start(replay.labels.run)
            if self._part.days > operator.DAY:
                operator.force(replay, broker, names, pipeline.name)
            replay.until(replay.sent)
            replay.asker.stop()
            replay.until(replay.asker.finished.is_set)
        return gatherer

    def _report(self, seen: Seen, replay: Replay, learned: Learned, restarts: int) -> Report:
        stream = {name for origin, name in seen.predictions if origin is Origin.STREAM}
        return Report(
            events=len(seen.events),
            features=len(seen.features),
            dead_letters=seen.dead_letters,
            unpredicted=len(seen.features ^ stream),
            repeats=seen.repeats,
            stream=account(seen, Origin.STREAM),
            grpc=account(seen, Origin.GRPC),
            asked=replay.asker.asked,
            answered=replay.asker.answered,
            asked_again=replay.asker.asked_again,
            restarts=restarts,
            phases=self._phases,
            seconds=self._phases["replay"] + self._phases["settle"],
            learned=learned,
        )

    def _flights(self) -> list[Flight]:
        with (self._example / "flights.avro").open("rb") as file:
            sent = flights(read_container(file), days=self._part.days, every=self._part.every)
            chosen = [replace(flight, event=broken(flight.event)) for flight in sent]
        if not chosen:
            raise Failure("no flight in this slice", Exit.USAGE)
        return chosen

    @contextmanager
    def _phase(self, name: str, shown: str) -> Iterator[None]:
        self._view.phase(shown)
        began = time.monotonic()
        yield
        self._phases[name] = time.monotonic() - began


def _complete(gatherer: Gatherer, end: int) -> bool:
    """Whether all is gathered, to where every partition of the join has come to the end of event time."""
    reached = gatherer.gather().watermarks.values()
    return len(reached) == PARTITIONS and min(reached) >= end

"""What every task promises, whatever it does."""

from __future__ import annotations

import copy
import functools
import json
from collections.abc import Iterable
from typing import Any

import orjson
import pytest

from penstock import onnx
from penstock.cli.backtest.system import TASKS
from penstock.contracts.records import DeadLetter, Label
from penstock.inference import loader
from penstock.registry import task as registry
from penstock.runtime.avro import HEADER, Schema
from penstock.runtime.broker import Message, Polled, Record
from penstock.runtime.codec import Codec
from penstock.runtime.deadletter import HEADER as REASON
from penstock.runtime.loop import Staged
from tests.conformance.cases import CASES, Case, Stage
from tests.scenarios.fragile import STEPS, FragileBroker, Killed
from tests.scenarios.system import System

CODEC = Codec()
every_task = pytest.mark.parametrize("case", CASES.values(), ids=CASES)

# The check starts a process: once per artifact is enough for all these tests.
_checked = functools.cache(onnx.check)


@pytest.fixture(autouse=True)
def _checked_once(monkeypatch: pytest.MonkeyPatch) -> None:
    for module in (registry, loader):
        monkeypatch.setattr(module, "check", _checked)


def test_the_days_have_a_first_training_a_canary_and_a_promotion() -> None:
    decisions = Stage(CASES["trainer"])
    decisions.play()
    assert [type(each).__name__ for each in decisions.system.events("decisions")] == [
        "BaselineRequested",
        "RetrainRequested",
        "ShadowStarted",
        "CanaryStarted",
        "CanaryAdvanced",
        "Promoted",
    ]


@every_task
def test_it_does_something_with_these_days(case: Case) -> None:
    stage = Stage(case)
    stage.play()
    assert {topic for topic, *_ in stage.outputs()} == set(case.outputs), "each of its topics, and no letters"


@every_task
def test_a_replay_gives_the_same_bytes(case: Case) -> None:
    first, second = Stage(case), Stage(case)
    first.play()
    second.play()
    assert first.outputs() == second.outputs()


@every_task
def test_a_process_that_begins_anew_before_every_step_writes_the_same_bytes(case: Case) -> None:
    def step(system: System) -> bool:
        system.restart(case.name)
        assert system.step(case.name), "the assignment, and the state made of the logs"
        return system.step(case.name)

    calm, shaken = Stage(case), Stage(case, step=step)
    calm.play()
    shaken.play()
    assert shaken.outputs() == calm.outputs()


@every_task
def test_a_process_that_dies_in_every_other_transaction_writes_the_same_bytes(case: Case) -> None:
    deaths: list[str] = []

    def step(system: System) -> bool:
        broker = system.broker
        assert isinstance(broker, FragileBroker)
        before = broker.trace.count("begin")
        if broker.weak is None and before % 2 == 0:
            broker.kill(STEPS[len(deaths) % 4], done=len(deaths) % 8 > 3)
        try:
            return system.step(case.name)
        except Killed as killed:
            deaths.append(str(killed))
            system.restart(case.name)
            return True

    calm, shaken = Stage(case), Stage(case, broker=FragileBroker, step=step)
    calm.play()
    shaken.play()
    assert deaths
    assert shaken.outputs() == calm.outputs()


@every_task
def test_records_that_come_a_second_time_give_nothing_new(case: Case) -> None:
    stage = Stage(case)
    stage.play()
    before = case.repeats(stage.system)
    stage.play()
    assert case.repeats(stage.system) == before
    assert case.letters(stage.system) == []


@every_task
def test_what_it_is_given_stays_as_it_was(case: Case, monkeypatch: pytest.MonkeyPatch) -> None:
    stage = Stage(case)
    stage.rest()
    task = stage.system.task(case.name)
    process = task.process
    seen = 0

    def watched(polled: Polled) -> Staged:
        nonlocal seen
        before = copy.deepcopy(polled)
        staged = process(polled)
        assert polled == before
        seen += len(polled.records)
        return staged

    monkeypatch.setattr(task, "process", watched)
    stage.play()
    assert seen >= len(stage.inputs())


# -- what other writers may do


def later(system: System, record: Record) -> Iterable[bytes | None]:
    """The record as a later writer would have written it, with a field that nobody here knows."""
    value = record.value
    if value is None:
        return [None]
    if value.startswith(b"{"):
        if not record.topic.startswith("crm."):
            return [value]  # a schema
        return [orjson.dumps({**orjson.loads(value), "added_later": "x" * 300})]
    schemas = {each.key: each.value for each in system.broker.records("penstock.schemas")}
    text = schemas.get(value[2:HEADER])
    if text is None:
        return [value]  # bytes that are no record
    written = Schema(text)
    raw: dict[str, Any] = json.loads(text)
    raw["fields"].insert(len(raw["fields"]) - 1, {"name": "added_later", "type": "string", "default": ""})
    evolved = Schema(json.dumps(raw))
    if evolved.fingerprint not in schemas:
        system.broker.append(Message("penstock.schemas", evolved.text.encode(), evolved.fingerprint))
    return [evolved.header + evolved.write({**written.read(value[HEADER:]), "added_later": "x" * 300})]


@every_task
def test_a_field_that_a_later_writer_adds_changes_nothing(case: Case) -> None:
    plain, evolved = Stage(case), Stage(case, change=later)
    plain.play()
    evolved.play()
    sizes = [
        sum(
            len(record.value or b"") for topic in case.inputs for record in stage.system.broker.records(topic)
        )
        for stage in (plain, evolved)
    ]
    assert sizes[1] >= sizes[0] + 300 * len(plain.inputs()), "every input record has it"
    assert evolved.outputs(without=case.verbatim) == plain.outputs(without=case.verbatim)


SPOILT = {
    b"garbage": "undecodable",
    b"": "",
    CODEC.encode(Label(id="a", time=0, label=1.0))[:12] + b"\xff" * 9: "undecodable",
}


@every_task
def test_what_cannot_be_decoded_is_a_dead_letter_and_the_stream_goes_on(case: Case) -> None:
    calm, spoilt = Stage(case), Stage(case)
    calm.play()
    for topic in case.inputs:
        for partition in range(spoilt.system.broker.topics()[topic]):
            for value in SPOILT:
                spoilt.system.broker.append(Message(topic, value, b"the key", (), partition))
    spoilt.rest()
    spoilt.play()

    assert case.essence(spoilt.system) == case.essence(calm.system)
    letters = case.letters(spoilt.system)
    places = set()
    for letter in letters:
        assert letter.key == b"the key"
        why = CODEC.decode(dict(letter.headers)[REASON]).value
        assert isinstance(why, DeadLetter)
        assert why.service == case.name  # the harness starts each task as a service of its own
        assert why.reason in case.reasons
        assert why.message
        assert why.retry.endswith(f"--origin {why.source.topic}/{why.source.partition}/{why.source.offset}")
        assert SPOILT[letter.value or b""] in (why.reason, "") or why.reason == "misplaced"
        places.add(why.source)
    expected = sum(spoilt.system.broker.topics()[topic] for topic in case.inputs) * len(SPOILT)
    assert (len(letters), len(places)) == (expected, expected)


@every_task
def test_every_input_record_is_committed_past(case: Case) -> None:
    stage = Stage(case)
    stage.play()
    committed = stage.system.broker.groups[f"penstock.{case.name}"]
    ends = {
        (record.topic, record.partition): record.offset + 1
        for topic in case.inputs
        for record in stage.system.broker.records(topic)
    }
    assert {key: committed[key].offset for key in committed if key in ends} == ends


def test_every_task_of_the_product_is_here() -> None:
    assert CASES.keys() == TASKS.keys()

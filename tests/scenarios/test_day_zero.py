"""Day 0 is the same loop: apply, baseline asked for, built, numbered, routed."""

from __future__ import annotations

from penstock.contracts.records import (
    BaselineRequested,
    CandidateTrained,
    FactTaken,
    GovernorState,
    ModelRegistered,
    RouteChanged,
    Stage,
    VersionRegistered,
    VersionStage,
)
from penstock.governor.domain import replay
from penstock.onnx import MAX_BYTES, Model
from penstock.runtime.blobs import read_blob
from tests.scenarios.system import CHURN, System


def test_apply_leads_to_version_0_as_champion_at_route_epoch_1() -> None:
    system = System()
    system.apply(CHURN)
    system.settle()

    [request] = system.events("decisions")
    [candidate] = system.events("candidates")
    [registered] = system.events("lifecycle")
    [model] = system.events("models")
    [route] = system.events("routes")
    assert isinstance(request, BaselineRequested)
    assert isinstance(candidate, CandidateTrained)
    assert isinstance(registered, VersionRegistered)
    assert isinstance(model, ModelRegistered)
    assert isinstance(route, RouteChanged)
    assert candidate.decision == request.id
    assert (registered.version, registered.stage) == (0, VersionStage.CHAMPION)
    assert (route.epoch, route.champion, route.shadows) == (1, 0, ())

    artifact = read_blob(
        system.broker,
        "penstock.chunks",
        model.manifest.digest,
        size=model.manifest.size,
        largest=MAX_BYTES,
    )
    loaded = Model.load(artifact, digest=model.manifest.digest)
    loaded.reproduce(
        [each.features for each in model.manifest.golden], [each.scores for each in model.manifest.golden]
    )

    state = system.events("governor-state")[-1]
    assert isinstance(state, GovernorState)
    assert (state.stage, state.champion, state.decided) == (Stage.STEADY, 0, 1)


def test_every_record_names_its_cause_down_to_the_offset() -> None:
    system = System()
    system.apply(CHURN)
    system.settle()
    route = system.events("routes")[0]
    for topic in ("penstock.candidates", "penstock.decisions", "penstock.pipelines"):
        [cause] = route.causes
        assert cause.topic == topic
        [record] = [each for each in system.broker.records(topic) if each.offset == cause.offset]
        route = system.decode(record.value or b"")
        if topic == "penstock.pipelines":
            break


def test_a_replay_of_the_journal_gives_the_same_decisions_to_the_byte() -> None:
    system = System()
    system.apply(CHURN)
    system.apply({**CHURN, "pipeline": "renewal"})
    system.settle()
    system.apply({**CHURN, "owner": "somebody@else.example"})
    system.settle()
    journal = [each for each in system.events("governor-journal") if isinstance(each, FactTaken)]
    again = replay([(taken, system.decode(taken.value)) for taken in journal])
    assert sorted(map(system.codec.encode, again)) == sorted(
        record.value or b"" for record in system.broker.records("penstock.decisions")
    )
    assert len(again) == 2


def test_a_restart_of_any_control_service_at_any_step_changes_nothing() -> None:
    calm = System()
    calm.apply(CHURN)
    calm.settle()
    for restarts in (1, 2, 3, 5, 8, 13):
        system = System()
        system.apply(CHURN)
        names = ("governor", "trainer", "registry")
        for count in range(restarts):
            name = names[count % 3]
            system.step(name)
            system.restart(name)
        system.settle()
        for topic in ("decisions", "candidates", "lifecycle", "routes", "governor-state"):
            mine, theirs = (
                system.broker.records(f"penstock.{topic}"),
                calm.broker.records(f"penstock.{topic}"),
            )
            assert len(mine) == len(theirs), (topic, restarts)

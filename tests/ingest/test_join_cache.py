"""The join's cache: it is either right or thrown away, and what it holds in memory does not grow."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from structlog.testing import capture_logs

from penstock.contracts.records import Label, Origin, Outcome, OutcomeKind
from penstock.ingest.domain.cases import Case, Force, Identity, Known, Made, MemoryStore, Queue, Store
from penstock.ingest.domain.join import Join
from penstock.ingest.service import join_cache
from penstock.ingest.settings import IngestSettings
from penstock.ingest.store import Note, Place, Rocks
from penstock.ingest.store.packing import pack, unpack
from penstock.runtime.broker import Position, TopicPartition
from penstock.runtime.errors import Unavailable
from penstock.runtime.memory import MemoryBroker
from tests.ingest.joining import Come, Predict, check
from tests.ingest.test_join_story import beginning, told

HERE = Place("churn", 1)
NOTE = Note(source="here", predictions=1, labels=2, outcomes=3, seen=(4, None), watermark=5, idle=True)


@pytest.fixture
def rocks(tmp_path: Path) -> Iterator[Rocks]:
    rocks = Rocks(tmp_path / "cache", megabytes=16)
    yield rocks
    rocks.close()


# -- what is kept


NAMES = st.text(max_size=3)
TIMES = st.integers(-(1 << 40), 1 << 40)
FORCES: st.SearchStrategy[Force] = st.tuples(TIMES, st.binary(min_size=8, max_size=8))
KNOWN = st.builds(
    Known,
    st.sampled_from(Origin),
    st.none() | st.builds(Made, TIMES, st.integers(0, 1 << 40)),
    st.none() | st.sampled_from(OutcomeKind),
    st.none() | FORCES,
)
LABELS = st.builds(Label, id=st.just(""), time=TIMES, label=st.floats(allow_nan=False))
CASES = st.builds(
    Case,
    name=NAMES,
    known=st.lists(KNOWN, max_size=2, unique_by=lambda known: known.origin).map(tuple),
    labels=st.lists(st.builds(Label, id=st.just(""), time=TIMES, label=st.floats(allow_nan=False))).map(
        tuple
    ),
    unmatched=st.booleans(),
)


@given(case=CASES)
def test_a_case_is_what_it_was_when_it_comes_back(case: Case) -> None:
    case.labels = tuple(replace(label, id=case.name) for label in case.labels)
    case.waiting = case.waits()
    assert unpack(case.name, pack(case)) == case


ACTS = st.lists(
    st.one_of(
        st.tuples(st.just("predict"), NAMES, st.sampled_from(Origin), TIMES),
        st.tuples(st.just("label"), NAMES, st.sampled_from([0.0, 1.0]), TIMES),
        st.tuples(st.just("advance"), st.integers(0, 3), TIMES),
        st.tuples(st.just("adopt")),
    ),
    max_size=40,
)


@settings(max_examples=50, deadline=None)
@given(acts=ACTS)
def test_a_shelf_on_disk_is_as_good_as_memory(
    acts: list[tuple[object, ...]], tmp_path_factory: pytest.TempPathFactory
) -> None:
    """In every order of ids and times, negative ones too: what is due is due at once and in turn."""
    rocks = Rocks(tmp_path_factory.mktemp("cache"), megabytes=16)
    joins = [Join(horizon=1000), Join(horizon=1000, store=rocks.shelf(HERE))]
    for place, act in enumerate(acts):
        found: list[object] = []
        for join in joins:
            match act:
                case "predict", str(name), Origin() as origin, int(time):
                    found.append(join.predict(Identity(name, origin), Made(time, place)))
                case "label", str(name), float(value), int(time):
                    found.append(join.label(Label(id=name, time=time, label=value)))
                case "advance", int(most), int(time):
                    found.append(join.advance(time, most=most))
        assert found[:1] == found[1:]
        if act == ("adopt",):
            rocks.adopt({})
            rocks.begin()
            joins[1].store = rocks.shelf(HERE)
    rocks.close()


def test_what_is_not_adopted_was_never_there(rocks: Rocks) -> None:
    shelf = rocks.shelf(HERE)
    for name, time in (("a", 1), ("b", 2)):
        waits(shelf, name, time)
        if name == "a":
            rocks.adopt({HERE: NOTE})
    assert list(due(shelf)) == ["a", "b"]
    rocks.begin()
    assert list(due(rocks.shelf(HERE))) == ["a"]
    assert rocks.note(HERE) == NOTE
    assert rocks.note(Place("churn", 2)) is None


def test_another_process_goes_on_with_it(rocks: Rocks, tmp_path: Path) -> None:
    shelf = rocks.shelf(HERE)
    waits(shelf, "ż", -5)
    shelf.put(7, b"the record")
    rocks.adopt({HERE: NOTE})
    rocks.close()
    other = Rocks(tmp_path / "cache")
    assert (other.note(HERE), list(due(other.shelf(HERE)))) == (NOTE, ["ż"])
    assert other.shelf(HERE).get([7]) == [b"the record"]
    other.close()


def test_a_place_is_thrown_away_alone(rocks: Rocks) -> None:
    other = Place("churn", 2)
    for place in (HERE, other):
        waits(rocks.shelf(place), "a", 1)
        rocks.shelf(place).put(0, b"x")
    rocks.adopt({HERE: NOTE, other: NOTE})
    rocks.discard(HERE)
    rocks.begin()
    assert (rocks.note(HERE), list(due(rocks.shelf(HERE))), rocks.shelf(HERE).case("a")) == (
        None,
        [],
        Case("a"),
    )
    assert (rocks.note(other), list(due(rocks.shelf(other)))) == (NOTE, ["a"])


def waits(store: Store, name: str, time: int) -> None:
    case = store.case(name)
    case.learn(Known(Origin.STREAM, Made(time, 0)))
    store.keep(case)


def due(store: Store) -> Iterator[str]:
    """Who waits; nobody decides anything."""
    assert not isinstance(store, MemoryStore)
    return (name for _, name in store.due(Queue.OPEN, 1 << 50))


# -- what is thrown away


def test_a_damaged_cache_is_thrown_away_and_built_anew() -> None:
    with told() as story, capture_logs() as lines:
        story.start("0")
        beginning(story)
        story.rest()
        assert story.folder is not None
        story.end("0", "kept")
        for file in (story.folder / "0").glob("*"):
            if file.suffix in (".log", ".sst") or file.name.startswith("MANIFEST"):
                file.write_bytes(b"spoilt" * 100)
        story.start("0")
        with pytest.raises(Unavailable, match="was lost"):
            story.rest()
        story.end("0", "kept")
        story.start("0")  # as `serve` does it
        story.rest()
        check(story)
    assert [line["event"] for line in lines if line["log_level"] == "error"] == ["cache_lost"]


@pytest.mark.parametrize("spoilt", ["cluster", "ahead", "format"])
def test_a_cache_that_does_not_fit_is_thrown_away(spoilt: str, monkeypatch: pytest.MonkeyPatch) -> None:
    with told() as story, capture_logs() as lines:
        story.start("0")
        beginning(story)
        story.rest()
        story.end("0", "kept")
        broker = story.broker
        assert isinstance(broker, MemoryBroker)
        if spoilt == "cluster":
            monkeypatch.setattr(MemoryBroker, "cluster_id", lambda _: "another")
        elif spoilt == "format":
            monkeypatch.setattr("penstock.ingest.store.rocks.FORMAT", 0)
        else:
            broker.groups.clear()  # an operator has put the group back: all comes a second time
        story.rest()
        check(story, counts=spoilt != "ahead")
    said = [line["partition"] for line in lines if line["event"] == "cache_discarded"]
    assert said == [0, 1, 2]


def test_what_retention_has_removed_is_forgotten_alike_with_a_cache_and_without() -> None:
    written = []
    for cache in (True, False):
        with told(cache=cache) as story:
            story.start("0")
            for name in "abcdf":
                story.happen(Predict(name=name, origin=Origin.STREAM, time=0))
            for name in "abc":
                story.give(Label(id=name, time=1, label=1.0))
            story.rest()
            story.end("0", "kept")
            broker = story.broker
            assert isinstance(broker, MemoryBroker)
            topic = story.names.of("predictions", "churn")
            for number in range(3):
                where = TopicPartition(topic, number)
                broker.expire(where, broker.ends([where])[where][1])
            story.start("0")
            for name in "abcdf":
                story.give(Label(id=name, time=2, label=0.0))
            story.give(Predict(name="a", origin=Origin.STREAM, time=1))
            story.give(Predict(name="d", origin=Origin.STREAM, time=50))
            story.rest()
            written.append(story.events())
    assert written[0] == written[1]
    after = [each for _, each in written[0] if isinstance(each, Outcome)]
    assert {(each.id, each.kind) for each in after} == {
        *((name, OutcomeKind.LABELLED) for name in "abcd"),
    }, "no revision without the record; one that comes again is new where nothing is known of it"


# -- where it is


def test_each_process_has_a_folder_of_its_own(tmp_path: Path) -> None:
    cache = join_cache(IngestSettings(join_state=tmp_path, prefix="a/b.", slot="7"))
    cache.note(HERE)
    assert [folder.name for folder in tmp_path.iterdir()] == ["a%2Fb.join-7"]
    with pytest.raises(Unavailable, match="in use by another process"):
        join_cache(IngestSettings(join_state=tmp_path, prefix="a/b.", slot="7")).note(HERE)
    cache.close()


def test_a_folder_that_cannot_be_made_is_said(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("in the way")
    with pytest.raises(Unavailable, match="cannot be made"):
        Rocks(tmp_path / "file" / "cache").note(HERE)


def test_a_temporary_folder_goes_with_the_process(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    ended = subprocess.run(
        [sys.executable, "-c", "import os; print(os.getpid())"], capture_output=True, text=True, check=True
    )
    left, alive = (
        tmp_path / f"penstock-join-{ended.stdout.strip()}-x",
        tmp_path / f"penstock-join-{os.getppid()}-x",
    )
    for folder in (left, alive):
        folder.mkdir()
    cache = Rocks(None)
    cache.note(HERE)
    [own] = set(tmp_path.iterdir()) - {alive}
    assert own.name.startswith(f"penstock-join-{os.getpid()}-"), "what a dead process has left is gone"
    cache.close()
    assert set(tmp_path.iterdir()) == {alive}


def test_a_handover_that_is_broken_off_goes_on_from_there(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("penstock.ingest.handover._SLICE", 1)
    monkeypatch.setattr("penstock.runtime.fold._SLICE", 2)
    with told() as story:
        for name in "abcdf":
            story.give(*(Predict(name=f"{name}{n}", origin=Origin.STREAM, time=n) for n in range(20)))
        story.rest()
        assert story.folder is not None
        story.end("0", "lost")
        story.start("0")
        process = story.processes["0"]
        positions = process.loop._consumer.committed(
            [TopicPartition(topic, n) for topic in process.task.topics() for n in range(3)]
        )
        half = process.task.restore({where: at or Position(0) for where, at in positions.items()})
        for _ in range(30):
            next(half)
        story.end("0", "kept")
        cache = Rocks(story.folder / "0")
        notes = [note for n in range(3) if (note := cache.note(Place("churn", n)))]
        cache.close()
        assert 0 < sum(note.predictions for note in notes) < 100
        story.happen(Come(slot="0"))
        story.give(*(Label(id=f"a{n}", time=n, label=1.0) for n in range(20)))
        story.rest()
        check(story)
        shutil.rmtree(story.folder / "0-old")

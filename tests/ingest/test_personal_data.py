"""Personal data: hashed or dropped before anything is written, letters and log lines among it."""

from __future__ import annotations

import numpy as np
import pytest

from penstock.ingest.domain.veil import hashed_words
from penstock.ingest.service import TASKS
from penstock.kernel.columns import Words
from penstock.kernel.mistakes import Mistakes
from penstock.kernel.pii import is_pseudonym, pseudonym
from penstock.kernel.pipeline import Pipeline
from penstock.runtime.settings import WrongSetting
from tests.ingest.taking import EVENTS, KEY, LABELS, PERSON, World, event, spec, taken
from tests.scenarios.system import HOUR, System

SECRET = {**spec(pii={"event_id": "hash", "email": "drop", "plan": "hash"}), "features": {"age": "number"}}


def test_an_id_is_hashed_alike_in_events_and_labels() -> None:
    world = World(SECRET)
    world.event(event(PERSON))
    world.label({"event_id": PERSON, "at": 2 * HOUR, "churned": 1})
    [row], [label] = world.rows(), world.labels()
    assert row.id == label.id == pseudonym(KEY, PERSON)
    assert is_pseudonym(row.id)
    [record] = world.broker.records("penstock.churn.features")
    assert record.key == row.id.encode()


def test_one_mark_is_enough_where_the_fields_have_two_names() -> None:
    raw = {**SECRET, "labels": {**LABELS, "id": "id"}}
    world = World(raw)
    world.event(event(17))
    world.label({"id": 17, "at": 2 * HOUR, "churned": 1})
    assert world.rows()[0].id == world.labels()[0].id == pseudonym(KEY, "17")


def test_categories_are_coded_by_their_hashes() -> None:
    words = [pseudonym(KEY, word) for word in ("free", "plus")]
    raw = {**SECRET, "features": {"plan": {"category": words}}}
    intake = taken(raw, event("a"), event("b", plan="gold"), event("c", plan=None), written=HOUR)
    np.testing.assert_array_equal(intake.matrix[:, 0], [2, 0, np.nan])


def test_words_held_once_are_hashed_once() -> None:
    hashed = hashed_words(
        Pipeline.read(MARKED), {"plan": Words(["free", None, 3], np.array([0, 1, 0, 2]))}, KEY
    )
    assert list(hashed["plan"]) == [pseudonym(KEY, "free"), None, pseudonym(KEY, "free"), 3]


BAD: list[object] = [
    {"event_id": [PERSON], "at": 0},
    {"event_id": PERSON, "at": PERSON},
    {"event_id": PERSON, "at": 0, "age": "x", "email": PERSON},
    {"event_id": PERSON, "at": 0, "plan": [PERSON]},
    f'{{"event_id": "{PERSON}"'.encode(),
    PERSON.encode(),
    b"",
]
MARKED = {
    **SECRET,
    "pii": {"event_id": "hash", "email": "drop", "plan": "hash"},
    "features": {"age": "number", "plan": {"category": [pseudonym(KEY, "free")]}},
}


def test_nothing_personal_is_written_whatever_is_refused(capfd: pytest.CaptureFixture[str]) -> None:
    world = World(MARKED)
    bad = [each for each in BAD if not isinstance(each, dict) or each["at"] == 0]  # the time is not marked
    for value in bad:
        world.event(value)
    world.event(event(PERSON, email=PERSON))
    letters = world.letters()
    assert len(letters) == len(bad)
    assert len(world.rows()) == 1
    for topic in world.broker.topics():
        if topic.startswith("crm."):
            continue
        for record in world.broker.records(topic):
            parts = [record.key or b"", record.value or b"", *(value for _, value in record.headers)]
            assert b"ann@" not in b"".join(parts), topic
    logged = capfd.readouterr()
    assert "ann@" not in logged.out + logged.err


def test_a_letter_of_personal_data_says_where_the_record_stands() -> None:
    world = World(MARKED)
    world.event(event(PERSON, plan=["gold"]))
    [letter] = world.letters()
    [record] = world.broker.records("penstock.churn.dead-letters.ingest")
    assert (record.key, record.value) == (None, None)
    assert (letter.source.topic, letter.source.offset, letter.retry) == ("crm.events", 0, "")
    assert (letter.field, letter.reason) == ("plan", "wrong_type")
    assert letter.message == "field 'plan', which is personal data and not shown, broke rule 'type'"


def test_another_pipeline_on_the_topic_does_not_tell_either() -> None:
    world = World(MARKED)
    plain = {**spec(), "pipeline": "another", "features": {"email": "number"}}
    world.system.apply(plain)
    world.event(event("a", email=PERSON))
    world.rows()
    letters = [
        record
        for name in ("another", "churn")
        for record in world.broker.records(f"penstock.{name}.dead-letters.ingest")
    ]
    assert len(letters) == 1
    assert letters[0].value is None
    assert b"ann@" not in b"".join(value for _, value in letters[0].headers)


PATTERN = {"plan": {"category": "from_first_rows", "pattern": "a"}}


@pytest.mark.parametrize(
    ("pii", "features", "complaint"),
    [
        ({"event_id": "drop"}, {}, "pii.event_id: 'event_id' is events.id: it can be hashed, not dropped"),
        ({"at": "hash"}, {}, "pii.at: 'at' is events.time: it can be neither dropped nor hashed"),
        ({"churned": "hash"}, {}, "pii.churned: 'churned' is labels.value: it can be neither dropped nor"),
        (
            {"email": "mask"},
            {},
            "pii.email: unknown treatment 'mask': expected drop or hash (did you mean 'drop'",
        ),
        ({"a..b": "drop"}, {}, "pii.a..b: 'a..b' has a dot with no name beside it"),
        ([], {}, "pii: expected fields, and drop or hash for each, got a list"),
        ({"age": "drop"}, {}, "pii.age: feature 'age' is made of it: leave out the one or the other"),
        ({"age": "hash"}, {}, "pii.age: feature 'age' is made of it, and only categories can be hashed"),
        ({"plan": "hash"}, {}, "pii.plan: the categories of feature 'plan' are hashes then: from"),
        ({"u": "drop"}, {"age": {"number": {"from": "u.age"}}}, "pii.u: feature 'age' is made of it: leave"),
        ({"plan": "hash"}, PATTERN, "pii.plan: feature 'plan' has a pattern"),
    ],
)
def test_a_mark_that_cannot_be(pii: object, features: dict[str, object], complaint: str) -> None:
    with pytest.raises(Mistakes) as found:
        Pipeline.read({**spec(pii=pii), **({"features": features} if features else {})})
    told = [str(mistake) for mistake in found.value.items]
    assert any(each.startswith(complaint) for each in told), told
    assert len({mistake.path for mistake in found.value.items}) == 1


def test_a_hash_without_its_key_is_one_line_at_the_start() -> None:
    system = System({"intake": TASKS["intake"]})
    system.apply(MARKED)
    with pytest.raises(
        WrongSetting, match=r"^pipeline churn hashes personal data, which needs a key: PENSTOCK_PII"
    ):
        system.settle()


def test_a_pipeline_that_lacks_its_key_later_waits_and_the_others_go_on() -> None:
    system = System({"intake": TASKS["intake"]})
    system.apply(spec())
    system.settle()
    other = {
        **MARKED,
        "pipeline": "other",
        "events": {**EVENTS, "topic": "o.events"},
        "labels": {**LABELS, "topic": "o.labels"},
    }
    system.apply(other)
    system.produce("crm.events", event("a"))
    system.produce("o.events", event("a"))
    system.settle()
    assert len(system.events("features", "churn")) == 1
    assert system.events("features", "other") == []
    assert system.task("intake").topics() == ["crm.events", "crm.outcomes"]

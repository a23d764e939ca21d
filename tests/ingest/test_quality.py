"""Data quality: what became of producers' records, by rule, from intake to the summaries."""

from __future__ import annotations

from collections import Counter

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from penstock.contracts.records import Summary
from penstock.ingest.domain.counts import added
from penstock.ingest.service import TASKS
from penstock.ingest.summarise import SummariseTask
from tests.ingest.given import SMALL, Given, prediction
from tests.ingest.taking import World, event, spec
from tests.scenarios.system import HOUR, System

RULES = spec(
    events={"freshness": {"at_most": "10d", "otherwise": "flag"}},
    features={
        "age": {
            "number": {"max": 150, "required": True, "otherwise": {"type": "set_missing", "required": "flag"}}
        },
        "plan": {"category": ["free", "plus"], "pattern": "^[a-z]+$"},
    },
)


def test_each_rule_is_counted_once_in_the_summaries() -> None:
    world = World(RULES, "summarise")
    for sent in (event("a"), event("a"), event("b", age=200), event("c", plan="gold"), event("d", plan="7")):
        world.event(sent)
    for broken in (event("e", age="x"), event("f", at="soon"), event(None), {"event_id": "g", "at": HOUR}):
        world.event(broken)
    world.event(b"{")
    world.label({"event_id": "a", "at": HOUR, "churned": 7})
    world.system.settle()
    summaries = [each for each in world.system.events("summaries") if isinstance(each, Summary)]
    total: dict[str, Counter[tuple[str, str, str]]] = {}
    seen = Counter[str]()
    for each in summaries:
        for part in each.taken:
            seen.update({f"{part.topic} seen": part.seen, f"{part.topic} taken": part.taken})
            seen[f"{part.topic} again"] += part.duplicates
            counts = total.setdefault(part.topic, Counter())
            counts.update({(rule.field, rule.rule, rule.action): rule.count for rule in part.rules})
    assert dict(seen) == {
        "crm.events seen": 10,
        "crm.events taken": 6,
        "crm.events again": 1,
        "crm.outcomes seen": 1,
        "crm.outcomes taken": 0,
        "crm.outcomes again": 0,
    }
    assert total["crm.events"] == {
        ("", "undecodable", "dead_letter"): 1,
        ("age", "range", "set_missing"): 1,
        ("age", "required", "flag"): 3,
        ("age", "type", "set_missing"): 1,
        ("at", "freshness", "flag"): 6,
        ("at", "type", "dead_letter"): 1,
        ("event_id", "required", "dead_letter"): 1,
        ("plan", "pattern", "set_missing"): 1,
        ("plan", "values", "keep"): 1,
    }
    assert total["crm.outcomes"] == {("churned", "type", "dead_letter"): 1}


VALUE: st.SearchStrategy[object] = st.sampled_from(
    [None, "a", "b", "plus", "gold", "7", 3, 200, -1, True, [], HOUR, "1970-01-02T00:00:00Z"]
)
EVENT = st.fixed_dictionaries({}, optional=dict.fromkeys(("event_id", "at", "age", "plan"), VALUE))
RAW = st.one_of(EVENT, st.sampled_from([b"", b"{", event("a"), event("b")]))


@settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(batches=st.lists(st.lists(RAW, max_size=5), min_size=1, max_size=4))
def test_every_record_is_taken_refused_or_a_repeat(batches: list[list[object]]) -> None:
    world = World(RULES, "summarise")
    sent = 0
    for batch in batches:
        for value in batch:
            world.event(value)
            sent += 1
        world.system.settle()
    told = world.told()
    letters, rows = world.letters(), world.rows()
    assert sum(each.seen for each in told) == sent
    assert sum(each.taken for each in told) == len(rows)
    refused = [rule for each in told for rule in each.rules if rule.action == "dead_letter"]
    assert sum(rule.count for rule in refused) == len(letters)
    assert sum(each.duplicates for each in told) == sent - len(rows) - len(letters)
    flags = Counter(flag for row in rows for flag in row.flags)
    marked = Counter[str]()
    for each in told:
        marked.update(
            {f"{rule.field}:{rule.rule}": rule.count for rule in each.rules if rule.action == "flag"}
        )
    assert flags == marked
    summed = [part for each in world.system.events("summaries") for part in each.taken]
    assert added(summed) == added(told)


class Before(SummariseTask):
    """As it was before there was anything of quality."""

    def topics(self) -> list[str]:
        return self.pipeline_topics("predictions", "outcomes")


def test_a_chain_that_knew_nothing_of_quality_goes_on() -> None:
    kinds: list[type[SummariseTask]] = [Before]
    system = System({"intake": TASKS["intake"], "summarise": lambda catalog, _: kinds[-1](catalog)})
    given = Given(system, system.apply(SMALL))
    given.predictions([prediction("a", 0)], partition=1)
    system.produce("crm.events", event("a"))
    system.settle()
    [first] = system.events("summaries")
    assert (first.sequence, first.taken) == (0, ())
    kinds.append(SummariseTask)
    system.restart("summarise")
    given.predictions([prediction("b", 0)], partition=1)
    system.settle()
    chain = [each for each in system.events("summaries") if each.partition == 1]
    assert [each.sequence for each in chain] == list(range(len(chain)))
    assert [(each.predictions.start, each.predictions.end) for each in chain if each.rows] == [(0, 1), (1, 2)]
    taken = [part for each in system.events("summaries") for part in each.taken]
    assert [(part.topic, part.seen) for part in taken] == [("crm.events", 1)], "what was counted meanwhile"

"""Data quality: how often each rule was broken, and what became of the records."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence

import numpy as np
from numpy.typing import NDArray

from penstock.contracts.records import RecordsTaken, RuleCount
from penstock.kernel.coding import Broken
from penstock.kernel.errors import Invalid
from penstock.kernel.otherwise import rule_of

DEAD_LETTER = "dead_letter"


def refusals(refused: Iterable[Invalid]) -> Counter[tuple[str, str, str]]:
    """How often each rule refused a record, by field, rule and action.

    >>> list(refusals([Invalid("no id", field="id", reason="missing_id")]))
    [('id', 'required', 'dead_letter')]
    """
    return Counter((why.field, rule_of(why.reason), DEAD_LETTER) for why in refused)


def breaches(broken: Iterable[Broken], taken: NDArray[np.bool_]) -> Counter[tuple[str, str, str]]:
    """How often a rule was broken by a row that was taken all the same, by field, rule and action."""
    found: Counter[tuple[str, str, str]] = Counter()
    for each in broken:
        if count := int((each.rows & taken).sum()):
            found[each.field, each.rule, each.action] += count
    return found


def rule_counts(*counted: Counter[tuple[str, str, str]] | Sequence[RuleCount]) -> tuple[RuleCount, ...]:
    """Counts added up as a record holds them, in one order however they came."""
    total: Counter[tuple[str, str, str]] = Counter()
    for counts in counted:
        if isinstance(counts, Counter):
            total.update(counts)
        else:
            for each in counts:
                total[each.field, each.rule, each.action] += each.count
    return tuple(
        RuleCount(field=field, rule=rule, action=action, count=count)
        for (field, rule, action), count in sorted(total.items())
    )


def added(parts: Sequence[RecordsTaken]) -> tuple[RecordsTaken, ...]:
    """One record for each topic, of several transactions'.

    >>> part = RecordsTaken(topic="crm", events=True, seen=3, taken=2, duplicates=1, rules=())
    >>> added([part, part])[0].seen
    6
    """
    topics: dict[tuple[str, bool], list[RecordsTaken]] = {}
    for part in parts:
        topics.setdefault((part.topic, part.events), []).append(part)
    return tuple(
        RecordsTaken(
            topic=topic,
            events=events,
            seen=sum(each.seen for each in group),
            taken=sum(each.taken for each in group),
            duplicates=sum(each.duplicates for each in group),
            rules=rule_counts(*(each.rules for each in group)),
        )
        for (topic, events), group in sorted(topics.items())
    )

"""Rules of validation: what is read of them, and what becomes of a value that breaks one."""

from __future__ import annotations

import math
import re
import time
from typing import Any

import numpy as np
import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st

from penstock.kernel.columns import Words
from penstock.kernel.features import Vectors, vectorise, vectorise_columns
from penstock.kernel.kinds import Boolean, Category, Feature, Kind, Number, TimePart
from penstock.kernel.mistakes import Mistakes
from penstock.kernel.otherwise import CHOICES, Otherwise
from penstock.kernel.patterns import strangers
from penstock.kernel.pipeline import Pipeline
from penstock.kernel.readkind import read_kind
from penstock.kernel.validity import rules_of
from tests.scenarios.system import CHURN


def pipeline(**features: object) -> Pipeline:
    return Pipeline.read({**CHURN, "features": features})


def kind_of(raw: object) -> Kind:
    return pipeline(x=raw).features[0].kind


def one(raw: object, *values: object) -> Vectors:
    rows = [{} if value is ... else {"x": value} for value in values]
    return vectorise(pipeline(x=raw).features, rows, np.zeros(len(rows), dtype=np.int64))


def told(vectors: Vectors) -> list[tuple[str, str, list[int]]]:
    return [(each.rule, each.action, np.flatnonzero(each.rows).tolist()) for each in vectors.broken]


# -- reading


@pytest.mark.parametrize(
    ("raw", "rules"),
    [
        ("number", {"type": "dead_letter"}),
        ({"number": {"max": 1}}, {"type": "dead_letter", "range": "set_missing"}),
        ({"number": {"max": 1, "otherwise": "flag"}}, {"type": "flag", "range": "flag"}),
        (
            {"number": {"max": 1, "otherwise": {"range": "flag", "type": "set_missing"}}},
            {"type": "set_missing", "range": "flag"},
        ),
        (
            {"number": {"values": [1, 2], "required": True, "otherwise": "set_missing"}},
            {"required": "dead_letter", "type": "set_missing", "values": "set_missing"},
        ),
        ({"category": ["a"]}, {"type": "dead_letter", "values": "keep"}),
        ({"category": ["a"], "otherwise": "flag"}, {"type": "flag", "values": "flag"}),
        (
            {"category": ["a"], "pattern": "^[a-z]$"},
            {"type": "dead_letter", "pattern": "set_missing", "values": "keep"},
        ),
        ({"boolean": {"required": True}}, {"required": "dead_letter", "type": "dead_letter"}),
        ({"hour": "began", "otherwise": "flag"}, {"type": "flag"}),
        ({"hour": "at"}, {}),
    ],
)
def test_what_becomes_of_a_broken_rule(raw: object, rules: dict[str, str]) -> None:
    assert rules_of(kind_of(raw)) == rules


@pytest.mark.parametrize(
    ("raw", "complaint"),
    [
        (
            {"number": {"otherwise": "flagg"}},
            "number.otherwise: unknown action 'flagg': expected dead_letter, ",
        ),
        ({"number": {"otherwise": {"rnge": "flag"}}}, "number.otherwise.rnge: unknown rule 'rnge': expected"),
        (
            {"number": {"max": 1, "otherwise": {"range": "drop"}}},
            "number.otherwise.range: unknown action 'drop'",
        ),
        (
            {"number": {"otherwise": []}},
            "number.otherwise: expected dead_letter, set_missing or flag, or one",
        ),
        (
            {"number": {"otherwise": {}}},
            "number.otherwise: expected dead_letter, set_missing or flag, or one",
        ),
        (
            {"number": {"otherwise": {"range": "flag"}}},
            "number.otherwise.range: there is no rule 'range' here that could be broken",
        ),
        (
            {"number": {"otherwise": {"pattern": "flag"}}},
            "number.otherwise.pattern: a number has no rule 'pattern': expected required, type, range or",
        ),
        (
            {"boolean": {"required": True, "otherwise": {"required": "set_missing"}}},
            "boolean.otherwise.required: what is missing cannot be set missing",
        ),
        (
            {"number": {"max": 1}, "otherwise": "flag"},
            "otherwise: unknown key 'otherwise' beside number: write",
        ),
        ({"number": {"values": []}}, "number.values: a list of allowed numbers needs at least one"),
        ({"number": {"values": ["a"]}}, "number.values.0: expected a number, got 'a'"),
        (
            {"category": ["a"], "pattern": "(a"},
            "pattern: not a regular expression that is taken: unclosed group",
        ),
        (
            {"category": ["a"], "pattern": "(?=a)"},
            "pattern: not a regular expression that is taken: look-around",
        ),
        (
            {"category": {"values": ["a"], "pattern": 3}},
            "category.pattern: expected a regular expression such as '^[A-Z]{2}$', got 3",
        ),
        ({"category": ["a"], "min": 1}, "min: unknown key 'min' beside category: write {category: {min: …}}"),
        (
            {"category": ["a"], "otherwise": {"range": "flag"}},
            "otherwise.range: a category has no rule 'range'",
        ),
    ],
)
def test_a_mistake_says_where_and_what(raw: object, complaint: str) -> None:
    with pytest.raises(Mistakes) as found:
        pipeline(x=raw)
    [mistake] = found.value.items
    assert str(mistake).startswith(f"features.x.{complaint}")


def test_suggestions() -> None:
    with pytest.raises(Mistakes, match=re.escape("(did you mean 'flag'?)")):
        pipeline(x={"number": {"otherwise": "flagg"}})
    with pytest.raises(Mistakes, match=re.escape("(did you mean 'range'?)")):
        pipeline(x={"number": {"max": 1, "otherwise": {"rnge": "flag"}}})


def test_one_meaning_has_one_text() -> None:
    plain = {"number": {"max": 1.0}}
    for same in (
        {"number": {"max": 1, "otherwise": {"range": "set_missing"}}},
        {"number": {"max": 1, "otherwise": {"range": "set_missing", "type": "dead_letter"}}},
    ):
        assert pipeline(x=same).digest == pipeline(x=plain).digest
    spelt = {"number": {"max": 1, "otherwise": {"range": "flag", "type": "flag"}}}
    assert pipeline(x={"number": {"max": 1, "otherwise": "flag"}}).digest == pipeline(x=spelt).digest


@pytest.mark.parametrize(
    ("one", "other", "same"),
    [
        ("number", {"number": {"max": 1, "otherwise": {"range": "flag"}}}, True),
        ("number", {"number": {"max": 1, "otherwise": {"range": "dead_letter"}}}, True),
        ("number", {"number": {"otherwise": "flag", "required": True}}, True),
        ("number", {"number": {"max": 1}}, False),
        ("number", {"number": {"values": [1]}}, False),
        ({"category": ["a"]}, {"category": ["a"], "otherwise": "flag"}, True),
        ({"category": ["a"]}, {"category": ["a"], "otherwise": {"values": "dead_letter"}}, True),
        ({"category": ["a"]}, {"category": ["a"], "otherwise": {"values": "set_missing"}}, False),
        ({"category": ["a"]}, {"category": ["a"], "pattern": "a"}, False),
        ({"category": ["a"]}, {"category": ["a"], "pattern": "a", "otherwise": {"pattern": "flag"}}, True),
    ],
)
def test_the_layout_is_named_by_what_stands_in_the_vector(one: object, other: object, same: bool) -> None:
    assert (pipeline(x=one).features_digest == pipeline(x=other).features_digest) is same


# -- holding values to them


def test_a_range_that_only_marks() -> None:
    vectors = one({"number": {"max": 1, "otherwise": "flag"}}, 0, 2, math.inf, None)
    np.testing.assert_array_equal(vectors.matrix[:, 0], [0, 2, math.nan, math.nan])
    assert told(vectors) == [("range", "flag", [1, 2])]
    assert vectors.cleared == ((), (), (), ())
    assert vectors.invalid == {}


def test_a_range_that_refuses() -> None:
    vectors = one({"number": {"min": 0, "max": 1, "otherwise": {"range": "dead_letter"}}}, 0, 2, None)
    assert {row: (str(why), why.reason) for row, why in vectors.invalid.items()} == {
        1: ("feature 'x' is out of range, expected at least 0 and at most 1", "out_of_range")
    }
    assert told(vectors) == []


def test_a_wrong_type_that_goes_missing_or_is_marked() -> None:
    for action in ("set_missing", "flag"):
        vectors = one({"number": {"otherwise": {"type": action}}}, 1, "n/a", [2], None)
        np.testing.assert_array_equal(vectors.matrix[:, 0], [1, math.nan, math.nan, math.nan])
        assert told(vectors) == [("type", action, [1, 2])]
        assert vectors.cleared == (((), (0,), (0,), ()) if action == "set_missing" else ((), (), (), ()))
    assert told(one({"hour": "x", "otherwise": "flag"}, 0, "soon")) == [("type", "flag", [1])]
    assert told(one({"boolean": {"otherwise": "flag"}}, True, 1)) == [("type", "flag", [1])]


def test_numbers_that_are_allowed() -> None:
    vectors = one({"number": {"values": [1, 2.5]}}, 1, 2, 2.5, None)
    np.testing.assert_array_equal(vectors.matrix[:, 0], [1, math.nan, 2.5, math.nan])
    assert told(vectors) == [("values", "set_missing", [1])]
    refused = one({"number": {"values": [1], "otherwise": {"values": "dead_letter"}}}, 2)
    assert str(refused.invalid[0]) == "feature 'x' is none of those allowed: 1"


def test_words_that_are_allowed() -> None:
    for action, code in (("keep", 0), ("flag", 0), ("set_missing", math.nan)):
        said = {} if action == "keep" else {"otherwise": {"values": action}}
        vectors = one({"category": ["a", "b"], **said}, "b", "z", None)
        np.testing.assert_array_equal(vectors.matrix[:, 0], [2, code, math.nan])
        assert told(vectors) == [("values", action, [1])]
    refused = one({"category": ["a", "b"], "otherwise": {"values": "dead_letter"}}, "z")
    assert (str(refused.invalid[0]), refused.invalid[0].reason) == (
        "feature 'x' is none of those allowed: a or b",
        "not_allowed",
    )


def test_a_pattern_comes_before_the_words() -> None:
    raw = {"category": ["EW"], "pattern": "^[A-Z]{2}$"}
    vectors = one(raw, "EW", "LG", "ewr", None)
    np.testing.assert_array_equal(vectors.matrix[:, 0], [1, 0, math.nan, math.nan])
    assert told(vectors) == [("pattern", "set_missing", [2]), ("values", "keep", [1])]
    refused = one({**raw, "otherwise": {"pattern": "dead_letter"}}, "ewr")
    assert refused.invalid[0].reason == "no_match"


@given(st.lists(st.sampled_from(["EW", "LG", "ewr", "", None, 3]), max_size=8))
def test_words_held_once_are_held_to_the_same_rules(rows: list[object]) -> None:
    features = pipeline(
        x={"category": ["EW"], "pattern": "^[A-Z]{2}$", "otherwise": {"values": "flag"}}
    ).features
    words = list(dict.fromkeys(rows))
    codes = np.array([words.index(row) for row in rows], dtype=np.intp)
    times = np.zeros(len(rows), dtype=np.int64)
    plain = vectorise_columns(features, {"x": rows}, times)
    once = vectorise_columns(features, {"x": Words(words, codes)}, times)
    np.testing.assert_array_equal(once.matrix, plain.matrix)
    assert told(once) == told(plain)
    assert list(map(str, once.invalid.values())) == list(map(str, plain.invalid.values()))


def test_what_is_required_and_broken() -> None:
    assert told(one({"number": {"required": True, "otherwise": {"required": "flag"}}}, 1, ...)) == [
        ("required", "flag", [1])
    ]
    refused = one({"number": {"required": True, "otherwise": {"type": "set_missing"}}}, "x", None)
    assert [(why.reason, str(why)) for why in refused.invalid.values()] == [
        ("wrong_type", "feature 'x' is required, and of another type"),
        ("missing", "feature 'x' is required, and missing"),
    ]


VALUES = st.one_of(
    st.none(),
    st.booleans(),
    st.sampled_from(["a", "b", "zz", ""]),
    st.sampled_from([0, 0.5, 1, 2, 1e300, -5, math.inf, math.nan]),
    st.just([1]),
)
RAW = st.sampled_from(
    [
        {"number": {"min": 0, "max": 1}},
        {"number": {"values": [0, 2], "max": 1}},
        {"category": {"values": ["a", "zz"], "pattern": "^.$"}},
        {"boolean": {}},
        {"hour": "x"},
    ]
)


@st.composite
def specs(draw: st.DrawFn) -> dict[str, Any]:
    """A feature with every choice there is."""
    raw: dict[str, Any] = orjson.loads(orjson.dumps(draw(RAW)))
    name = next(iter(raw))
    inside = raw if name == "hour" else raw[name]
    if draw(st.booleans()):
        inside["required"] = True
    kind = read_kind(raw, (), "at", [])
    assert kind is not None
    said = {
        rule: draw(st.sampled_from([each for each in CHOICES if (rule, each) != ("required", "set_missing")]))
        for rule in rules_of(kind)
        if draw(st.booleans())
    }
    if said:
        inside["otherwise"] = said
    return raw


@given(raw=specs(), values=st.lists(VALUES, max_size=6))
def test_a_value_is_kept_missing_marked_or_refused_as_the_rules_say(
    raw: dict[str, Any], values: list[object]
) -> None:
    vectors = one(raw, *values)
    for row, value in enumerate(values):
        alone = one(raw, value)
        np.testing.assert_array_equal(alone.matrix[0], vectors.matrix[row])
        assert alone.cleared[0] == vectors.cleared[row]
        assert str(alone.invalid.get(0)) == str(vectors.invalid.get(row))
        if row not in vectors.invalid:
            assert told(alone) == [(each.rule, each.action, [0]) for each in vectors.broken if each.rows[row]]
            assert not np.isinf(vectors.matrix[row]).any()
    acts = {each.action for each in vectors.broken}
    assert acts <= {"set_missing", "flag", "keep"}, "what is refused is told among the invalid"
    rules = rules_of(kind_of(raw))
    for each in vectors.broken:
        assert rules.get(each.rule, "set_missing") == each.action


@given(specs())
def test_the_applied_form_reads_back(raw: dict[str, Any]) -> None:
    of = pipeline(x=raw)
    assert Pipeline.read(orjson.loads(of.canonical())) == of


def test_no_pattern_is_slow() -> None:
    started = time.process_time()
    assert strangers("^(a+)+$", ["a" * 100_000 + "b"])
    assert strangers("(x+x+)+y", ["x" * 100_000])
    assert time.process_time() - started < 1


def test_kinds_without_rules_are_as_before() -> None:
    assert Feature(name="x", kind=Number()).raw() == {"number": {"required": False}}
    assert Feature(name="x", kind=Category(values=("a",))).raw() == {
        "category": {"values": ["a"], "required": False}
    }
    assert Feature(name="x", kind=Boolean()).raw() == {"boolean": {"required": False}}
    part = TimePart(part="hour", field="t")
    assert Feature(name="x", kind=part).raw() == {
        "hour": "t",
        "shift": "0h",
        "timezone": "UTC",
        "required": False,
    }
    assert Number().otherwise == Otherwise()

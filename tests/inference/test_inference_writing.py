"""Predictions written many at once are, byte for byte, those that the codec writes one by one."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from penstock.contracts.records import Origin, Prediction, Role
from penstock.inference import writing
from penstock.inference.domain import Answer, Scored, predictions
from penstock.inference.writing import Rows, Writer
from penstock.runtime.codec import Codec
from tests.inference.asking import NAMES, NOON, PIPELINE, Adds, route, serving

CODEC = Codec().rows(Prediction, PIPELINE.name, PIPELINE.features_digest, NAMES)


def one_by_one(rows: Rows, origin: Origin) -> list[bytes]:
    found = []
    for row in range(len(rows.ids)):
        at = slice(row, row + 1)
        heads = predictions(
            rows.serving,
            Scored(
                answers=rows.scored.answers[at],
                scores={version: scores[at] for version, scores in rows.scored.scores.items()},
                failed=rows.scored.failed,
            ),
            origin=origin,
            ids=rows.ids[at],
            times=rows.times[at],
            cleared=rows.cleared[at],
            parameters=rows.parameters[row] if rows.parameters else None,
            attributions=rows.attributions[at],
        )
        found += CODEC.encode(heads, rows.matrix[at].astype(np.float64))
    return found


numbers = st.floats(width=32, allow_nan=False, allow_infinity=False)
words = st.text(st.characters(codec="utf-8"), max_size=12)


@st.composite
def scored_rows(draw: st.DrawFn) -> Rows:
    """Rows as any route could have scored them, with anything that may be beside them, and scores missing."""
    count = draw(st.integers(1, 5))
    routed = draw(
        st.lists(st.sampled_from([0, 1, 63, 64, 8192, 2**31 - 1]), min_size=1, max_size=4, unique=True)
    )
    roles = st.sampled_from([*Role, None])
    answers = draw(
        st.lists(st.builds(Answer, st.sampled_from(routed), roles), min_size=count, max_size=count)
    )
    failed = draw(st.sets(st.sampled_from(routed), max_size=2))
    absent = draw(st.sets(st.sampled_from(routed), max_size=1)) - {answer.version for answer in answers}
    width = draw(st.integers(1, 3))
    value = numbers | st.just(float("nan")) | st.just(float("inf"))

    def column(items: st.SearchStrategy[Any], size: int) -> list[Any]:
        return draw(st.lists(items, min_size=size, max_size=size))

    scores = {
        version: np.array(column(value if draw(st.booleans()) else numbers, count * width), dtype=np.float32)
        for version in routed
        if version not in failed | absent
    }
    kind = draw(st.sampled_from([np.float32, np.float64]))
    features = column(numbers | st.just(float("nan")), count * len(NAMES))
    changes: dict[str, Any] = {
        "champion": routed[0],
        "shadows": tuple(routed[1:]),
        "epoch": draw(st.integers(0, 2**62)),
    }
    return Rows(
        serving=serving(Adds(), **changes),
        scored=Scored(
            answers=tuple(answers),
            scores={version: each.reshape(count, width) for version, each in scores.items()},
            failed=dict.fromkeys(failed, "no luck"),
        ),
        ids=column(words, count),
        times=column(st.integers(-(2**63), 2**63 - 1), count),
        cleared=[tuple(each) for each in column(st.lists(st.integers(0, 300), max_size=2), count)],
        matrix=np.array(features, dtype=kind).reshape(count, len(NAMES)),
        parameters=column(st.dictionaries(words, words, max_size=2), count) if draw(st.booleans()) else (),
        attributions=[tuple(each) for each in column(st.lists(numbers, max_size=3), count)]
        if draw(st.booleans())
        else (),
    )


WRITERS = {origin: Writer(CODEC, origin) for origin in Origin}


@settings(max_examples=300, deadline=None)
@given(rows=scored_rows(), origin=st.sampled_from(list(Origin)))
def test_many_at_once_are_those_written_one_by_one(rows: Rows, origin: Origin) -> None:
    expected = one_by_one(rows, origin)
    assert WRITERS[origin].write(rows) == expected
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(writing, "MANY", 1)
        assert WRITERS[origin].write(rows) == expected


@pytest.mark.parametrize("failed", [{}, {2: "broken"}])
def test_another_route_is_another_template(failed: dict[int, str]) -> None:
    writer = Writer(CODEC, Origin.GRPC)
    matrix = np.zeros((2, len(NAMES)), dtype=np.float32)
    half = np.full((2, 1), 0.5, dtype=np.float32)
    scores = {1: half} if failed else {1: half, 2: half + 1}
    for changes in ({}, {"shadows": (2,)}, {"shadows": (2,), "epoch": 8}, {"canary": 2, "share": 0.5}):
        rows = Rows(
            serving=serving(Adds(), Adds(), **changes),
            scored=Scored((Answer(1, Role.CHAMPION),) * 2, scores, failed),
            ids=["a", "b"],
            times=[NOON, NOON],
            cleared=[(), (1,)],
            matrix=matrix,
        )
        written = writer.write(rows)
        assert written == one_by_one(rows, Origin.GRPC)
        assert [CODEC.head(each).epoch for each in written] == [route(**changes).epoch] * 2

"""Who answers, and what is recorded of it."""

from __future__ import annotations

from itertools import pairwise

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from penstock.contracts.records import Origin, Role, Score
from penstock.inference.domain import Answer, arm, gather, pinned, predictions, versions
from tests.inference.asking import NAMES, Adds, Breaks, Nans, route, serving

IDS = [f"trip-{n}" for n in range(4000)]


def test_without_a_canary_the_champion_answers() -> None:
    assert {arm(route(), id_) for id_ in IDS} == {Answer(1, Role.CHAMPION)}


def test_a_canary_answers_about_its_share() -> None:
    answered = [arm(route(canary=2, share=0.1), id_) for id_ in IDS]
    share = answered.count(Answer(2, Role.CANARY)) / len(IDS)
    assert abs(share - 0.1) < 0.02


def test_a_growing_share_only_adds_ids() -> None:
    arms = [
        {id_ for id_ in IDS if arm(route(canary=2, share=share), id_).version == 2}
        for share in (0.0, 0.1, 0.5, 1.0)
    ]
    assert all(smaller < larger for smaller, larger in pairwise(arms))
    assert arms[0] == set()
    assert arms[-1] == set(IDS)


def test_another_salt_deals_the_ids_anew() -> None:
    one, other = (
        {id_ for id_ in IDS if arm(route(canary=2, share=0.5, salt=salt), id_).version == 2} for salt in "ab"
    )
    assert 0.3 < len(one & other) / len(one) < 0.7


def test_a_split_takes_its_ids_first_and_the_canary_shares_the_others() -> None:
    split = {"split": 3, "split_share": 0.3, "split_salt": "ab"}
    arms = {id_: arm(route(canary=2, share=0.5, **split), id_) for id_ in IDS}
    shares = {answer: list(arms.values()).count(answer) / len(IDS) for answer in set(arms.values())}
    assert set(shares) == {Answer(1, Role.CHAMPION), Answer(2, Role.CANARY), Answer(3, Role.SPLIT)}
    assert abs(shares[Answer(3, Role.SPLIT)] - 0.3) < 0.03
    assert abs(shares[Answer(2, Role.CANARY)] - 0.35) < 0.03
    # A canary that begins or ends takes no id from a comparison that lasts longer than it.
    without = {id_ for id_ in IDS if arm(route(**split), id_).version == 3}
    assert without == {id_ for id_, answer in arms.items() if answer.version == 3}


def test_a_version_may_have_a_split_and_be_under_test() -> None:
    table = route(canary=2, share=0.5, salt="a", split=2, split_share=0.3, split_salt="b")
    roles = [arm(table, id_).role for id_ in IDS]
    assert abs(roles.count(Role.SPLIT) / len(IDS) - 0.3) < 0.03
    assert abs(roles.count(Role.CANARY) / len(IDS) - 0.35) < 0.03
    assert versions(table) == (1, 2)
    assert pinned(table, 2).role is Role.CANARY


def test_each_version_is_scored_once_whatever_parts_it_has() -> None:
    assert versions(route(canary=2, shadows=(1, 2, 3, 3))) == (1, 2, 3)


def test_a_pinned_version_keeps_its_role() -> None:
    table = route(canary=2, share=0.1, shadows=(3,), split=4, split_share=0.1)
    roles = [pinned(table, version).role for version in (1, 2, 3, 4)]
    assert roles == [Role.CHAMPION, Role.CANARY, None, Role.SPLIT]


def test_every_version_scores_every_row_shadows_included() -> None:
    asked = serving(Adds(), Adds(10), Adds(20), canary=2, share=0.5, shadows=(3,))
    scored = asked.score(IDS[:50], NAMES, np.ones((50, len(NAMES))))
    assert {version: values.shape for version, values in scored.scores.items()} == dict.fromkeys(
        (1, 2, 3), (50, 1)
    )
    records = predictions(
        asked, scored, origin=Origin.STREAM, ids=IDS[:50], times=range(50), cleared=[()] * 50
    )
    assert {(record.version, record.role) for record in records} == {(1, Role.CHAMPION), (2, Role.CANARY)}
    expected = (
        Score(version=1, values=(5.0,)),
        Score(version=2, values=(15.0,)),
        Score(version=3, values=(25.0,)),
    )
    assert {record.scores for record in records} == {expected}
    assert [record.time for record in records] == list(range(50))
    assert {(record.epoch, record.error, record.origin) for record in records} == {(7, None, Origin.STREAM)}


def test_a_version_that_cannot_score_a_row_is_empty_there_and_nowhere_else() -> None:
    asked = serving(Adds(), Nans(), Breaks(), shadows=(2, 3))
    matrix = np.ones((2, len(NAMES)))
    matrix[1, 0] = np.nan
    scored = asked.score(["a", "b"], NAMES, matrix)
    first, second = predictions(
        asked, scored, origin=Origin.GRPC, ids=["a", "b"], times=[1, 2], cleared=[(), (0,)]
    )
    assert [score.values for score in first.scores] == [(5.0,), (1.0,), ()]
    assert [score.values for score in second.scores] == [(4.0,), (), ()]
    assert second.cleared == (0,)
    assert (first.version, second.version) == (1, 1)


def test_a_row_its_answering_version_cannot_score_is_an_error_and_no_answer() -> None:
    asked = serving(Nans(), Adds(), shadows=(2,))
    scored = asked.score(["a"], NAMES, np.full((1, len(NAMES)), np.nan))
    (record,) = predictions(asked, scored, origin=Origin.STREAM, ids=["a"], times=[1], cleared=[()])
    assert (record.version, record.role) == (None, None)
    assert record.error == "version 1 could not score: not a finite number"
    assert [score.values for score in record.scores] == [(), (0.0,)]


def test_a_shadow_that_is_not_loaded_is_recorded_as_silent() -> None:
    asked = serving(Adds(), shadows=(9,))
    scored = asked.score(["a"], NAMES, np.ones((1, len(NAMES))))
    (record,) = predictions(asked, scored, origin=Origin.STREAM, ids=["a"], times=[1], cleared=[()])
    assert record.scores[1] == Score(version=9, values=())


@given(st.permutations(["a", "b", "c"]))
def test_columns_are_found_by_name(names: list[str]) -> None:
    rows = np.array([[ord(name) for name in names]], dtype=np.float32)
    assert gather(rows, tuple(names), ("a", "b", "c")).tolist() == [[97.0, 98.0, 99.0]]
    assert gather(rows, tuple(names), ("c",)).tolist() == [[99.0]]


def test_rows_older_than_a_feature_miss_it() -> None:
    asked = serving(Adds(), features=["b", "new"])
    scored = asked.score(["x"], ("a", "b"), np.array([[1.0, 2.0]]))
    assert scored.scores[1].tolist() == [[2.0]]
    assert np.isnan(gather(np.array([[1.0]], dtype=np.float32), ("a",), ("new",))).all()


def test_the_callers_matrix_is_left_alone() -> None:
    matrix = np.arange(10, dtype=np.float32).reshape(2, 5)
    before = matrix.copy()
    serving(Adds(), features=["rush", "new"]).score(["a", "b"], NAMES, matrix)
    assert np.array_equal(matrix, before)

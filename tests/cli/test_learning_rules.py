"""Categories that are learned: what a pattern lets through, and what is personal only as hashes."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

from penstock.cli.backtest.spec import read_spec
from penstock.cli.exits import Failure
from penstock.cli.learning import key_of, learn
from penstock.kernel.changes import refusals
from penstock.kernel.pii import pseudonym
from penstock.kernel.pipeline import Pipeline
from tests.scenarios.system import CHURN

if TYPE_CHECKING:
    from pathlib import Path

KEY = b"a key of sixteen"
ROWS = [{"plan": word} for word in ("free", "PLUS", "plus", "?", None)]


def pipeline(plan: object, **more: object) -> Pipeline:
    return Pipeline.read({**CHURN, "features": {"plan": plan}, **more})


def test_what_a_pattern_does_not_let_through_is_not_learned() -> None:
    raw: dict[str, Any] = {"category": "from_first_rows", "pattern": "^[a-z]+$"}
    assert learn(pipeline(raw), ROWS, "here") == {"plan": ["free", "plus"]}
    marked = {**raw, "otherwise": {"pattern": "flag"}}
    assert learn(pipeline(marked), ROWS, "here") == {"plan": ["?", "PLUS", "free", "plus"]}


def test_what_is_personal_is_learned_as_it_will_be_written() -> None:
    hashed = pipeline({"category": "from_first_rows"}, pii={"plan": "hash"})
    learned = learn(hashed, ROWS[:2], "here", key=KEY)
    assert learned == {"plan": sorted(pseudonym(KEY, word) for word in ("free", "PLUS"))}
    frozen = hashed.frozen(learned)
    assert Pipeline.read(frozen.raw()) == frozen
    with pytest.raises(Failure, match="PENSTOCK_PII_KEY_FILE names its file"):
        learn(hashed, ROWS, "here")
    with pytest.raises(Failure, match="feature 'plan' is int in here, expected text"):
        learn(hashed, [{"plan": 4111}], "here", key=KEY)


def test_the_key_is_that_of_ingest(tmp_path: Path) -> None:
    hashed = pipeline({"category": "from_first_rows"}, pii={"plan": "hash"})
    with pytest.raises(Failure, match="PENSTOCK_PII_KEY_FILE names its file"):
        key_of(hashed, {})
    file = tmp_path / "key"
    file.write_bytes(KEY + b"\n")
    assert key_of(hashed, {"PENSTOCK_PII_KEY_FILE": str(file)}) == KEY
    assert key_of(pipeline({"category": "from_first_rows"}, pii={"event_id": "hash"}), {}) is None


def test_learned_categories_stay_words_or_hashes() -> None:
    words, hashes = {"category": ["free"]}, {"category": [pseudonym(KEY, "free")]}
    marked = {"pii": {"plan": "hash"}}
    told = "feature 'plan' has its categories: hashed or not, give that one a name of its own"
    assert told in refusals(pipeline(words), pipeline(hashes, **marked))
    assert told in refusals(pipeline(hashes, **marked), pipeline(words))
    assert refusals(pipeline(hashes, **marked), pipeline(hashes, owner="me", **marked)) == []


def test_a_backtest_hides_nothing_and_needs_no_key(tmp_path: Path) -> None:
    file = tmp_path / "churn.yaml"
    head = "pipeline: churn\ntask: binary\npii: {id: hash, plan: hash}\nfeatures: {plan: {category: "
    file.write_text(head + "from_first_rows}}\n")
    assert not read_spec(file, label_column="left").pipeline.hashes
    file.write_text(head + f"[{pseudonym(KEY, 'free')}]}}}}\n")
    with pytest.raises(Failure, match="the categories of 'plan' are listed as hashes"):
        read_spec(file, label_column="left")

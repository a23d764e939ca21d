"""Mistakes in rules are shown where they stand, with what was probably meant."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from penstock.cli.exits import Exit, Failure
from penstock.cli.specfile import load

if TYPE_CHECKING:
    from pathlib import Path

SPEC = """\
pipeline: churn
task: binary
events: {topic: crm.events, id: id, time: at, freshness: {ahed: 1d}, duplicates: of}
labels: {topic: crm.outcomes, id: id, time: at, value: churned, horizon: 30d}
features:
  age: {number: {max: 150, otherwise: {rnge: flag}}}
  visits:
    number:
      min: 0
      otherwise: flagg
  plan: {category: [free], pattern: "^[a-z"}
pii:
  email: mask
"""
TOLD = """\
churn.yaml:3:59: events.freshness.ahed: unknown key 'ahed' (did you mean 'ahead'?)
churn.yaml:3:82: events.duplicates: expected a duration such as 1h, so many rows such as 50000rows, or off, \
got 'of' (did you mean 'off'?)
churn.yaml:6:46: features.age.number.otherwise.rnge: unknown rule 'rnge': expected required, type, range, \
values or pattern (did you mean 'range'?)
churn.yaml:10:18: features.visits.number.otherwise: unknown action 'flagg': expected dead_letter, \
set_missing or flag (did you mean 'flag'?)
churn.yaml:11:37: features.plan.pattern: not a regular expression that is taken: unclosed character class
churn.yaml:13:10: pii.email: unknown treatment 'mask': expected drop or hash (did you mean 'drop'?)
"""


def test_every_mistake_has_its_place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    file = tmp_path / "churn.yaml"
    file.write_text(SPEC)
    with pytest.raises(Failure) as found:
        load(file.relative_to(tmp_path))
    assert found.value.code is Exit.INVALID
    told = [line for line in str(found.value).splitlines() if line.startswith("churn.yaml:")]
    assert told == TOLD.splitlines()

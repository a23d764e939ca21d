"""docs/loop.md names every key of policy and lanes with its default, and the numbers that decide."""

from __future__ import annotations

import re

import pytest

from penstock.governor.domain.training import STAGED_ROWS
from penstock.kernel import accepted, blocks, eprocess, spread
from penstock.kernel.policy import Lane, Policy
from penstock.monitor.domain import units
from penstock.trainer import gate, split, trial
from penstock.trainer import units as trained_units
from penstock.trainer.parity import TOLERANCE
from tests.docs.tables import DOCS

TEXT = (DOCS / "loop.md").read_text(encoding="utf-8")
PLAIN = re.sub(r"\s+", " ", TEXT)


def keys(section: str) -> dict[str, str]:
    """The keys in a section's tables, each with what it is if left out."""
    _, _, rest = TEXT.partition(f"\n## {section}\n")
    return dict(re.findall(r"^\| `([a-z_.]+)` \| ([^|]+?) \|", rest.partition("\n## ")[0], re.MULTILINE))


def flat(options: dict[str, object], prefix: str = "") -> dict[str, str]:
    found: dict[str, str] = {}
    for key, value in options.items():
        if isinstance(value, dict):
            found |= flat(value, f"{prefix}{key}.")
        else:
            listed = value if isinstance(value, list | tuple) else [value]
            found[prefix + key] = ", ".join(map(str, listed))
    return found


def as_number(text: str) -> object:
    """1000 and 1000.0 are the same default."""
    return float(text) if re.fullmatch(r"\d+(\.\d+)?", text) else text


@pytest.mark.parametrize(
    ("section", "options"),
    [("The policy, key by key", Policy().raw()), ("Lanes", Lane(name="any").raw()["any"])],
)
def test_every_key_is_there_with_its_default(section: str, options: dict[str, object]) -> None:
    on_page = {key: as_number(value) for key, value in keys(section).items()}
    assert on_page == {key: as_number(value) for key, value in flat(options).items()}


@pytest.mark.parametrize(
    "words",
    [
        f"One with fewer than {accepted.ROWS} labelled rows is taken together with the next",
        f"With fewer than {accepted.UNITS} units there is no claim",
        f"d > {gate.STANDARD_ERRORS:g} · SE",
        f"better by more than {gate.STANDARD_ERRORS:g} SE",
        f"{gate.MIN_BLOCKS} compare blocks among the rows that judge",
        f"{eprocess.BLOCKS_BEFORE} compare blocks of a pair",
        f"the last {spread.RECENT} to {2 * spread.RECENT} differences before the comparison began",
        f"more than {eprocess.INCONCLUSIVE:.0%} of the blocks were clipped",
        f"of the newest {trial.MOST_SINCE_ONSET:,} rows",
        "after {1:,}, {2:,} and {3:,} more labelled rows".format(*STAGED_ROWS),
        f"every {blocks.ROWS} rows",
        f"came to {trained_units.ROWS} or more a block",
        f"correlated by at most {trained_units.CORRELATION:g}".replace("0.", "."),
    ],
)
def test_the_numbers_are_those_of_the_code(words: str) -> None:
    assert words in PLAIN


def test_the_numbers_in_words_are_those_of_the_code() -> None:
    """What the page says as "a fifth", "five standard deviations", "10⁻⁵", "a day"."""
    assert (split.VALIDATED, eprocess.SPREADS, TOLERANCE, gate.MIN_BLOCKS) == (0.2, 5.0, 1e-5, 5)
    assert trained_units.CALENDAR == (60_000, 600_000, 3_600_000, 21_600_000, units.DAY)

"""The tables in docs/ that are made from code: `python -m tests.docs.tables` writes them, a test compares.

A table stands between `<!-- NAME -->` and `<!-- /NAME -->`.
"""

from __future__ import annotations

from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Final

from penstock.cli.exits import Exit
from penstock.cli.services import SERVICES, Service
from penstock.runtime import names
from penstock.runtime.settings import Settings, describe

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping

DOCS: Final = Path(__file__).parents[2] / "docs"


def rows(header: Iterable[str], lines: Iterable[Iterable[str]]) -> str:
    header = list(header)
    body = [f"| {' | '.join(cell.replace('|', chr(92) + '|') for cell in line)} |" for line in lines]
    return "\n".join([f"| {' | '.join(header)} |", f"|{'---|' * len(header)}", *body])


def settings(kind: type[Settings]) -> str:
    """The fields of a class; of a service's, those that not every service has."""
    common = set() if kind is Settings else {each.name for each in describe(Settings)}
    return rows(
        ("Variable", "Flag", "Expected", "If unset", "What it does"),
        (
            (f"`{each.variable}`", f"`{each.flag}`", each.expected, each.default or "–", each.help)
            for each in describe(kind)
            if each.name not in common
        ),
    )


def _settings_of(service: Service) -> str:
    return settings(service.settings())


def metrics() -> str:
    return rows(
        ("Metric", "Kind", "Unit", "What it says"),
        (
            (f"`{each.name}`", type(each).__name__.lower(), f"`{each.unit}`", each.description)
            for each in names.METRICS
        ),
    )


def exits() -> str:
    words = {
        Exit.OK: "it worked",
        Exit.FAILED: "unhealthy, or what was asked for did not succeed",
        Exit.USAGE: "the command line is wrong",
        Exit.INVALID: "a pipeline file or a setting is wrong",
        Exit.NOT_FOUND: "there is no such thing",
        Exit.CONFLICT: "something else is in the way",
        Exit.UNREACHABLE: "no broker or server answers",
        Exit.TIMEOUT: "it took too long",
        Exit.REFUSED: "a policy says no",
        Exit.INTERRUPTED: "interrupted",
    }
    return rows(("Code", "Meaning"), ((str(int(code)), words[code]) for code in Exit))


TABLES: Final[dict[str, Callable[[], str]]] = {
    "settings: common": partial(settings, Settings),
    **{f"settings: {service.name}": partial(_settings_of, service) for service in SERVICES},
    "metrics": metrics,
    "exit codes": exits,
}


def filled(text: str, tables: Mapping[str, Callable[[], str]] = TABLES) -> str:
    """The text with every table it has a place for."""
    for name, table in tables.items():
        begin, end = f"<!-- {name} -->\n", f"<!-- /{name} -->"
        before, found, rest = text.partition(begin)
        if found:
            _, _, after = rest.partition(end)
            text = f"{before}{begin}{table()}\n{end}{after}"
    return text


if __name__ == "__main__":
    for page in DOCS.glob("*.md"):
        page.write_text(filled(page.read_text(encoding="utf-8")), encoding="utf-8")

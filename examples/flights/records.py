"""Write the flights as producers would send them: departures.jsonl and arrivals.jsonl, in the current folder.

    python examples/flights/records.py --days 1

A departure is due two hours before its schedule, an arrival when the plane lands; each file is in that order.
"""

from __future__ import annotations

import argparse
import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

from penstock.cli.demo.flights import flights
from penstock.runtime.avro import read_container

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--days", type=int, default=1, help="event days from the start (%(default)s)")
    days: int = parser.parse_args().days
    with (Path(__file__).parent / "flights.avro").open("rb") as file:
        chosen = list(flights(read_container(file), days=days, every=1))
    landed = sorted((label for each in chosen if (label := each.label)), key=lambda label: int(label["t"]))
    write(Path("departures.jsonl"), [each.event for each in chosen])
    write(Path("arrivals.jsonl"), landed)


def write(path: Path, records: Iterable[Mapping[str, Any]]) -> None:
    lines = [json.dumps(record) + "\n" for record in records]
    path.write_text("".join(lines), encoding="utf-8")
    print(f"{len(lines):,} records in {path}")


if __name__ == "__main__":
    main()

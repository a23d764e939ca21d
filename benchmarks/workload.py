"""A synthetic pipeline of a usual size: 20 features, four of them categories, numbers missing at times."""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Final

import numpy as np

from penstock.runtime.avro import Schema
from penstock.runtime.broker import Message

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

PIPELINE: Final = "bench"
NUMBERS: Final = tuple(f"n{index:02d}" for index in range(16))
CATEGORIES: Final = {
    f"c{index}": [f"v{value:02d}" for value in range(size)] for index, size in enumerate((3, 8, 16, 40))
}
STEP: Final = 100
"""Milliseconds of event time between two rows."""
START: Final = 1_600_000_000_000
LABEL_DELAY: Final = 60_000

_TIME: Final = {"type": "long", "logicalType": "timestamp-millis"}
EVENT: Final = {
    "type": "record",
    "name": "Event",
    "namespace": "bench",
    "fields": [
        {"name": "id", "type": "string"},
        {"name": "t", "type": _TIME},
        *({"name": name, "type": "string"} for name in CATEGORIES),
        *({"name": name, "type": ["null", "float"], "default": None} for name in NUMBERS),
    ],
}
LABEL: Final = {
    "type": "record",
    "name": "Label",
    "namespace": "bench",
    "fields": [{"name": "id", "type": "string"}, {"name": "t", "type": _TIME}, {"name": "y", "type": "int"}],
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Workload:
    """The pipeline's file, and as many rows as asked for.

    Args:
        tenant: raw topics are named after it.
        horizon: of the labels. By default longer than all rows: none expires, however far its label is behind
            on a busy machine.
        rules: lanes and policy of the pipeline file.
    """

    tenant: str
    horizon: str = "36h"
    rules: Mapping[str, object] = field(default_factory=dict)

    @property
    def events_topic(self) -> str:
        return f"raw.{self.tenant}.events"

    @property
    def labels_topic(self) -> str:
        return f"raw.{self.tenant}.labels"

    def write(self, folder: Path) -> Path:
        """Write the pipeline file and its schemas; JSON is YAML."""
        spec = {
            "pipeline": PIPELINE,
            "task": "binary",
            "events": {"topic": self.events_topic, "format": {"avro": "event.avsc"}, "id": "id", "time": "t"},
            "labels": {
                "topic": self.labels_topic,
                "format": {"avro": "label.avsc"},
                "id": "id",
                "time": "t",
                "value": "y",
                "horizon": self.horizon,
            },
            "features": {
                **{name: {"category": values} for name, values in CATEGORIES.items()},
                **dict.fromkeys(NUMBERS, "number"),
            },
            **self.rules,
        }
        folder.mkdir(parents=True)
        (folder / "event.avsc").write_text(json.dumps(EVENT), encoding="utf-8")
        (folder / "label.avsc").write_text(json.dumps(LABEL), encoding="utf-8")
        file = folder / "bench.yaml"
        file.write_text(json.dumps(spec, indent=1), encoding="utf-8")
        return file

    def rows(self, first: int, count: int) -> tuple[list[Message], list[Message]]:
        """Events and labels number `first` to `first + count`, a tenth of a second of event time apart."""
        chance = np.random.default_rng(first)
        numbers = chance.normal(size=(count, len(NUMBERS))).astype(np.float32)
        missing = chance.random((count, len(NUMBERS))) < 0.04
        codes = {name: chance.integers(len(values), size=count) for name, values in CATEGORIES.items()}
        # There is something to learn: two numbers and a category, the rest is chance.
        hidden = 1.5 * numbers[:, 0] - numbers[:, 1] + (codes["c1"] % 3 - 1)
        answers = chance.random(count) < 1 / (1 + np.exp(-hidden))
        event, label = Schema(json.dumps(EVENT)), Schema(json.dumps(LABEL))
        events, labels = [], []
        for index in range(count):
            name, time = f"{first + index:010d}", START + (first + index) * STEP
            record: dict[str, Any] = {"id": name, "t": time}
            record |= {each: values[codes[each][index]] for each, values in CATEGORIES.items()}
            record |= {
                each: None if gone else value
                for each, value, gone in zip(
                    NUMBERS, numbers[index].tolist(), missing[index].tolist(), strict=True
                )
            }
            known = {"id": name, "t": time + LABEL_DELAY, "y": int(answers[index])}
            key = name.encode()
            events.append(Message(self.events_topic, event.header + event.write(record), key))
            labels.append(Message(self.labels_topic, label.header + label.write(known), key))
        return events, labels

"""Pipeline files: what is read, and how a mistake is shown."""

from __future__ import annotations

import json
import pathlib
from typing import TYPE_CHECKING

import pytest

import penstock.cli
from penstock.cli.exits import Exit, Failure
from penstock.cli.specfile import load, read_document

if TYPE_CHECKING:
    from collections.abc import Callable

HERE = pathlib.Path(__file__).parent
FLIGHTS = HERE.parents[1] / "examples/flights/flights.yaml"

MINIMAL = """\
pipeline: churn
task: binary
events: {topic: crm.events, format: json, id: event_id, time: at}
labels: {topic: crm.outcomes, format: json, id: event_id, time: at, value: churned, horizon: 30d}
features:
  age: number
  plan: {category: [free, plus, pro]}
"""


@pytest.fixture
def spec(tmp_path: pathlib.Path, monkeypatch: pytest.MonkeyPatch) -> Callable[..., pathlib.Path]:
    """Writes a pipeline file into the current folder."""
    monkeypatch.chdir(tmp_path)

    def write(text: str | bytes) -> pathlib.Path:
        content = text if isinstance(text, bytes) else text.encode()
        pathlib.Path("spec.yaml").write_bytes(content)
        return pathlib.Path("spec.yaml")

    return write


def complaint(path: pathlib.Path) -> str:
    with pytest.raises(Failure) as failure:
        load(path)
    assert failure.value.code is Exit.INVALID
    return str(failure.value)


def test_the_messages_of_many_mistakes_at_once(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(HERE / "golden")
    assert penstock.cli.main(["check", "mistakes.yaml"]) == 3
    out, err = capsys.readouterr()
    assert out == ""
    assert err.rstrip("\n") == (HERE / "golden/mistakes.txt").read_text().rstrip("\n")


def test_the_example_is_valid_and_its_schemas_are_inlined(capsys: pytest.CaptureFixture[str]) -> None:
    assert penstock.cli.main(["check", str(FLIGHTS)]) == 0
    assert "valid pipeline" in capsys.readouterr().out
    pipeline = load(FLIGHTS)
    assert json.loads(pipeline.events.format.schema)["name"] == "Departure"
    assert pipeline.labels.format.file == ""


def test_ten_lines_are_enough(spec: Callable[..., pathlib.Path], capsys: pytest.CaptureFixture[str]) -> None:
    assert penstock.cli.main(["check", str(spec(MINIMAL)), "-o", "json"]) == 0
    told = json.loads(capsys.readouterr().out)
    assert told["valid"]
    assert told["digest"] == load(spec(MINIMAL)).digest


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("a: [1\nb: 2\n", "spec.yaml:2:2: not YAML: expected ',' or ']', but got ':'\n  b: 2\n   ^"),
        ("a: 'x", "spec.yaml:1:6: not YAML: found unexpected end of stream"),
        (
            "a:\n\t- b",
            "spec.yaml:2:1: not YAML: found character '\\t' that cannot start any token\n  \t- b\n  ^",
        ),
        ("--- 1\n--- 2\n", "spec.yaml:2:1: not YAML: but found another document"),
        ("a: *b", "spec.yaml:1:4: not YAML: found undefined alias 'b'"),
        ("b: 1\na: \x07", "spec.yaml:2:4: not YAML: character 0x07 is not allowed"),
        ("[" * 9999, "spec.yaml:1:1: too deeply nested"),
        ("{a: 1}: 2", "spec.yaml:1:1: a key is one word here"),
        ("a: &b [*b]", "spec.yaml:1:4: too large or too deeply nested"),
        ("", "spec.yaml:1:1: expected the keys of a pipeline, got nothing"),
        ("- 1", "spec.yaml:1:1: expected the keys of a pipeline, got a list"),
    ],
)
def test_what_is_no_mapping_is_shown_in_the_same_form(
    spec: Callable[..., pathlib.Path], text: str, expected: str
) -> None:
    assert complaint(spec(text)).startswith(expected)


def test_a_file_that_is_not_text(spec: Callable[..., pathlib.Path]) -> None:
    assert complaint(spec(b"pipeline: x\nowner: \xff")) == "spec.yaml:2:1: not UTF-8 text"


def test_aliases_cannot_make_a_short_file_endless(spec: Callable[..., pathlib.Path]) -> None:
    layers = [f"l{i}: &l{i} [{', '.join([f'*l{i - 1}'] * 10)}]" for i in range(1, 12)]
    assert "too large" in complaint(spec("l0: &l0 [x]\n" + "\n".join(layers)))


def test_a_key_that_stands_twice_is_told_with_everything_else(spec: Callable[..., pathlib.Path]) -> None:
    told = complaint(spec(MINIMAL + "task: binray\nownr: me\n"))
    assert "spec.yaml:8:1: task: key 'task' stands here twice\n  task: binray\n  ^" in told
    assert "spec.yaml:9:1: ownr: unknown key 'ownr' (did you mean 'owner'?)" in told


def test_a_missing_key_is_told_at_its_section(spec: Callable[..., pathlib.Path]) -> None:
    told = complaint(spec(MINIMAL.replace(", horizon: 30d", "")))
    assert told.startswith("spec.yaml:4:1: labels: 'horizon' is missing\n  labels: {topic")


@pytest.mark.parametrize(
    ("content", "expected"),
    [
        (None, "events.avsc: No such file or directory"),
        ("{", "events.avsc:1:2: not JSON"),
        ('"string"', "expected the file of an Avro record schema"),
        (
            '{"type": "record", "name": "E", "fields": [{"name": "event_id", "type": "strng"}]}',
            "events.format.avro: events.avsc: not an Avro schema",
        ),
        (
            '{"type": "record", "name": "E", "fields": [{"name": "event_id", "type": "string"}]}',
            "events.time: the Avro schema of the events has no field 'at'",
        ),
    ],
)
def test_a_schema_file_is_held_to_the_pipeline(
    spec: Callable[..., pathlib.Path], content: str | None, expected: str
) -> None:
    path = spec(MINIMAL.replace("format: json", "format: {avro: events.avsc}", 1))
    if content is not None:
        pathlib.Path("events.avsc").write_text(content)
    told = complaint(path)
    assert expected in told
    assert told.startswith("spec.yaml:3:")


def test_yaml_1_2_has_fewer_surprises() -> None:
    document = read_document("[yes, no, on, 9E, 010, 0o10, 1e3, 2013-01-01, ~, '5', true]")
    assert document.raw == ["yes", "no", "on", "9E", 10, 8, 1000.0, "2013-01-01", None, "5", True]


def test_a_file_that_is_not_there(capsys: pytest.CaptureFixture[str]) -> None:
    assert penstock.cli.main(["check", "nowhere.yaml"]) == 4
    assert capsys.readouterr().err == "nowhere.yaml: No such file or directory\n"


def test_schemas_that_cannot_be_told_apart_are_a_mistake_of_the_file(
    spec: Callable[..., pathlib.Path],
) -> None:
    file = spec(MINIMAL.replace("format: json", "format: {avro: [one.avsc, other.avsc]}", 1))
    for name, unit in (("one", "millis"), ("other", "micros")):
        at = {"type": "long", "logicalType": f"timestamp-{unit}"}
        kinds = {"event_id": "string", "at": at, "age": "int", "plan": "string"}
        fields = [{"name": field, "type": kind} for field, kind in kinds.items()]
        schema = {"type": "record", "name": "E", "fields": fields}
        (file.parent / f"{name}.avsc").write_text(json.dumps(schema))
    told = complaint(file)
    assert "spec.yaml:3" in told
    assert "events.format: two of the schemas E, E have one fingerprint" in told

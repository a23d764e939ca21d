"""Pipeline files: YAML 1.2 with the position of everything, so that a mistake is shown where it stands.

flights.yaml:14:9: features.wind: unknown type 'flaot' (did you mean 'number'?)
  wind: flaot
        ^
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final, NamedTuple

import orjson
from ruamel.yaml import YAML
from ruamel.yaml.error import MarkedYAMLError
from ruamel.yaml.nodes import MappingNode, ScalarNode, SequenceNode
from ruamel.yaml.reader import ReaderError

from penstock.cli.exits import Exit, Failure
from penstock.kernel.errors import Invalid
from penstock.kernel.mistakes import Mistake, Mistakes, Wrong, show
from penstock.kernel.pipeline import Pipeline
from penstock.kernel.sources import inline_schemas
from penstock.runtime.avro import Schema
from penstock.runtime.wire import Wire

if TYPE_CHECKING:
    import pathlib
    from collections.abc import Callable, Iterator, Mapping

    from ruamel.yaml.nodes import Node

    from penstock.kernel.mistakes import Path

    Prepare = Callable[[Mapping[str, object]], Mapping[str, object]]

_TAG: Final = "tag:yaml.org,2002:"
# Aliases can make a short file endless; no pipeline is a hundredth of this.
_MOST_NODES: Final = 100_000
_DEEPEST: Final = 50


class Place(NamedTuple):
    """Where something stands, counted from 0."""

    line: int
    column: int


class Unreadable(Exception):  # noqa: N818 - what the text is
    """The text is no YAML document; everything else has to wait."""

    def __init__(self, place: Place, message: str) -> None:
        super().__init__(message)
        self.place = place


@dataclass(slots=True, kw_only=True)
class Document:
    """A YAML text as plain values, with the place of every key and value.

    >>> document = read_document("features: {wind: flaot}")
    >>> document.raw, document.values["features", "wind"]
    ({'features': {'wind': 'flaot'}}, Place(line=0, column=17))
    """

    raw: object = None
    keys: dict[Path, Place] = field(default_factory=dict)
    values: dict[Path, Place] = field(default_factory=dict)
    mistakes: list[tuple[Place, Mistake]] = field(default_factory=list)

    def note(self, mistake: Mistake) -> None:
        """Add a mistake, pointing at the value, at the key, or at what stands nearest above a missing one."""
        path = mistake.path
        while path and path not in self.values:
            path = path[:-1]
        key = self.keys.get(path)
        place = key if key and (mistake.at_key or path != mistake.path) else self.values[path]
        self.mistakes.append((place, mistake))


def load(path: pathlib.Path, *, prepare: Prepare = dict) -> Pipeline:
    """The pipeline of a file, the Avro schemas beside it inlined.

    Args:
        path: of the file.
        prepare: completes its mapping before it is judged.

    Raises:
        Failure: exit code 3, with every mistake, its line and a caret under it.
        OSError: the file cannot be read.
    """
    content = path.read_bytes()
    try:
        text = content.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        line = content.count(b"\n", 0, error.start) + 1
        raise Failure(f"{path}:{line}:1: not UTF-8 text", Exit.INVALID) from error
    lines = text.splitlines()
    try:
        document = read_document(text)
    except Unreadable as error:
        raise Failure(_render(path, lines, error.place, str(error)), Exit.INVALID) from error
    pipeline = _pipeline(document, path.parent, prepare)
    if document.mistakes or pipeline is None:
        ordered = sorted(document.mistakes, key=lambda pair: pair[0])
        shown = [_render(path, lines, place, str(mistake)) for place, mistake in ordered]
        raise Failure("\n".join(shown), Exit.INVALID)
    return pipeline


def _pipeline(document: Document, folder: pathlib.Path, prepare: Prepare) -> Pipeline | None:
    """The pipeline that a document describes; what is wrong is added to the document's mistakes."""
    if not isinstance(document.raw, dict):
        document.note(Mistake((), f"expected the keys of a pipeline, got {show(document.raw)}"))
        return None
    found: list[Mistake] = []
    raw = inline_schemas(prepare(document.raw), lambda file: _schema(folder, file), found)
    pipeline = None
    try:
        pipeline = Pipeline.read(raw)
        found += _unreadable(pipeline)
    except Mistakes as mistakes:
        found += mistakes.items
    told = {mistake.path for _, mistake in document.mistakes}
    for mistake in found:
        if mistake.path not in told:  # a value with a tag, say, is nothing to the pipeline
            document.note(mistake)
    return pipeline


def _unreadable(pipeline: Pipeline) -> Iterator[Mistake]:
    """Formats that nothing can be read with, though every schema of theirs is one."""
    for section, source in (("events", pipeline.events), ("labels", pipeline.labels)):
        if not source.format.files:
            try:
                Wire(source.format, ())
            except Invalid as why:
                yield Mistake((section, "format"), str(why))


def read_document(text: str) -> Document:
    """Compose a YAML text; duplicate keys and tags are noted among its mistakes.

    Raises:
        Unreadable: it is not one YAML document.
    """
    yaml = YAML(typ="safe", pure=True)
    try:
        node = yaml.compose(text)
    except MarkedYAMLError as error:
        mark = error.problem_mark or error.context_mark
        place = Place(mark.line, mark.column) if mark else Place(0, 0)
        raise Unreadable(place, f"not YAML: {error.problem or error.context}") from error
    except ReaderError as error:
        before = text[: error.position]
        place = Place(before.count("\n"), len(before) - before.rfind("\n") - 1)
        raise Unreadable(place, f"not YAML: character {error.character:#04x} is not allowed") from error
    except RecursionError as error:
        raise Unreadable(Place(0, 0), "too deeply nested for a pipeline") from error
    document = Document()
    if node is None:
        document.values[()] = Place(0, 0)
    else:
        document.raw = _Composer(yaml, document).value(node, ())
    return document


class _Composer:
    """Turns nodes into plain values and notes where they stand."""

    def __init__(self, yaml: YAML, document: Document) -> None:
        self.yaml = yaml
        self.document = document
        self.nodes = 0

    def value(self, node: Node, path: Path) -> object:
        self.nodes += 1
        place = Place(node.start_mark.line, node.start_mark.column)
        if self.nodes > _MOST_NODES or len(path) > _DEEPEST:
            raise Unreadable(place, "too large or too deeply nested for a pipeline")
        self.document.values[path] = place
        if not str(node.tag).startswith(_TAG):
            self.document.note(Mistake(path, f"tags such as {node.tag} are not read"))
            return None
        match node:
            case MappingNode():
                return self._mapping(node, path)
            case SequenceNode():
                return [self.value(item, (*path, index)) for index, item in enumerate(node.value)]
            case ScalarNode():
                return self._scalar(node, path)
            case _:
                raise TypeError(f"a YAML node of no known kind: {node!r}")

    def _mapping(self, node: MappingNode, path: Path) -> dict[object, object]:
        found: dict[object, object] = {}
        for key_node, value_node in node.value:
            place = Place(key_node.start_mark.line, key_node.start_mark.column)
            if not isinstance(key_node, ScalarNode):
                raise Unreadable(place, "a key is one word here, not a list or a mapping")
            key = self._scalar(key_node, path)
            part = key if isinstance(key, str | int) else str(key_node.value)
            if part in found:
                message = f"key {part!r} stands here twice"
                self.document.mistakes.append((place, Mistake((*path, part), message, at_key=True)))
                continue
            self.document.keys[*path, part] = place
            found[part] = self.value(value_node, (*path, part))
        return found

    def _scalar(self, node: ScalarNode, path: Path) -> object:
        kind = str(node.tag).removeprefix(_TAG)
        construct = {
            "int": self.yaml.constructor.construct_yaml_int,
            "float": self.yaml.constructor.construct_yaml_float,
            "bool": self.yaml.constructor.construct_yaml_bool,
            "null": lambda _: None,
        }.get(kind)
        if construct is None:  # text; a date is text too, as YAML 1.2 has it
            return str(node.value)
        try:
            return construct(node)
        except (ValueError, KeyError):  # `!!int x`, or more digits than any number has
            self.document.note(Mistake(path, f"{show(node.value)} cannot be read as {kind}"))
            return None


def _schema(folder: pathlib.Path, file: str) -> object:
    """The Avro schema in a file beside the pipeline's."""
    path = folder / file
    try:
        content = path.read_bytes()
        schema = orjson.loads(content)
        Schema(content)
    except orjson.JSONDecodeError as error:
        raise Wrong(f"{path}:{error.lineno}:{error.colno}: not JSON: {error.msg}") from error
    except OSError as error:
        raise Wrong(f"{path}: {error.strerror}") from error
    except Invalid as error:
        raise Wrong(f"{path}: {error}") from error
    return schema


def _render(path: pathlib.Path, lines: list[str], place: Place, message: str) -> str:
    """One mistake: where and what, the line it stands in, and a caret under it."""
    head = f"{path}:{place.line + 1}:{place.column + 1}: {message}"
    if place.line >= len(lines):
        return head
    line = lines[place.line]
    indent = "".join("\t" if char == "\t" else " " for char in line[: place.column])
    return f"{head}\n  {line}\n  {indent}^"

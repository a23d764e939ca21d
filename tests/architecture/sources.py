"""The source files of the product, parsed, for tests that look at how it is built."""

from __future__ import annotations

import ast
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator

ROOT = Path(__file__).parents[2]
PACKAGE = ROOT / "services" / "penstock"


def modules() -> list[Path]:
    """Every module of the package, relative to it."""
    return sorted(path.relative_to(PACKAGE) for path in PACKAGE.rglob("*.py"))


@cache
def parsed(module: Path) -> ast.Module:
    return ast.parse((PACKAGE / module).read_text(encoding="utf-8"), filename=str(module))


def imports(module: Path, *, when_run: bool = False) -> Iterator[tuple[str, int]]:
    """Every module imported, at the top or inside a function, with its line; `from` names its names too.

    Args:
        module: relative to the package.
        when_run: leave out what only a type checker sees.
    """
    hidden = {
        id(inner)
        for node in ast.walk(parsed(module))
        if when_run and isinstance(node, ast.If) and _is_type_checking(node.test)
        for statement in node.body
        for inner in ast.walk(statement)
    }
    for node in ast.walk(parsed(module)):
        if id(node) in hidden:
            continue
        match node:
            case ast.Import(names=names):
                for alias in names:
                    yield alias.name, node.lineno
            case ast.ImportFrom(module=str(parent), names=names, level=0):
                yield parent, node.lineno
                for alias in names:
                    yield f"{parent}.{alias.name}", node.lineno


def _is_type_checking(test: ast.expr) -> bool:
    match test:
        case ast.Name(id="TYPE_CHECKING") | ast.Attribute(attr="TYPE_CHECKING"):
            return True
        case _:
            return False


def docstrings(tree: ast.Module) -> set[int]:
    """The identities of the nodes that are docstrings, of modules, classes, functions and fields."""
    return {
        id(statement.value)
        for node in ast.walk(tree)
        if isinstance(node, ast.Module | ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef)
        for statement in node.body
        if isinstance(statement, ast.Expr) and isinstance(statement.value, ast.Constant)
    }

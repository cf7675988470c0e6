"""What the tests of several folders share lies in tests/support, and each module of the tests has a name of its own."""

from __future__ import annotations

import ast
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Final

TESTS: Final = Path(__file__).parents[1]
MODULES: Final = sorted(TESTS.rglob("*.py"))
SHARED: Final = frozenset({"support", "distros"})
"""The folders that pytest and the benchmarks find modules of other folders in."""


def imported(path: Path) -> Iterator[str]:
    """Yield the first name of each module that a file imports."""
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            yield from (alias.name.split(".")[0] for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and node.module is not None:
            yield node.module.split(".")[0]


def folder(path: Path) -> str:
    return path.relative_to(TESTS).parts[0]


def uses() -> Iterator[tuple[Path, Path]]:
    """Yield (file, module of the tests that it imports)."""
    modules = {path.stem: path for path in MODULES}
    for path in MODULES:
        yield from ((path, modules[name]) for name in imported(path) if name in modules)


def test_no_module_has_another_ones_name() -> None:
    assert not [name for name, n in Counter(path.stem for path in MODULES if path.stem != "conftest").items() if n > 1]


def test_what_another_folder_imports_lies_in_support() -> None:
    wrong = {f"{path.relative_to(TESTS)} imports {used.relative_to(TESTS)}" for path, used in uses()
             if folder(used) not in SHARED | {folder(path)}}  # fmt: skip
    assert not wrong


def test_what_lies_in_support_is_shared() -> None:
    users = {path: {folder(user) for user, used in uses() if used == path} for path in MODULES}
    lonely = [path.name for path, folders in users.items() if folder(path) == "support" and len(folders) == 1]
    assert not lonely

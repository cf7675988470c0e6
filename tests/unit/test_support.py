"""What the tests of several folders share lies in tests/support; names of tests that are written elsewhere are true."""

from __future__ import annotations

import ast
import importlib.util
import re
from collections import Counter
from collections.abc import Iterator
from functools import cache
from pathlib import Path
from typing import Final

ROOT: Final = Path(__file__).parents[2]
TESTS: Final = ROOT / "tests"
MODULES: Final = sorted(TESTS.rglob("*.py"))
SHARED: Final = frozenset({"support", "distros", "bench"})
"""The folders that pytest finds modules of other folders in: `pythonpath` in pyproject.toml."""


@cache
def nodes(path: Path) -> tuple[ast.AST, ...]:
    return tuple(ast.walk(ast.parse(path.read_text(encoding="utf-8"))))


def imported(path: Path) -> Iterator[str]:
    """Yield the first name of each module that a file imports."""
    for node in nodes(path):
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
    users: dict[str, set[str]] = {}
    for user, used in uses():
        if folder(used) == "support":
            users.setdefault(used.name, set()).add(folder(user))
    assert not [name for name, folders in users.items() if len(folders) == 1]
    assert set(users) == {path.name for path in MODULES if folder(path) == "support"}


EMBEDDED: Final = re.compile(r"\bfrom (perfcheck[.\w]*) import (\w+(?:, \w+)*)")


def test_programs_in_texts_of_the_tests_import_what_is_there() -> None:
    """A linter does not see into the programs that tests give to another Python."""
    found = set()
    for path in MODULES:
        for node in nodes(path):
            if isinstance(node, ast.Constant) and isinstance(node.value, str):
                found |= {(path.name, *each.groups()) for each in EMBEDDED.finditer(node.value)}
    assert found
    for file, module, names in found:
        loaded = importlib.import_module(module)
        for name in names.split(", "):
            there = hasattr(loaded, name) or importlib.util.find_spec(f"{module}.{name}")
            assert there, f"{file}: there is no {name} in {module}"


def test_the_tests_that_pages_and_the_makefile_name_are_there() -> None:
    texts = [
        path.read_text(encoding="utf-8") for path in [ROOT / "Makefile", *ROOT.glob("*.md"), *ROOT.glob("docs/*.md")]
    ]
    named = {name for text in texts for name in re.findall(r"tests/\w+/\w+\.py", text)}
    table = (ROOT / "docs/known-workloads.md").read_text(encoding="utf-8")
    named |= {f"tests/kernel/test_{name}.py" for name in re.findall(r"^\|.*\| `(\w+)` \|[^|]*\|$", table, re.MULTILINE)}
    (in_guest,) = re.findall(r"VM_TESTS := \$\(addprefix tests/kernel/test_,([^)]*)\)", texts[0])
    named |= {f"tests/kernel/test_{name}" for name in in_guest.replace("\\", " ").split()}
    assert len(named) > 20
    assert not [name for name in sorted(named) if not (ROOT / name).is_file()]

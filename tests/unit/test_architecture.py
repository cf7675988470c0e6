"""The import rule of docs/architecture.md, and the rules on size and names, hold for every module."""

from __future__ import annotations

import ast
from collections.abc import Collection, Iterator, Mapping
from pathlib import Path
from typing import Final

import pytest

ROOT: Final = Path(__file__).parents[2]
PACKAGE: Final = ROOT / "perfcheck"
BASE: Final = frozenset({"errors", "model"})
STAGES: Final = frozenset(
    {"scenario", "confirm", "lab", "traffic", "collect", "analyse", "diagnose", "compare", "baseline", "output"}
)
COMMON: Final = BASE | {"system", "version"}
ALLOWED: Final = {
    "live": COMMON | {"collect", "analyse", "diagnose", "output"},
    "report": COMMON | {"analyse", "compare", "diagnose", "live", "output"},
    "export": COMMON | {"analyse", "live", "output"},
    "screen": COMMON | {"analyse", "diagnose", "live", "output"},
    "errors": BASE,
    "model": BASE,
    "system": COMMON,
    "ebpf": frozenset({"errors", "system", "__file__"}),
    **dict.fromkeys(STAGES, COMMON),
    "collect": COMMON | {"ebpf"},
    "testing": COMMON,
    "faults": COMMON | {"scenario"},
    "kernels": COMMON,
    "agent": COMMON | {"ebpf", "collect"},
    "remote": COMMON | {"ebpf", "agent", "__file__"},
    "runner": COMMON | STAGES | {"faults", "kernels", "remote"},
    "api": COMMON | STAGES | {"runner"},
    "plugin": COMMON | STAGES | {"runner", "api", "report", "export"},
    "cli": COMMON | STAGES | {"faults", "kernels", "remote", "runner", "api", "live", "report", "export", "screen"},
    "version": frozenset(),
    "__init__": frozenset({"api", "errors", "version"}),
}
"""Which parts each part may import beside itself."""
SOURCES: Final = sorted(PACKAGE.rglob("*.py"))


def part_of(path: Path) -> str:
    """Return the part of the package that a file belongs to, e.g. `lab` or `runner`."""
    return path.relative_to(PACKAGE).parts[0].removesuffix(".py")


def imported_names(source: str) -> Iterator[tuple[int, str]]:
    """Yield (line, full name) of each import of the project, those inside functions and for types included."""
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Import):
            names = [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"line {node.lineno}: relative import"
            names = [f"{node.module}.{alias.name}" for alias in node.names]
        else:
            continue
        for name in names:
            if name.partition(".")[0] == PACKAGE.name:
                yield node.lineno, name


def project_imports(path: Path) -> Iterator[tuple[int, str]]:
    """Yield (line, part) of each import of the project's own modules."""
    for line, name in imported_names(path.read_text()):
        if "." in name:
            yield line, name.split(".")[1]


def module_graph(sources: Mapping[str, str]) -> dict[str, set[str]]:
    """Return which modules each module imports; `sources` has each module's text by its name.

    A name that is no module is taken from the package or module before it.
    """
    graph: dict[str, set[str]] = {module: set() for module in sources}
    for module, source in sources.items():
        for _, name in imported_names(source):
            parts = name.split(".")
            ends = [".".join(parts[:length]) for length in range(len(parts), 0, -1)]
            graph[module] |= {next((end for end in ends if end in sources), module)} - {module}
    return graph


def circles(graph: Mapping[str, Collection[str]]) -> list[list[str]]:
    """Return the strongly connected components of more than one module, each as one way round through it.

    Tarjan's algorithm; a way round is the shortest from the component's first module back to itself.
    """
    index: dict[str, int] = {}
    low: dict[str, int] = {}
    open_modules: list[str] = []
    found: list[list[str]] = []

    def visit(module: str) -> None:
        index[module] = low[module] = len(index)
        open_modules.append(module)
        for other in sorted(graph[module]):
            if other not in index:
                visit(other)
                low[module] = min(low[module], low[other])
            elif other in open_modules:
                low[module] = min(low[module], index[other])
        if low[module] == index[module]:
            start = open_modules.index(module)
            component = sorted(open_modules[start:])
            del open_modules[start:]
            if len(component) > 1:
                found.append(_way_round(component, graph))

    for module in sorted(graph):
        if module not in index:
            visit(module)
    return found


def _way_round(component: list[str], graph: Mapping[str, Collection[str]]) -> list[str]:
    ways = [[component[0]]]
    seen: set[str] = set()
    while True:
        way = ways.pop(0)
        for other in sorted(set(graph[way[-1]]) & set(component) - seen):
            if other == component[0]:
                return [*way, other]
            seen.add(other)
            ways.append([*way, other])


@pytest.mark.parametrize("path", SOURCES, ids=lambda path: str(path.relative_to(ROOT)))
def test_imports_follow_the_rule(path: Path) -> None:
    part = part_of(path)
    wrong = [f"{path.relative_to(ROOT)}:{line}: imports {name}" for line, name in project_imports(path)
             if name not in ALLOWED[part] | {part}]  # fmt: skip
    assert not wrong


def module_name(path: Path) -> str:
    """Return the name by which a file is imported."""
    return ".".join(path.relative_to(ROOT).with_suffix("").parts).removesuffix(".__init__")


def test_no_circle_of_imports() -> None:
    found = circles(module_graph({module_name(path): path.read_text() for path in SOURCES}))
    assert not found, "modules that import one another: " + "; ".join(" -> ".join(way) for way in found)


@pytest.mark.parametrize(
    ("sources", "expected"),
    [
        ({"a": "from @.b import x", "b": "import @.c", "c": ""}, []),
        ({"a": "from @ import b", "b": "from @.a import x"}, [["a", "b", "a"]]),
        (
            {
                "a": "from @.b import x\nfrom @.e import z",
                "b": "def f():\n    import @.c",
                "c": "if TYPE_CHECKING:\n    from @.d.deep import y",
                "d": "from @.b import x",
                "d.deep": "",
                "e": "from @.d import y\nfrom @.a import x",
            },
            [["a", "e", "a"]],
        ),
        ({"b": "import @.c", "c": "import @.d", "d": "import @.b"}, [["b", "c", "d", "b"]]),
        ({"": "from @.a import x", "a": "from @ import NAME"}, [["", "a", ""]]),
    ],
)
def test_a_circle_is_found(sources: dict[str, str], expected: list[list[str]]) -> None:
    named = {f"perfcheck.{name}".removesuffix("."): text.replace("@", "perfcheck") for name, text in sources.items()}
    found = circles(module_graph(named))
    assert [[module.removeprefix("perfcheck").removeprefix(".") for module in way] for way in found] == expected


def test_every_part_has_a_rule_and_every_rule_a_part() -> None:
    assert {part_of(path) for path in SOURCES} == set(ALLOWED)


def test_no_file_grows_beyond_what_one_can_read() -> None:
    sources = [*SOURCES, *(ROOT / "bpf").glob("*.[ch]"), *(ROOT / "tests").rglob("*.py")]
    long = {str(path.relative_to(ROOT)): n for path in sources if (n := len(path.read_text().splitlines())) > 420}
    assert not long


def test_names_say_what_a_thing_is() -> None:
    vague = [path for path in SOURCES if path.stem.split("_")[-1] in {"utils", "util", "helpers", "helper", "manager"}]
    assert not vague
    for path in SOURCES:
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, (ast.ClassDef, ast.FunctionDef)):
                assert not node.name.endswith(("Manager", "Helper", "Utils")), f"{path}:{node.lineno}: {node.name}"


def test_no_shell_and_no_sleep_for_readiness() -> None:
    for path in SOURCES:
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.keyword) and node.arg == "shell":
                pytest.fail(f"{path}:{node.value.lineno}: shell=")


WRITERS: Final = frozenset({"system/printing.py", "output/terminal.py", "plugin/writing.py"})
"""The only modules that write to a terminal or log; what they write passes `perfcheck.model.printable`."""


def bare_writes(source: str) -> Iterator[tuple[int, str]]:
    """Yield (line, what) of each way to a terminal that is not one of the writers'."""
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id in ("print", "Console"):
            yield node.lineno, f"{node.func.id}("
        elif isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute) and node.func.attr == "Console":
            yield node.lineno, "Console("
        elif isinstance(node, ast.Attribute) and node.attr in ("stdout", "stderr", "__stdout__", "__stderr__"):
            if isinstance(node.value, ast.Name) and node.value.id == "sys":
                yield node.lineno, f"sys.{node.attr}"
        elif isinstance(node, ast.Attribute) and node.attr in ("write_line", "write_sep", "write_raw"):
            yield node.lineno, node.attr
        elif isinstance(node, (ast.Import, ast.ImportFrom)):
            modules = {getattr(node, "module", ""), *(alias.name for alias in node.names)}
            if modules & {"logging", "rich.markup"}:
                yield node.lineno, "import of logging or rich.markup"
        elif isinstance(node, ast.keyword) and node.arg in ("markup", "emoji") and not _is_false(node.value):
            yield node.value.lineno, f"{node.arg}="


def _is_false(node: ast.expr) -> bool:
    return isinstance(node, ast.Constant) and node.value is False


@pytest.mark.parametrize("path", SOURCES, ids=lambda path: str(path.relative_to(ROOT)))
def test_every_text_goes_through_a_writer(path: Path) -> None:
    if str(path.relative_to(PACKAGE)) in WRITERS:
        assert "perfcheck.model.printable" in path.read_text()
        return
    assert not list(bare_writes(path.read_text()))


@pytest.mark.parametrize(
    "source",
    [
        "print('a')", "import sys\nsys.stderr.write('a')", "reporter.write_line('a')", "Console().print('a')",
        "import rich.console as r\nr.Console()", "import logging", "from rich.markup import escape",
        "console.print('a', markup=True)",
    ],
)  # fmt: skip
def test_a_bare_write_is_seen(source: str) -> None:
    assert list(bare_writes(source))


def test_no_message_sends_a_user_to_the_wrong_bcc() -> None:
    for path in [*SOURCES, ROOT / "pyproject.toml", ROOT / "README.md", ROOT / ".ci/setup"]:
        assert "pip install bcc" not in path.read_text(), path

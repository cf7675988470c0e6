"""The plugin's options as data, and their values from pytest's configuration file, each mistake with its place."""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final, Literal, TypeVar

import pytest

T = TypeVar("T")

Kind = Literal["flag", "text", "count", "lines", "folders", "pair"]
"""What a value is: `lines` and `folders` are lists, `pair` is a list of two."""

_INI_TYPES: Final[dict[Kind, Literal["bool", "string", "linelist", "args"]]] = {
    "flag": "bool", "text": "string", "count": "string", "lines": "linelist", "folders": "args", "pair": "linelist",
}  # fmt: skip

_EXPECTED: Final[dict[Kind, str]] = {
    "flag": "true or false", "text": "a text", "count": "a whole number", "lines": "a list of texts",
    "folders": "a list of folders", "pair": "a list of two texts",
}  # fmt: skip


@dataclass(frozen=True, slots=True, kw_only=True)
class Option:
    """One option: `flags` on the command line (the first names it), `key` in the file."""

    flags: tuple[str, ...]
    help: str
    kind: Kind = "text"
    metavar: str | tuple[str, ...] | None = None
    choices: tuple[str, ...] | None = None
    parse: Callable[[str], object] | None = None

    @property
    def key(self) -> str:
        """Its key in the file, which is also where argparse keeps it."""
        return f"perfcheck_{self.flags[0].removeprefix('--').removeprefix('perfcheck-').replace('-', '_')}"

    def declare(self, group: pytest.OptionGroup, parser: pytest.Parser) -> None:
        """Declare it for the command line and for the file; a flag never swallows the word after it."""
        form: dict[str, Any] = {"dest": self.key, "help": self.help}
        if self.kind == "flag":
            form |= {"action": "store_true"}
        else:
            form |= {"metavar": self.metavar} if self.metavar is not None else {}
            form |= {"choices": self.choices} if self.choices is not None else {}
            form |= {"type": self.parse} if self.parse is not None else {}
            form |= {"action": "append", "default": []} if self.kind in ("lines", "folders") else {}
            form |= {"nargs": 2} if self.kind == "pair" else {}
        group.addoption(*self.flags, **form)
        _declare_ini(parser, self)


def _declare_ini(parser: pytest.Parser, option: Option) -> None:
    told = option.help.replace("%%", "%")
    if option.kind == "count":
        # pytest 8.4 and later know whole numbers, which `[tool.pytest]` then takes without quotation marks.
        try:
            parser.addini(option.key, told, type="int", default=None)
        except (AssertionError, ValueError):
            pass
        else:
            return
    parser.addini(option.key, told, type=_INI_TYPES[option.kind], default=None)


def from_file(config: pytest.Config, option: Option) -> Any:
    """Return the option's value in the file, None where it has none; UsageError with file, line and key."""
    try:
        value = config.getini(option.key)
    except (TypeError, ValueError, pytest.UsageError) as error:
        # pytest's and Python's words differ; all of them end with the value.
        got = re.search(r"(?:got(?: \w+:)?|invalid truth value|with base 10:) (.*)", str(error), re.DOTALL)
        said = f"got {got[1]}" if got else str(error)
        raise mistake(config, option, f"expected {_EXPECTED[option.kind]}, {said}") from None
    if value is None or value in ("", []):
        return None
    if not _is(option.kind, value):
        raise mistake(config, option, f"expected {_EXPECTED[option.kind]}, got {value!r}")
    return value


def _is(kind: Kind, value: object) -> bool:
    """Whether the value is what the kind says; older pytest versions hand through whatever a TOML file holds."""
    match kind:
        case "flag":
            return isinstance(value, bool)
        case "count":
            return isinstance(value, int | str)
        case "text":
            return isinstance(value, str)
        case _:
            return isinstance(value, list) and all(isinstance(each, str) for each in value)


def mistake(config: pytest.Config, option: Option, message: str) -> pytest.UsageError:
    """Return a usage error with the place of the option's value, `FILE:LINE:COLUMN: KEY: MESSAGE`."""
    # Not above: suites without scenarios load nothing of the model.
    from perfcheck.model.printable import printable

    return pytest.UsageError(printable(f"{_place(config, option.key)}: {option.key}: {message}"))


def _place(config: pytest.Config, key: str) -> str:
    if any(given.partition("=")[0].strip() == key for given in config.getoption("override_ini", None) or ()):
        return "-o"
    path = config.inipath
    if path is None:
        return "configuration"
    here = Path.cwd()
    shown = path.relative_to(here) if path.is_relative_to(here) else path
    found = re.search(rf"^[ \t]*(?P<quote>[\"']?){key}(?P=quote)[ \t]*[=:]", _text(path), re.MULTILINE)
    if found is None:
        return str(shown)
    start = found.start() + len(found[0]) - len(found[0].lstrip())
    before = _text(path)[:start]
    return f"{shown}:{before.count(chr(10)) + 1}:{start - (before.rfind(chr(10)) + 1) + 1}"


def _text(path: Path) -> str:
    try:
        return path.read_text(encoding="utf-8", errors="replace")
    except OSError:
        return ""


def parsed(config: pytest.Config, option: Option, parse: Callable[[str], T], value: str) -> T:
    """Parse a text of the file; what is wrong with it comes with its place."""
    from perfcheck.errors import UsageError

    try:
        return parse(value)
    except UsageError as error:
        text = re.sub(r"^--[a-z-]+: ", "", str(error))
        raise mistake(config, option, text) from None

"""Parsers of perfctl: options once and whole, errors on one line with the nearest known word, help at any width."""

from __future__ import annotations

import argparse
import textwrap
from typing import Any, Final, NoReturn

from perfcheck.cli.perfctl.values import hint
from perfcheck.model.printable import printable
from perfcheck.model.units import shown
from perfcheck.system.printing import complain

_USAGE_STATUS: Final = 2
_ARGPARSE_PREFIX: Final = "argument "


class _Noting(argparse.Action):
    """Takes a value, and notes that the option was given."""

    def __call__(
        self, parser: argparse.ArgumentParser, namespace: argparse.Namespace, values: object,
        option_string: str | None = None,
    ) -> None:  # fmt: skip
        """Take the value."""
        del parser, option_string
        self.take(namespace, values)
        namespace.given = given(namespace) | {self.dest}

    def take(self, namespace: argparse.Namespace, taken: object) -> None:
        """Store the value."""
        setattr(namespace, self.dest, taken)


class Once(_Noting):
    """Store a value; the option may be given once. `given` of the result has the names of what was given."""

    def take(self, namespace: argparse.Namespace, taken: object) -> None:
        """Store the value."""
        if self.dest in given(namespace):
            raise argparse.ArgumentError(self, "given twice; give it once")
        super().take(namespace, taken)


class Flag(_Noting):
    """Store True, and note that it was given."""

    def __init__(self, option_strings: list[str], dest: str, **options: Any) -> None:
        """Take argparse's options; a flag has no value."""
        super().__init__(option_strings, dest, nargs=0, default=False, help=options.get("help"))

    def take(self, namespace: argparse.Namespace, _taken: object) -> None:
        """Set it."""
        setattr(namespace, self.dest, True)


class Each(_Noting):
    """Add a value to those that were given; the option can be repeated."""

    def take(self, namespace: argparse.Namespace, taken: object) -> None:
        """Add the value."""
        super().take(namespace, (*getattr(namespace, self.dest), taken))


def given(namespace: argparse.Namespace) -> frozenset[str]:
    """Return the names of the options that were given."""
    found: frozenset[str] = getattr(namespace, "given", frozenset())
    return found


class HelpFormatter(argparse.HelpFormatter):
    """Fills paragraphs of descriptions; lines that begin with blanks, and what follows them, stay as they are."""

    def _fill_text(self, text: str, width: int, indent: str) -> str:
        return "\n\n".join(
            part if "\n  " in part or part.startswith("  ")
            else textwrap.fill(" ".join(part.split()), width, initial_indent=indent, subsequent_indent=indent)
            for part in text.split("\n\n")
        )  # fmt: skip


class Parser(argparse.ArgumentParser):
    """A parser whose errors are one line on standard error, with status 2."""

    def __init__(self, **options: Any) -> None:
        """Take argparse's options."""
        super().__init__(allow_abbrev=False, formatter_class=HelpFormatter, **options)
        self.add_argument(
            "--debug", action="store_true", default=argparse.SUPPRESS, help="show the traceback of an internal error"
        )

    def error(self, message: str) -> NoReturn:
        """Print the message on one line, and end with status 2."""
        complain(printable(f"{self.prog}: {_mended(message)}"))
        raise SystemExit(_USAGE_STATUS)

    def refuse_unknown(self, words: list[str]) -> None:
        """End with status 2 where words are left over."""
        if not words:
            return
        name, _, _ = words[0].partition("=")
        if name.startswith("-") and name != "-":
            known = [option for action in self._actions for option in action.option_strings]
            nearest = hint(name, [option for option in known if option.startswith("--")])
            self.error(f"unknown option {shown(name)}{nearest or f'; see {self.prog} --help'}")
        self.error(f"unexpected word {shown(words[0])}; values follow their option, see {self.prog} --help")


def _mended(message: str) -> str:
    message = message.removeprefix(_ARGPARSE_PREFIX)
    if message.endswith(": expected one argument"):
        name = message.removesuffix(": expected one argument")
        return f"{name}: its value is missing; one that begins with '-' is written as OPTION=VALUE"
    if message.endswith("ignored explicit argument") or ": ignored explicit argument " in message:
        return f"{message.partition(':')[0]}: takes no value; leave out '=' and what follows"
    return message

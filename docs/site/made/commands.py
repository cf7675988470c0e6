"""The pages of both command lines, made from the parsers that read them."""

from __future__ import annotations

import argparse
from collections.abc import Collection, Iterator, Mapping
from typing import Final

from made.markdown import anchor_of, code, heading, page, prose, table
from perfcheck.cli.arguments import parser_of_all as parser_of_perfcheck
from perfcheck.cli.perfctl.registry import COMMANDS
from perfcheck.cli.perfctl.registry import parser_of_all as parsers_of_perfctl

Key = tuple[tuple[str, ...], str]
"""What makes two options of different commands the same one: its names, and what it says."""
_STATUS: Final = "**Exit status:** {}"


def perfcheck_page() -> str:
    """Return the page of `perfcheck`."""
    parser = parser_of_perfcheck()
    status = _STATUS.format(prose((parser.epilog or "").partition(": ")[2]))
    return page(
        "perfcheck: all commands and options",
        "After this page you know each command of `perfcheck`, with its options. `perfcheck COMMAND --help` prints "
        "the same in the terminal.",
        *_index(parser), status, "Each command also takes `--debug` (show the traceback of an internal error).",
        *_of_commands(parser, frozenset()),
    )  # fmt: skip


def perfctl_page() -> str:
    """Return the page of `perfctl`: what all watching commands have stands once, above them."""
    parser, parsers = parsers_of_perfctl()
    watching = [parsers[name] for name, command in COMMANDS.items() if command.watching is not None]
    shared = frozenset.intersection(*(frozenset(map(_key, each._actions)) for each in watching))
    return page(
        "perfctl: all commands and options",
        "After this page you know each command of `perfctl`, with its options. `perfctl COMMAND --help` prints the "
        "same in the terminal.",
        *_index(parser), _STATUS.format(prose((parser.epilog or "").rpartition("exit status: ")[2])),
        heading(2, "Options of every command that watches", "shared"),
        f"{', '.join(code(each.prog) for each in watching)} take these. An option can be given once.",
        *_shared(watching[0], shared), *_of_commands(parser, shared),
    )  # fmt: skip


def subcommands(parser: argparse.ArgumentParser) -> Mapping[str, tuple[argparse.ArgumentParser, str]]:
    """Return a parser's commands by name, each with its parser and its summary."""
    for action in parser._actions:
        if isinstance(action, argparse._SubParsersAction):
            summaries = {each.dest: each.help or "" for each in action._choices_actions}
            return {name: (below, summaries.get(name, "")) for name, below in action.choices.items()}
    return {}


def options_of(parser: argparse.ArgumentParser) -> Iterator[argparse.Action]:
    """Yield what a command takes, in the order of its help: neither its commands nor what every program has."""
    for action in parser._actions:
        hidden = action.help == argparse.SUPPRESS or {"--help", "--debug"} & {*action.option_strings}
        if not hidden and not isinstance(action, argparse._SubParsersAction):
            yield action


def written(action: argparse.Action) -> str:
    """Return an option or a word as it is written: `--json PATH`, `FILE...`."""
    value = _value(action)
    if not action.option_strings:
        return {"+": f"{value}...", "*": f"[{value}...]", "?": f"[{value}]"}.get(str(action.nargs), value)
    return f"{', '.join(action.option_strings)} {value}".strip()


def _value(action: argparse.Action) -> str:
    if action.nargs == 0:
        return ""
    if isinstance(action.metavar, tuple):
        return " ".join(action.metavar)
    if action.metavar is None and action.choices is not None:
        return "|".join(map(str, action.choices))
    return action.metavar or action.dest.upper()


def _key(action: argparse.Action) -> Key:
    return tuple(action.option_strings), _help(action)


def _help(action: argparse.Action) -> str:
    """Return what the option says, with argparse's own placeholders filled in."""
    text = action.help or ""
    known = {key: value for key, value in vars(action).items() if isinstance(value, str | int | float)}
    return text % known if "%" in text else text


def _index(parser: argparse.ArgumentParser) -> Iterator[str]:
    yield prose(parser.description or "")
    rows = ((f"[{code(name)}](#{anchor_of(below.prog)})", prose(summary))
            for name, (below, summary) in subcommands(parser).items())  # fmt: skip
    yield table(("command", "what it does"), rows)


def _of_commands(parser: argparse.ArgumentParser, shared: Collection[Key], level: int = 2) -> Iterator[str]:
    for below, summary in subcommands(parser).values():
        yield heading(level, code(below.prog), anchor_of(below.prog))
        yield prose(below.description or f"{summary[:1].upper()}{summary[1:]}.")
        actions = list(options_of(below))
        if not subcommands(below):
            yield f"    {_usage(below, actions)}"
        own = [action for action in actions if _key(action) not in shared]
        if own:
            yield _options(own)
        if len(own) < len(actions):
            yield "And the [options of every command that watches](#shared)."
        yield from _examples(below)
        yield from _of_commands(below, shared, level + 1)


def _usage(parser: argparse.ArgumentParser, actions: Collection[argparse.Action]) -> str:
    needed = [written(each) for each in actions if each.option_strings and each.required]
    words = [written(each) for each in actions if not each.option_strings]
    optional = ["[OPTIONS]"] if any(each.option_strings and not each.required for each in actions) else []
    return " ".join((parser.prog, *optional, *needed, *words))


def _options(actions: Collection[argparse.Action]) -> str:
    return table(("word or option", "meaning"), ((code(written(each)), prose(_help(each))) for each in actions))


def _examples(parser: argparse.ArgumentParser) -> Iterator[str]:
    command = COMMANDS.get(parser.prog.removeprefix("perfctl "))
    if command is not None and parser.prog.startswith("perfctl "):
        yield "\n".join(f"    {each.line}\n        # {each.what}" for each in command.examples)


def _shared(parser: argparse.ArgumentParser, shared: Collection[Key]) -> Iterator[str]:
    for group in parser._action_groups:
        actions = [each for each in group._group_actions if _key(each) in shared and each in [*options_of(parser)]]
        if actions:
            yield f"**{prose((group.title or '').capitalize())}.** {prose(group.description or '')}".strip()
            yield _options(actions)

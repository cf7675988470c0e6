"""The commands of perfctl, and the parser that is made of them."""

from __future__ import annotations

import argparse
from collections.abc import Mapping, Sequence
from typing import Final

from perfcheck.cli.perfctl import completion, diagnose, hist, latency, observe, record, tcp, top, undo
from perfcheck.cli.perfctl.command import Command, Example
from perfcheck.cli.perfctl.export_options import add_export_options, check_export
from perfcheck.cli.perfctl.options import add_options, check_options
from perfcheck.cli.perfctl.parser import Parser
from perfcheck.cli.perfctl.values import hint
from perfcheck.errors import UsageError
from perfcheck.model.units import shown
from perfcheck.version import VERSION

PROG: Final = "perfctl"
COMMANDS: Final[Mapping[str, Command]] = {
    module.COMMAND.name: module.COMMAND
    for module in (tcp, top, observe, hist, latency, diagnose, record, undo, completion)
}
_GLOBAL_EXAMPLES: Final = (
    Example(line="perfctl tcp --rport 443", what="connections to port 443, each second"),
    Example(line="perfctl diagnose --problem low-throughput", what="why transfers of this machine are slow"),
)
_ENDING: Final = ("-h", "--help", "--version")
"""Options before a command, which then needs none."""
_STATUS: Final = "exit status: 0 done, 1 a change could not be undone, 2 bad usage or a bad file, 3 could not measure"


def parser_of_all() -> tuple[Parser, Mapping[str, Parser]]:
    """Return the parser of whole command lines, and those of the commands by name."""
    parser = Parser(
        prog=PROG, usage="%(prog)s [-h] [--version] COMMAND [OPTIONS]",
        description="Looks at the network traffic of a live machine: connections, retransmissions, drops, latency by "
        "stage, and the causes of problems. All commands have the same options for filters and output; "
        "`perfctl COMMAND --help` lists them.",
        epilog=f"{_shown(_GLOBAL_EXAMPLES)}\n\n{_STATUS}",
    )  # fmt: skip
    parser.add_argument("--version", action="version", version=f"{PROG} {VERSION}", help="show the version and end")
    subparsers = parser.add_subparsers(required=True, metavar="COMMAND", dest="command", title="commands", prog=PROG)
    return parser, {name: _add(subparsers, command) for name, command in COMMANDS.items()}


def _add(subparsers: argparse._SubParsersAction[Parser], command: Command) -> Parser:
    parser = subparsers.add_parser(
        command.name, help=command.summary, description=command.description,
        usage="%(prog)s [OPTIONS]" if command.watching else None,
        epilog=_shown(command.examples),
    )  # fmt: skip
    command.add_arguments(parser)
    if command.watching is not None:
        add_options(parser, command)
        add_export_options(parser, command)
    return parser


def _shown(examples: Sequence[Example]) -> str:
    lines = "\n".join(f"  {each.line}\n      {each.what}" for each in examples)
    return f"examples:\n{lines}"


def parse(words: Sequence[str]) -> tuple[argparse.Namespace, Command]:
    """Parse a command line and check it against itself; SystemExit with status 2 for wrong usage.

    What it names on this machine is not looked at; `machine.py` does.
    """
    parser, parsers = parser_of_all()
    first = next((word for word in words if word != "--debug"), None)
    if first is None:
        parser.error(f"a command is missing; known: {', '.join(COMMANDS)}; see {PROG} --help")
    if not first.startswith("-") and first not in COMMANDS:
        parser.error(f"unknown command {shown(first)}{hint(first, COMMANDS)}")
    if first.startswith("-") and first not in _ENDING:
        parser.refuse_unknown([first])
    for word in words:
        name, _, text = word.partition("=")
        if text == "--" and name.startswith("--"):  # argparse takes it for the end of the options
            parsers.get(first, parser).error(f"{name}: expected a value, got '--'; see {PROG} {first} --help")
    args, left = parser.parse_known_args(list(words))
    command = COMMANDS[args.command]
    parsers[command.name].refuse_unknown(left)
    try:
        if command.watching is not None:
            check_options(args, command)
            check_export(args, command)
        command.check(args)
    except UsageError as problem:
        parsers[command.name].error(str(problem))
    return args, command

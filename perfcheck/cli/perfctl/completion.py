"""`perfctl completion`: prints a shell's completion script."""

from __future__ import annotations

import argparse
from typing import Final

from perfcheck.cli.perfctl.command import Command, Example
from perfcheck.cli.perfctl.values import word

SHELLS: Final = ("bash", "zsh", "fish")


def _add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("shell", type=word(SHELLS), choices=SHELLS, metavar="SHELL", help="bash, zsh or fish")


COMMAND: Final = Command(
    name="completion",
    summary="print a completion script for bash, zsh or fish",
    description="Prints a script that completes the commands, options and words of perfctl.",
    examples=(
        Example(line="perfctl completion bash > ~/.local/share/bash-completion/completions/perfctl",
                what="install it for one user's bash"),
        Example(line="perfctl completion fish > ~/.config/fish/completions/perfctl.fish",
                what="install it for one user's fish"),
    ),
    add_arguments=_add_arguments,
)  # fmt: skip

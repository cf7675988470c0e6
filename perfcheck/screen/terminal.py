"""Whether there is a terminal at all."""

from __future__ import annotations

import os
import termios


def terminal_lacks() -> str | None:
    """Return which of the standard streams is no terminal, None where all are."""
    names = {0: "standard input", 1: "standard output", 2: "standard error"}
    return next((name for descriptor, name in names.items() if not _is_terminal(descriptor)), None)


def _is_terminal(descriptor: int) -> bool:
    try:
        return os.isatty(descriptor)
    except OSError:
        return False


def is_gone(descriptor: int) -> bool:
    """Return whether a terminal that was there has hung up."""
    try:
        termios.tcgetattr(descriptor)
    except (termios.error, OSError):
        return True
    return False

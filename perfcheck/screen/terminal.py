"""Whether there is a terminal, and what to do where it stands still."""

from __future__ import annotations

import os
import signal
import termios
import threading
from contextlib import suppress
from typing import Final

WAKING: Final = signal.SIGURG
"""Sent to the thread that writes; who calls `drop_unread`, from the main thread, puts its handler back."""
_PATIENCE_S: Final = 2.0
_AGAIN_S: Final = 0.02
_WRITER: Final = "textual-output"
"""Name of the thread in which Textual writes."""


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


def drop_unread(descriptor: int, over: threading.Event) -> None:
    """Drop what a terminal that stands still does not take, until the screen is over; return at once.

    A stopped terminal (Ctrl-S, a connection that hangs) blocks its writer, and then nobody sees a request to end.
    """

    def drop() -> None:
        if over.wait(_PATIENCE_S):
            return
        while not over.wait(_AGAIN_S):
            with suppress(termios.error, OSError):
                termios.tcflow(descriptor, termios.TCOON)
                termios.tcflush(descriptor, termios.TCOFLUSH)
            _wake_writer()

    # What is ignored interrupts no write.
    signal.signal(WAKING, lambda *_: None)
    threading.Thread(target=drop, name="unread", daemon=True).start()


def _wake_writer() -> None:
    """Let the thread that waits for room look for it again: the kernel wakes it only when somebody reads."""
    for thread in threading.enumerate():
        if thread.name == _WRITER and thread.ident is not None:
            with suppress(ProcessLookupError):
                signal.pthread_kill(thread.ident, WAKING)

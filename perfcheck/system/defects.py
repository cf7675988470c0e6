"""Reports an unexpected error in one line: where it arose, and what to send to whom."""

from __future__ import annotations

import traceback
from pathlib import Path
from typing import Final

from perfcheck.model.printable import printable, printable_lines

_PACKAGE: Final = Path(__file__).parents[1]
_LONGEST: Final = 200
WITH_DEBUG: Final = "the output of the same command with --debug"
"""What a report of a defect needs, on the command line."""


def defect_line(error: BaseException, needed: str = WITH_DEBUG) -> str:
    """Return `internal error: KeyError: 'x' (perfcheck/runner/trial.py:12). ...`; `needed` is what a report needs."""
    said = printable(str(error))
    said = f"{said[: _LONGEST - 3]}..." if len(said) > _LONGEST else said
    kind = type(error).__name__
    return (
        f"internal error: {f'{kind}: {said}' if said else kind}{_place(error)}. "
        f'Please report it as the section "Reporting a problem" of the README says, with {needed}'
    )


def traceback_of(error: BaseException) -> str:
    """Return the whole traceback, with what the error was caused by."""
    return printable_lines("".join(traceback.format_exception(error)).rstrip("\n"))


def _place(error: BaseException) -> str:
    """Return the innermost line of ours; nothing where there is none."""
    frames = traceback.extract_tb(error.__traceback__)
    ours = [frame for frame in frames if Path(frame.filename).is_relative_to(_PACKAGE)]
    if not ours:
        return ""
    return f" ({Path(ours[-1].filename).relative_to(_PACKAGE.parent)}:{ours[-1].lineno})"

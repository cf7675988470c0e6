"""How the plugin reports an internal error: one line, and no verdict."""

from __future__ import annotations

from perfcheck.system.defects import defect_line, traceback_of

_NEEDED = "the output of the same command with --perfcheck-debug"


def defect_text(error: Exception, *, debug: bool) -> str:
    """Return the line, behind it the traceback where it is asked for."""
    line = defect_line(error, _NEEDED)
    return f"{line}\n{traceback_of(error)}" if debug else line

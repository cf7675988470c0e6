"""Reading a trace again when its link is made."""

from __future__ import annotations

import hashlib
from typing import Any

from perfcheck.errors import UnreadableFile
from perfcheck.model.trace import MAX_BYTES, Trace, parse_trace
from perfcheck.system.bounded_read import read_bounded


def read_trace(trace: Trace) -> dict[str, Any]:
    """Return what the relay's plan takes as `trace`; ValueError says why the file cannot be replayed.

    A file that has changed since the scenario was read is refused: its digest stands for what is replayed.
    """
    try:
        content = read_bounded(trace.path or trace.name, MAX_BYTES)
    except UnreadableFile as error:
        raise ValueError(f"{trace.name!r} cannot be read: {error.reason}") from None
    if trace.sha256 and hashlib.sha256(content).hexdigest() != trace.sha256:
        raise ValueError(f"{trace.name!r} has changed since the scenario was read")
    try:
        return parse_trace(content)
    except ValueError as wrong:
        raise ValueError(f"{trace.name!r}: {wrong}") from None

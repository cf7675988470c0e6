"""Alerts of one trial, read back from a file of events, to be marked where they happened."""

from __future__ import annotations

import json
from collections.abc import Collection, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from perfcheck.errors import Problem, RecordError
from perfcheck.model.event import EventType

MAX_BYTES: Final = 4_000_000_000
"""Of a file: a trial keeps 100,000 alerts, and detail mode writes eight events a packet."""
MAX_LINE: Final = 64_000
_LATEST_NS: Final = 1 << 62


@dataclass(frozen=True, slots=True, kw_only=True)
class Alert:
    """What happened, in which host (empty: in none alone) and when, CLOCK_MONOTONIC."""

    kind: str
    host: str
    ns: int


def read_alerts(path: Path, *, run_id: str, trial: int) -> Iterator[Alert]:
    """Yield the alerts of one trial of a run; RecordError names the line that is no event."""
    return (alert for _, alert in read_alerts_of(path, {(run_id, trial)}))


def read_alerts_of(path: Path, wanted: Collection[tuple[str, int]]) -> Iterator[tuple[tuple[str, int], Alert]]:
    """Yield the alerts of trials, given as (run, trial), each with its trial; RecordError as above."""
    runs = {run.encode() for run, _ in wanted}
    read_bytes = 0
    try:
        with path.open("rb") as file:
            for number in range(1, MAX_BYTES):
                line = file.readline(MAX_LINE + 1)
                if not line:
                    return
                read_bytes += len(line)
                if len(line) > MAX_LINE or read_bytes > MAX_BYTES:
                    raise _wrong(path, number, f"expected lines of {MAX_LINE:,} bytes, {MAX_BYTES:,} in all, at most")
                if b'"alert"' in line and any(run in line for run in runs):
                    found = _alert(path, number, line, wanted)
                    if found is not None:
                        yield found
    except OSError as error:
        raise _wrong(path, 1, f"cannot be read: {error.strerror}") from None


def _alert(
    path: Path, number: int, line: bytes, wanted: Collection[tuple[str, int]]
) -> tuple[tuple[str, int], Alert] | None:
    """Return the alert that a line holds, and its trial; None where it is another trial's, or no alert."""
    try:
        event = json.loads(line)
        context, ns = event["context"], event["timestamp_ns"]
        of = (context.get("run"), context.get("trial"))
        if event["type"] != EventType.ALERT.value or of not in wanted:
            return None
        kind, host = context["kind"], context.get("host", "")
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError):
        raise _wrong(path, number, "expected an event (docs/events.md)") from None
    if not isinstance(kind, str) or not isinstance(host, str) or type(ns) is not int or not 0 <= ns < _LATEST_NS:
        raise _wrong(path, number, "expected an event with a kind, a host and a time in ns")
    return of, Alert(kind=kind, host=host, ns=ns)


def _wrong(path: Path, number: int, message: str) -> RecordError:
    return RecordError(Problem(file=str(path), line=number, column=1, path="", message=message))

"""Measures one scenario inside a guest: `python -m perfcheck.runner.in_guest REQUEST FOLDER PORT`.

REQUEST is what the host asks for (`guest_request.Request`), FOLDER gets the files that the host is given, PORT is a
serial port to which each stage is written as a line of JSON. A scenario that cannot be measured is an answer too.
"""

from __future__ import annotations

import contextlib
import json
import os
import sys
from collections.abc import Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import Final

from perfcheck.errors import CouldNotMeasure, PerfcheckError
from perfcheck.model.scenario import Scenario
from perfcheck.runner.guest_request import ANSWER, Answer, Request, read_request
from perfcheck.system import commands

MODULES: Final = ("tun",)
"""Nobody makes the device of a module that was never loaded: there is no udev in a guest."""


class _Port:
    """A Progress that writes stages to a port of the guest."""

    def __init__(self, path: str) -> None:
        """Open the port; without one nothing is told."""
        try:
            self._fd: int | None = os.open(path, os.O_WRONLY | os.O_NOCTTY | os.O_CLOEXEC)
        except OSError:
            self._fd = None

    def stage(self, scenario: Scenario, text: str, done: int, total: int) -> None:
        """Write one line."""
        del scenario
        if self._fd is not None:
            os.write(self._fd, json.dumps({"text": text, "done": done, "total": total}).encode() + b"\n")


def answer_to(request: Request, progress: _Port) -> Answer:
    """Measure; what keeps the scenario from being measured is told in its own words."""
    from perfcheck.runner.session import Runner

    try:
        with ExitStack() as stack:
            runner = stack.enter_context(Runner.create(request.options, progress))
            record = runner.measure(request.scenario).record
    except PerfcheckError as error:
        return Answer(failure=str(error))
    return Answer(record=record.to_json())


def main(arguments: Sequence[str]) -> int:
    """Measure what is asked for, and write the answer."""
    asked, folder, port = arguments
    request = read_request(Path(asked).read_bytes())
    directory = Path(request.directory)
    directory.mkdir(parents=True, exist_ok=True)
    os.chdir(directory)
    for module in MODULES:
        # A kernel without it says so itself, where it is needed.
        with contextlib.suppress(CouldNotMeasure):
            commands.run(["modprobe", "-q", module])
    (Path(folder) / ANSWER).write_bytes(answer_to(request, _Port(port)).to_bytes())
    for path in (request.options.events, request.options.series):
        if path is not None:
            # Without an event, or a run, there is no file.
            path.touch()
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))

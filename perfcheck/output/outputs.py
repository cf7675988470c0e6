"""Several outputs as one: if one cannot be written, the others still are."""

from __future__ import annotations

import functools
from collections.abc import Callable, Sequence
from contextlib import ExitStack

from perfcheck.errors import OutputError, PerfcheckError
from perfcheck.model.record import RunRecord
from perfcheck.model.seams import Output


class Outputs:
    """Writes each record to every output; an output that fails is tried again with the next record.

    `problems` has one line an output that failed, in the order in which they did.
    """

    def __init__(self, outputs: Sequence[Output]) -> None:
        """Touch nothing until `open`."""
        self._outputs = tuple(outputs)
        self._opened: list[Output] = []
        self._problems: dict[str, str] = {}

    @property
    def problems(self) -> tuple[str, ...]:
        """Say what could not be written: the first error of each output."""
        return tuple(self._problems.values())

    def open(self) -> None:
        """Open all, then raise the first error; those that could be opened take records nevertheless."""
        first: PerfcheckError | None = None
        for output in self._outputs:
            if output in self._opened:
                continue
            try:
                output.open()
            except PerfcheckError as error:
                first = first or error
            else:
                self._opened.append(output)
        if first is not None:
            raise first

    def write(self, record: RunRecord, only: str | None = None) -> tuple[str, ...]:
        """Write the record to each open output, or to those of one format; return what could not be written."""
        found = [
            self._tried(output, functools.partial(output.write, record))
            for output in self._opened
            if only in (None, output.name)
        ]
        return tuple(problem for problem in found if problem is not None)

    def close(self) -> None:
        """Finish each open output, whatever comes meanwhile; safe to call twice."""
        opened, self._opened = self._opened, []
        with ExitStack() as stack:
            for output in reversed(opened):
                stack.callback(self._tried, output, output.close)

    def _tried(self, output: Output, do: Callable[[], None]) -> str | None:
        try:
            do()
        except PerfcheckError as error:
            problem = str(error)
        except BrokenPipeError:
            return None  # the reader (head, less) went away, and wants no more
        except OSError as error:
            problem = f"{output.name}: cannot be written: {error.strerror or error}"
        else:
            return None
        self._problems.setdefault(output.name, problem)
        return problem


def close_files(closings: Sequence[Callable[[], None]]) -> None:
    """Close files of one session; a single OutputError tells of each that could not be written."""
    problems: list[str] = []
    for close in closings:
        try:
            close()
        except OutputError as error:
            problems.append(str(error))
    if problems:
        raise OutputError("\n".join(problems))

"""The exception tree; every error that a user may see is one of these.

PerfcheckError                 exit status 3 unless a subclass says otherwise
├── UsageError                 2: wrong arguments on the command line
├── UnreadableFile             2: a file cannot be read: missing, a device, too large, not text
├── FileError                  2: a file of the user's is wrong; carries where
│   ├── ScenarioError          2: a scenario file
│   ├── RuleError              2: a diagnosis rule file
│   ├── FaultError             2: a data file of the fault matrix
│   ├── BaselineError          2: a baseline file cannot be read
│   ├── RecordError            2: a stored run record cannot be read
│   └── RecordingError         2: a recording of perfctl is damaged, or none
├── OutputError                3: a report, record or history could not be written after measuring
└── CouldNotMeasure            3: nothing was measured, so nothing may pass or fail
    ├── Unavailable            3: this machine lacks a feature; says what, why and how to get it
    ├── LabError               3: hosts or links could not be made
    ├── InvalidLink            3: a link is not, or cannot be, what the file asks for
    ├── GuestDied              3: a guest of the kernel lab did not come to the end of its job
    ├── BuildFailed            3: a kernel's source tree does not build
    ├── TrafficError           3: a traffic generator failed; carries its own message
    └── CollectError           3: a collector failed after it was attached

Stopped                        3: SIGTERM or SIGHUP asked for an end; like KeyboardInterrupt, no Exception
"""

from __future__ import annotations

import os
from dataclasses import dataclass

from perfcheck.model.printable import printable


class PerfcheckError(Exception):
    """Base of all errors that are reported without a traceback."""

    exit_status = 3


class UsageError(PerfcheckError):
    """Wrong arguments on the command line."""

    exit_status = 2


class UnreadableFile(PerfcheckError):  # noqa: N818 - like Unavailable, says what is the matter
    """A file cannot be read; `reason` says why in words that stand behind a place, too."""

    exit_status = 2

    def __init__(self, path: os.PathLike[str] | str, reason: str) -> None:
        """Keep the reason apart, for callers that know where the file was named; the text stays on one line."""
        name = os.fspath(path)
        super().__init__(f"{name if name.isprintable() else ascii(name)}: cannot be read: {reason}")
        self.reason = reason


@dataclass(frozen=True, slots=True, kw_only=True)
class Problem:
    """One mistake in a file: where (1-based line and column), which key, what was expected.

    Line 0 stands for values that come from no file: a scenario that was built in Python.
    """

    file: str
    line: int
    column: int
    path: str
    message: str

    def __str__(self) -> str:
        """Return the one line that editors and people can follow, whatever file, path and message hold."""
        where = f"{self.file}:{self.line}:{self.column}: " if self.line else f"{self.file}: "
        return printable(f"{where}{self.path}: {self.message}" if self.path else f"{where}{self.message}")


class FileError(PerfcheckError):
    """A file of the user's is wrong; `problems` holds each mistake with its place."""

    exit_status = 2

    def __init__(self, *problems: Problem) -> None:
        """Take at least one problem; the text is one line a problem."""
        super().__init__("\n".join(str(problem) for problem in problems))
        self.problems = problems


class ScenarioError(FileError):
    """A scenario file is malformed or inconsistent."""


class RuleError(FileError):
    """A diagnosis rule names an unknown metric or unit, or cannot be parsed."""


class FaultError(FileError):
    """A data file of the fault matrix is malformed, or names what no file has."""


class BaselineError(FileError):
    """A baseline file exists but cannot be read."""


class RecordError(FileError):
    """A stored run record cannot be read."""


class RecordingError(FileError):
    """A recording of perfctl is damaged at a place, or the file is not a recording."""


class OutputError(PerfcheckError):
    """A report, a record or a history could not be written after measuring; what was measured stands elsewhere."""


class CouldNotMeasure(PerfcheckError):  # noqa: N818 - a state, which exit status 3 reports
    """Nothing was measured: the outcome is neither a pass nor a failure."""


class Unavailable(CouldNotMeasure):
    """This machine lacks a feature: `what` is missing, `why`, and the `fix`."""

    def __init__(self, what: str, why: str, fix: str) -> None:
        """Keep the three parts apart, so that `perfcheck doctor` can lay them out."""
        super().__init__(f"{what} is not available: {why}. To get it: {fix}")
        self.what = what
        self.why = why
        self.fix = fix


class LabError(CouldNotMeasure):
    """Hosts or links could not be made, or a host setting was refused."""


class GuestDied(CouldNotMeasure):
    """A guest of the kernel lab did not come to the end of its job: a panic, a hang, no memory, a kill."""

    def __init__(self, kernel: str, reason: str, console: tuple[str, ...], *, panicked: bool = False) -> None:
        """Keep the last lines of the console apart; the text has the reason alone, on one line.

        `panicked`: the kernel itself has said so; all else may also come from a host that is too busy.
        """
        super().__init__(printable(f"the guest with kernel {kernel} died: {reason}"))
        self.kernel = kernel
        self.panicked = panicked
        self.reason = reason
        self.console = tuple(printable(line) for line in console)


class BuildFailed(CouldNotMeasure):
    """A kernel's source tree does not build; the text ends with the build's last lines."""


class InvalidLink(CouldNotMeasure):
    """A link is not, or cannot be, what the scenario file asks for."""


class TrafficError(CouldNotMeasure):
    """A traffic generator failed; the text carries the generator's own message."""


class CollectError(CouldNotMeasure):
    """A collector failed after it had been attached."""


class Stopped(BaseException):
    """SIGTERM or SIGHUP asked for an end in the middle of a run.

    Like KeyboardInterrupt it is no Exception: what goes on after a step that failed must not go on after this.
    """

    exit_status = 3

"""What a guest has to do, step by step, and what it reports (programs/init.c)."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Final, Literal

from perfcheck.errors import LabError

Kind = Literal["run", "start", "listen", "stop", "write", "offer", "read"]

BEGUN: Final = b"@begin\n"
TIMED_OUT: Final = 124
MOST_STEPS: Final = 4096
MOST_ARGUMENTS: Final = 512
_REPORT: Final = re.compile(rb"@step (\d{1,19}) (\d{1,19}) (\d{1,19}) (\d{1,19})\n")
_END: Final = re.compile(rb"@end (\d+)\n")
_FAILED: Final = re.compile(rb"^@failed (.*)\n", re.MULTILINE)
_FILE: Final = re.compile(r"^@file (.*)\n", re.MULTILINE)


@dataclass(frozen=True, slots=True, kw_only=True)
class Step:
    """One step of a job; `netns` is the name of a network namespace, empty for the guest's own.

    `timeout_s` is in the guest's time. `may_fail`: the job goes on where the step fails. `in_turns`: its process and
    others of this kind never interrupt one another (SCHED_FIFO), and softirqs go before them, so that chance does not
    decide who runs when.
    """

    kind: Kind
    arguments: tuple[str, ...]
    netns: str = ""
    timeout_s: float = 60.0
    may_fail: bool = False
    in_turns: bool = False

    def encoded(self) -> bytes:
        """Return the step as init reads it; LabError where a string cannot be passed on."""
        if len(self.arguments) > MOST_ARGUMENTS:
            raise LabError(f"a command in a guest has at most {MOST_ARGUMENTS} words, got {len(self.arguments)}")
        kind = "?" * self.may_fail + "=" * self.in_turns + self.kind
        words = (kind, self.netns, str(round(self.timeout_s * 1000)), str(len(self.arguments)), *self.arguments)
        if any("\0" in word for word in words):
            raise LabError(f"a command in a guest cannot contain a zero byte: {' '.join(self.arguments)!r}")
        return b"".join(word.encode(errors="surrogateescape") + b"\0" for word in words)

    def __str__(self) -> str:
        """Return the step as a person would write it."""
        words = " ".join(self.arguments)
        return f"{self.kind} {words}" + (f" in {self.netns}" if self.netns else "")


@dataclass(frozen=True, slots=True, kw_only=True)
class StepReport:
    """How one step ended: its status as a shell knows it, its time in the guest, what it wrote."""

    status: int
    took_ns: int
    output: bytes

    @property
    def text(self) -> str:
        """What it wrote, as text."""
        return self.output.decode(errors="replace")

    @property
    def content(self) -> bytes:
        """The content of the one file that a `read` step of one file reported, which may be any bytes."""
        return self.output.partition(b"\n")[2]

    def file(self, path: str) -> str:
        """Return the content of a file that a `read` step reported; LabError where it did not."""
        parts = _FILE.split(self.text)
        found = dict(zip(parts[1::2], parts[2::2], strict=True))
        if path not in found:
            raise LabError(f"the guest did not report {path}")
        return found[path]


@dataclass(frozen=True, slots=True, kw_only=True)
class JobReport:
    """What a guest has reported so far; `ended` is whether it came to the end of the job, or to a failing step.

    `failed` says why no step could be begun: the guest's root file system could not be made.
    """

    begun: bool
    ended: bool
    steps: tuple[StepReport, ...]
    failed: str = ""


def encode(steps: Sequence[Step]) -> bytes:
    """Return a job as init reads it."""
    if len(steps) > MOST_STEPS:
        raise LabError(f"a guest's job has at most {MOST_STEPS} steps, got {len(steps)}")
    return b"".join(step.encoded() for step in steps)


def parse(written: bytes) -> JobReport:
    """Read what a guest has written to its report's port; a report that is not whole yet is left out."""
    begin = written.find(BEGUN)
    if begin < 0:
        failed = _FAILED.search(written)
        return JobReport(
            begun=False, ended=False, steps=(), failed=failed[1].decode(errors="replace") if failed else ""
        )
    at = begin + len(BEGUN)
    steps: list[StepReport] = []
    while (head := _REPORT.match(written, at)) is not None:
        number, status, took_ns, size = (int(part) for part in head.groups())
        end = head.end() + size
        if number != len(steps) or end + 1 > len(written) or written[end : end + 1] != b"\n":
            break
        steps.append(StepReport(status=status, took_ns=took_ns, output=written[head.end() : end]))
        at = end + 1
    ended = _END.match(written, at) is not None
    return JobReport(begun=True, ended=ended, steps=tuple(steps))


def first_failure(steps: Sequence[Step], reports: Iterable[StepReport]) -> str | None:
    """Say which step failed, and what it wrote; None where all that were reported ended with 0."""
    for step, report in zip(steps, reports, strict=False):
        if step.may_fail:
            continue
        if report.status == TIMED_OUT:
            return f"`{step}` did not end within {step.timeout_s:g} s{_said(report)}"
        if report.status != 0:
            return f"`{step}` failed with status {report.status}{_said(report)}"
    return None


def _said(report: StepReport) -> str:
    said = report.text.strip()
    return f": {said[-2000:]}" if said else ""

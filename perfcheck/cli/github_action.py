"""What action.yml runs: the inputs of a step of GitHub Actions as words of `perfcheck run`, and its results as outputs.

Inputs come as variables of the environment and never pass a shell. The step's exit status is perfcheck's own.
"""

from __future__ import annotations

import contextlib
import os
import secrets
import shlex
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final, Self

from perfcheck.cli import main as perfcheck
from perfcheck.errors import PerfcheckError, UsageError
from perfcheck.model.record import RunRecord
from perfcheck.model.verdict import overall
from perfcheck.output import cases, read_records
from perfcheck.output.cases import failures
from perfcheck.runner.option_values import path_text
from perfcheck.system.printing import complain

PREFIX: Final = "PERFCHECK_INPUT_"
"""Of the variables that hold the inputs; the rest is the input's name in capitals, `-` as `_`."""

BASELINES: Final = ("none", "stored", "ref")
NOT_JUDGED: Final = "ERROR"
"""The verdict where there is no record at all: bad usage, a bad file, or a defect."""
FILES: Final = ("records", "junit", "report")
"""Outputs that are files; each is an attribute of `Inputs`."""
Written = tuple[int, int, int]
"""A file's inode, size and time of change."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Inputs:
    """The inputs of the step, as they are written; an empty text is one that was not given."""

    scenarios: tuple[str, ...]
    baseline: str
    baseline_ref: str
    repeat: str
    kernel: str
    commands: bool
    args: tuple[str, ...]
    results: Path
    report: Path | None

    @classmethod
    def of(cls, environ: Mapping[str, str]) -> Self:
        """Read them; UsageError names the input that is wrong."""
        given = {name: environ.get(f"{PREFIX}{name.upper()}", "").strip() for name in cls.__slots__}
        scenarios = tuple(line.strip() for line in given["scenarios"].splitlines() if line.strip())
        if not scenarios:
            raise UsageError("input scenarios: expected a file or folder on each line, got nothing")
        baseline = given["baseline"] or BASELINES[0]
        if baseline not in BASELINES:
            raise UsageError(f"input baseline: expected {', '.join(BASELINES)}, got {baseline!r}")
        base = environ.get("GITHUB_BASE_REF", "")
        ref = given["baseline_ref"] or (f"origin/{base}" if base else "")
        if baseline == "ref" and not ref:
            raise UsageError("input baseline-ref: expected a branch or commit; only a pull request has one of itself")
        return cls(
            scenarios=scenarios, baseline=baseline, baseline_ref=ref, repeat=given["repeat"], kernel=given["kernel"],
            commands=_flag("commands", given["commands"]), args=_words(given["args"]),
            results=Path(_path("results", given["results"])).absolute(),
            report=Path(_path("report", given["report"])).absolute() if given["report"] else None,
        )  # fmt: skip

    @property
    def records(self) -> Path:
        """Where the run records go, one a line."""
        return self.results / "records.jsonl"

    @property
    def junit(self) -> Path:
        """Where the JUnit report goes."""
        return self.results / "junit.xml"

    @property
    def files(self) -> dict[str, Path]:
        """The files that the step is asked for, by the names of its outputs."""
        return {name: path for name in FILES if (path := getattr(self, name)) is not None}

    def words(self) -> list[str]:
        """Return the words of the command line; each value is part of its option's word, and cannot be an option.

        The words of `args` stand before perfcheck's own options, which therefore count.
        """
        found = ["run", *self.args]
        if not self.commands:
            found.append("--no-commands")
        if self.baseline == "ref":
            found.append(f"--baseline-ref={self.baseline_ref}")
        elif self.baseline == "stored":
            found.append("--baseline")
        known = {"repeat": self.repeat, "kernel": self.kernel, "report": self.report}
        found += [f"--{name}={value}" for name, value in known.items() if value]
        return [*found, f"--json={self.records}", f"--junit={self.junit}", "--", *self.scenarios]


def _flag(name: str, text: str) -> bool:
    if text not in ("true", "false"):
        raise UsageError(f"input {name}: expected true or false, got {text!r}")
    return text == "true"


def _path(name: str, text: str) -> str:
    if not text.isprintable():
        raise UsageError(f"input {name}: expected a path of printable characters, got {text!r}")
    try:
        return path_text(text)
    except UsageError as error:
        raise UsageError(f"input {name}: {error}") from None


def _words(text: str) -> tuple[str, ...]:
    """Split `args` as a shell would, with nothing expanded."""
    try:
        words = tuple(shlex.split(text))
    except ValueError as error:
        raise UsageError(f"input args: {str(error).lower()} in {text[:80]!r}") from None
    if "--" in words:
        raise UsageError("input args: -- is not allowed, since options follow; name files in the input scenarios")
    return words


def outputs_of(
    inputs: Inputs | None, records: Sequence[RunRecord], status: int, before: Mapping[Path, Written]
) -> Iterator[tuple[str, str]]:  # fmt: skip
    """Yield the names and values of the step's outputs; `before` is what there was of its files.

    A file that this step did not write has no value: it is of an earlier one. Without inputs there are no files.
    """
    yield "status", str(status)
    yield "verdict", overall(record.verdict for record in records).value if records else NOT_JUDGED
    yield "failed", str(sum(1 for record in records for _ in failures(cases(record))))
    yield "results", "" if inputs is None else str(inputs.results)
    files = {} if inputs is None else inputs.files
    for name in FILES:
        path = files.get(name)
        yield name, str(path) if path is not None and _written(path) not in (None, before.get(path)) else ""


def _written(path: Path) -> Written | None:
    """Return what tells one writing of a file from another; None where there is no file."""
    try:
        found = path.stat()
    except OSError:
        return None
    return (found.st_ino, found.st_size, found.st_mtime_ns) if path.is_file() else None


def write_outputs(path: Path, outputs: Sequence[tuple[str, str]]) -> None:
    """Append the outputs; a value of several lines cannot end its own block, whose end nobody can guess."""
    end = f"end_{secrets.token_hex(16)}"
    with path.open("a", encoding="utf-8") as file:
        for name, value in outputs:
            file.write(f"{name}<<{end}\n{value}\n{end}\n")


def run(environ: Mapping[str, str], perfcheck: Callable[[Sequence[str]], int] = perfcheck) -> int:
    """Run perfcheck with the inputs of the environment, write the outputs, and return its exit status."""
    output = environ.get("GITHUB_OUTPUT")
    inputs: Inputs | None = None
    records: tuple[RunRecord, ...] = ()
    before: dict[Path, Written] = {}
    try:
        inputs = Inputs.of(environ)
        before = {path: found for path in inputs.files.values() if (found := _written(path)) is not None}
        earlier = _count(inputs.records)
        status = _status(perfcheck, inputs.words())
        records = _read(inputs.records)[earlier:]
        _hand_over(environ, (inputs.results, *inputs.files.values()))
    except PerfcheckError as error:
        complain(f"perfcheck action: {error}")
        status = error.exit_status
    except OSError as error:
        complain(f"perfcheck action: {error.filename}: {error.strerror}")
        status = 3
    try:
        if output:
            write_outputs(Path(output), tuple(outputs_of(inputs, records, status, before)))
    except OSError as error:
        complain(f"perfcheck action: {error.filename}: {error.strerror}")
        return 3
    return status


def _status(perfcheck: Callable[[Sequence[str]], int], words: Sequence[str]) -> int:
    try:
        return perfcheck(words)
    except SystemExit as ended:  # wrong usage, which argparse has told
        return ended.code if isinstance(ended.code, int) else 2


def _count(path: Path) -> int:
    """Return how many records there are from earlier steps; each is a line."""
    return sum(1 for line in path.read_bytes().split(b"\n") if line) if path.is_file() else 0


def _read(path: Path) -> tuple[RunRecord, ...]:
    return read_records(path) if _count(path) else ()


def _hand_over(environ: Mapping[str, str], paths: Sequence[Path]) -> None:
    """Give what root wrote to who called sudo, so that later steps and the next checkout can remove it."""
    user, group = environ.get("SUDO_UID", ""), environ.get("SUDO_GID", "")
    if os.geteuid() != 0 or not (user.isdecimal() and group.isdecimal()):
        return
    for path in paths:
        if path.is_relative_to(Path.cwd()):
            with contextlib.suppress(OSError):
                os.chown(path, int(user), int(group), follow_symlinks=False)


if __name__ == "__main__":
    sys.exit(run(os.environ))

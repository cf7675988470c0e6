"""GitHub Actions: annotations on the scenario files and a Markdown job summary; pure apart from the writing."""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping, Sequence
from itertools import groupby
from pathlib import Path
from types import MappingProxyType
from typing import Final, Protocol

from perfcheck.model.printable import printable_html, printable_lines
from perfcheck.model.record import RunRecord
from perfcheck.output.case_lines import KeyLines
from perfcheck.output.cases import Case, cases, failures
from perfcheck.output.markdown_text import in_html, inline
from perfcheck.output.rows import headings_of, notes
from perfcheck.output.table import plain_tally
from perfcheck.system.printing import CommandStream

MOST_ANNOTATIONS: Final = 10
"""GitHub shows so many errors of one step and drops the rest in silence."""

SUMMARY_LIMIT_BYTES: Final = 1024 * 1024
"""What a step's job summary may hold; a larger one is refused whole."""


_APPEND: Final = os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_NONBLOCK | os.O_CLOEXEC


def error_commands(found: Sequence[Case], workspace: str | None = None) -> tuple[str, ...]:
    """Return `::error` commands for what failed, at most MOST_ANNOTATIONS: by case, else by scenario, else counted.

    `workspace` is the folder of the checkout; GitHub wants paths relative to it.
    """
    failed = list(failures(found))
    if len(failed) <= MOST_ANNOTATIONS:
        return tuple(_annotation(case, case.full_name, case.text, workspace) for case in failed)
    by_scenario = [list(group) for _, group in groupby(failed, key=lambda case: case.scenario)]
    shown, rest = by_scenario[:MOST_ANNOTATIONS], by_scenario[MOST_ANNOTATIONS:]
    if rest:
        rest = [shown.pop(), *rest]
    lines = [
        _annotation(
            group[0], f"{group[0].scenario}: {len(group)} failed",
            "\n".join(f"{case.name}: {case.headline}" for case in group), workspace,
        )
        for group in shown
    ]  # fmt: skip
    if rest:
        text = "\n".join(f"{group[0].scenario}: {len(group)} failed" for group in rest)
        lines.append(_annotation(rest[0][0], f"{len(rest)} more scenarios failed", text, workspace))
    return tuple(lines)


def _annotation(case: Case, title: str, text: str, workspace: str | None) -> str:
    properties = f"file={_property(_within(case.file, workspace))},line={case.line or 1},title={_property(title)}"
    return f"::error {properties}::{_data(text)}"


def _within(file: str, workspace: str | None) -> str:
    """Return the path relative to the checkout where it lies inside."""
    if workspace is None:
        return file
    full = Path(file).absolute()
    return str(full.relative_to(workspace)) if full.is_relative_to(workspace) else file


def _data(text: str) -> str:
    """Escape what a command is about; what cannot be shown, a return among it, is an escape already."""
    return printable_lines(text).replace("%", "%25").replace("\n", "%0A")


def _property(text: str) -> str:
    return _data(text).replace(":", "%3A").replace(",", "%2C")


def markdown(found: Sequence[Case], room_bytes: int = SUMMARY_LIMIT_BYTES) -> str:
    """Return the job summary: counts, a table of all cases, the failures' texts; never beyond `room_bytes`."""
    rows = [case.row for case in found]
    head = f"## perfcheck: {plain_tally(rows) or 'nothing measured'}\n\n"
    cut = "\n(the rest is omitted: GitHub limits the size of a summary)\n"
    text = ""
    room = room_bytes - len(head.encode()) - len(cut.encode())
    for part in (*_table(found), *_failures(found), *_notes(found)):
        if len(part.encode()) > room:
            return head + text + cut
        text += part
        room -= len(part.encode())
    return head + text


def _table(found: Sequence[Case]) -> Iterator[str]:
    headings = headings_of([case.row for case in found])
    yield f"| {' | '.join(headings)} |\n|{'---|' * len(headings)}\n"
    for case in found:
        yield f"| {' | '.join(inline(cell) for cell in case.row.cells(headings))} |\n"


def _failures(found: Sequence[Case]) -> Iterator[str]:
    """Yield the failures' texts as HTML blocks, in which there is no Markdown."""
    for case in failures(found):
        yield (
            f"\n<details><summary>{in_html(case.full_name)}: {in_html(case.headline)}</summary>\n\n"
            f"<pre>\n{printable_html(case.text)}\n</pre>\n\n</details>\n"
        )


def _notes(found: Sequence[Case]) -> Iterator[str]:
    lines = notes([case.row for case in found])
    if lines:
        yield "\n" + "\n".join(f"- {inline(line)}" for line in lines) + "\n"


class Sink(Protocol):
    """What commands are printed to: a text stream, or pytest's terminal."""

    def write(self, text: str, /) -> object:
        """Write."""

    def flush(self) -> object:
        """Bring it out."""


def publish(found: Sequence[Case], environ: Mapping[str, str], stream: Sink) -> None:
    """Write the annotations and append the summary, where this runs in GitHub Actions."""
    if not found or not environ.get("GITHUB_ACTIONS"):
        return
    stream.write("".join(f"{command}\n" for command in error_commands(found, environ.get("GITHUB_WORKSPACE"))))
    stream.flush()
    summary = environ.get("GITHUB_STEP_SUMMARY")
    if not summary:
        return
    try:
        # A pipe that nobody reads is an error, where opening it would wait for a reader.
        with os.fdopen(os.open(summary, _APPEND, 0o666), "ab") as file:
            file.write(markdown(found, SUMMARY_LIMIT_BYTES - file.tell()).encode())
    except OSError as error:
        stream.write(f"::warning title=perfcheck::cannot write the job summary: {_data(str(error))}\n")


class GithubOutput:
    """Collects cases and publishes them when closed; silent outside GitHub Actions."""

    def __init__(
        self, environ: Mapping[str, str] = os.environ, stream: Sink | None = None,
        lines: Mapping[str, KeyLines] = MappingProxyType({}),
    ) -> None:  # fmt: skip
        """Take the environment and the stream of the annotations, standard output by default.

        `lines` are those of the keys of scenario files, by the file's name.
        """
        self._environ = environ
        self._stream = stream or CommandStream()
        self._lines = lines
        self._cases: list[Case] = []

    @property
    def name(self) -> str:
        """Name of the format."""
        return "github"

    def open(self) -> None:
        """Forget earlier cases."""
        self._cases = []

    def write(self, record: RunRecord) -> None:
        """Keep the record's cases."""
        self._cases += cases(record, lines=self._lines.get(record.scenario.file))

    def close(self) -> None:
        """Publish once."""
        found, self._cases = self._cases, []
        publish(found, self._environ, self._stream)

"""GitHub Actions: annotations on the scenario files, and the job summary is appended to."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from dataclasses import replace
from itertools import groupby
from pathlib import Path
from types import MappingProxyType
from typing import Final, Protocol

from perfcheck.model.printable import printable_lines
from perfcheck.model.record import RunRecord
from perfcheck.output.case_lines import KeyLines
from perfcheck.output.cases import Case, cases, failures
from perfcheck.output.job_summary import MOST_DRAWN, SUMMARY_LIMIT_BYTES, markdown
from perfcheck.output.story import Story, curve_of, story_of
from perfcheck.system.printing import CommandStream

MOST_ANNOTATIONS: Final = 10
"""GitHub shows so many errors of one step and drops the rest in silence."""

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


class Sink(Protocol):
    """What commands are printed to: a text stream, or pytest's terminal."""

    def write(self, text: str, /) -> object:
        """Write."""

    def flush(self) -> object:
        """Bring it out."""


def publish(
    found: Sequence[Case], environ: Mapping[str, str], stream: Sink, stories: Sequence[Story] = ()
) -> None:  # fmt: skip
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
            file.write(markdown(found, SUMMARY_LIMIT_BYTES - file.tell(), stories).encode())
    except OSError as error:
        stream.write(f"::warning title=perfcheck::cannot write the job summary: {_data(str(error))}\n")


class GithubOutput:
    """Collects cases and publishes them when closed; silent outside GitHub Actions."""

    def __init__(
        self, environ: Mapping[str, str] = os.environ, stream: Sink | None = None,
        lines: Mapping[str, KeyLines] = MappingProxyType({}), series: Path | None = None,
    ) -> None:  # fmt: skip
        """Take the environment and the stream of the annotations, standard output by default.

        `lines` are those of the keys of scenario files, by the file's name. `series` is the file of the time series
        that is complete when this is closed.
        """
        self._environ = environ
        self._stream = stream or CommandStream()
        self._lines = lines
        self._series = series
        self._cases: list[Case] = []
        self._stories: list[Story] = []
        self._failed: dict[str, tuple[RunRecord, tuple[Case, ...]]] = {}

    @property
    def name(self) -> str:
        """Name of the format."""
        return "github"

    def open(self) -> None:
        """Forget earlier cases."""
        self._cases, self._stories, self._failed = [], [], {}

    def write(self, record: RunRecord) -> None:
        """Keep the record's cases and story."""
        found = cases(record, lines=self._lines.get(record.scenario.file))
        self._cases += found
        if not self._environ.get("GITHUB_ACTIONS"):
            return
        story = story_of(record, found)
        self._stories.append(story)
        if self._series is not None and any(failures(found)) and len(self._failed) < MOST_DRAWN:
            self._failed[story.scenario] = record, found

    def close(self) -> None:
        """Publish once."""
        found, stories, failed = self._cases, self._stories, self._failed
        self.open()
        publish(found, self._environ, self._stream, [self._with_curve(story, failed) for story in stories])

    def _with_curve(self, story: Story, failed: Mapping[str, tuple[RunRecord, tuple[Case, ...]]]) -> Story:
        """Return the story with a curve of what failed, where there is one."""
        if self._series is None or story.scenario not in failed:
            return story
        curve = curve_of(*failed[story.scenario], self._series)
        return story if curve is None else replace(story, diagrams=(*story.diagrams, curve))

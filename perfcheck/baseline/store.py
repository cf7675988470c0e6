"""The store of baselines: readable files in a folder that is kept in version control."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import Any

from perfcheck.baseline.document import BOUNDS, dump, parse
from perfcheck.baseline.files import locked_folder, update_file
from perfcheck.baseline.matching import last_saved, nearest
from perfcheck.baseline.naming import file_name, flat, folder_of, stem_of
from perfcheck.baseline.sessions import environment_of, with_accepted, with_session
from perfcheck.errors import BaselineError, CouldNotMeasure, OutputError, Problem, UnreadableFile
from perfcheck.model.baseline import Baseline, BaselineLookup
from perfcheck.model.record import RunRecord
from perfcheck.model.scenario import Scenario
from perfcheck.model.verdict import Verdict
from perfcheck.system.bounded_read import read_bounded
from perfcheck.system.yaml_bounds import excess


class BaselineStore:
    """Loads and saves baselines below `root`; `name` chooses a named set beside the usual one."""

    def __init__(self, root: Path = Path("baselines"), name: str | None = None) -> None:
        """Touch nothing yet; UsageError for a name that cannot be a folder's."""
        self._top = folder_of(root, name)

    def load(self, scenario: Scenario, environment: Mapping[str, Any] | None = None) -> BaselineLookup:
        """Return the nearest baseline of the scenario's workload; without an environment the newest of any.

        BaselineError for a file that might have been the one and cannot be read.
        """
        folder = self._top / scenario.name
        point = dict(scenario.point)
        if environment is None:
            found = _of_workload(_candidates(folder, point), scenario)
            return BaselineLookup(like=max(found, key=last_saved, default=None), missing=_missing(folder, found))
        here = flat(environment)
        exact = folder / file_name(point, here)
        if exact.is_file() and (same := _of_workload((_read(exact),), scenario)):
            return nearest(same, here)
        candidates = _candidates(folder, point)
        usable = _of_workload(candidates, scenario)
        return nearest(usable, here) if usable else BaselineLookup(missing=_missing(folder, candidates))

    def save(self, record: RunRecord, *, update: bool = False) -> Path:
        """Add the record as a session to its environment's file (`update`: in place of all earlier ones).

        Give the file. CouldNotMeasure for an INVALID record, BaselineError where the file is there
        and cannot be read: it is never overwritten then.
        """
        return self._change(record, lambda old: with_session(record, None if update else old))

    def accept(self, record: RunRecord, metrics: Iterable[str], reason: str) -> Path:
        """Add the record as a session and let these metrics' earlier sessions no longer count, for this reason."""
        return self._change(record, lambda old: with_accepted(record, metrics, reason, old))

    def of(self, record: RunRecord) -> Baseline | None:
        """Return the baseline that `save` would add the record to; None where it would make one."""
        path = self._path(record)
        found = _read(path) if path.exists() else None
        return found if found is None or found.workload == record.scenario.workload else None

    def list(self) -> tuple[Path, ...]:
        """Return every baseline file of the set, sorted."""
        return tuple(sorted(path for path in self._top.glob("*/*.yaml") if not path.parent.name.startswith("@")))

    def _change(self, record: RunRecord, change: Callable[[Baseline | None], Baseline]) -> Path:
        if record.verdict is Verdict.INVALID:
            why = record.invalid_reason or "an `expect` line of it could not be judged"
            raise CouldNotMeasure(f"{record.scenario.name}: an INVALID run cannot be a baseline: {why}")
        path = self._path(record)
        try:
            with locked_folder(path.parent):
                text = dump(change(_read(path) if path.exists() else None))
                if (over := excess(text, BOUNDS)) is not None:
                    raise BaselineError(_too_large(path, over.message))
                update_file(path, text)
        except OSError as error:
            raise OutputError(f"{path}: cannot write this baseline: {error.strerror or error}") from error
        return path

    def _path(self, record: RunRecord) -> Path:
        return self._top / record.scenario.name / file_name(record.scenario.point, environment_of(record))


def _candidates(folder: Path, point: Mapping[str, str]) -> tuple[Baseline, ...]:
    files = sorted(path for path in folder.glob("*.yaml") if path.name.rsplit("@", 1)[0] == stem_of(point))
    return tuple(found for found in map(_read, files) if dict(found.point) == dict(point))


def _of_workload(candidates: Iterable[Baseline], scenario: Scenario) -> tuple[Baseline, ...]:
    return tuple(each for each in candidates if each.workload == scenario.workload_digest)


def _missing(folder: Path, candidates: tuple[Baseline, ...]) -> str:
    if not candidates:
        return f"no baseline in {folder}: make one with --baseline-save"
    return f"the baselines in {folder} are for another workload (traffic, hosts or links): use --baseline-save"


def _read(path: Path) -> Baseline:
    try:
        text = read_bounded(path, BOUNDS.characters).decode()
    except UnicodeDecodeError as error:
        before = error.object[: error.start]
        column = error.start - (before.rfind(b"\n") + 1) + 1
        raise BaselineError(_unreadable(path, before.count(b"\n") + 1, column, "it is not UTF-8 text")) from None
    except UnreadableFile as error:
        raise BaselineError(_unreadable(path, 1, 1, error.reason)) from None
    return parse(text, str(path))


def _too_large(path: Path, message: str) -> Problem:
    told = f"cannot add this session: {message}. --baseline-update replaces all earlier sessions"
    return Problem(file=str(path), line=1, column=1, path="", message=told)


def _unreadable(path: Path, line: int, column: int, why: str) -> Problem:
    return Problem(file=str(path), line=line, column=column, path="", message=f"cannot read this baseline: {why}")

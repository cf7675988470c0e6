"""The history of all runs: Parquet files that any engine can read, one a run, joined when they get many.

A file is only added whole, or replaced by one with the same rows. So a crash at any moment loses and damages
nothing. Rows may be present twice for a moment; each run's median is the same.
"""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from perfcheck.baseline.files import locked_folder
from perfcheck.baseline.sessions import EMULATORS, environment_of
from perfcheck.errors import Problem, RecordError, UsageError
from perfcheck.model.history import Series
from perfcheck.model.own_metric import OwnMetricRecord
from perfcheck.model.printable import printable
from perfcheck.model.record import RunRecord
from perfcheck.model.subject import read_key
from perfcheck.system.environment import machine_digest
from perfcheck.system.files import replacing, sync_folder
from perfcheck.system.json_bounds import in_bounds

if TYPE_CHECKING:
    from duckdb import DuckDBPyConnection

MOST_FILES: Final = 100
"""A folder with more files than this is joined into one."""
MOST_SERIES: Final = 500
MOST_RUNS: Final = 50_000
"""Bounds of one metric in one folder, and of one series: beyond them looking takes minutes."""

_COLUMNS: Final = (
    "schema", "run_id", "started_at", "scenario", "point", "workload", "digest", "machine", "emulators", "environment",
    "verdict", "metric", "unit", "trial", "value", "better",
)  # fmt: skip
_FILES: Final = """
    (SELECT * REPLACE (coalesce(metric::VARCHAR, error('a row has no metric')) AS metric)
     FROM (SELECT * FROM read_parquet($files, union_by_name = true)
           UNION ALL BY NAME (SELECT NULL::VARCHAR AS better WHERE false)))
"""
"""All rows of all files. Those that were written before applications' own metrics lack the column `better`; a file
that lacks others as well is damaged, and its rows have no metric."""
_WRITE: Final = """
    COPY (SELECT 1::UTINYINT AS schema, $run_id AS run_id, $started_at AS started_at, $scenario AS scenario,
                 $point AS point, $workload AS workload, $digest AS digest, $machine AS machine,
                 $emulators AS emulators, $environment AS environment, $verdict AS verdict,
                 unnest($metric::VARCHAR[]) AS metric, unnest($unit::VARCHAR[]) AS unit,
                 unnest($trial::INTEGER[]) AS trial, unnest($value::DOUBLE[]) AS value,
                 unnest($better::VARCHAR[]) AS better)
    TO '{file}' (FORMAT parquet, COMPRESSION zstd, USE_TMP_FILE false)
"""
_JOIN: Final = """
    COPY (SELECT DISTINCT {columns} FROM {files} ORDER BY metric, started_at, run_id, trial)
    TO '{file}' (FORMAT parquet, COMPRESSION zstd, USE_TMP_FILE false)
""".replace("{files}", _FILES)
_ROWS: Final = """
    (SELECT coalesce(scenario::VARCHAR, '') AS scenario, coalesce(point::VARCHAR, '') AS point,
            coalesce(workload::VARCHAR, '') AS workload, coalesce(machine::VARCHAR, '') AS machine,
            coalesce(emulators::VARCHAR, '') AS emulators, coalesce(run_id::VARCHAR, '') AS run_id,
            coalesce(started_at::VARCHAR, '') AS started_at, coalesce(unit::VARCHAR, '') AS unit,
            metric::VARCHAR AS metric, schema::INTEGER AS schema, value::DOUBLE AS value, better::VARCHAR AS better
     FROM {files} WHERE value IS NOT NULL)
""".replace("{files}", _FILES)
"""Rows whatever types a file's columns have; DuckDB says which value it cannot convert."""

_KINDS: Final = """
    SELECT scenario, point, workload, machine, emulators, any_value(unit), coalesce(max_by(better, started_at), '')
    FROM {rows}
    WHERE metric = $metric AND schema = 1 GROUP BY ALL ORDER BY ALL
""".replace("{rows}", _ROWS)
_RUNS: Final = """
    SELECT run_id, started_at, median(value) AS value FROM {rows}
    WHERE metric = $metric AND schema = 1 AND scenario = $scenario AND point = $point AND workload = $workload
          AND machine = $machine AND emulators = $emulators
    GROUP BY started_at, run_id ORDER BY started_at, run_id
""".replace("{rows}", _ROWS)
_WHOLE: Final = "SELECT max(COLUMNS(*)) FROM {rows}".replace("{rows}", _ROWS)


class HistoryStore:
    """Appends run records below `root`, one folder a scenario, and gives them back as series."""

    def __init__(self, root: Path = Path("results/history")) -> None:
        """Touch nothing yet."""
        self._root = root

    def append(self, record: RunRecord) -> Path:
        """Add a record's valid trials; the same record again changes nothing. Gives the file that was written."""
        folder = self._root / record.scenario.name
        with locked_folder(folder):
            path = folder / _file_name(record)
            self._write(path, _WRITE, _rows(record))
            files = _parquet_files(folder)
            if len(files) > MOST_FILES:
                return self._join(folder, files)
        return path

    def series(self, metric: str, scenario: str | None = None) -> tuple[Series, ...]:
        """Return the metric's history, one series for each scenario, matrix point, workload, machine and emulator.

        RecordError names a file that is damaged.
        """
        if scenario is not None and not (self._root / scenario).is_dir():
            raise UsageError(f"no history of scenario {scenario!r} in {self._root}")
        folders = (
            [self._root / scenario] if scenario else sorted(path for path in self._root.glob("*") if path.is_dir())
        )
        found: list[Series] = []
        for folder in folders:
            with locked_folder(folder, shared=True):
                found += self._series_in(_parquet_files(folder), metric)
        return tuple(found)

    def _series_in(self, files: list[Path], metric: str) -> list[Series]:
        if not files:
            return []
        asked = {"files": [str(file) for file in files], "metric": metric}
        folder = files[0].parent
        with _database(asked["files"]) as database:
            kinds = database.execute(f"{_KINDS} LIMIT {MOST_SERIES + 1}", asked).fetchall()
            if len(kinds) > MOST_SERIES:
                raise _wrong(
                    folder,
                    f"more than {MOST_SERIES:,} series of {metric}: move some of the history's files to another folder",
                )
            names = ("scenario", "point", "workload", "machine", "emulators")
            return [
                _series(folder, metric, kind, database.execute(_RUNS, asked | dict(zip(names, kind, strict=False))))
                for kind in kinds
            ]

    def _join(self, folder: Path, files: list[Path]) -> Path:
        """Write all rows into one file, then remove the files they came from; the caller holds the lock."""
        names = hashlib.sha256("\n".join(file.name for file in files).encode()).hexdigest()[:16]
        joined = folder / f"joined-{names}.parquet"
        columns = ", ".join(_COLUMNS)
        self._write(joined, _JOIN.replace("{columns}", columns), {"files": [str(file) for file in files]})
        for file in files:
            if file != joined:
                file.unlink()
        sync_folder(folder)
        return joined

    def _write(self, path: Path, statement: str, values: dict[str, Any]) -> None:
        """Have DuckDB write a file that takes the path's place once it is on the disk."""
        with replacing(path) as descriptor, _database(values.get("files", ())) as database:
            database.execute(statement.replace("{file}", f"/proc/self/fd/{descriptor}"), values)


def _wrong(file: Path | str, message: str) -> RecordError:
    return RecordError(Problem(file=str(file), line=1, column=1, path="", message=message))


def _said(text: str) -> str:
    """Return DuckDB's own sentence, without the JSON that its errors of files wrap it in."""
    wrapped = re.search(r'"exception_message":"((?:[^"\\]|\\.)*)"', text)
    return wrapped[1].replace('\\"', "'") if wrapped else text.partition("\n")[0]


@contextmanager
def _database(files: Sequence[str]) -> Iterator[DuckDBPyConnection]:
    """Return a DuckDB that lives in memory; its errors come out as RecordError, with the file that is damaged."""
    import duckdb

    with duckdb.connect(":memory:") as connection:
        try:
            yield connection
        except duckdb.Error as error:
            damaged = _damaged(connection, files)
            remedy = "; restore this file, or remove it to continue with the other runs" if damaged else ""
            said = f"cannot be read or written: {_said(str(error))}{remedy}"
            raise _wrong(damaged or "the history", said) from None


def _damaged(connection: DuckDBPyConnection, files: Sequence[str]) -> str | None:
    """Return the first file that cannot be read by itself: many of DuckDB's errors name none."""
    import duckdb

    for file in files:
        try:
            connection.execute(_WHOLE, {"files": [file]}).fetchall()
        except duckdb.Error:
            return file
    return None


def _parquet_files(folder: Path) -> list[Path]:
    """Return the folder's own files; a device or FIFO by such a name is none."""
    return sorted(path for path in folder.glob("*.parquet") if path.is_file())


def _file_name(record: RunRecord) -> str:
    """Sort by time, unique by run; whatever a run_id is made of, the name is a plain one."""
    moment = re.sub(r"[^0-9]", "", record.started_at)[:14]
    run_id = record.run_id if re.fullmatch(r"[A-Za-z0-9_-]{1,64}", record.run_id) else _digest(record.run_id)
    return f"{moment}-{run_id}.parquet"


def _digest(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()[:32]


def _rows(record: RunRecord) -> dict[str, Any]:
    environment = environment_of(record)
    own = record.scenario.own_metrics
    values = [
        (name, record.figures[name].unit, trial.index, value, _better(name, own))
        for trial in record.trials
        if trial.valid
        for name, value in sorted(trial.figures.items())
        if name in record.figures
    ]
    point = ",".join(f"{key}={value}" for key, value in sorted(record.scenario.point.items()))
    return {
        "run_id": record.run_id,
        "started_at": record.started_at,
        "scenario": record.scenario.name,
        "point": point,
        "workload": record.scenario.workload,
        "digest": record.scenario.digest,
        "machine": machine_digest(environment),
        "emulators": environment[EMULATORS],
        # Half a surrogate pair, of a name that was not UTF-8, would make the whole table unreadable to SQL.
        "environment": json.dumps({key: printable(value) for key, value in environment.items()}, sort_keys=True),
        "verdict": record.verdict.value,
        "metric": [row[0] for row in values],
        "unit": [row[1] for row in values],
        "trial": [row[2] for row in values],
        "value": [row[3] for row in values],
        "better": [row[4] for row in values],
    }


def _better(name: str, own: Mapping[str, OwnMetricRecord]) -> str | None:
    """Return which way an own metric, of the run or a subject, gets better: no catalogue tells it later."""
    metric = own.get(read_key(name).metric)
    return None if metric is None else metric.better


def _series(folder: Path, metric: str, kind: tuple[Any, ...], runs: DuckDBPyConnection) -> Series:
    scenario, point, workload, machine, emulators, unit, better = kind
    columns = runs.fetchnumpy()
    if len(columns["value"]) > MOST_RUNS:
        raise _wrong(
            folder,
            f"more than {MOST_RUNS:,} runs in a series of {metric}: move some of the history's files to another folder",
        )
    for run_id, value in zip(columns["run_id"].tolist(), columns["value"].tolist(), strict=True):
        if not isinstance(value, float) or not in_bounds(value):
            raise _wrong(folder, f"the run {run_id} has {value!r} for {metric}, which is out of range: remove its file")
    return Series(
        metric=metric, unit=unit, scenario=scenario, point=point, workload=workload, machine=machine,
        emulators=emulators, run_ids=tuple(columns["run_id"].tolist()),
        started_at=tuple(columns["started_at"].tolist()), values=tuple(columns["value"].tolist()),
        better=better,
    )  # fmt: skip

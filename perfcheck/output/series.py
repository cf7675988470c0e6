"""Time series as one Parquet file: a long table, one row a value, which any engine reads (docs/series.md)."""

from __future__ import annotations

import shutil
import tempfile
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from itertools import groupby
from pathlib import Path
from typing import TYPE_CHECKING, Any, BinaryIO, Final

import numpy as np
import numpy.typing as npt

from perfcheck.errors import OutputError, Problem, RecordError, UsageError
from perfcheck.model.series import Curve
from perfcheck.system.files import is_written_in_place, require_report_writable, writing_report
from perfcheck.system.spool import Spool

if TYPE_CHECKING:
    from duckdb import DuckDBPyConnection

_ROW: Final = np.dtype(
    [("run", "u4"), ("trial", "u4"), ("t_ns", "i8"), ("subject", "u4"), ("metric", "u4"), ("value", "f8")]
)
_MEMORY: Final = "100MB"
_TABLE: Final = (
    "CREATE TABLE rows (run UINTEGER, trial UINTEGER, t_ns BIGINT, subject UINTEGER, metric UINTEGER, value DOUBLE)"
)
_NAMES: Final = "CREATE TABLE {table} AS SELECT unnest($names::VARCHAR[]) AS name, unnest(range(len($names))) AS number"
_WRITE: Final = """
    COPY (SELECT run.name AS run, rows.trial::INTEGER AS trial, rows.t_ns, nullif(subject.name, '') AS subject,
                 metric.name AS metric, rows.value
          FROM rows JOIN runs AS run ON run.number = rows.run JOIN subjects AS subject ON subject.number = rows.subject
               JOIN metrics AS metric ON metric.number = rows.metric
          ORDER BY rows.run, rows.trial, metric, subject, rows.t_ns)
    TO '{file}' (FORMAT parquet, COMPRESSION zstd, USE_TMP_FILE false)
"""
_TRIALS: Final = "SELECT DISTINCT trial FROM read_parquet($file) ORDER BY trial"
_ROWS: Final = """
    SELECT metric, coalesce(subject, '') AS subject, t_ns, value FROM read_parquet($file) WHERE trial = $trial
    ORDER BY metric, subject, t_ns
"""
_KINDS: Final = "SELECT DISTINCT run, trial, subject, metric FROM read_parquet($file) ORDER BY ALL"
_SPAN: Final = "SELECT min(t_ns), max(t_ns) FROM read_parquet($file) WHERE run = $run AND trial = $trial"
_COLUMNS: Final = """
    SELECT subject, metric,
           least(greatest((t_ns - $begin) * $width // greatest($end - $begin, 1), 0), $width - 1) AS place,
           avg(value) AS mean, min(value) AS low, max(value) AS high, sum(value) AS total
    FROM read_parquet($file)
    WHERE run = $run AND trial = $trial AND list_contains($metrics, metric) AND isfinite(value)
    GROUP BY ALL ORDER BY metric, subject, place
"""
_VALUES: Final = """
    SELECT value FROM read_parquet($file)
    WHERE run = $run AND metric = $metric AND subject IS NOT DISTINCT FROM $subject AND isfinite(value)
          AND list_contains($trials, trial)
"""


@dataclass(slots=True)
class _Numbers:
    """Names by the numbers that stand for them in rows."""

    known: dict[str, int] = field(default_factory=dict)

    def of(self, name: str) -> int:
        return self.known.setdefault(name, len(self.known))


class SeriesFile:
    """Collects the curves of all runs on the disk, and writes them as one file when it is closed.

    What cannot be written keeps nothing from being measured: it is raised by `close`.
    """

    def __init__(self, path: Path) -> None:
        """Touch nothing until `open`."""
        self.path = path
        self._spool: Spool | None = None
        self._runs, self._subjects, self._metrics = _Numbers(), _Numbers(), _Numbers()
        self._problem: str | None = None

    def open(self) -> None:
        """Check that the file can be written; UsageError where it cannot."""
        try:
            require_report_writable(self.path)
            self._spool = Spool(_ROW)
        except OSError as error:
            raise UsageError(f"{self.path}: cannot write the series: {error.strerror}; name another file") from error

    def write(self, curves: Iterable[Curve], *, run_id: str, trial: int) -> None:
        """Add a trial's curves."""
        if self._problem is not None:
            return
        if self._spool is None:
            self.open()
        assert self._spool is not None  # noqa: S101 - opened just now
        run = self._runs.of(run_id)
        try:
            for curve in curves:
                rows = np.empty(len(curve.t_ns), _ROW)
                rows["run"], rows["trial"], rows["t_ns"], rows["value"] = run, trial, curve.t_ns, curve.values
                rows["subject"] = self._subjects.of(curve.subject or "")
                rows["metric"] = self._metrics.of(curve.metric)
                self._spool.append(rows)
        except OSError as error:
            self._problem = f"{self.path}: cannot write the series: {error.strerror}"

    def append(self, parquet: bytes, *, run_id: str, first_trial: int) -> None:
        """Add what another perfcheck has written of one run: as trials from this one on of the run of this id."""
        if self._problem is not None:
            return
        try:
            for trial, curves in _curves_by_trial(parquet):
                self.write(curves, run_id=run_id, trial=trial + first_trial)
        except (OSError, RuntimeError) as error:
            self._problem = f"{self.path}: cannot read the series of a guest: {error}"

    def close(self) -> None:
        """Write the file; OutputError where that fails. Safe to call twice."""
        spool, self._spool = self._spool, None
        if spool is None:
            return
        try:
            if self._problem is None:
                self._write(spool)
        except (OSError, RuntimeError) as error:
            self._problem = f"{self.path}: cannot write the series: {error}"
        finally:
            spool.close()
        problem, self._problem = self._problem, None
        if problem is not None:
            raise OutputError(problem)

    def _write(self, spool: Spool) -> None:
        import duckdb

        with (
            tempfile.TemporaryDirectory(prefix="perfcheck-series-") as folder,
            writing_report(self.path) as stream,
            _seekable(stream, self.path, folder) as descriptor,
        ):
            try:
                with duckdb.connect(":memory:") as database:
                    database.execute(f"SET memory_limit='{_MEMORY}'; SET temp_directory='{folder}'; SET threads=1")
                    database.execute(_TABLE)
                    for block in spool.blocks():
                        _insert(database, block)
                    for table, names in (
                        ("runs", self._runs),
                        ("subjects", self._subjects),
                        ("metrics", self._metrics),
                    ):
                        database.execute(_NAMES.replace("{table}", table), {"names": list(names.known)})
                    database.execute(_WRITE.replace("{file}", f"/proc/self/fd/{descriptor}"))
            except duckdb.Error as error:
                raise RuntimeError(str(error).partition("\n")[0]) from error


@contextmanager
def _seekable(stream: BinaryIO, path: Path, folder: str) -> Iterator[int]:
    """Yield the descriptor of a regular file: the stream's, or of one that is copied to a device or pipe at the end."""
    if not is_written_in_place(path):
        yield stream.fileno()
        return
    with tempfile.TemporaryFile(dir=folder) as whole:
        yield whole.fileno()
        whole.seek(0)
        shutil.copyfileobj(whole, stream)
        stream.flush()


def _insert(database: DuckDBPyConnection, block: npt.NDArray[Any]) -> None:
    columns = {name: np.ascontiguousarray(block[name]) for name in _ROW.names or ()}
    database.register("block", columns)
    database.execute("INSERT INTO rows SELECT run, trial, t_ns, subject, metric, value FROM block")
    database.unregister("block")


def _curves_by_trial(parquet: bytes) -> Iterator[tuple[int, list[Curve]]]:
    """Yield the curves of each trial of a file of one run; RuntimeError for what is no such file."""
    import duckdb

    with tempfile.NamedTemporaryFile(prefix="perfcheck-series-") as file, duckdb.connect(":memory:") as database:
        file.write(parquet)
        file.flush()
        try:
            trials = database.execute(_TRIALS, {"file": file.name}).fetchall()
            for (trial,) in trials:
                rows = database.execute(_ROWS, {"file": file.name, "trial": trial}).fetchnumpy()
                yield int(trial), list(_curves(rows))
        except duckdb.Error as error:
            raise RuntimeError(str(error).partition("\n")[0]) from error


def _curves(rows: Mapping[str, npt.NDArray[Any]]) -> Iterator[Curve]:
    """Yield the curves of rows that are sorted by metric and subject."""
    names = list(zip(rows["metric"].tolist(), rows["subject"].tolist(), strict=True))
    begin = 0
    for (metric, subject), group in groupby(names):
        end = begin + sum(1 for _ in group)
        yield Curve(
            metric=str(metric), subject=str(subject) or None,
            t_ns=rows["t_ns"][begin:end].astype(np.int64), values=rows["value"][begin:end].astype(np.float64),
        )  # fmt: skip
        begin = end


@dataclass(frozen=True, slots=True, kw_only=True)
class Drawn:
    """One curve in so many columns: mean, smallest, largest and sum of the values in each; NaN where there is none."""

    subject: str | None
    metric: str
    mean: npt.NDArray[np.float64]
    low: npt.NDArray[np.float64]
    high: npt.NDArray[np.float64]
    total: npt.NDArray[np.float64]


@dataclass(frozen=True, slots=True, kw_only=True)
class SeriesKind:
    """One curve that a file has."""

    run: str
    trial: int
    subject: str | None
    metric: str


class SeriesReader:
    """Reads a file that SeriesFile wrote, or another with its columns; RecordError says what is wrong with it."""

    def __init__(self, path: Path) -> None:
        """Touch nothing yet."""
        self._path = path

    def kinds(self) -> tuple[SeriesKind, ...]:
        """Return all curves of the file."""
        with self._database() as database:
            rows = database.execute(_KINDS, {"file": str(self._path)}).fetchall()
        return tuple(
            SeriesKind(
                run=str(run), trial=int(trial), subject=None if subject is None else str(subject), metric=str(metric)
            )
            for run, trial, subject, metric in rows
        )

    def span_ns(self, run: str, trial: int) -> tuple[int, int]:
        """Return when the first and the last value of a trial are."""
        with self._database() as database:
            found = database.execute(_SPAN, {"file": str(self._path), "run": run, "trial": trial}).fetchone()
        return (0, 1) if found is None or found[0] is None else (int(found[0]), int(found[1]))

    def drawn(
        self, run: str, trial: int, metrics: Sequence[str], *, span_ns: tuple[int, int], columns: int
    ) -> tuple[Drawn, ...]:  # fmt: skip
        """Return curves of a trial, their values gathered into columns of equal time."""
        begin, end = span_ns
        asked = {
            "file": str(self._path), "run": run, "trial": trial, "metrics": list(metrics), "begin": begin, "end": end,
            "width": columns,
        }  # fmt: skip
        with self._database() as database:
            rows = database.execute(_COLUMNS, asked).fetchall()
        found: dict[tuple[str, str | None], npt.NDArray[np.float64]] = {}
        for subject, metric, place, *values in rows:
            into = found.setdefault((metric, subject), np.full((4, columns), np.nan))
            into[:, int(place)] = values
        return tuple(
            Drawn(subject=subject, metric=metric, mean=values[0], low=values[1], high=values[2], total=values[3])
            for (metric, subject), values in found.items()
        )

    def values(
        self, run: str, trials: Sequence[int], metric: str, subject: str | None
    ) -> npt.NDArray[np.float64]:  # fmt: skip
        """Return all values of one curve in these trials, in no order."""
        asked = {"file": str(self._path), "run": run, "trials": list(trials), "metric": metric, "subject": subject}
        with self._database() as database:
            found = database.execute(_VALUES, asked).fetchnumpy()["value"]
        return np.asarray(found, np.float64)

    @contextmanager
    def _database(self) -> Iterator[DuckDBPyConnection]:
        import duckdb

        if not self._path.is_file():
            raise RecordError(self._wrong("cannot be read: no such file"))
        with duckdb.connect(":memory:") as database:
            try:
                yield database
            except duckdb.Error as error:
                said = str(error).partition("\n")[0]
                raise RecordError(self._wrong(f"expected a Parquet file of time series: {said}")) from None

    def _wrong(self, message: str) -> Problem:
        return Problem(file=str(self._path), line=1, column=1, path="", message=message)

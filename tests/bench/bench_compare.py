"""How long comparison takes: a thousand metrics of a hundred runs, a million points, a history of a million rows.

Run it by `make bench-compare`. Times are CPU times, so other work on the machine counts little.
The exit status is 1 if one is beyond its limit.
"""

from __future__ import annotations

import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Final

import duckdb
import numpy as np
from rich.console import Console
from rich.table import Table

from perfcheck.baseline import HistoryStore
from perfcheck.compare import compare_metric
from perfcheck.compare.changepoints import change_points
from perfcheck.compare.outlook import outlook
from perfcheck.model.catalogue import CATALOGUE

METRIC: Final = "tcp.rtt_us.p50"
ROWS: Final = 1_000_000
METRICS: Final = 50


def main() -> int:
    """Print one row for each; gives 1 where one took longer than it may."""
    table = Table("what", "CPU", "limit", box=None, header_style="bold")
    late = False
    with tempfile.TemporaryDirectory() as folder:
        root, long = Path(folder) / "many", Path(folder) / "long"
        fill(root, METRICS)
        fill(long, 1)
        for what, limit_s, work in (
            ("1,000 metrics of 100 runs compared", 1.0, thousand_metrics()),
            ("change points in 1,000,000 points", 2.0, million_points()),
            (
                f"change points of one metric of {METRICS}, from 1,000,000 rows",
                2.0,
                lambda: from_store(root, "metric7"),
            ),
            ("change points of one metric of 1,000,000 runs", 2.0, lambda: from_store(long, "metric0")),
            ("all that `perfcheck history` says of 20,000 runs", 4.0, lambda: all_of_it(root)),
        ):
            spent_s = cpu_s(work)
            late |= spent_s > limit_s
            table.add_row(what, f"{spent_s:.2f} s", f"{limit_s:.0f} s")
    Console(highlight=False).print(table)
    return int(late)


def cpu_s(work: Callable[[], object]) -> float:
    """Return the CPU time of one call."""
    start = time.process_time()
    work()
    return time.process_time() - start


def thousand_metrics() -> Callable[[], object]:
    """Prepare the comparison of five sessions of 20 runs with 100 runs, a thousand times."""
    rng = np.random.default_rng(1)
    before = rng.normal(100, 1, (1000, 5, 20)).tolist()
    after = rng.normal(100, 1, (1000, 100)).tolist()
    spec = CATALOGUE[METRIC]
    compare_metric(spec, before[0], after[0])  # what is loaded at the first call is not part of it
    return lambda: [compare_metric(spec, left, right) for left, right in zip(before, after, strict=True)]


def million_points() -> Callable[[], object]:
    """Prepare a history with one change in it."""
    values = np.random.default_rng(7).normal(100, 1, ROWS)
    values[ROWS // 3 :] += 5
    change_points(values[:1000])
    return lambda: change_points(values)


def from_store(root: Path, metric: str) -> object:
    """Read one metric's series and look for changes."""
    (found,) = HistoryStore(root).series(metric)
    return change_points(found.values)


def all_of_it(root: Path) -> object:
    """Read one metric's series and look at it from all sides."""
    (found,) = HistoryStore(root).series("metric7")
    return outlook(found.values)


def fill(root: Path, metrics: int) -> None:
    """Write a store of a million rows: so many metrics, of as many runs as that leaves."""
    (root / "example").mkdir(parents=True)
    with duckdb.connect() as connection:
        connection.execute(f"""
            CREATE TABLE rows AS
            SELECT 1::UTINYINT AS schema, (i // {metrics})::VARCHAR AS run_id,
                   strftime(TIMESTAMP '2024-01-01' + INTERVAL (i // {metrics}) MINUTE, '%Y-%m-%dT%H:%M') AS started_at,
                   'example' AS scenario, '' AS point, 'w' AS workload, 'd' AS digest, 'm' AS machine,
                   'relay' AS emulators, '{{}}' AS environment, 'PASS' AS verdict, 'metric' || i % {metrics} AS metric,
                   'us' AS unit, 0::INTEGER AS trial,
                   100 + hash(i) % 1000 / 1000.0 + (i > {ROWS * 6 // 10})::INTEGER AS value
            FROM range({ROWS}) t(i)
        """)  # noqa: S608 - constants of this file
        connection.table("rows").write_parquet(str(root / "example" / "all.parquet"))


if __name__ == "__main__":
    sys.exit(main())

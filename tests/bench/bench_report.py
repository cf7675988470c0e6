"""How long the report of a long run takes, how large it is, and what memory it needs.

Part of `make bench-report`: a record with the series of 16 traffic entries at 100 ms, as perfcheck writes them, and
ten records of a minute each, without a kernel.
"""

from __future__ import annotations

import argparse
import resource
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from bench_series import FLOWS, written

from perfcheck.model.record import MetricRecord, RunRecord, SeriesRecord, SubjectRecord
from perfcheck.model.subject import SubjectKind
from perfcheck.testing import make_record

RUN_ID = "bench"
"""As bench_series names its run."""


def record(number: int, series: Path) -> RunRecord:
    """Return a record whose series are in the file."""
    metrics = {"tcp.rtt_us.p99": MetricRecord(value=25_000.0, unit="us", per_trial=(25_000.0,))}
    subjects = {f"bulk{flow}": SubjectRecord(kind=SubjectKind.TRAFFIC, metrics=metrics) for flow in range(FLOWS)}
    return make_record(
        {"tcp.rtt_us.p99": (25_000.0,)}, name=f"long-{number}", run_id=RUN_ID, subjects=subjects
    ).model_copy(update={"series": SeriesRecord(file=str(series), interval_ms=100.0)})


def main() -> int:
    """Print the figures of each (minutes, records), each in a process of its own, so that memory can be told."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--one", nargs=2, type=float, metavar=("MINUTES", "RECORDS"))
    arguments = parser.parse_args()
    if arguments.one is None:
        for minutes, count in ((10, 1), (1, 10)):
            subprocess.run([sys.executable, __file__, "--one", str(minutes), str(count)], check=True)
        return 0
    minutes, count = arguments.one[0], int(arguments.one[1])
    with tempfile.TemporaryDirectory() as folder:
        series, records = Path(folder) / "series.parquet", Path(folder) / "runs.jsonl"
        written(minutes, series)
        records.write_text("".join(f"{record(number, series).to_json()}\n" for number in range(count)))
        for option, name in (("--html", "report.html"), ("--md", "report.md")):
            page = Path(folder) / name
            began_s = time.monotonic()
            before_s = resource.getrusage(resource.RUSAGE_CHILDREN).ru_utime
            subprocess.run(
                [str(Path(sys.executable).with_name("perfcheck")), "report", str(records), option, str(page)],
                check=True, capture_output=True,
            )  # fmt: skip
            used = resource.getrusage(resource.RUSAGE_CHILDREN)
            print(
                f"{count} x {minutes:g} min, {FLOWS} flows: {option} {page.stat().st_size / 1e6:.2f} MB in "
                f"{time.monotonic() - began_s:.1f} s ({used.ru_utime - before_s:.1f} s of CPU time); "
                f"memory {used.ru_maxrss / 1000:.0f} MB at most"
            )
    return 0


if __name__ == "__main__":
    raise SystemExit(main())

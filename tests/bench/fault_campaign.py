"""Measures the fault matrix, run by run: `make campaign-faults`. Each run is a line in a file; a stopped one goes on.

Causes take turns, then injectors, so a campaign that is cut off has some of each. Twins are measured before the first
fault that is compared with them, and again now and then: they are the healthy runs of the data. While the file that
PERFCHECK_CAMPAIGN_WAIT names exists, no run begins.
"""

from __future__ import annotations

import argparse
import json
import os
import resource
import sys
import tempfile
import time
from collections import Counter, defaultdict
from collections.abc import Generator, Iterable, Iterator, Mapping
from contextlib import closing, contextmanager
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import Any, Final

from run_lines import append_line, read_lines

from perfcheck.errors import PerfcheckError, Stopped
from perfcheck.faults import Combination, combinations, interleaved, load_library
from perfcheck.runner import Runner, RunOptions
from perfcheck.runner.fault_run import FaultBench, FaultRun, compared_of_row, compared_values

WAIT_VARIABLE: Final = "PERFCHECK_CAMPAIGN_WAIT"
SESSION_RUNS: Final = 40
"""Runs of one session: its file of events is removed with it."""
MOST_ATTEMPTS: Final = 2
"""A combination that could not be measured so often is left out."""

Twins = dict[str, list[Mapping[str, float]]]


def main() -> int:
    """Measure what is missing, at most `--count` runs now."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument(
        "--results",
        type=Path,
        default=Path("results/faults/runs.jsonl"),
        help="one JSON object a run, compressed if it ends in .xz",
    )
    parser.add_argument("--library", type=Path, help="folder of the matrix's data files (default: scenarios/faults)")
    parser.add_argument("--count", type=int, help="make at most so many runs now")
    parser.add_argument("--rounds", type=int, default=1, help="runs of each combination (default: 1)")
    parser.add_argument(
        "--twins", type=int, default=2, help="healthy runs before a fault is compared with them (default: 2)"
    )
    parser.add_argument("--first-of-each", action="store_true", help="one combination of each injector, no more")
    parser.add_argument("--only", action="append", default=[], help="only names that contain this; can be repeated")
    parser.add_argument(
        "--known-first", action="store_true", help="first the faults whose healthy twin has been measured already"
    )
    parser.add_argument("--retry", action="store_true", help="measure again what could not be measured")
    arguments = parser.parse_args()
    arguments.results.parent.mkdir(parents=True, exist_ok=True)
    every = combinations(load_library(arguments.library))
    by_name = {each.name: each for each in every}
    faults = [each for each in interleaved(each for each in every if each.twin is not None) if _asked(each, arguments)]
    if arguments.first_of_each:
        faults = _first_of_each(faults)
    done, twins = _read(arguments.results, retry=arguments.retry)
    if arguments.known_first:
        faults.sort(key=lambda each: not twins.get(str(each.twin)))
    steps = _steps(faults, by_name, done, twins, arguments.rounds, arguments.twins)
    steps = islice(steps, arguments.count) if arguments.count is not None else steps
    try:
        _measure(steps, arguments.results, done, twins)
    except Stopped as stop:
        print(stop, file=sys.stderr)
        return stop.exit_status
    return 0


def _asked(one: Combination, arguments: argparse.Namespace) -> bool:
    return not arguments.only or any(text in one.name for text in arguments.only)


def _first_of_each(faults: Iterable[Combination]) -> list[Combination]:
    first: dict[tuple[object, str], Combination] = {}
    for each in faults:
        first.setdefault((each.causes, each.injector), each)
    return list(first.values())


def _read(results: Path, *, retry: bool) -> tuple[Counter[str], Twins]:
    """Return how often each combination was measured, and what its twins read."""
    done: Counter[str] = Counter()
    failed: Counter[str] = Counter()
    twins: Twins = defaultdict(list)
    for line in read_lines(results):
        row = json.loads(line)
        if row["valid"]:
            done[row["name"]] += 1
            if row["twin"] is None:
                twins[row["name"]].append(compared_of_row(row))
        else:
            failed[row["name"]] += 1
    if not retry:
        done.update({name: 1 for name, times in failed.items() if times >= MOST_ATTEMPTS and not done[name]})
    return done, twins


def _steps(
    faults: Iterable[Combination], by_name: Mapping[str, Combination], done: Counter[str], twins: Twins, rounds: int,
    twin_runs: int,
) -> Iterator[Combination]:  # fmt: skip
    """Yield what is to be measured next; `done` and `twins` are read anew at each step."""
    ordered = list(faults)
    for round_ in range(1, rounds + 1):
        for fault in ordered:
            if done[fault.name] >= round_:
                continue
            twin = by_name[str(fault.twin)]
            for _ in range(twin_runs * MOST_ATTEMPTS):
                if len(twins[twin.name]) < twin_runs + round_ - 1:
                    yield twin
            yield fault


def _measure(steps: Iterator[Combination], results: Path, done: Counter[str], twins: Twins) -> None:
    with closing(in_sessions(steps, SESSION_RUNS)) as runs:
        for bench, one in runs:
            _one(bench, one, results, done, twins)


def in_sessions(
    steps: Iterator[Combination], most: int, *, series: bool = False
) -> Generator[tuple[FaultBench, Combination], None, None]:  # fmt: skip
    """Yield each combination with what runs it, in sessions of at most so many runs: their files go with them."""
    left = True
    while left:
        with _session(series=series) as bench:
            made = 0
            for one in islice(steps, most):
                made += 1
                yield bench, one
            left = made == most


def _one(bench: FaultBench, one: Combination, results: Path, done: Counter[str], twins: Twins) -> None:
    wait_for_quiet()
    begun, before = time.monotonic(), CpuTimes.now()
    try:
        found = bench.run(one, twins[str(one.twin)] if one.twin is not None else ())
    except Stopped:
        raise
    except PerfcheckError as error:
        found = FaultRun(combination=one, record=None, problem=str(error))
    row = found.as_dict()
    if one.twin is None and found.record is not None:
        row["compared"] = compared_values(found.record)
        if found.counts:
            twins[one.name].append(row["compared"])
    done[one.name] += found.counts
    row["machine"] = before.until(CpuTimes.now())
    row["wall_s"] = round(time.monotonic() - begun, 2)
    append_line(results, row)
    print(_said(row), file=sys.stderr, flush=True)


@dataclass(frozen=True, slots=True, kw_only=True)
class CpuTimes:
    """CPU time since the machine started, in seconds of all CPUs; `own` is this process's and its children's."""

    busy: float
    nice: float
    steal: float
    total: float
    own: float

    @classmethod
    def now(cls) -> CpuTimes:
        """Read /proc/stat and what this process used."""
        ticks = [int(word) for word in Path("/proc/stat").read_text().split("\n", 1)[0].split()[1:9]]
        user, nice, system, idle, iowait, irq, softirq, steal = (tick / os.sysconf("SC_CLK_TCK") for tick in ticks)
        busy = user + system + irq + softirq
        used = [resource.getrusage(who) for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN)]
        return cls(
            busy=busy, nice=nice, steal=steal, total=busy + nice + idle + iowait + steal,
            own=sum(one.ru_utime + one.ru_stime for one in used),
        )  # fmt: skip

    def until(self, later: CpuTimes) -> dict[str, float]:
        """Return shares of the time between the two, in percent of all CPUs.

        `others_pct` is what ordinary processes of others and interrupts took, `nice_pct` what niced ones did: a run
        beside much of the first says little of CPUs.
        """
        share = 100 / max(later.total - self.total, 0.01)
        others = later.busy - self.busy - (later.own - self.own)
        return {
            "others_pct": round(max(0.0, share * others), 1), "nice_pct": round(share * (later.nice - self.nice), 1),
            "steal_pct": round(share * (later.steal - self.steal), 1),
        }  # fmt: skip


def _said(row: Mapping[str, Any]) -> str:
    if row["problem"] is not None:
        return f"{row['wall_s']:5.1f} s  {row['name']}: NOT MEASURED: {row['problem'][:300]}"
    named = ", ".join(f"{each['cause']} {each['confidence']:.2f}" for each in row["diagnosis"][:2])
    moved = {None: "", True: f"; moved {', '.join(row['moved_metrics'][:3])}", False: "; NOT MOVED"}[row["moved"]]
    return f"{row['wall_s']:5.1f} s  {row['name']}: {named}{moved}"


def wait_for_quiet() -> None:
    """Wait while the machine must be quiet for others."""
    name = os.environ.get(WAIT_VARIABLE)
    while name and Path(name).exists():
        time.sleep(1)


@contextmanager
def _session(*, series: bool) -> Iterator[FaultBench]:
    with tempfile.TemporaryDirectory() as folder:
        events = Path(folder) / "events.jsonl"
        curves = Path(folder) / "series.parquet" if series else None
        with Runner.create(RunOptions(events=events, series=curves)) as runner:
            yield FaultBench(runner, events)


if __name__ == "__main__":
    sys.exit(main())

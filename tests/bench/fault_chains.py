"""Measures whether chains show the order that was injected: `make campaign-chains`. Each run is a line in a file.

Runs are of four causes with a known order: faults of the matrix and of the exam, and faults that begin in the middle of
a run. Each is measured with events and series, and its line keeps both, so that `--report` judges all runs again by the
rules of today. A stopped campaign goes on. While the file that PERFCHECK_CAMPAIGN_WAIT names exists, no run begins.
"""

from __future__ import annotations

import argparse
import json
import sys
import time
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import closing
from itertools import chain, islice
from pathlib import Path
from typing import Any, Final

from chain_scores import Injected, compact, from_campaign, injected_orders, judged, markdown, read_rows, stripped, told
from fault_campaign import in_sessions, wait_for_quiet
from run_lines import append_line

from perfcheck.diagnose import load_rules
from perfcheck.errors import PerfcheckError, Stopped
from perfcheck.faults import Combination, Library, combinations, interleaved, load_library
from perfcheck.faults.building import healthy, injected, parameters
from perfcheck.faults.document import Changes
from perfcheck.runner.fault_run import FaultBench, FaultRun

ROOT: Final = Path(__file__).parents[2]
LIBRARIES: Final = (ROOT / "scenarios" / "faults", ROOT / "scenarios" / "faults-exam")
SESSION_RUNS: Final = 25
"""Runs of one session: its files of events and series are removed with it."""
LATE: Final = "late"


def main() -> int:
    """Measure what is missing, at most `--count` runs now, or report what there is."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--results", type=Path, default=Path("results/faults/chains.jsonl"), help="a line a run")
    parser.add_argument("--each", type=int, default=20, help="faults of each cause beside those begun later (20)")
    parser.add_argument("--rounds", type=int, default=2, help="runs of each fault that begins later (default: 2)")
    parser.add_argument("--runs", type=Path, action="append", default=[],
                        help="results of campaign-faults: faults that moved nothing there are left out")  # fmt: skip
    parser.add_argument("--also", type=Path, action="append", default=[],
                        help="report runs of campaign-faults, too; their first 200 alerts were kept")  # fmt: skip
    parser.add_argument("--only", action="append", default=[], help="only names that contain this; can be repeated")
    parser.add_argument("--count", type=int, help="make at most so many runs now")
    parser.add_argument("--report", action="store_true", help="print the table of docs/diagnosis.md, measure nothing")
    parser.add_argument("--list", action="store_true", help="print each run's chain by the rules of today")
    parser.add_argument("--strip", type=Path, help="write the runs with their chains, without events, measure nothing")
    arguments = parser.parse_args()
    known = injected_orders()
    if arguments.report or arguments.list or arguments.strip:
        return _report(arguments, known)
    arguments.results.parent.mkdir(parents=True, exist_ok=True)
    done = Counter(str(row["name"]) for row in read_rows(arguments.results))
    steps = islice(_steps(_wanted(arguments, known), done, arguments.rounds), arguments.count)
    try:
        _measure(steps, arguments.results, done, known)
    except Stopped as stop:
        print(stop, file=sys.stderr)
        return stop.exit_status
    return 0


def _report(arguments: argparse.Namespace, known: Injected) -> int:
    rules = load_rules()
    measured = read_rows(arguments.results)
    causes = [[cause] for cause in known.orders]
    others = (row for path in arguments.also for row in read_rows(path) if row["causes"] in causes)
    measured += [one for row in others if row.get("moved") is not False and (one := from_campaign(row)) is not None]
    rows = [judged(row, rules) for row in measured]
    if arguments.strip:
        lines = (json.dumps(stripped(row), separators=(",", ":")) for row in rows)
        arguments.strip.write_text("".join(f"{line}\n" for line in lines), encoding="utf-8")
    if arguments.list:
        for row in rows:
            print("\n".join(told(row, known)))
    if arguments.report:
        print("\n".join(markdown(rows, known)))
    return 0


def _wanted(arguments: argparse.Namespace, known: Injected) -> Iterator[Combination]:
    """Yield the faults, causes in turn; of a cause first the ones that begin later, then injectors in turn."""
    unmoved = {row["name"] for path in arguments.runs for row in read_rows(path) if row.get("moved") is False}
    every = [each for folder in LIBRARIES for each in combinations(load_library(folder))]
    of_cause: dict[str, list[Combination]] = {cause: [] for cause in known.orders}
    for each in interleaved(every):
        if len(each.causes) == 1 and each.causes[0] in of_cause and each.name not in unmoved:
            of_cause[each.causes[0]].append(each)
    late = list(late_faults(known, load_library()))
    columns = [
        [each for each in chain((one for one in late if one.causes == (cause,)), faults[: arguments.each])
         if not arguments.only or any(text in each.name for text in arguments.only)]
        for cause, faults in of_cause.items()
    ]  # fmt: skip
    for place in range(max(map(len, columns))):
        yield from (column[place] for column in columns if place < len(column))


def late_faults(known: Injected, library: Library) -> Iterator[Combination]:
    """Yield the faults that begin in the middle of a run."""
    seconds, onset = known.late_seconds, known.onset_s
    for fault in known.late:
        for place in fault["places"]:
            path, load = (library.paths[place.split("/")[0]], library.loads[place.split("/")[1]])
            name = "/".join((LATE, fault["cause"], fault["name"], place))
            document = healthy(path, load, f"late-{fault['name']}"[:40], seconds)
            values = parameters(path, load, seconds) | {"onset": onset, "rest": seconds - onset}
            document = injected(document, Changes(**fault["changes"]), values)
            document["phases"] = {"before": "1500ms", "fault": f"{onset}s"}
            yield Combination(
                name=name, causes=(fault["cause"],), injector=fault["name"], means=("schedule",), path=path.name,
                load=load.name, severity="as-is", document=document, twin=None, held_out=("injector",),
            )  # fmt: skip


def _steps(faults: Iterable[Combination], done: Counter[str], rounds: int) -> Iterator[Combination]:
    ordered = list(faults)
    for round_ in range(1, rounds + 1):
        for each in ordered:
            if done[each.name] < round_ and (round_ == 1 or each.name.startswith(f"{LATE}/")):
                yield each


def _measure(steps: Iterator[Combination], results: Path, done: Counter[str], known: Injected) -> None:
    with closing(in_sessions(steps, SESSION_RUNS, series=True)) as runs:
        for bench, one in runs:
            wait_for_quiet()
            append_line(results, _row(bench, one, known))
            done[one.name] += 1


def _row(bench: FaultBench, one: Combination, known: Injected) -> dict[str, Any]:
    begun = time.monotonic()
    try:
        found = bench.run(one)
    except Stopped:
        raise
    except PerfcheckError as error:
        found = FaultRun(combination=one, record=None, problem=str(error))
    whole = found.as_dict()
    trials: Sequence[Mapping[str, Any]] = whole["trials"]
    began_ns = int(trials[0].get("began_ns") or 0) if trials else 0
    late = one.name.startswith(f"{LATE}/")
    row = {key: whole[key] for key in ("name", "causes", "injector", "path", "load", "severity", "valid", "problem",
                                       "metrics", "trials", "diagnosis", "measured_at")}  # fmt: skip
    row |= {
        "began_ns": began_ns, "onset_ns": round(known.onset_s * 1e9) if late else None, "interval_ns": 100_000_000,
        "told": ["events", "series"],
        "alerts": [compact(each, began_ns) for each in found.alerts if each["type"] == "alert"],
        "wall_s": round(time.monotonic() - begun, 2),
    }  # fmt: skip
    first: Mapping[str, Any] = row["diagnosis"][0] if row["diagnosis"] else {"cause": found.problem, "chain": ()}
    said = f"{first['cause']}: {' -> '.join(first['chain'])} ({len(row['alerts'])} alerts)"
    print(f"{row['wall_s']:5.1f} s  {one.name}: {said}", file=sys.stderr, flush=True)
    return row


if __name__ == "__main__":
    sys.exit(main())

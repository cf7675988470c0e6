"""Whether a fault of a link is named alike: by the relay on this machine, and by netem in a guest.

    .venv/bin/python tests/vm/compare_faults.py guest --kernel NAME [FAULT...]
    .venv/bin/python tests/vm/compare_faults.py here [FAULT...]
    .venv/bin/python tests/vm/compare_faults.py table

Each fault is measured once in both places, with its healthy twin as the baseline where the cause is a comparison. Runs
are added to a file, and what is there is not measured again. The guest's half does not mind what else runs on this
machine; the relay's half needs a quiet one. The table goes to docs/kernels-guest.md. Needs root.
"""

from __future__ import annotations

import argparse
import json
import sys
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, Final

from perfcheck.errors import PerfcheckError, UsageError
from perfcheck.faults import Combination, combinations, default_folder, load_library
from perfcheck.runner import Runner, RunOptions
from perfcheck.runner.fault_run import FaultBench, FaultRun, compared_values
from perfcheck.system.printing import complain, say

FAULTS: Final = (
    "random_loss/relay-random/wan/bulk-cubic/one-percent",
    "random_loss/relay-bursts/wan/bulk-cubic/strong",
    "queue_overflow/relay-short/metro/bulk-cubic/eight-packets",
    "bufferbloat/relay-long/metro/bulk-cubic/eight-bdp",
    "jitter/relay-uniform/wan/requests/half",
    "reordering/relay-reorder/wan/bulk-cubic/ten-percent",
    "path_latency/relay-longer/metro/requests/fivefold",
    "ecn_marking/relay-marks/wan/bulk-cubic/three-percent",
    "policer/relay-policer/wan-direct/bulk-cubic/half",
    "syn_loss/every-nth-syn/wan/churn/third",
    "healthy/long-queue-that-does-not-fill/wan/requests/twenty-bdp",
)
COMPARISONS: Final = ("path_latency", "policer")
"""Causes that a comparison with the healthy twin shows: a longer path, and one whose rate is a policer's."""
RESULTS: Final = Path(__file__).parents[2] / "results" / "faults-in-guests.jsonl"
GUEST: Final = "guest"
HERE: Final = "here"

Row = dict[str, Any]


def measure(place: str, kernel: str | None, names: Sequence[str], results: Path) -> None:
    """Measure the faults on this machine, or in guests that boot the kernel, and add them to the file of results."""
    every = {each.name: each for each in combinations(load_library(default_folder()))}
    unknown = [name for name in names if name not in every]
    if unknown:
        raise UsageError(f"no fault {', '.join(unknown)}: perfcheck faults list names them")
    known = rows_of(results)
    with tempfile.TemporaryDirectory(prefix="perfcheck-faults.") as folder:
        events = Path(folder) / "events.jsonl"
        with Runner.create(RunOptions(events=events, kernel=kernel)) as runner:
            bench = FaultBench(runner, events)
            for name in names:
                if (place, name) in known:
                    continue
                row = {"place": place, "kernel": kernel, **_one(bench, every, every[name]).as_dict()}
                _append(results, row)
                say(f"# {place}: {name}: {_named(row)}")


def _one(bench: FaultBench, every: Mapping[str, Combination], fault: Combination) -> FaultRun:
    twins = []
    if fault.causes[0] in COMPARISONS and fault.twin is not None:
        twin = bench.run(every[fault.twin])
        twins = [compared_values(twin.record)] if twin.counts and twin.record is not None else []
    return bench.run(fault, twins)


def rows_of(results: Path) -> dict[tuple[str, str], Row]:
    """Return the runs of the file by place and fault, the last one of each that counts."""
    lines = results.read_text(encoding="utf-8").splitlines() if results.exists() else []
    rows: list[Row] = [json.loads(line) for line in lines]
    return {(row["place"], row["name"]): row for row in rows if row["valid"]}


def _append(results: Path, row: Row) -> None:
    results.parent.mkdir(parents=True, exist_ok=True)
    with results.open("a", encoding="utf-8") as stream:
        stream.write(json.dumps(row, separators=(",", ":")) + "\n")


def _named(row: Row | None) -> str:
    """Return the most probable cause with its probability, or why there is none."""
    if row is None:
        return "not measured"
    if not row["valid"]:
        return f"not valid: {str(row['problem']).splitlines()[0][:100]}"
    first = _first(row)
    return f"{first['cause']} {first['confidence']:.2f}"


def _first(row: Row) -> Row:
    found: list[Row] = row["diagnosis_against_twin"] or row["diagnosis"]
    return found[0]


def _emulators(row: Row | None) -> str:
    used = () if row is None else row["environment"].get("emulators", ())
    return f" ({', '.join(used)})" if used else ""


def table(names: Sequence[str], rows: Mapping[tuple[str, str], Row]) -> Iterator[str]:
    """Yield the table's lines."""
    yield "| fault | on this machine | in the guest |"
    yield "|---|---|---|"
    for name in names:
        here, guest = rows.get((HERE, name)), rows.get((GUEST, name))
        yield f"| `{name}` | {_named(here)}{_emulators(here)} | {_named(guest)}{_emulators(guest)} |"


def differing(names: Sequence[str], rows: Mapping[tuple[str, str], Row]) -> list[str]:
    """Return the faults that have not the same name in both places."""
    pairs = {name: (rows.get((HERE, name)), rows.get((GUEST, name))) for name in names}
    return [
        name for name, (here, guest) in pairs.items()
        if here is None or guest is None or _first(here)["cause"] != _first(guest)["cause"]
    ]  # fmt: skip


def main() -> int:
    """Measure one half, or print the table; 1 if a fault is not named alike."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("what", choices=(GUEST, HERE, "table"), help="measure one half, or compare both")
    parser.add_argument("faults", nargs="*", default=list(FAULTS), metavar="FAULT")
    parser.add_argument("--kernel", metavar="NAME", help="a kernel of the store, for the guest's half")
    parser.add_argument("--results", type=Path, default=RESULTS, help="the file of runs (default: %(default)s)")
    arguments = parser.parse_intermixed_args()
    if (arguments.what == GUEST) != (arguments.kernel is not None):
        parser.error("guest needs --kernel NAME, and nothing else takes it")
    if arguments.what == "table":
        rows = rows_of(arguments.results)
        for line in table(arguments.faults, rows):
            say(line)
        return 1 if differing(arguments.faults, rows) else 0
    try:
        measure(arguments.what, arguments.kernel, arguments.faults, arguments.results)
    except PerfcheckError as error:
        complain(str(error))
        return error.exit_status
    return 0


if __name__ == "__main__":
    sys.exit(main())

"""Whether a fault of a link is named alike: by the relay on this machine, and by netem in a guest.

    .venv/bin/python tests/vm/compare_faults.py --kernel NAME [FAULT...]

Each fault is measured once in both places, with its healthy twin as the baseline where the cause is a comparison. The
table goes to docs/kernels-guest.md. The machine has to be quiet for the relay's half. Needs root.
"""

from __future__ import annotations

import argparse
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Final

from perfcheck.errors import PerfcheckError
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
    "healthy/long-queue-that-does-not-fill/wan/requests/twenty-bdp",
)
COMPARISONS: Final = ("path_latency",)
"""Causes that only a comparison with the healthy twin shows."""


def measured(every: dict[str, Combination], names: Sequence[str], kernel: str | None) -> list[FaultRun]:
    """Measure the faults on this machine, or in guests that boot the kernel."""
    with tempfile.TemporaryDirectory(prefix="perfcheck-faults.") as folder:
        events = Path(folder) / "events.jsonl"
        with Runner.create(RunOptions(events=events, kernel=kernel)) as runner:
            bench = FaultBench(runner, events)
            return [_one(bench, every, every[name]) for name in names]


def _one(bench: FaultBench, every: dict[str, Combination], fault: Combination) -> FaultRun:
    twins = []
    if fault.causes[0] in COMPARISONS and fault.twin is not None:
        twin = bench.run(every[fault.twin])
        twins = [compared_values(twin.record)] if twin.counts and twin.record is not None else []
    found = bench.run(fault, twins)
    say(f"# {fault.name}: {_named(found)}")
    return found


def _named(run: FaultRun) -> str:
    """Return the most probable cause, and what emulated the link."""
    if run.record is None or not run.counts:
        return f"not measured: {str(run.problem).splitlines()[0][:100]}"
    first = (run.against_twin or run.record.diagnosis)[0]
    return f"{first.cause} {first.confidence:.2f}"


def _emulator(run: FaultRun) -> str:
    return "" if run.record is None else ", ".join(run.record.environment.get("emulators", ()))


def main() -> int:
    """Measure, and print the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--kernel", required=True, metavar="NAME", help="a kernel of the store")
    parser.add_argument("faults", nargs="*", default=list(FAULTS), metavar="FAULT")
    arguments = parser.parse_args()
    every = {each.name: each for each in combinations(load_library(default_folder()))}
    try:
        guest = measured(every, arguments.faults, arguments.kernel)
        here = measured(every, arguments.faults, None)
    except PerfcheckError as error:
        complain(str(error))
        return error.exit_status
    say("| fault | on this machine | in the guest |")
    say("|---|---|---|")
    for name, own, other in zip(arguments.faults, here, guest, strict=True):
        say(f"| `{name}` | {_named(own)} ({_emulator(own)}) | {_named(other)} ({_emulator(other)}) |")
    alike = (_named(own).split()[0] == _named(other).split()[0] for own, other in zip(here, guest, strict=True))
    return 0 if all(alike) else 1


if __name__ == "__main__":
    sys.exit(main())

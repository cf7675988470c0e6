"""Boots of one kernel, each measuring loads past known slowdowns, kept as JSON lines: what error rates are counted on.

    python tests/bench/kernel_pool.py slowdowns|unchanged --boots N [--first I] [--at-once N] [--command-line NAME]

A boot that is in the file is not made again. Guests count instructions as time, so this may run beside anything.
"""

from __future__ import annotations

import argparse
import json
import re
import sys
import tempfile
import time
from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Final

from perfcheck.kernels.store import KernelStore
from perfcheck.model.scenario import Scenario
from perfcheck.runner.cost import CostBench, GuestKernel
from perfcheck.scenario import load_all

HERE: Final = Path(__file__).parent
KEPT: Final = HERE / "campaign" / "kernels"
COMMAND_LINES: Final[Mapping[str, tuple[str, ...]]] = {
    "none": (),
    "other": ("perfcheck.unused=1234567890abcdefghijklmnopqrstuvwxyz", "audit=0"),
}
"""Words that change nothing on the path, but where things lie."""


class Quiet:
    """A Progress that says nothing."""

    def stage(self, scenario: Scenario, text: str, done: int, total: int) -> None:
        """Ignore."""


def bench(file: Path, kernel: str, command_line: tuple[str, ...]) -> CostBench:
    """Return the bench of a pool's scenario."""
    text = re.sub(r"BPF(\d+)", lambda found: additions(int(found[1])), file.read_text(encoding="utf-8"))
    with tempfile.NamedTemporaryFile("w", suffix=".yaml") as written:
        written.write(text)
        written.flush()
        (loaded,) = load_all([Path(written.name)], commands=True, trace_outside=False)
    guest = GuestKernel(kernel=KernelStore.create().get(kernel), command_line=command_line)
    return CostBench(loaded.scenarios[0], guest, Quiet())


def additions(count: int) -> str:
    """Return a program for tc: so many additions, then "no action", so that the packet goes on."""
    return ",".join([f"{count + 1}", *["4 0 0 1"] * count, "6 0 0 0"])


def main() -> int:
    """Make the boots that are missing."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("pool", choices=("slowdowns", "unchanged"))
    parser.add_argument("--kernel", default="6.12-cloud")
    parser.add_argument("--command-line", action="append", choices=tuple(COMMAND_LINES), help="default: all")
    parser.add_argument("--boots", type=int, required=True)
    parser.add_argument("--first", type=int, default=0)
    parser.add_argument("--at-once", type=int, default=2, help="guests side by side")
    parser.add_argument("--output", type=Path, help="default: the file that is kept")
    arguments = parser.parse_args()
    names = arguments.command_line or list(COMMAND_LINES)
    output: Path = arguments.output or KEPT / f"{arguments.pool}.jsonl"
    output.parent.mkdir(parents=True, exist_ok=True)
    lines = output.read_text(encoding="utf-8").splitlines() if output.exists() else []
    have = {(row["command_line"], row["index"]) for row in map(json.loads, lines)}
    file = HERE / f"kernel_{arguments.pool}.yaml"
    benches = {name: bench(file, arguments.kernel, COMMAND_LINES[name]) for name in names}
    indices = range(arguments.first, arguments.first + arguments.boots)
    wanted = [(name, index) for index in indices for name in names if (name, index) not in have]

    def boot(job: tuple[str, int]) -> tuple[str, int, float, Mapping[str, float]]:
        began_s = time.monotonic()
        trial = benches[job[0]].measured(job[1])
        return *job, time.monotonic() - began_s, trial.figures

    with ThreadPoolExecutor(arguments.at_once) as workers, output.open("a", encoding="utf-8") as out:
        for name, index, took_s, figures in workers.map(boot, wanted):
            kept = {key: round(value, 6) for key, value in figures.items() if "@" in key}
            row = {"command_line": name, "index": index, "wall_s": round(took_s, 1), "figures": kept}
            out.write(json.dumps(row) + "\n")
            out.flush()
    return 0


if __name__ == "__main__":
    sys.exit(main())

"""Time around the traffic of each shipped scenario: lab up, programs attached, lab down, everything judged.

Run it by `make bench`, on a machine that does nothing else. Cold is the first scenario of a session, with
the attachment of collectors; the others are warm.
"""

from __future__ import annotations

import argparse
import statistics
import sys
import time
from pathlib import Path
from typing import Final

from rich.console import Console
from rich.table import Table

from perfcheck.model.scenario import Scenario
from perfcheck.runner import Runner, RunOptions
from perfcheck.scenario import load_all
from perfcheck.system import fingerprint

AIM_S: Final = 0.5


class StageClock:
    """A Progress that writes down when each stage began."""

    def __init__(self) -> None:
        """Begin with no stage."""
        self.began: list[tuple[str, float]] = []

    def stage(self, scenario: Scenario, text: str, done: int, total: int) -> None:
        """Write down the stage."""
        self.began.append((text, time.perf_counter()))


def main() -> int:
    """Print one row a scenario; gives 0."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("files", nargs="*", type=Path, default=[Path("scenarios")])
    parser.add_argument("--rounds", type=int, default=3)
    arguments = parser.parse_args()
    scenarios = [scenario for file in load_all(arguments.files) for scenario in file.scenarios]
    rows: dict[str, list[float]] = {scenario.label: [] for scenario in scenarios}
    attached_s = 0.0
    first = True
    clock = StageClock()
    with Runner.create(RunOptions(repeat=1), clock) as runner:
        for _ in range(arguments.rounds):
            for scenario in scenarios:
                clock.began.clear()
                began = time.perf_counter()
                record = runner.run(scenario)
                around = time.perf_counter() - began - sum(trial.traffic_s for trial in record.trials)
                if first:
                    times = dict(clock.began)
                    attached_s = times["building hosts and links"] - times["attaching collectors"]
                    first = False
                    print(f"first scenario of the session ({scenario.label}): {around:.3f} s around its traffic, "
                          f"{attached_s:.3f} s of it to attach the collectors")  # fmt: skip
                    continue
                rows[scenario.label].append(around / len(record.trials))
                print(f"{scenario.label}: {rows[scenario.label][-1]:.3f} s", file=sys.stderr)
    table = Table("scenario", "runs", "median s", "max s", title=f"around the traffic, warm (aim: {AIM_S} s)", box=None)
    for label, seconds in rows.items():
        if seconds:
            table.add_row(label, str(len(seconds)), f"{statistics.median(seconds):.3f}", f"{max(seconds):.3f}")
    environment = fingerprint()
    console = Console(width=120)
    console.print(table)
    console.print(", ".join(str(environment.get(key)) for key in ("kernel.release", "cpu.model", "cpu.count")))
    return 0


if __name__ == "__main__":
    sys.exit(main())

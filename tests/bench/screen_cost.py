"""What the screen of `perfctl top` takes of a CPU: made-up intervals of a second each, in a pseudo-terminal.

    python tests/bench/screen_cost.py [--seconds 30]

The figures are of drawing, alerts and the diagnosis; measuring is apart (`perfctl_many_flows.py`).
"""

from __future__ import annotations

import argparse
import json
import sys
import tempfile
import time
from pathlib import Path
from typing import Final

import numpy as np
from screen_load import WARM_UP, in_terminal, ready_file, screen_argv

from perfcheck.system.clock import wait_until

CASES: Final = (
    (1000, (80, 24), "connection", ""), (1000, (160, 50), "connection", ""), (1000, (160, 50), "process", ""),
    (1000, (160, 50), "connection", "nginx"), (10_000, (80, 24), "connection", ""),
    (10_000, (160, 50), "connection", ""),
)  # fmt: skip


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seconds", type=float, default=30.0)
    args = parser.parse_args()
    print("  flows  terminal  rows        filter  % of a CPU  frame ms p50/max  update ms p50/max   kB/s      MB")
    for flows, size, by, wanted in CASES:
        measure(flows, size, by, wanted, args.seconds)
    return 0


def measure(flows: int, size: tuple[int, int], by: str, wanted: str, seconds: float) -> None:
    """Print a line on one screen."""
    with tempfile.TemporaryDirectory() as folder:
        told = Path(folder) / "times"
        argv = screen_argv(told, flows=flows, churn=flows // 100, group_by=by, filter_=wanted)
        with in_terminal(argv, size) as terminal:
            assert wait_until(ready_file(told).exists, timeout_s=60)
            cpu, begun, written = terminal.cpu_s(), time.monotonic(), terminal.written
            time.sleep(seconds)
            took = time.monotonic() - begun
            used = 100 * (terminal.cpu_s() - cpu) / took
            rate, memory = (terminal.written - written) / took / 1e3, terminal.resident_mb()
            terminal.press("q")
            assert terminal.process.wait(20) == 0
        times = json.loads(told.read_text())
    frames, updates = (np.array(times[name][WARM_UP:]) for name in ("frames", "updates"))
    where, texts = f"{size[0]}x{size[1]}", [f"{np.median(each):.1f}/{each.max():.1f}" for each in (frames, updates)]
    print(f"{flows:7,}  {where:>8}  {by:<10}  {wanted or '-':<6}  {used:10.2f}  {texts[0]:>16}  {texts[1]:>17}  "
          f"{rate:5.1f}  {memory:6.0f}", flush=True)  # fmt: skip


if __name__ == "__main__":
    sys.exit(main())

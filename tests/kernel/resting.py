"""A core that rests, alone in its process, and what the kernel's own accounts say that it took; and such accounts."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from collections.abc import Collection, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final, Literal

import attaching
from collect_lab import pair

from perfcheck.collect import prepare
from perfcheck.collect.session import Core
from perfcheck.ebpf.run_stats import RunClock
from perfcheck.model.budget import Budget

LOOKS: Final = 4
LOOK_S: Final = 1.0
Mode = Literal["summary", "both"]


@contextmanager
def attached(mode: Mode, budget: Budget, window_s: float = 1.0, clock: RunClock | None = None) -> Iterator[Core]:
    """All collectors that this machine has, attached; `clock` instead of their own."""
    prepare("all", mode)
    with attaching.attached("all", mode, clock) as opened:
        yield Core(opened, budget, window_s)


def program_accounts() -> dict[int, Mapping[str, int]]:
    """What the kernel says of each BPF program that this process has a descriptor of (fdinfo), by its id."""
    texts = []
    for entry in Path("/proc/self/fdinfo").iterdir():
        try:
            texts.append(entry.read_text(encoding="ascii"))
        except FileNotFoundError:  # the descriptor of the listing itself
            continue
    pairs = [[line.split(":\t") for line in text.splitlines() if ":\t" in line] for text in texts]
    accounts = [
        {key: int(value) for key, value in one if key in {"prog_id", "run_time_ns", "run_cnt"}}
        for one in pairs
        if "run_cnt" in dict(one)
    ]  # fmt: skip
    return {one["prog_id"]: one for one in accounts}


def calls_since(before: Mapping[int, Mapping[str, int]], others: Collection[int]) -> int:
    """Calls of all programs but `others` since accounts were read; a program without one was loaded since."""
    now = {number: one["run_cnt"] for number, one in program_accounts().items() if number not in others}
    return sum(calls - before.get(number, {}).get("run_cnt", 0) for number, calls in now.items())


def programs_s() -> float:
    """Run time of all BPF programs that this process has loaded."""
    return sum(one["run_time_ns"] for one in program_accounts().values()) / 1e9


@dataclass(frozen=True, slots=True, kw_only=True)
class Rest:
    """What a core at rest took of one CPU in each look, by the kernel, and what it said itself.

    `programs` are the calls of each collector's BPF programs, of all collectors that ended; `loaded` names those that
    had any in the kernel.
    """

    process_pct: list[float]
    programs_pct: list[float]
    spent: dict[str, Any]
    programs: dict[str, int]
    loaded: list[str]

    @property
    def theirs_pct(self) -> list[float]:
        """The process and its programs together, look by look."""
        return [process + programs for process, programs in zip(self.process_pct, self.programs_pct, strict=True)]


def rested(mode: Mode, budget_pct: float, settled_s: float) -> Rest:
    """Rest in a process of its own: a test runner's threads and garbage are no part of the core."""
    done = subprocess.run(
        [sys.executable, __file__, mode, str(budget_pct), str(settled_s)],
        check=True, capture_output=True, text=True, timeout=120,
        # What tests share is found by pytest's setting alone.
        env={**os.environ, "PYTHONPATH": str(Path(attaching.__file__).parent)},
    )  # fmt: skip
    return Rest(**json.loads(done.stdout))


def main(mode: Mode, budget_pct: float, settled_s: float) -> None:
    """Rest, and print it."""
    with pair() as hosts, attached(mode, Budget(cpu_pct=budget_pct)) as core:
        core.begin(hosts.scope())
        # Not waited for but slept through: at rest nothing happens that could be waited for.
        time.sleep(settled_s)
        shares: list[tuple[float, float]] = []
        for _ in range(LOOKS):
            # To read what the programs took is no part of what the process does.
            programs_before_s = programs_s()
            began_s, process_before_s = time.monotonic(), time.process_time()
            time.sleep(LOOK_S)
            process, seconds = time.process_time() - process_before_s, time.monotonic() - began_s
            shares.append((100 * process / seconds, 100 * (programs_s() - programs_before_s) / seconds))
        seen = core.end()
    spent = core.spending
    sys.stdout.write(json.dumps({
        "process_pct": [process for process, _ in shares], "programs_pct": [programs for _, programs in shares],
        "spent": {
            "rest_s": spent.rest_s, "rest_cpu_s": spent.rest_cpu_s, "still_pct": spent.still_pct,
            "shed": [[one.collector, one.stopped, one.why] for one in spent.shed],
        },
        "programs": {one.collector: sum(cost.calls for cost in one.overhead.programs) for one in seen},
        "loaded": [one.collector for one in seen if one.overhead.programs],
    }))  # fmt: skip


if __name__ == "__main__":
    main("both" if sys.argv[1] == "both" else "summary", float(sys.argv[2]), float(sys.argv[3]))

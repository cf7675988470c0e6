"""Saturated traffic in which modes of the core take turns within one transfer, so that only the core differs.

Part of `make bench-overhead` (bench_modes.py). Two things change goodput more than any core does: where the scheduler
puts iperf3's two processes, and how long a queue of segments grows. So each process is pinned to a CPU, and the
socket buffers are so small that nothing is lost and the data stay in the CPUs' caches.
"""

from __future__ import annotations

import os
import random
import statistics
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Final

from perfcheck.lab import Lab
from perfcheck.system.clock import wait_until

SETTLE_S: Final = 0.6
WINDOW_S: Final = 0.8
SLACK_S: Final = 5
RESAMPLED: Final = 2000
BUFFER: Final = "256K"


@contextmanager
def saturating(lab: Lab, seconds: float, options: Sequence[str] = ()) -> Iterator[int]:
    """Have iperf3 send as fast as it goes for as long as the block lasts, at most `seconds`; gives the server's id."""
    client, server = lab.hosts["client"], lab.hosts["server"]
    serving = server.popen(["iperf3", "-s", "-1"])
    try:
        if not wait_until(lambda: server.listening(5201), timeout_s=10):
            raise SystemExit("iperf3 does not listen")
        argv = ["iperf3", "-c", server.address_towards("client"), "-C", "cubic", "-t", str(round(seconds) + SLACK_S)]
        running = client.popen([*argv, *options])
        try:
            yield serving.pid
        finally:
            running.terminate()
            running.communicate()
    finally:
        serving.terminate()
        serving.communicate()


def steady_options() -> tuple[str, ...]:
    """Return what holds iperf3's processes to a CPU each, where there are two, and its socket buffers small."""
    first, *others = sorted(os.sched_getaffinity(0))
    return ("-w", BUFFER, *(("-A", f"{first},{others[0]}") if others else ()))


def goodput_bps(server_pid: int, seconds: float = WINDOW_S) -> float:
    """Return the rate at which bytes arrive at the server's interface from now on, headers included, in bit/s."""
    began_s, before = time.monotonic(), _received_bytes(server_pid)
    time.sleep(seconds)
    bits = 8 * (_received_bytes(server_pid) - before)
    return bits / (time.monotonic() - began_s)


def _received_bytes(pid: int) -> int:
    rows = (line.partition(":") for line in Path(f"/proc/{pid}/net/dev").read_text(encoding="ascii").splitlines()[2:])
    return sum(int(values.split()[0]) for name, _, values in rows if name.strip() != "lo")


def median_interval(values: Sequence[float]) -> tuple[float, float]:
    """Return the 95 % interval of the median, by resampling (always the same way)."""
    chance = random.Random(1)  # noqa: S311 - nothing secret
    medians = sorted(statistics.median(chance.choices(values, k=len(values))) for _ in range(RESAMPLED))
    return medians[RESAMPLED // 40], medians[-RESAMPLED // 40 - 1]

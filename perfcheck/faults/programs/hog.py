"""Keep CPUs busy: `hog.py --processes 4 --seconds 4 [--nice N | --realtime] [--work-ms W --rest-ms R]`."""

from __future__ import annotations

import argparse
import os
import time


def main() -> None:
    """Start the processes and wait for their end."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--processes", type=int, default=2)
    parser.add_argument("--seconds", type=float, default=4.0)
    parser.add_argument("--nice", type=int, default=0)
    parser.add_argument("--realtime", action="store_true", help="run before all ordinary processes (SCHED_FIFO)")
    parser.add_argument("--work-ms", type=float, default=1000.0)
    parser.add_argument("--rest-ms", type=float, default=0.0)
    options = parser.parse_args()
    end = time.monotonic() + options.seconds
    children = []
    for _ in range(options.processes):
        child = os.fork()
        if child == 0:
            os.nice(options.nice)
            if options.realtime:
                os.sched_setscheduler(0, os.SCHED_FIFO, os.sched_param(1))
            burn(end, options.work_ms / 1e3, options.rest_ms / 1e3)
            os._exit(0)
        children.append(child)
    for child in children:
        os.waitpid(child, 0)


def burn(end: float, work_s: float, rest_s: float) -> None:
    """Compute and rest in turn until the end."""
    while (now := time.monotonic()) < end:
        until = min(now + work_s, end)
        while time.monotonic() < until:
            sum(range(1000))
        if rest_s:
            time.sleep(rest_s)


if __name__ == "__main__":
    main()

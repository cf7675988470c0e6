"""Run a command as a poor neighbour would: `wrap.py --stop-ms 900 --run-ms 150 -- COMMAND`.

It is stopped and continued in turn (as a debugger or a suspended virtual machine is), or has a CPU quota of a control
group of its own (`--quota-pct 5`), or runs in another scheduling class (`--idle`). It ends with this process.
"""

from __future__ import annotations

import argparse
import contextlib
import os
import signal
import subprocess
import time
from pathlib import Path

GROUPS = Path("/sys/fs/cgroup/cpu")
"""The CPU controller, version 1."""


def main() -> None:
    """Run the command until it ends or this process is told to end."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--run-ms", type=float, default=0.0)
    parser.add_argument("--stop-ms", type=float, default=0.0)
    parser.add_argument("--quota-pct", type=float, default=0.0, help="percent of one CPU")
    parser.add_argument("--after-ms", type=float, default=900.0, help="the quota holds from then on: a start needs CPU")
    parser.add_argument("--period-ms", type=float, default=100.0)
    parser.add_argument("--idle", action="store_true", help="run when no ordinary process wants to (SCHED_IDLE)")
    parser.add_argument("command", nargs=argparse.REMAINDER)
    options = parser.parse_args()
    words = options.command[1:] if options.command[:1] == ["--"] else options.command
    signal.signal(signal.SIGTERM, ended)
    group = made_group() if options.quota_pct else None
    child = None
    try:
        child = subprocess.Popen(words, preexec_fn=lambda: prepare(options, group))  # noqa: PLW1509 - no threads here
        if group is not None:
            time.sleep(options.after_ms / 1e3)
            limit(group, options)
        while child.poll() is None:
            if not options.stop_ms:
                child.wait()
                break
            time.sleep(options.run_ms / 1e3)
            child.send_signal(signal.SIGSTOP)
            time.sleep(options.stop_ms / 1e3)
            child.send_signal(signal.SIGCONT)
    finally:
        if child is not None:
            child.kill()
            child.wait()
        if group is not None:
            removed(group)


def ended(*_: object) -> None:
    """End by the usual way out, so that the child and its group go, too."""
    raise SystemExit(0)


def made_group() -> Path:
    """Make a control group."""
    group = GROUPS / f"pc-quota-{os.getpid()}"
    group.mkdir()
    return group


def limit(group: Path, options: argparse.Namespace) -> None:
    """Give the group its quota."""
    period_us = options.period_ms * 1e3
    (group / "cpu.cfs_period_us").write_text(str(round(period_us)))
    (group / "cpu.cfs_quota_us").write_text(str(round(max(1000.0, period_us * options.quota_pct / 100))))


def prepare(options: argparse.Namespace, group: Path | None) -> None:
    """Put the child where it belongs, before it runs."""
    if group is not None:
        (group / "cgroup.procs").write_text(str(os.getpid()))
    if options.idle:
        os.sched_setscheduler(0, os.SCHED_IDLE, os.sched_param(0))


def removed(group: Path) -> None:
    """Remove the group once nothing is in it."""
    until = time.monotonic() + 1.0
    while time.monotonic() < until:
        with contextlib.suppress(OSError):
            group.rmdir()
            return
        time.sleep(0.01)


if __name__ == "__main__":
    main()

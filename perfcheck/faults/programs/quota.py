"""Run a command with a share of a CPU: `quota.py --percent 20 --period-ms 100 -- COMMAND ...`, by a control group.

The group is of the cpu controller, of version 1 (/sys/fs/cgroup/cpu) or 2; it is removed when the command has ended.
"""

from __future__ import annotations

import argparse
import contextlib
import os
import signal
import sys
import time
from pathlib import Path

VERSION_1 = Path("/sys/fs/cgroup/cpu")
VERSION_2 = Path("/sys/fs/cgroup")
REMOVAL_S = 2.0


def main() -> None:
    """Make the group, run the command in it, pass on what ends this program, and remove the group."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--percent", type=float, default=20.0, help="of one CPU")
    parser.add_argument("--period-ms", type=float, default=100.0)
    parser.add_argument("command", nargs=argparse.REMAINDER)
    options = parser.parse_args()
    command = [word for place, word in enumerate(options.command) if (place, word) != (0, "--")]
    parent = VERSION_1 if VERSION_1.is_dir() else VERSION_2
    group = parent / f"perfcheck-quota-{os.getpid()}"
    group.mkdir()
    period = round(options.period_ms * 1000)
    quota = max(1000, round(period * options.percent / 100))
    if parent == VERSION_1:
        (group / "cpu.cfs_period_us").write_text(str(period))
        (group / "cpu.cfs_quota_us").write_text(str(quota))
    else:
        (group / "cpu.max").write_text(f"{quota} {period}")
    child = os.fork()
    if child == 0:
        (group / "cgroup.procs").write_text(str(os.getpid()))
        os.execvp(command[0], command)  # noqa: S606 - what the caller asked for, without a shell
    signal.signal(signal.SIGTERM, lambda *_: os.kill(child, signal.SIGTERM))
    status = os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
    removed(group)
    sys.exit(max(status, 0))


def removed(group: Path) -> None:
    """End what is left in the group and remove it."""
    end = time.monotonic() + REMOVAL_S
    while group.exists() and time.monotonic() < end:
        with contextlib.suppress(OSError):
            for pid in (group / "cgroup.procs").read_text().split():
                os.kill(int(pid), signal.SIGKILL)
        with contextlib.suppress(OSError):
            group.rmdir()
        time.sleep(0.02)


if __name__ == "__main__":
    main()

"""Who runs first in a guest whose processes take turns."""

from __future__ import annotations

from stored_kernel import stored_kernel, write_smallest

from perfcheck.kernels.guest import GuestOptions, boot
from perfcheck.kernels.job import Step

NORMAL, FIFO = 0, 1
"""Policies of the scheduler, as the kernel numbers them."""


def scheduled(line: str) -> tuple[int, int]:
    """Return the policy and real-time priority in a line of /proc/PID/stat."""
    fields = line.rpartition(")")[2].split()
    return int(fields[38]), int(fields[37])


def test_softirqs_go_before_processes_that_take_turns_and_only_there() -> None:
    # A thread may have ended before it is read.
    everybody = Step(kind="run", arguments=("sh", "-c", "cat /proc/[0-9]*/stat"), may_fail=True)
    in_turns = Step(kind="run", arguments=("cat", "/proc/self/stat"), in_turns=True)
    run = boot(stored_kernel(), write_smallest, (everybody, in_turns, everybody), GuestOptions(memory_mb=512))
    before, itself, after = (report.text.splitlines() for report in run.report.steps)
    assert [scheduled(line) for line in before if "(ksoftirqd/0)" in line] == [(NORMAL, 0)]
    assert [scheduled(line) for line in itself] == [(FIFO, 1)]
    assert [scheduled(line) for line in after if "(ksoftirqd/0)" in line] == [(FIFO, 2)]

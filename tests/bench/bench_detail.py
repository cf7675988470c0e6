"""How fast detail mode reads its ring buffer, and whether every record is counted.

Run it by `make bench-detail`, on a machine that does nothing else. The kernel writes the records: a BPF program, some
for each system call of a process on the other CPU. The reader has one CPU and returns numpy arrays of records.
"""

from __future__ import annotations

import argparse
import os
import time
from dataclasses import dataclass
from typing import Final

import numpy as np
from rich.console import Console
from rich.table import Table
from ring_producer import Producer, cpus, producer

from perfcheck.collect.detail.collector import RING_BYTES
from perfcheck.ebpf.ringbuf import HEADER_BYTES, RecordRing
from perfcheck.system import fingerprint

GOAL_PER_S: Final = 3_000_000
TINY_BYTES: Final = 1 << 14


@dataclass(frozen=True, slots=True, kw_only=True)
class Run:
    """One run: how many records, in which time, and what of the reader's CPU it took."""

    attempts: int
    taken: int
    lost: int
    wall_s: float
    cpu_s: float
    in_order: bool


def run_once(writer: Producer, calls: int, records: int, pause_s: float) -> Run:
    """Empty the ring while the other CPU fills it; each record's own number tells whether it comes in turn."""
    allowed = cpus()
    os.sched_setaffinity(0, {allowed[0]})
    before, lost_before = writer.attempts, writer.lost
    taken, last, in_order = 0, before - 1, True
    try:
        with writer.writing(calls, records, allowed[-1]) as process:
            started_s, cpu_before_s = time.monotonic(), time.thread_time()
            ended = False
            while True:
                batch = writer.ring.take()
                if len(batch):
                    taken += len(batch)
                    in_order &= int(batch["ns"][0]) > last and bool((np.diff(batch["ns"]) > 0).all())
                    last = int(batch["ns"][-1])
                elif ended:
                    break
                ended = process.poll() is not None
                if pause_s and not ended:
                    time.sleep(pause_s)
            wall_s, cpu_s = time.monotonic() - started_s, time.thread_time() - cpu_before_s
    finally:
        os.sched_setaffinity(0, set(allowed))
    return Run(
        attempts=writer.attempts - before, taken=taken, lost=writer.lost - lost_before, wall_s=wall_s, cpu_s=cpu_s,
        in_order=in_order,
    )  # fmt: skip


def decode_only(record: np.dtype[np.void], batches: int) -> float:
    """Return records a CPU second where the ring lies in this process's own memory and is always full."""
    ring = RecordRing(np.zeros(2 * RING_BYTES, np.uint8), record)
    full = np.zeros(2 * RING_BYTES, np.uint8)
    full.view("<u4")[:: ring.stride_bytes // 4] = ring.stride_bytes - HEADER_BYTES
    ring = RecordRing(full, record)
    before_s, taken = time.thread_time(), 0
    for number in range(batches):
        start = number * 4096 * ring.stride_bytes
        taken += len(ring.take(start, start + 4096 * ring.stride_bytes).records)
    return taken / (time.thread_time() - before_s)


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--records", type=int, default=10_000_000, help="how many the kernel writes in each run")
    total = parser.parse_args().records
    table = Table("run", "written", "read", "lost", "read + lost", "M records/s", "M a CPU second", "in order")
    with producer(RING_BYTES) as writer:
        for label, records, pause_s in (
            ("2 records a call, looked at every ms", 2, 0.001),
            ("8 records a call, looked at every ms", 8, 0.001),
            ("64 records a call, read without a pause", 64, 0.0),
        ):
            _add(table, label, run_once(writer, total // records, records, pause_s))
        record = writer.ring.record
    with producer(TINY_BYTES) as writer:
        _add(table, f"a ring of {TINY_BYTES >> 10} kB, every 10 ms", run_once(writer, total // 160, 16, 0.01))
    console = Console(width=160)
    console.print(table)
    console.print(f"decoding alone: {decode_only(record, 4000) / 1e6:.1f} M records a CPU second")
    console.print(f"goal: {GOAL_PER_S / 1e6:g} M records/s on one CPU with none lost")
    machine = fingerprint()
    console.print(f"{machine['cpu.model']}, {machine['cpu.count']} CPUs, kernel {machine['kernel.release']}")


def _add(table: Table, label: str, run: Run) -> None:
    table.add_row(
        label, f"{run.attempts:,}", f"{run.taken:,}", f"{run.lost:,}",
        "= written" if run.taken + run.lost == run.attempts else "NOT WHAT WAS WRITTEN",
        f"{run.taken / run.wall_s / 1e6:.2f}", f"{run.taken / run.cpu_s / 1e6:.1f}", "yes" if run.in_order else "NO",
    )  # fmt: skip


if __name__ == "__main__":
    main()

"""A kernel that writes records of detail mode as fast as it can: for the benchmark and the test of the reader."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Final

from perfcheck.collect.base import programs
from perfcheck.ebpf import cache
from perfcheck.ebpf.image import Image, from_json
from perfcheck.ebpf.object import BpfObject
from perfcheck.ebpf.ringbuf import MappedRing

SOURCE: Final = Path(__file__).with_name("ring_producer.bpf.c")
MOST_RECORDS: Final = 64
CALLING: Final = """
import os, sys
if len(sys.argv) > 2:
    os.sched_setaffinity(0, {int(sys.argv[2])})
sys.stdout.write("ready\\n"); sys.stdout.flush()
sys.stdin.readline()
call = os.getppid
for _ in range(int(sys.argv[1])):
    call()
"""
"""Makes so many system calls, which do nothing, on the chosen CPU."""


def image() -> Image:
    """Compile the producer behind detail mode's own sources."""
    sources = [cache.sources() / "scope.bpf.c", cache.sources() / "detail.bpf.c", SOURCE]
    argv = [sys.executable, "-m", "perfcheck.ebpf.compile", str(cache.VMLINUX), *map(str, sources)]
    return from_json(subprocess.run(argv, check=True, capture_output=True, text=True).stdout)


class Producer:
    """The programs, attached; `calls` of another process write `records` each."""

    def __init__(self, loaded: BpfObject) -> None:
        """Take the loaded object."""
        self._loaded = loaded
        self._burst = loaded.view("burst")[0]
        self.ring: MappedRing = loaded.ring("events")

    @property
    def attempts(self) -> int:
        """How many records were written or lost."""
        return int(self._burst["attempts"])

    @property
    def lost(self) -> int:
        """How many found no room."""
        return int(self._loaded.view("lost")["events"].sum())

    @contextmanager
    def writing(self, calls: int, records: int, cpu: int | None = None) -> Iterator[subprocess.Popen[str]]:
        """Let a process make its calls while the block runs; it waits for their end."""
        argv = [sys.executable, "-c", CALLING, str(calls), *([] if cpu is None else [str(cpu)])]
        with subprocess.Popen(argv, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as process:
            assert process.stdin is not None
            assert process.stdout is not None
            process.stdout.readline()
            self._burst["records"], self._burst["tgid"] = records, process.pid
            process.stdin.write("\n")
            process.stdin.flush()
            yield process
            process.wait()
        self._burst["tgid"] = 0


@contextmanager
def producer(ring_bytes: int) -> Iterator[Producer]:
    """The producer, loaded and attached."""
    loaded = BpfObject(
        image(), {"events": ring_bytes, "lost": programs.cpu_count(), "sending": 8 * programs.cpu_count()}
    )
    try:
        yield Producer(loaded)
    finally:
        loaded.close()


def cpus() -> list[int]:
    """The CPUs that this process may use."""
    return sorted(os.sched_getaffinity(0))

"""Programs that spend a known time where the kernel attaches them: bpf_stats says how long, and how often."""

from __future__ import annotations

import contextlib
import ctypes
import os
import struct
from collections.abc import Callable, Iterator

from perfcheck.ebpf import functions
from perfcheck.ebpf.libbpf import ATTACH_FENTRY, ATTACH_RAW_TP, Libbpf, RunCounters

_READ_CLOCK = struct.pack("<BBhi", 0x85, 0, 0, 5)  # call bpf_ktime_get_ns
_RETURN_0 = struct.pack("<BBhiBBhi", 0xB7, 0, 0, 0, 0x95, 0, 0, 0)

Spent = Callable[[], RunCounters]


@contextlib.contextmanager
def slowed_function(name: str, *, clock_reads: int) -> Iterator[Spent]:
    """Have the kernel read its clock so often at the function's begin.

    What was attached first runs last: this has to be before the collector's.
    """
    with functions.found(name) as place, _slowed(ATTACH_FENTRY, place.btf_id, place.btf_fd, clock_reads) as spent:
        yield spent


@contextlib.contextmanager
def slowed_tracepoint(name: str, *, clock_reads: int) -> Iterator[Spent]:
    """Have the kernel read its clock so often at the tracepoint, whoever passes it."""
    btf_id = ctypes.CDLL("libbpf.so.1").libbpf_find_vmlinux_btf_id(name.encode(), ATTACH_RAW_TP)
    assert btf_id > 0, os.strerror(-btf_id)
    with _slowed(ATTACH_RAW_TP, btf_id, 0, clock_reads) as spent:
        yield spent


@contextlib.contextmanager
def _slowed(attach: int, btf_id: int, btf_fd: int, clock_reads: int) -> Iterator[Spent]:
    lib = Libbpf()
    with contextlib.ExitStack() as stack:
        stack.callback(os.close, lib.enable_stats())
        program = lib.prog_load("slow", clock_reads * _READ_CLOCK + _RETURN_0, attach, btf_id, btf_fd=btf_fd)
        stack.callback(os.close, program)
        stack.callback(os.close, lib.attach_tracepoint(program))
        yield lambda: lib.run_counters(program)

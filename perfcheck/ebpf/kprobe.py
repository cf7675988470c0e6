"""Attaches programs to the start and the return of a function by kprobe and kretprobe, through perf's event source.

The event has no name and disappears with its descriptor, so nothing stays in tracefs. x86-64 only, like the
programs.
"""

from __future__ import annotations

import ctypes
import os
import platform
import struct
from pathlib import Path
from typing import Final

from perfcheck.ebpf.libbpf import Libbpf
from perfcheck.errors import Unavailable

PROG_KPROBE: Final = 2  # BPF_PROG_TYPE_KPROBE
_PERF_EVENT: Final = 41  # BPF_PERF_EVENT
_SOURCE: Final = Path("/sys/bus/event_source/devices/kprobe")
_MACHINE: Final = "x86_64"
_PERF_EVENT_OPEN: Final = 298  # of x86-64
_CLOEXEC: Final = 1 << 3  # PERF_FLAG_FD_CLOEXEC
_ATTR: Final = struct.Struct("=IIQQQQQIIQQ")  # struct perf_event_attr as far as PERF_ATTR_SIZE_VER1
_MISSED: Final = struct.Struct("=Q")
_MISSED_AT: Final = 48  # bpf_link_info.perf_event.kprobe.missed, since 6.7
_INFO_BYTES: Final = 128


def require_source() -> None:
    """Raise Unavailable where this kernel, or perfcheck on this machine, has no kprobes."""
    if platform.machine() != _MACHINE:
        raise Unavailable("kprobes", f"perfcheck has programs for them on {_MACHINE} only", "use fentry there")
    if not _SOURCE.is_dir():
        raise Unavailable(
            "kprobes", f"{_SOURCE} is missing", "a kernel with CONFIG_KPROBES=y and CONFIG_KPROBE_EVENTS=y"
        )


def attach(lib: Libbpf, prog_fd: int, function: str, *, at_return: bool) -> int:
    """Attach to all calls of a function, on all CPUs, while the descriptor is open; OSError where that is refused."""
    name = ctypes.create_string_buffer(function.encode())
    kind = int((_SOURCE / "type").read_text(encoding="ascii"))
    bit = int((_SOURCE / "format" / "retprobe").read_text(encoding="ascii").rpartition(":")[2])
    attr = _ATTR.pack(kind, _ATTR.size, at_return << bit, 0, 0, 0, 0, 0, 0, ctypes.addressof(name), 0)
    libc = ctypes.CDLL(None, use_errno=True)
    event_fd: int = libc.syscall(_PERF_EVENT_OPEN, attr, -1, 0, -1, ctypes.c_ulong(_CLOEXEC))
    if event_fd < 0:
        number = ctypes.get_errno()
        raise OSError(number, f"perf_event_open: kprobe at {function}: {os.strerror(number)}")
    try:
        return lib.link_create(prog_fd, event_fd, _PERF_EVENT)
    finally:
        # The link keeps the event.
        os.close(event_fd)


def missed(lib: Libbpf, link_fd: int) -> int | None:
    """Return how many of the function's calls the kernel skipped (`nmissed`); None: it does not say.

    Linux says so since 6.7 (commit 3acf8ace6823).
    """
    info = lib.link_info(link_fd, _INFO_BYTES)
    if len(info) < _MISSED_AT + _MISSED.size:
        return None
    return int(_MISSED.unpack_from(info, _MISSED_AT)[0])

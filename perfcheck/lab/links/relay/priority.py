"""The relay's claim on the CPU: real-time priority that gives way, and processors that stay awake."""

from __future__ import annotations

import os
import struct
from time import process_time_ns

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Final

REALTIME_PRIORITY: Final = 1
CHECK_NS: Final = 50_000_000
GIVE_WAY_PPS: Final = 14_000
TAKE_BACK_PPS: Final = 10_000
"""Packets a second, in both directions, above and below which priority changes.

Each packet wakes the relay, and with priority that takes the CPU from the very sender or receiver which
is at work. At 100 Mbit/s (12,000 with ACKs) priority keeps p99 lateness under half of what it is without;
at 200 Mbit/s of datagrams and above it starves receivers and delays more than it helps.
"""
GIVE_WAY_SHARE: Final = 0.90
"""Share of a CPU; the kernel's own brake on real-time tasks is at 0.95 and would stop the relay for 50 ms."""
PM_QOS: Final = "/dev/cpu_dma_latency"


class RealTime:
    """SCHED_FIFO as long as the relay leaves enough of its CPU to the hosts, else the ordinary policy."""

    __slots__ = ("_cpu_ns", "_on", "_packets", "next_check_ns", "possible")

    def __init__(self, now_ns: int) -> None:
        """Take real-time priority if there is a second CPU and the kernel allows it."""
        self.possible = len(os.sched_getaffinity(0)) > 1
        self._on = False
        self._cpu_ns = process_time_ns()
        self._packets = 0
        self.next_check_ns = now_ns + CHECK_NS
        self._switch(on=True)

    def check(self, now_ns: int, packets: int) -> None:
        """Look at the load since the last check, once `next_check_ns` has come; give way or take back.

        `packets` counts all that were ever received; a smaller number than the last means that it began anew.
        """
        wall_ns = now_ns - self.next_check_ns + CHECK_NS
        cpu_ns = process_time_ns()
        share = (cpu_ns - self._cpu_ns) / wall_ns
        pps = max(0, packets - self._packets) * 10**9 / wall_ns
        self._cpu_ns = cpu_ns
        self._packets = packets
        self.next_check_ns = now_ns + CHECK_NS
        if self._on and (pps > GIVE_WAY_PPS or share > GIVE_WAY_SHARE):
            self._switch(on=False)
        elif not self._on and pps < TAKE_BACK_PPS and share < GIVE_WAY_SHARE / 2:
            self._switch(on=True)

    def _switch(self, *, on: bool) -> None:
        if not self.possible:
            return
        policy, priority = (os.SCHED_FIFO, REALTIME_PRIORITY) if on else (os.SCHED_OTHER, 0)
        try:
            os.sched_setscheduler(0, policy, os.sched_param(priority))
        except PermissionError:
            self.possible = False
        else:
            self._on = on


class Awake:
    """Asks the kernel (PM QoS) for no wake-up latency, so that idle processors poll and do not halt.

    The request lasts as long as the file is open and changes no setting. In a virtual machine a
    halted processor comes back tens of microseconds late, or milliseconds on a busy host.
    """

    __slots__ = ("_fd",)

    def __init__(self) -> None:
        """Begin without a request."""
        self._fd = -1

    def begin(self) -> bool:
        """Make the request; give whether it stands (it needs root and the device)."""
        if self._fd < 0:
            try:
                fd = os.open(PM_QOS, os.O_RDWR | os.O_CLOEXEC)
            except OSError:
                return False
            os.write(fd, struct.pack("i", 0))
            self._fd = fd
        return True

    def end(self) -> None:
        """Withdraw the request; safe to call twice."""
        if self._fd >= 0:
            os.close(self._fd)
            self._fd = -1

"""The probe's sockets: one in each host of the link, arrivals stamped by the kernel."""

from __future__ import annotations

import contextlib
import errno
import select
import socket
import struct
import time
from collections import Counter
from dataclasses import dataclass
from types import TracebackType
from typing import Final, Self

from perfcheck.errors import LabError
from perfcheck.lab.links.probe.train import Burst, Train
from perfcheck.system.netns import NetnsThread

PORT: Final = 9
"""The discard service's: nothing of the lab listens there."""
SO_TIMESTAMPNS: Final = 35
SO_RCVBUFFORCE: Final = 33
SO_SNDBUFFORCE: Final = 32
BUFFER_BYTES: Final = 64 * 2**20
UDP_SEGMENT: Final = 103
LARGEST_BATCH_BYTES: Final = 60_000
LARGEST_BATCH: Final = 60
_SIZE: Final = struct.Struct("H")
_STAMP: Final = struct.Struct("qq")
_NUMBER: Final = struct.Struct("!I")


@dataclass(frozen=True, slots=True, kw_only=True)
class Side:
    """One end of the link as the probe needs it."""

    netns_path: str
    address: str


class ProbeSocket:
    """A UDP socket bound to the probe's port inside a host, sending to the other side's."""

    def __init__(self, own: Side, peer: Side, thread: NetnsThread) -> None:
        """Open it; LabError where the address is not the host's."""
        family = socket.AF_INET6 if ":" in own.address else socket.AF_INET
        self._socket = thread.inside(own.netns_path, lambda: socket.socket(family, socket.SOCK_DGRAM))
        try:
            self._socket.setsockopt(socket.SOL_SOCKET, SO_TIMESTAMPNS, 1)
            for option in (SO_RCVBUFFORCE, SO_SNDBUFFORCE):
                self._socket.setsockopt(socket.SOL_SOCKET, option, BUFFER_BYTES)
            self._socket.bind((own.address, PORT))
            self._socket.connect((peer.address, PORT))
        except OSError as refused:
            self._socket.close()
            raise LabError(f"the link's probe cannot use {own.address}: {refused.strerror}") from None
        self._socket.setblocking(False)

    def fileno(self) -> int:
        """Return the file descriptor, for select(2)."""
        return self._socket.fileno()

    def send(self, number: int, payload_bytes: int) -> int:
        """Send one numbered packet and give when (CLOCK_REALTIME, which the kernel's stamps are in)."""
        payload = _NUMBER.pack(number) + bytes(payload_bytes - _NUMBER.size)
        now = time.time_ns()
        # A full send queue is a packet not sent: it counts as lost, as the receiver will find.
        with contextlib.suppress(BlockingIOError, ConnectionRefusedError):
            self._socket.send(payload)
        return now

    def send_batch(self, first: int, count: int, payload_bytes: int) -> list[int]:
        """Send packets numbered from `first` in one system call where the kernel can (UDP_SEGMENT); give when each."""
        padding = bytes(payload_bytes - _NUMBER.size)
        payload = b"".join(_NUMBER.pack(first + number) + padding for number in range(count))
        now = time.time_ns()
        try:
            self._socket.sendmsg([payload], [(socket.IPPROTO_UDP, UDP_SEGMENT, _SIZE.pack(payload_bytes))])
        except OSError as refused:
            # Before Linux 6.11 a device without checksum offload cannot do it (EIO).
            if refused.errno not in {errno.EIO, errno.EINVAL, errno.EMSGSIZE, errno.ENOPROTOOPT}:
                raise
            return [self.send(first + number, payload_bytes) for number in range(count)]
        return [now] * count

    def receive(self) -> list[tuple[int, int]]:
        """Return (number, arrival in CLOCK_REALTIME ns) of all packets that wait."""
        arrived: list[tuple[int, int]] = []
        while True:
            try:
                data, ancillary, _, _ = self._socket.recvmsg(_NUMBER.size, socket.CMSG_SPACE(_STAMP.size))
            except (BlockingIOError, ConnectionRefusedError):
                return arrived
            seconds, nanoseconds = _STAMP.unpack(ancillary[0][2])
            arrived.append((_NUMBER.unpack(data)[0], seconds * 10**9 + nanoseconds))

    def close(self) -> None:
        """Close it."""
        self._socket.close()


class Pair:
    """Both sockets of a link, and what was sent and arrived; packets are numbered for each direction."""

    def __init__(self, sides: tuple[Side, Side], thread: NetnsThread) -> None:
        """Open both sockets."""
        with contextlib.ExitStack() as stack:
            first = ProbeSocket(sides[0], sides[1], thread)
            stack.callback(first.close)
            second = ProbeSocket(sides[1], sides[0], thread)
            stack.callback(second.close)
            self._stack = stack.pop_all()
        self._sockets = (first, second)
        self.sent: tuple[list[int], list[int]] = ([], [])
        self.arrived: tuple[dict[int, int], dict[int, int]] = ({}, {})
        self.copies: tuple[Counter[int], Counter[int]] = (Counter(), Counter())

    def __enter__(self) -> Self:
        """Return the pair."""
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Close both sockets."""
        self._stack.close()

    def send_trains(self, trains: tuple[Train, Train]) -> None:
        """Send the trains of both directions, each packet at its time, and return after the last."""
        begin = time.monotonic_ns()
        schedule = sorted(
            (begin + number * train.gap_ns, direction, train.payload_bytes)
            for direction, train in enumerate(trains)
            for number in range(train.packets)
        )
        for due, direction, payload_bytes in schedule:
            self._receive_until(due)
            self._send(direction, payload_bytes)

    def send_burst(self, direction: int, burst: Burst) -> None:
        """Send a burst into one direction."""
        self._send_many(direction, burst.at_once, burst.payload_bytes)
        due = time.monotonic_ns()
        for _ in range(burst.chunks):
            due += burst.gap_ns
            self._send_many(direction, burst.chunk, burst.payload_bytes)
            self._receive_until(due)

    def _send(self, direction: int, payload_bytes: int) -> None:
        self.sent[direction].append(self._sockets[direction].send(len(self.sent[direction]), payload_bytes))

    def _send_many(self, direction: int, count: int, payload_bytes: int) -> None:
        sent = self.sent[direction]
        batch = max(1, min(LARGEST_BATCH, LARGEST_BATCH_BYTES // payload_bytes))
        end = len(sent) + count
        while len(sent) < end:
            sent += self._sockets[direction].send_batch(len(sent), min(batch, end - len(sent)), payload_bytes)

    def await_arrivals(self, longest_ns: int, overtaking: tuple[bool, bool]) -> None:
        """Receive until the last packet of each direction is there, or until `longest_ns` have passed.

        Where packets overtake, others may be behind the last that was sent: then until all are there.
        """
        deadline = time.monotonic_ns() + longest_ns
        while (left_ns := deadline - time.monotonic_ns()) > 0:
            if all(self._complete(direction, overtaking=overtakes) for direction, overtakes in enumerate(overtaking)):
                return
            self._receive(left_ns)

    def _complete(self, direction: int, *, overtaking: bool) -> bool:
        sent, here = self.sent[direction], self.arrived[direction]
        return len(here) == len(sent) if overtaking else not sent or len(sent) - 1 in here

    def _receive_until(self, due_ns: int) -> None:
        while (wait_ns := due_ns - time.monotonic_ns()) > 0:
            self._receive(wait_ns)

    def _receive(self, longest_ns: int) -> None:
        for ready in select.select(self._sockets, (), (), longest_ns / 1e9)[0]:
            direction = 1 - self._sockets.index(ready)
            for number, stamp in ready.receive():
                if number in self.arrived[direction]:
                    self.copies[direction][number] += 1
                else:
                    self.arrived[direction][number] = stamp

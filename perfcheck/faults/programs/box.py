"""A hop in user space: `box.py --in eth0 --drop 0.02`; packets that come in by eth0 pass this process, then go on.

They take a TUN device, as with a VPN or a virtual appliance. Without options they pass as they are.
"""

from __future__ import annotations

import argparse
import fcntl
import heapq
import os
import random
import select
import struct
import subprocess
import time

TUNSETIFF = 0x400454CA
IFF_TUN, IFF_NO_PI = 0x0001, 0x1000
TABLE = "78"
DEVICE = "box0"
LARGEST = 65536
SYN, ACK = 0x02, 0x10
TCP = 6
IPV4 = 4
IPV6_HEADER = 40
SWAP_AT_MOST_S = 0.05


class Box:
    """Decides of each packet whether and when it goes on."""

    def __init__(self, options: argparse.Namespace) -> None:
        """Hold nothing yet."""
        self._options = options
        self._random = random.Random(7)  # noqa: S311 - no secret
        self._begun = time.monotonic()
        self._waiting: list[tuple[float, int, bytes]] = []
        self._number = self._order = 0
        self._last = 0.0
        self._free_at = 0.0
        self._tokens = float(options.burst)
        self._filled_at = self._begun
        self._swapped: tuple[int, bytes] | None = None

    def take(self, packet: bytes, now: float) -> None:
        """Keep a packet until it is due, or drop it."""
        options = self._options
        if self._dropped(packet, now):
            return
        if options.mark and self._random.random() < options.mark:
            packet = marked(packet)
        due = now
        if options.bit_per_s:
            backlog = max(0.0, self._free_at - now) * options.bit_per_s / 8
            if backlog + len(packet) > options.queue:
                return
            due = self._free_at = max(now, self._free_at) + 8 * len(packet) / options.bit_per_s
        due += options.delay_ms / 1e3
        if options.jitter_ms:
            due += min(self._random.expovariate(1e3 / options.jitter_ms), 5 * options.jitter_ms / 1e3)
        if options.pause_ms:
            since = (now - self._begun) % ((options.work_ms + options.pause_ms) / 1e3)
            due = max(due, now - since + (options.work_ms + options.pause_ms) / 1e3) if self._pauses(since) else due
        if options.late and self._random.random() < options.late:
            self._hold(due + options.late_ms / 1e3, packet)
            return
        self._last = due = max(due, self._last)
        self._number += 1
        if options.swap_every and self._swapped is None and self._number % options.swap_every == 0:
            self._swapped = (self._number + options.swap_by, packet)
            self._hold(due + SWAP_AT_MOST_S, b"")
            return
        self._hold(due, packet)
        if self._swapped is not None and self._number >= self._swapped[0]:
            self._hold(due, self._swapped[1])
            self._swapped = None

    def _pauses(self, since: float) -> bool:
        return bool(since > self._options.work_ms / 1e3)

    def _dropped(self, packet: bytes, now: float) -> bool:
        options = self._options
        if self._random.random() < options.drop or (options.longest and len(packet) > options.longest):
            return True
        if options.drop_syn and is_syn(packet) and self._random.random() < options.drop_syn:
            return True
        if not options.police:
            return False
        self._tokens = min(options.burst, self._tokens + options.police / 8 * (now - self._filled_at))
        self._filled_at = now
        if self._tokens < len(packet):
            return True
        self._tokens -= len(packet)
        return False

    def _hold(self, due: float, packet: bytes) -> None:
        self._order += 1
        heapq.heappush(self._waiting, (due, self._order, packet))

    def due(self, now: float) -> list[bytes]:
        """Return the packets whose time has come."""
        ready = []
        while self._waiting and self._waiting[0][0] <= now:
            packet = heapq.heappop(self._waiting)[2]
            if not packet and self._swapped is not None:  # Nothing overtook it for long.
                packet, self._swapped = self._swapped[1], None
            if packet:
                ready.append(packet)
        return ready

    def pause(self, now: float, end: float) -> float:
        """Return the time until something is due, in seconds."""
        return max(0.0, min(self._waiting[0][0] if self._waiting else end, end) - now)


def is_syn(packet: bytes) -> bool:
    """Whether it is the first packet of a TCP handshake."""
    if packet[0] >> 4 == IPV4:
        start, protocol = (packet[0] & 15) * 4, packet[9]
    else:
        start, protocol = IPV6_HEADER, packet[6]
    return protocol == TCP and packet[start + 13] & (SYN | ACK) == SYN


def marked(packet: bytes) -> bytes:
    """Return the packet with the ECN mark CE, where its sender takes marks."""
    changed = bytearray(packet)
    if packet[0] >> 4 == IPV4:
        if packet[1] & 3:
            changed[1] |= 3
            changed[10:12] = b"\0\0"
            header = changed[: (packet[0] & 15) * 4]
            changed[10:12] = struct.pack("!H", checksum(header))
    elif packet[1] & 0x30:
        changed[1] |= 0x30
    return bytes(changed)


def checksum(header: bytes | bytearray) -> int:
    """Return the IPv4 header's checksum (RFC 1071)."""
    total: int = sum(struct.unpack(f"!{len(header) // 2}H", header))
    while total >> 16:
        total = (total & 0xFFFF) + (total >> 16)
    return ~total & 0xFFFF


def opened(devices: list[str]) -> int:
    """Make the TUN device and send what comes in by the devices there; return its file descriptor."""
    made = os.open("/dev/net/tun", os.O_RDWR | os.O_NONBLOCK)
    fcntl.ioctl(made, TUNSETIFF, struct.pack("16sH22x", DEVICE.encode(), IFF_TUN | IFF_NO_PI))
    run(["ip", "link", "set", "dev", DEVICE, "txqueuelen", "4000", "up"])
    for family in ("-4", "-6"):
        run(["ip", family, "route", "add", "default", "dev", DEVICE, "table", TABLE])
        for device in devices:
            run(["ip", family, "rule", "add", "iif", device, "lookup", TABLE, "priority", TABLE])
    return made


def run(words: list[str]) -> None:
    """Run a command; an error ends the program with its message."""
    subprocess.run(words, check=True, timeout=5)


def main() -> None:
    """Pass packets on until the time is over."""
    options = parsed()
    tun = opened(options.devices)
    box, end = Box(options), time.monotonic() + options.seconds
    while (now := time.monotonic()) < end:
        if select.select([tun], [], [], box.pause(now, end))[0]:
            try:
                for _ in range(64):
                    box.take(os.read(tun, LARGEST), time.monotonic())
            except BlockingIOError:
                pass
        for packet in box.due(time.monotonic()):
            os.write(tun, packet)


def parsed() -> argparse.Namespace:
    """Read the arguments."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--in", dest="devices", action="append", default=[])
    parser.add_argument("--seconds", type=float, default=4.0)
    parser.add_argument("--drop", type=float, default=0.0, help="share of the packets that vanish")
    parser.add_argument("--drop-syn", type=float, default=0.0, help="share of the first SYNs and their repetitions")
    parser.add_argument("--longest", type=int, default=0, help="longer IP packets vanish")
    parser.add_argument("--mark", type=float, default=0.0, help="share of ECN-capable packets that are marked CE")
    parser.add_argument("--police", type=float, default=0.0, help="bit/s; what is above is dropped")
    parser.add_argument("--burst", type=int, default=30000, help="bytes that the policer lets pass at once")
    parser.add_argument("--bit-per-s", type=float, default=0.0, help="rate, with a queue before it")
    parser.add_argument("--queue", type=int, default=100000, help="bytes of that queue")
    parser.add_argument("--delay-ms", type=float, default=0.0)
    parser.add_argument("--jitter-ms", type=float, default=0.0, help="mean of a further delay; order is kept")
    parser.add_argument("--work-ms", type=float, default=100.0, help="work for so long, then pause for --pause-ms")
    parser.add_argument("--pause-ms", type=float, default=0.0)
    parser.add_argument("--late", type=float, default=0.0, help="share of packets that come late, out of order")
    parser.add_argument("--late-ms", type=float, default=0.0)
    parser.add_argument("--swap-every", type=int, default=0, help="each so many-th packet lets others pass")
    parser.add_argument("--swap-by", type=int, default=4, help="how many pass it")
    return parser.parse_args()


if __name__ == "__main__":
    main()

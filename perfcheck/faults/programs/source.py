"""Send over TCP for some seconds: `source.py HOST --port 9000 --seconds 4 [how it writes]`.

The last line of output has what came of it, as perfcheck's `command` reads it. Bytes that the peer did not
acknowledge do not count as sent.
"""

from __future__ import annotations

import argparse
import array
import fcntl
import json
import os
import select
import socket
import termios
import time

CHUNK = 1 << 16


class Source:
    """Writes on one connection, or on another one where that was reset."""

    def __init__(self, options: argparse.Namespace) -> None:
        """Connect nothing yet."""
        self._options = options
        self._end = time.monotonic() + options.seconds
        self._acknowledged = 0
        self._written = 0
        self._resets = 0
        self._bursts_us: list[float] = []
        self._socket: socket.socket | None = None

    def run(self) -> dict[str, float]:
        """Write until the time is over; return metrics by perfcheck's names."""
        begun = time.monotonic()
        while time.monotonic() < self._end:
            try:
                self._connect()
                self._write()
            except (ConnectionError, TimeoutError):
                self._resets += 1
                self._written = 0
                time.sleep(0.01)
        delivered = self._acknowledged + max(0, self._written - self._unacknowledged())
        metrics = {"app.throughput_bps": 8 * delivered / (time.monotonic() - begun), "app.errors": self._resets}
        if self._bursts_us:
            ordered = sorted(self._bursts_us)
            metrics["app.latency_us.p50"] = ordered[len(ordered) // 2]
            metrics["app.latency_us.max"] = ordered[-1]
        return metrics

    def _connect(self) -> None:
        options = self._options
        family = socket.AF_INET6 if ":" in options.host else socket.AF_INET
        made = socket.socket(family, socket.SOCK_STREAM)
        if options.sndbuf:
            made.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, options.sndbuf)
        made.settimeout(max(0.1, self._end - time.monotonic()))
        made.connect((options.host, options.port))
        self._socket = made

    def _write(self) -> None:
        options = self._options
        piece = bytes(options.chunk)
        while time.monotonic() < self._end:
            if options.burst:
                begun = time.monotonic()
                self._send_all(bytes(options.burst))
                self._await_acknowledged()
                self._bursts_us.append((time.monotonic() - begun) * 1e6)
            else:
                self._send_all(piece)
            if options.pause_ms:
                time.sleep(max(0.0, min(options.pause_ms / 1e3, self._end - time.monotonic())))

    def _send_all(self, data: bytes) -> None:
        made = self._socket
        assert made is not None  # noqa: S101 - connected before
        view = memoryview(data)
        made.setblocking(not self._options.nonblocking)
        if not self._options.nonblocking:
            made.settimeout(max(0.01, self._end - time.monotonic()))
        while view and time.monotonic() < self._end:
            try:
                sent = made.send(view)
            except BlockingIOError:
                select.select([], [made], [], max(0.0, self._end - time.monotonic()))
                continue
            except TimeoutError:
                return
            self._written += sent
            view = view[sent:]

    def _await_acknowledged(self) -> None:
        while self._unacknowledged() and time.monotonic() < self._end:
            time.sleep(0.001)

    def _unacknowledged(self) -> int:
        if self._socket is None:
            return 0
        left = array.array("i", [0])
        fcntl.ioctl(self._socket.fileno(), termios.TIOCOUTQ, left)
        return left[0]


def main() -> None:
    """Write, and report."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("host")
    parser.add_argument("--port", type=int, default=9000)
    parser.add_argument("--seconds", type=float, default=4.0)
    parser.add_argument("--chunk", type=int, default=CHUNK, help="bytes of a write")
    parser.add_argument("--sndbuf", type=int, default=0, help="SO_SNDBUF in bytes")
    parser.add_argument("--nonblocking", action="store_true", help="write by select(2), never wait in send(2)")
    parser.add_argument("--burst", type=int, default=0, help="write so many bytes, wait until all are acknowledged")
    parser.add_argument("--pause-ms", type=float, default=0.0, help="sleep after each write or burst")
    found = Source(parser.parse_args()).run()
    os.write(1, (json.dumps({"perfcheck": found}) + "\n").encode())


if __name__ == "__main__":
    main()

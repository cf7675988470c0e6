"""Accept TCP connections and read them: `sink.py --port 9000 --seconds 6 [how it reads]`.

Without options it reads as fast as data comes. Each connection has a process of its own.
"""

from __future__ import annotations

import argparse
import contextlib
import os
import signal
import socket
import struct
import time

CHUNK = 1 << 16
RESET = struct.pack("ii", 1, 0)
"""SO_LINGER of no time: a close sends RST and drops what is unread."""


def main() -> None:
    """Serve until the time is over."""
    options = parsed()
    end = time.monotonic() + options.seconds
    listener = socket.socket(socket.AF_INET6, socket.SOCK_STREAM)
    listener.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 0)
    listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    if options.rcvbuf:
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, options.rcvbuf)
    listener.bind(("::", options.port))
    listener.listen(128)
    signal.signal(signal.SIGCHLD, signal.SIG_IGN)
    while (left := end - time.monotonic()) > 0:
        listener.settimeout(left)
        with contextlib.suppress(TimeoutError):
            connection = listener.accept()[0]
            if os.fork() == 0:
                listener.close()
                with contextlib.suppress(OSError):
                    read(connection, options, end)
                os._exit(0)
            connection.close()


def parsed() -> argparse.Namespace:
    """Read the arguments."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--port", type=int, default=9000)
    parser.add_argument("--seconds", type=float, default=6.0)
    parser.add_argument("--rcvbuf", type=int, default=0, help="SO_RCVBUF in bytes")
    parser.add_argument("--bytes-per-s", type=float, default=0.0, help="read no faster than this")
    parser.add_argument("--read-ms", type=float, default=0.0, help="read for so long, then sleep for --sleep-ms")
    parser.add_argument("--sleep-ms", type=float, default=0.0)
    parser.add_argument("--run-ms", type=float, default=0.0, help="run for so long, then be stopped for --stop-ms")
    parser.add_argument("--stop-ms", type=float, default=0.0)
    parser.add_argument("--reset-after", type=int, default=0, help="end a connection by RST after so many bytes")
    return parser.parse_args()


def read(connection: socket.socket, options: argparse.Namespace, end: float) -> None:
    """Read one connection to its end, at the pace of the options."""
    if options.stop_ms:
        stopped_by_another(options.run_ms / 1e3, options.stop_ms / 1e3, end)
    begun = awake = time.monotonic()
    got = 0
    chunk = int(min(CHUNK, max(1, options.bytes_per_s / 50))) if options.bytes_per_s else CHUNK
    while (now := time.monotonic()) < end and (piece := connection.recv(chunk)):
        got += len(piece)
        if options.reset_after and got >= options.reset_after:
            connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, RESET)
            connection.close()
            return
        if options.bytes_per_s:
            time.sleep(max(0.0, got / options.bytes_per_s - (now - begun)))
        if options.sleep_ms and now - awake > options.read_ms / 1e3:
            time.sleep(options.sleep_ms / 1e3)
            awake = time.monotonic()


def stopped_by_another(run_s: float, stop_s: float, end: float) -> None:
    """Have a child stop and continue this process in turn, as a debugger or an overloaded hypervisor does."""
    reader = os.getpid()
    if os.fork() == 0:
        with contextlib.suppress(ProcessLookupError):
            while time.monotonic() < end and os.getppid() == reader:
                time.sleep(run_s)
                os.kill(reader, signal.SIGSTOP)
                time.sleep(stop_s)
                os.kill(reader, signal.SIGCONT)
        os._exit(0)


if __name__ == "__main__":
    main()

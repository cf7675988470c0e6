"""One way over TCP: `stream.py send HOST`, `stream.py take --listen`, or the other way round.

Who connects reports, as perfcheck's `command` reads it: bytes per second of what the other end has acknowledged or of
what was read. With `--blocks` it is the time that each block takes until the other end has acknowledged it.
"""

from __future__ import annotations

import argparse
import contextlib
import fcntl
import hashlib
import json
import os
import socket
import struct
import termios
import threading
import time
from collections.abc import Callable

WINDOW_CLAMP = 10
CHUNK = 1 << 17
Found = dict[str, list[float]]
Role = Callable[[socket.socket, argparse.Namespace, float, Found], None]


class TimeOverError(Exception):
    """The time is over."""


def main() -> None:
    """Send or take on one connection or several, until the time is over."""
    options = parsed()
    end = time.monotonic() + options.seconds
    role = send if options.role == "send" else take
    if options.listen:
        serve(options, role, end)
        return
    results: list[Found] = []
    threads = [threading.Thread(target=client, args=(options, role, end, results)) for _ in range(options.streams)]
    begun = time.monotonic()
    for each in threads:
        each.start()
    for each in threads:
        each.join()
    metrics: dict[str, float] = {"app.errors": sum(sum(one["errors"]) for one in results)}
    times = sorted(value for one in results for value in one["blocks_us"])
    if options.blocks:
        if times:
            metrics["app.latency_us.p50"] = times[len(times) // 2]
            metrics["app.latency_us.max"] = times[-1]
    else:
        moved = sum(sum(one["bytes"]) for one in results)
        metrics["app.throughput_bps"] = 8 * moved / (time.monotonic() - begun)
    os.write(1, (json.dumps({"perfcheck": metrics}) + "\n").encode())


def parsed() -> argparse.Namespace:
    """Read the arguments."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("role", choices=("send", "take"))
    parser.add_argument("host", nargs="?", default="::")
    parser.add_argument("--listen", action="store_true")
    parser.add_argument("--port", type=int, default=9300)
    parser.add_argument("--seconds", type=float, default=4.0)
    parser.add_argument("--streams", type=int, default=1)
    parser.add_argument("--sndbuf", type=int, default=0)
    parser.add_argument("--rcvbuf", type=int, default=0)
    parser.add_argument("--clamp", type=int, default=0, help="TCP_WINDOW_CLAMP in bytes")
    parser.add_argument("--write", type=int, default=16384, help="bytes of a write")
    parser.add_argument("--work-ms", type=float, default=0.0, help="compute for so long before each write")
    parser.add_argument("--per-s", type=float, default=0.0, help="bytes per second that there are to send")
    parser.add_argument("--end-after", type=int, default=0, help="a new connection after so many bytes")
    parser.add_argument("--blocks", type=int, default=0, help="send blocks of so many bytes, one after the other")
    parser.add_argument("--rest-ms", type=float, default=0.0, help="rest after each block")
    parser.add_argument("--piece", type=int, default=CHUNK, help="bytes of a read")
    parser.add_argument("--pause-ms", type=float, default=0.0, help="pause after each read")
    parser.add_argument("--late-s", type=float, default=0.0, help="read nothing at first")
    return parser.parse_args()


def serve(options: argparse.Namespace, role: Role, end: float) -> None:
    """Accept until the time is over, each connection in a thread of its own."""
    listener = socket.socket(socket.AF_INET6, socket.SOCK_STREAM)
    listener.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 0)
    listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    sized(listener, options)
    listener.bind((options.host, options.port))
    listener.listen(64)
    while (left := end - time.monotonic()) > 0:
        listener.settimeout(left)
        with contextlib.suppress(OSError):
            made = listener.accept()[0]
            threading.Thread(target=served, args=(made, options, role, end), daemon=True).start()


def served(made: socket.socket, options: argparse.Namespace, role: Role, end: float) -> None:
    """Send or take on an accepted connection."""
    with contextlib.suppress(OSError, TimeOverError), made:
        sized(made, options)
        role(made, options, end, {"bytes": [], "blocks_us": [], "errors": []})


def client(options: argparse.Namespace, role: Role, end: float, results: list[Found]) -> None:
    """Connect, again where a connection ended, and keep what came of it."""
    found: Found = {"bytes": [], "blocks_us": [], "errors": []}
    results.append(found)
    while time.monotonic() < end:
        try:
            with socket.socket(socket.AF_INET6 if ":" in options.host else socket.AF_INET) as made:
                sized(made, options)
                made.settimeout(max(0.1, end - time.monotonic()))
                made.connect((options.host, options.port))
                role(made, options, end, found)
        except TimeOverError:
            return
        except OSError:
            if time.monotonic() < end - 0.05:
                found["errors"].append(1)
            time.sleep(0.01)


def sized(made: socket.socket, options: argparse.Namespace) -> None:
    """Set the buffers of a socket."""
    for name, value in ((socket.SO_SNDBUF, options.sndbuf), (socket.SO_RCVBUF, options.rcvbuf)):
        if value:
            made.setsockopt(socket.SOL_SOCKET, name, value)
    if options.clamp:
        made.setsockopt(socket.IPPROTO_TCP, WINDOW_CLAMP, options.clamp)


def send(made: socket.socket, options: argparse.Namespace, end: float, found: Found) -> None:
    """Write on a connection until the end, or until it has carried enough."""
    begun, written = time.monotonic(), 0
    piece = bytes(options.blocks or options.write)
    try:
        while (now := time.monotonic()) < end:
            made.settimeout(max(0.01, end - now))
            worked(now + options.work_ms / 1e3)
            if options.per_s:
                time.sleep(max(0.0, written / options.per_s - (time.monotonic() - begun)))
            began = time.monotonic()
            if options.blocks:
                made.sendall(piece)
                written += len(piece)
                while unacknowledged(made) and time.monotonic() < end:
                    time.sleep(0.001)
                if time.monotonic() < end:
                    found["blocks_us"].append((time.monotonic() - began) * 1e6)
                time.sleep(options.rest_ms / 1e3)
            else:
                written += made.send(piece)
            if options.end_after and written >= options.end_after:
                return
    except TimeoutError:
        pass
    finally:
        with contextlib.suppress(OSError):
            found["bytes"].append(written - unacknowledged(made))
    raise TimeOverError


def worked(until: float) -> None:
    """Compute for a time."""
    while time.monotonic() < until:
        hashlib.sha256(bytes(4096)).digest()


def unacknowledged(made: socket.socket) -> int:
    """Return the bytes that the other end has not acknowledged."""
    return int(struct.unpack("i", fcntl.ioctl(made.fileno(), termios.TIOCOUTQ, b"\0" * 4))[0])


def take(made: socket.socket, options: argparse.Namespace, end: float, found: Found) -> None:
    """Read a connection to its end."""
    time.sleep(options.late_s)
    while (now := time.monotonic()) < end:
        made.settimeout(max(0.01, end - now))
        try:
            got = len(made.recv(options.piece))
        except TimeoutError:
            break
        if not got:
            return
        found["bytes"].append(got)
        if options.pause_ms:
            time.sleep(options.pause_ms / 1e3)
    raise TimeOverError


if __name__ == "__main__":
    main()

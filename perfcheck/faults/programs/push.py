"""One way over TCP, in some uncommon ways: `push.py to HOST`, `push.py from HOST`, served by `push.py serve`.

Who connects says which way: its first byte is `w` (it writes) or `r` (it reads). It reports bytes per second, or with
`--block` the time that each block takes until the other end's application has answered it.
"""

from __future__ import annotations

import argparse
import contextlib
import fcntl
import json
import os
import select
import signal
import socket
import struct
import subprocess
import sys
import termios
import threading
import time
from collections.abc import Iterator
from dataclasses import dataclass, field

CHUNK = 1 << 16
PACED = "import sys,time\nr=float(sys.argv[1]);n=0;b=time.monotonic()\n"
PRODUCER = PACED + (
    "while 1:\n sys.stdout.buffer.write(bytes(3000));sys.stdout.buffer.flush();n+=3000\n"
    " time.sleep(max(0,n/r-time.monotonic()+b))"
)
"""Writes to its standard output at a pace, as a compressor does."""
CONSUMER = PACED + (
    "while sys.stdin.buffer.read1(3000):\n n+=3000\n time.sleep(max(0,n/r-time.monotonic()+b))"
)  # fmt: skip
"""Reads its standard input at a pace, as a slow disk takes data."""


@dataclass(slots=True)
class Tally:
    """What one stream has moved, how long its blocks took, and how often it failed."""

    moved: int = 0
    times_us: list[float] = field(default_factory=list)
    errors: int = 0


def main() -> None:
    """Serve, or connect and report."""
    options = parsed()
    end = time.monotonic() + options.seconds
    if options.role == "serve":
        serve(options, end)
        return
    tallies = [Tally() for _ in range(options.streams)]
    threads = [threading.Thread(target=client, args=(options, end, each)) for each in tallies]
    begun = time.monotonic()
    for each in threads:
        each.start()
    for each in threads:
        each.join()
    length = time.monotonic() - begun
    metrics: dict[str, float] = {"app.errors": sum(each.errors for each in tallies)}
    metrics["app.throughput_bps"] = 8 * sum(each.moved for each in tallies) / length
    times = sorted(value for each in tallies for value in each.times_us)
    if times:
        metrics["app.latency_us.p50"] = times[len(times) // 2]
        metrics["app.latency_us.max"] = times[-1]
    os.write(1, (json.dumps({"perfcheck": metrics}) + "\n").encode())


def parsed() -> argparse.Namespace:
    """Read the arguments."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("role", choices=("to", "from", "serve"))
    parser.add_argument("host", nargs="?", default="::")
    parser.add_argument("--port", type=int, default=9600)
    parser.add_argument("--seconds", type=float, default=4.0)
    parser.add_argument("--streams", type=int, default=1)
    parser.add_argument("--sndbuf", type=int, default=0, help="SO_SNDBUF of each connection, once it stands")
    parser.add_argument("--rcvbuf", type=int, default=0, help="SO_RCVBUF of each connection, once it stands")
    parser.add_argument("--after-s", type=float, default=0.0, help="set the buffers so long after that")
    parser.add_argument("--producer", type=float, default=0.0, help="bytes/s of the process that makes the data")
    parser.add_argument("--consumer", type=float, default=0.0, help="bytes/s of the process that takes the data")
    parser.add_argument("--turn-ms", type=float, default=0.0, help="one thread for all connections, each in its turn")
    parser.add_argument("--block", type=int, default=0, help="write blocks, each answered by the application")
    parser.add_argument("--anew", action="store_true", help="a connection for each block")
    parser.add_argument("--crash-after", type=int, default=0, help="the serving process is killed after so many bytes")
    return parser.parse_args()


def sized(made: socket.socket, options: argparse.Namespace) -> None:
    """Set the buffers of a connection, at once or later."""

    def apply() -> None:
        for name, value in ((socket.SO_SNDBUF, options.sndbuf), (socket.SO_RCVBUF, options.rcvbuf)):
            if value:
                with contextlib.suppress(OSError):
                    made.setsockopt(socket.SOL_SOCKET, name, value)

    if options.after_s:
        later = threading.Timer(options.after_s, apply)
        later.daemon = True
        later.start()
    else:
        apply()


def serve(options: argparse.Namespace, end: float) -> None:
    """Accept until the time is over, each connection in a process of its own or all in turn."""
    listener = socket.socket(socket.AF_INET6, socket.SOCK_STREAM)
    listener.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 0)
    listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    listener.bind((options.host, options.port))
    listener.listen(64)
    if options.turn_ms:
        in_turn(listener, options, end)
        return
    signal.signal(signal.SIGCHLD, signal.SIG_IGN)
    while (left := end - time.monotonic()) > 0:
        listener.settimeout(left)
        with contextlib.suppress(OSError):
            made = listener.accept()[0]
            if os.fork() == 0:
                listener.close()
                with contextlib.suppress(OSError):
                    served(made, options, end)
                os._exit(0)
            made.close()


def in_turn(listener: socket.socket, options: argparse.Namespace, end: float) -> None:
    """Read one piece of each connection, then wait for each other piece of work, as a simple server does."""
    listener.setblocking(False)
    connections: list[socket.socket] = []
    while time.monotonic() < end:
        with contextlib.suppress(BlockingIOError):
            connections.append(listener.accept()[0])
        for made in connections:
            if select.select([made], [], [], 0)[0] and not made.recv(CHUNK):
                connections.remove(made)
                break
        time.sleep(options.turn_ms / 1e3)


def served(made: socket.socket, options: argparse.Namespace, end: float) -> None:
    """Do the other half of what the client asks for."""
    made.settimeout(max(0.1, end - time.monotonic()))
    sized(made, options)
    if made.recv(1) == b"r":
        for _ in write(made, options, end):
            pass
    else:
        read(made, options, end)


def write(made: socket.socket, options: argparse.Namespace, end: float) -> Iterator[int]:
    """Write until the end, what there is at once or what a producer gives; yield the bytes of each write."""
    piece = bytes(CHUNK)
    source = None
    if options.producer:
        words = [sys.executable, "-I", "-S", "-c", PRODUCER, str(options.producer)]
        source = subprocess.Popen(words, stdout=subprocess.PIPE)
    try:
        while (now := time.monotonic()) < end:
            made.settimeout(max(0.01, end - now))
            if source is not None and source.stdout is not None:
                piece = os.read(source.stdout.fileno(), CHUNK)
            yield made.send(piece)
    except TimeoutError:
        pass
    finally:
        if source is not None:
            source.kill()
            source.wait()


def unacknowledged(made: socket.socket) -> int:
    """Return the bytes that the other end has not acknowledged."""
    return int(struct.unpack("i", fcntl.ioctl(made.fileno(), termios.TIOCOUTQ, b"\0" * 4))[0])


def read(made: socket.socket, options: argparse.Namespace, end: float) -> int:
    """Read until the end, and answer blocks; return the bytes."""
    sink, got, block = None, 0, 0
    if options.consumer:
        words = [sys.executable, "-I", "-S", "-c", CONSUMER, str(options.consumer)]
        sink = subprocess.Popen(words, stdin=subprocess.PIPE)
    try:
        while (now := time.monotonic()) < end and (piece := made.recv(CHUNK)):
            got, block = got + len(piece), block + len(piece)
            if options.crash_after and got >= options.crash_after:
                time.sleep(0.05)  # More comes in, which stays unread.
                os.kill(os.getpid(), signal.SIGKILL)
            if sink is not None and sink.stdin is not None:
                os.write(sink.stdin.fileno(), piece)
            if options.block and block >= options.block:
                made.sendall(b"k" * (block // options.block))
                block %= options.block
            made.settimeout(max(0.01, end - now))
    except TimeoutError:
        pass
    finally:
        if sink is not None:
            sink.kill()
            sink.wait()
    return got


def client(options: argparse.Namespace, end: float, tally: Tally) -> None:
    """Connect, again where a connection ended, and keep what came of it."""
    while (begun := time.monotonic()) < end:
        try:
            with socket.create_connection((options.host, options.port), timeout=max(0.1, end - begun)) as made:
                sized(made, options)
                made.sendall(b"r" if options.role == "from" else b"w")
                if options.role == "from":
                    tally.moved += read(made, options, end)
                elif options.block:
                    blocks(made, options, end, begun, tally)
                else:
                    for sent in write(made, options, end):
                        tally.moved += sent
                    tally.moved -= unacknowledged(made)
        except OSError:
            tally.errors += time.monotonic() < end - 0.05
            time.sleep(0.02)


def blocks(made: socket.socket, options: argparse.Namespace, end: float, begun: float, tally: Tally) -> None:
    """Write blocks and wait for the application's answer to each."""
    while time.monotonic() < end:
        made.settimeout(max(0.5, end + 1 - time.monotonic()))
        made.sendall(bytes(options.block))
        if not made.recv(1):
            raise ConnectionResetError
        tally.times_us.append((time.monotonic() - begun) * 1e6)
        tally.moved += options.block
        begun = time.monotonic()
        if options.anew:
            break


if __name__ == "__main__":
    main()

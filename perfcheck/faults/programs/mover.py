"""Move bytes one way over TCP by non-blocking sockets: `mover.py push HOST`, `mover.py pull --listen`, or turned round.

Who connects reports, as perfcheck's `command` reads it: bits per second that the other end acknowledged or that were
read, and the connections that ended early. What makes an end slow are options.
"""

from __future__ import annotations

import argparse
import contextlib
import fcntl
import hashlib
import json
import os
import random
import select
import socket
import struct
import termios
import threading
import time
import zlib

CHUNK = 24_000
RESET = struct.pack("ii", 1, 0)
TEXT = hashlib.sha256(b"perfcheck").hexdigest().encode()


class Mover:
    """One end of connections that carry bytes; `moved` are those that arrived, `errors` connections that broke."""

    def __init__(self, options: argparse.Namespace) -> None:
        """Connect nothing yet."""
        self._options = options
        self._end = time.monotonic() + options.seconds
        self._random = random.Random(options.seed)  # noqa: S311 - times of pauses are no secret
        self.moved = 0
        self.errors = 0

    def serve(self) -> None:
        """Accept until the time is over, each connection in a thread."""
        listener = socket.socket(socket.AF_INET6, socket.SOCK_STREAM)
        listener.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 0)
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listener.bind(("::", self._options.port))
        listener.listen(64)
        while (left := self._end - time.monotonic()) > 0:
            listener.settimeout(left)
            with contextlib.suppress(OSError):
                made = listener.accept()[0]
                threading.Thread(target=self._served, args=(made,), daemon=True).start()

    def _served(self, made: socket.socket) -> None:
        with contextlib.suppress(OSError), made:
            self._use(made)

    def connect(self) -> None:
        """Connect, again where a connection broke, until the time is over."""
        host = self._options.host
        while time.monotonic() < self._end:
            try:
                with socket.socket(socket.AF_INET6 if ":" in host else socket.AF_INET) as made:
                    made.settimeout(max(0.1, self._end - time.monotonic()))
                    made.connect((host, self._options.port))
                    self._use(made)
            except OSError:
                self.errors += time.monotonic() < self._end - 0.05
                time.sleep(0.02)

    def _use(self, made: socket.socket) -> None:
        options = self._options
        made.setblocking(False)
        if options.sndbuf:
            made.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, options.sndbuf)
        if options.role == "push":
            self._push(made)
        else:
            self._pull(made)

    def _push(self, made: socket.socket) -> None:
        options = self._options
        begun, written, since_word = time.monotonic(), 0, 0
        try:
            while time.monotonic() < self._end:
                piece = bytes(options.chunk)
                if options.compress:
                    zlib.compress(TEXT * (options.chunk // len(TEXT) * options.compress), 9)
                if options.supply:
                    self._sleep((written + len(piece)) / options.supply - (time.monotonic() - begun))
                written += self._sent(made, piece)
                since_word += len(piece)
                if options.lockstep and since_word >= options.lockstep:
                    since_word = 0
                    if self._ready(made, write=False) and not made.recv(16):
                        return
                if options.think_ms:
                    self._sleep(self._random.expovariate(1e3 / options.think_ms))
        finally:
            with contextlib.suppress(OSError):
                self.moved += written - unacknowledged(made)

    def _sent(self, made: socket.socket, piece: bytes) -> int:
        view, sent = memoryview(piece), 0
        while view and self._ready(made, write=True):
            with contextlib.suppress(BlockingIOError):
                now = made.send(view)
                view, sent = view[now:], sent + now
        return sent

    def _pull(self, made: socket.socket) -> None:
        options = self._options
        begun, got, since_word, held = time.monotonic(), 0, 0, 0
        breaks = begun + options.reset_s * (0.6 + 0.8 * self._random.random()) if options.reset_s else self._end
        while self._ready(made, write=False):
            if time.monotonic() > breaks:
                made.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, RESET)
                return
            piece = made.recv(options.piece)
            if not piece:
                return
            got += len(piece)
            self.moved += len(piece)
            since_word += len(piece)
            held += len(piece)
            if options.rcvbuf_late and got == len(piece):
                made.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, options.rcvbuf_late)
            for _ in range(options.digest):
                hashlib.sha256(piece).digest()
            if options.lockstep and since_word >= options.lockstep:
                since_word -= options.lockstep
                made.send(b"go")
            if options.hold and held >= options.hold:
                # A bounded queue is full: nothing is read until a consumer has emptied it.
                self._sleep(held / options.drain)
                held = 0
            if options.nap_ms:
                self._sleep(self._random.expovariate(1e3 / options.nap_ms))

    def _ready(self, made: socket.socket, *, write: bool) -> bool:
        """Wait until the socket can be used; False where the time is over first."""
        left = max(0.0, self._end - time.monotonic())
        reads, writes, _ = select.select([] if write else [made], [made] if write else [], [], left)
        return bool(reads or writes)

    def _sleep(self, seconds: float) -> None:
        time.sleep(max(0.0, min(seconds, self._end - time.monotonic())))


def unacknowledged(made: socket.socket) -> int:
    """Return the bytes that the other end has not acknowledged."""
    return int(struct.unpack("i", fcntl.ioctl(made.fileno(), termios.TIOCOUTQ, b"\0" * 4))[0])


def parsed() -> argparse.Namespace:
    """Read the arguments."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("role", choices=("push", "pull"))
    parser.add_argument("host", nargs="?", default="::")
    parser.add_argument("--listen", action="store_true")
    parser.add_argument("--port", type=int, default=9700)
    parser.add_argument("--seconds", type=float, default=4.0)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--lockstep", type=int, default=0, help="push waits for a word of pull after so many bytes")
    push = parser.add_argument_group("push")
    push.add_argument("--chunk", type=int, default=CHUNK, help="bytes of a write")
    push.add_argument("--sndbuf", type=int, default=0, help="SO_SNDBUF in bytes")
    push.add_argument("--supply", type=float, default=0.0, help="bytes per second that a source yields")
    push.add_argument("--compress", type=int, default=0, help="compress so many times each chunk before it is sent")
    push.add_argument("--think-ms", type=float, default=0.0, help="mean of exponential pauses after each write")
    pull = parser.add_argument_group("pull")
    pull.add_argument("--piece", type=int, default=1 << 16, help="bytes of a read")
    pull.add_argument("--rcvbuf-late", type=int, default=0, help="SO_RCVBUF, set after the first read")
    pull.add_argument("--digest", type=int, default=0, help="hash what was read so many times")
    pull.add_argument("--hold", type=int, default=0, help="bytes after which nothing is read until they are consumed")
    pull.add_argument("--drain", type=float, default=1e6, help="bytes per second that are consumed of --hold")
    pull.add_argument("--nap-ms", type=float, default=0.0, help="mean of exponential pauses after each read")
    pull.add_argument("--reset-s", type=float, default=0.0, help="end each connection by RST after about so long")
    return parser.parse_args()


def main() -> None:
    """Serve, or connect and report."""
    options = parsed()
    mover = Mover(options)
    if options.listen:
        mover.serve()
        return
    begun = time.monotonic()
    mover.connect()
    rate = 8 * mover.moved / (time.monotonic() - begun)
    found = {"app.throughput_bps": rate, "app.errors": mover.errors}
    os.write(1, (json.dumps({"perfcheck": found}) + "\n").encode())


if __name__ == "__main__":
    main()

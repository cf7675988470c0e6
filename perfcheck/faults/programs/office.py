"""Answer questions of ask.py by a few processes, each with one connection at a time: `office.py --clerks 4`.

A clerk accepts, reads the question (200 bytes, which begin with the size of the answer), answers and waits for the
next one or the end. With `--once` it closes after one answer.
"""

from __future__ import annotations

import argparse
import contextlib
import os
import random
import signal
import socket
import struct
import time

QUESTION = 200
RESET = struct.pack("ii", 1, 0)


def main() -> None:
    """Start the clerks, stop them now and then where that is asked for, and end them."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--port", type=int, default=9600)
    parser.add_argument("--seconds", type=float, default=30.0)
    parser.add_argument("--clerks", type=int, default=6)
    parser.add_argument("--backlog", type=int, default=128)
    parser.add_argument("--work-ms", type=float, default=0.0, help="mean of the exponential time before an answer")
    parser.add_argument("--once", action="store_true", help="one answer a connection, then an orderly end")
    parser.add_argument("--run-ms", type=float, default=0.0, help="run for so long, then be stopped for --stop-ms")
    parser.add_argument("--stop-ms", type=float, default=0.0)
    parser.add_argument("--abort-pct", type=float, default=0.0, help="share of answers that end by RST halfway")
    options = parser.parse_args()
    end = time.monotonic() + options.seconds
    listener = socket.socket(socket.AF_INET6, socket.SOCK_STREAM)
    listener.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 0)
    listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    listener.bind(("::", options.port))
    listener.listen(options.backlog)
    clerks = []
    for number in range(options.clerks):
        clerk = os.fork()
        if clerk == 0:
            signal.signal(signal.SIGTERM, signal.SIG_DFL)
            serve(listener, options, end, random.Random(number))  # noqa: S311 - times of work are no secret
            os._exit(0)
        clerks.append(clerk)
    signal.signal(signal.SIGTERM, lambda *_: ended(clerks))
    while time.monotonic() < end:
        if not options.stop_ms:
            time.sleep(max(0.0, end - time.monotonic()))
            break
        time.sleep(options.run_ms / 1e3)
        told(clerks, signal.SIGSTOP)
        time.sleep(options.stop_ms / 1e3)
        told(clerks, signal.SIGCONT)
    ended(clerks)


def told(clerks: list[int], what: signal.Signals) -> None:
    """Send a signal to each."""
    for clerk in clerks:
        with contextlib.suppress(ProcessLookupError):
            os.kill(clerk, what)


def ended(clerks: list[int]) -> None:
    """End all, those that are stopped as well."""
    told(clerks, signal.SIGKILL)
    os._exit(0)


def serve(listener: socket.socket, options: argparse.Namespace, end: float, chance: random.Random) -> None:
    """Answer one connection after the other until the time is over."""
    while time.monotonic() < end:
        with contextlib.suppress(OSError):
            made = listener.accept()[0]
            with made:
                answer(made, options, chance)


def answer(made: socket.socket, options: argparse.Namespace, chance: random.Random) -> None:
    """Answer the questions of a connection."""
    made.settimeout(5)
    made.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    while True:
        question = b""
        while len(question) < QUESTION:
            piece = made.recv(QUESTION - len(question))
            if not piece:
                return
            question += piece
        if options.work_ms:
            time.sleep(chance.expovariate(1e3 / options.work_ms))
        body = bytes(int(question[:10]))
        if chance.random() < options.abort_pct / 100:
            made.sendall(body[: len(body) // 2])
            made.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, RESET)
            return
        made.sendall(body)
        if options.once:
            return


if __name__ == "__main__":
    main()

"""Datagrams that are answered: `echo.py HOST --per-s 60 --length 700`, answered by `echo.py --answer`.

With `--at-once N` so many are sent back to back. It reports times of answers, and what was not answered as errors.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import os
import socket
import struct
import time

LAST_ANSWERS_S = 0.6


def main() -> None:
    """Answer, or send and report."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("host", nargs="?", default="::")
    parser.add_argument("--answer", action="store_true")
    parser.add_argument("--port", type=int, default=9700)
    parser.add_argument("--seconds", type=float, default=4.0)
    parser.add_argument("--per-s", type=float, default=60.0)
    parser.add_argument("--at-once", type=int, default=1)
    parser.add_argument("--length", type=int, default=700)
    options = parser.parse_args()
    if options.answer:
        answer(options)
    else:
        ask(options)


def answer(options: argparse.Namespace) -> None:
    """Send each datagram's first bytes back until the time is over."""
    with socket.socket(socket.AF_INET6, socket.SOCK_DGRAM) as made:
        made.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 0)
        made.bind((options.host, options.port))
        end = time.monotonic() + options.seconds
        while (left := end - time.monotonic()) > 0:
            made.settimeout(left)
            with contextlib.suppress(OSError):
                datagram, sender = made.recvfrom(2048)
                made.sendto(datagram[:64], sender)


def ask(options: argparse.Namespace) -> None:
    """Send at a pace, take what comes back, and report."""
    made = socket.socket(socket.AF_INET6 if ":" in options.host else socket.AF_INET, socket.SOCK_DGRAM)
    made.connect((options.host, options.port))
    begun = now = time.monotonic()
    end = begun + options.seconds - LAST_ANSWERS_S
    sent, times = 0, list[float]()
    while now < end + LAST_ANSWERS_S:
        due = begun + sent / options.at_once / options.per_s
        if now >= due and now < end:
            for _ in range(options.at_once):
                with contextlib.suppress(OSError):
                    made.send(struct.pack("!d", time.monotonic()).ljust(options.length, b"."))
                sent += 1
        made.settimeout(max(0.0002, min(due if now < end else end + 1, end + LAST_ANSWERS_S) - time.monotonic()))
        with contextlib.suppress(OSError):
            (when,) = struct.unpack("!d", made.recv(2048)[:8])
            times.append((time.monotonic() - when) * 1e6)
        now = time.monotonic()
    times.sort()
    metrics: dict[str, float] = {"app.errors": sent - len(times), "app.requests_per_s": len(times) / options.seconds}
    if times:
        metrics["app.latency_us.p50"] = times[len(times) // 2]
        metrics["app.latency_us.p99"] = times[min(len(times) - 1, len(times) * 99 // 100)]
    os.write(1, (json.dumps({"perfcheck": metrics}) + "\n").encode())


if __name__ == "__main__":
    main()
